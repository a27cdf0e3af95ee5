//! `halo admin policy`: storage policies.

use std::path::PathBuf;

use anyhow::Context;
use clap::Subcommand;

use super::Shown;
use super::client::AdminClient;
use crate::admin_api::policies::{NewPolicy, Policies, PolicyLine};
use crate::sigv4::{Slash, encode};
use crate::terminal;

/// What to do with policies.
#[derive(Subcommand, Debug)]
pub(super) enum PolicyAction {
    /// Make a policy with a ring of its own. It never changes; its ring does, with `halo ring apply --policy NAME`.
    Create {
        /// Its name: letters, digits, dashes, underscores, dots. Clients use it to choose.
        name: String,
        /// Whole copies of each chunk; 3 unless said.
        #[arg(long, conflicts_with_all = ["data_fragments", "parity"])]
        copies: Option<usize>,
        /// Instead of copies: cut each chunk into so many data fragments …
        #[arg(long, requires = "parity")]
        data_fragments: Option<usize>,
        /// … and add so many of parity: as many devices may be lost.
        #[arg(long, requires = "data_fragments")]
        parity: Option<usize>,
        /// Its first ring, as `halo ring FILE write_ring` writes it; without it the default policy's devices and weights.
        #[arg(long)]
        ring: Option<PathBuf>,
        /// Let one failure take all copies.
        #[arg(long)]
        accept_fewer_domains: bool,
    },
    /// All policies with their rings.
    List,
    /// One policy.
    Show {
        /// Its name.
        name: String,
    },
}

pub(super) async fn run(client: &AdminClient, action: PolicyAction, shown: &Shown) -> anyhow::Result<()> {
    match action {
        PolicyAction::Create {
            name,
            copies,
            data_fragments: data,
            parity,
            ring,
            accept_fewer_domains,
        } => {
            let ring = match ring {
                Some(file) => {
                    let bytes = std::fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
                    Some(hex::encode(bytes))
                }
                None => None,
            };
            let wanted = NewPolicy {
                name,
                copies: copies.or(data.is_none().then_some(3)),
                data,
                parity,
                ring,
                accept_fewer_domains,
            };
            let made: PolicyLine = client.post("/v1/policies", &wanted).await?;
            shown.show(&made, || {
                terminal::line(format!(
                    "policy {} ({}) keeps {} on {} devices",
                    made.name,
                    made.id,
                    made.keeps,
                    made.devices.unwrap_or_default()
                ));
                if let Some(note) = &made.note {
                    terminal::line(format!("note: {note}"));
                }
            })
        }
        PolicyAction::List => {
            let all: Policies = client.get("/v1/policies").await?;
            shown.show(&all, || table(&all.policies))
        }
        PolicyAction::Show { name } => {
            let path = format!("/v1/policies/{}", encode(&name, Slash::Encoded));
            let one: PolicyLine = client.get(&path).await?;
            shown.show(&one, || table(std::slice::from_ref(&one)))
        }
    }
}

fn table(policies: &[PolicyLine]) {
    let number = |value: Option<u64>| value.map_or("-".to_owned(), |value| value.to_string());
    let mut table = terminal::table(&["policy", "number", "keeps", "ring", "partitions", "devices", ""]);
    for policy in policies {
        let mut notes = Vec::new();
        if policy.default {
            notes.push("default");
        }
        if policy.moving {
            notes.push("moving");
        }
        if policy.note.is_some() {
            notes.push("no writes while a node is down");
        }
        table.add_row([
            policy.name.clone(),
            policy.id.to_string(),
            policy.keeps.clone(),
            number(policy.ring_version),
            number(policy.partitions.map(u64::from)),
            number(policy.devices.map(|devices| devices as u64)),
            notes.join(", "),
        ]);
    }
    terminal::line(table.to_string());
}
