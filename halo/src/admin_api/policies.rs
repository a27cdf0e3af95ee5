//! Storage policies: parse, ask, render.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use http::StatusCode;
use metadata::model::PolicyId;
use ring::Ring;
use serde::{Deserialize, Serialize};
use storage_node::client::{
    ClusterClient, DEFAULT_POLICY, Phase, PolicyError, PolicyKind, RingChangeError, takes_writes_without_a_node,
};
use storage_node::erasure::Code;

use super::AdminParts;
use super::refusal::{ApiError, Document};
use super::rings::cluster;

/// How long making a policy may take: every process learns of it first.
const CREATE_MAX: Duration = Duration::from_secs(15);
/// How long the system shard may take to answer.
const ASK_MAX: Duration = Duration::from_secs(5);

type Parts = State<Arc<AdminParts>>;
type Answer<T> = Result<Json<T>, ApiError>;

/// `GET /v1/policies`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Policies {
    /// All, by number.
    pub policies: Vec<PolicyLine>,
}

/// One policy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PolicyLine {
    /// Its number.
    pub id: u16,
    /// Its name.
    pub name: String,
    /// True for the one that stores buckets which name none.
    pub default: bool,
    /// How it keeps chunks, in words.
    pub keeps: String,
    /// Whole copies of each chunk; null for another kind.
    pub copies: Option<usize>,
    /// Fragments of each chunk that give it back; null for another kind.
    #[serde(default)]
    pub data: Option<usize>,
    /// Fragments of each chunk that may be lost; null for another kind.
    #[serde(default)]
    pub parity: Option<usize>,
    /// What an operator should know of it, in words; null when there is nothing.
    #[serde(default)]
    pub note: Option<String>,
    /// The version of the ring that places its writes; null while it has none.
    pub ring_version: Option<u64>,
    /// Partitions of that ring.
    pub partitions: Option<u32>,
    /// Devices with a weight in that ring.
    pub devices: Option<usize>,
    /// True while its ring changes.
    pub moving: bool,
}

/// `POST /v1/policies`
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NewPolicy {
    /// Its name.
    pub name: String,
    /// Whole copies of each chunk.
    #[serde(default)]
    pub copies: Option<usize>,
    /// Instead of copies: data fragments of each chunk.
    #[serde(default)]
    pub data: Option<usize>,
    /// With `data`: parity fragments.
    #[serde(default)]
    pub parity: Option<usize>,
    /// The first ring's file, in hex; without it the default policy's devices.
    pub ring: Option<String>,
    /// One failure may take all copies.
    #[serde(default)]
    pub accept_fewer_domains: bool,
}

impl From<PolicyError> for ApiError {
    fn from(error: PolicyError) -> Self {
        let status = match error {
            PolicyError::Ring(error) => return error.into(),
            PolicyError::Record(error) => return error.into(),
            PolicyError::Unfit(_) => StatusCode::BAD_REQUEST,
            PolicyError::Exists(_) | PolicyError::OldNodes(_) => StatusCode::CONFLICT,
        };
        Self::new(status, error.to_string())
    }
}

pub(super) async fn list(State(parts): Parts) -> Answer<Policies> {
    let client = cluster(&parts)?;
    let known = client.policy_list(ASK_MAX).await?;
    let mut policies = vec![line(client, PolicyId::default(), DEFAULT_POLICY, None).await?];
    for policy in known.iter() {
        policies.push(line(client, policy.id(), &policy.name, Some(policy.kind)).await?);
    }
    Ok(Json(Policies { policies }))
}

pub(super) async fn show(State(parts): Parts, Path(name): Path<String>) -> Answer<PolicyLine> {
    let Json(all) = list(State(parts)).await?;
    let found = all
        .policies
        .into_iter()
        .find(|policy| policy.name.eq_ignore_ascii_case(&name));
    found.map(Json).ok_or_else(|| no_policy(&name))
}

pub(super) async fn create(State(parts): Parts, Document(wanted): Document<NewPolicy>) -> Answer<PolicyLine> {
    let client = cluster(&parts)?;
    let bad = |sentence: String| ApiError::new(StatusCode::BAD_REQUEST, sentence);
    let ring = match &wanted.ring {
        None => None,
        Some(text) => {
            let bytes = hex::decode(text).map_err(|_| bad("the ring is not in hex".to_owned()))?;
            Some(Ring::from_bytes(&bytes).map_err(|error| bad(error.to_string()))?)
        }
    };
    let kind = match (wanted.copies, wanted.data, wanted.parity) {
        (Some(copies), None, None) => PolicyKind::Replicated { copies },
        (None, Some(data), Some(parity)) => PolicyKind::ErasureCoded { data, parity },
        _ => return Err(bad("a policy has either copies, or data and parity".to_owned())),
    };
    let made = client
        .create_policy(&wanted.name, kind, ring, wanted.accept_fewer_domains, CREATE_MAX)
        .await?;
    line(client, made.id(), &made.name, Some(made.kind)).await.map(Json)
}

async fn line(
    client: &ClusterClient,
    id: PolicyId,
    name: &str,
    kind: Option<PolicyKind>,
) -> Result<PolicyLine, ApiError> {
    let live = match client.ring_state(id, ASK_MAX).await {
        Ok((state, _)) => {
            let ring = client.ring_of_file(id, &state.current, ASK_MAX).await?.ring;
            Some((state, ring))
        }
        Err(RingChangeError::NoRing(_)) => None,
        Err(error) => return Err(error.into()),
    };
    let ring = live.as_ref().map(|(_, ring)| ring);
    let kind = kind.or_else(|| {
        let copies = ring?.replicas();
        Some(PolicyKind::Replicated { copies })
    });
    let code = kind.and_then(PolicyKind::code);
    let copies = kind.and_then(|kind| match kind {
        PolicyKind::Replicated { copies } => Some(copies),
        PolicyKind::ErasureCoded { .. } => None,
    });
    Ok(PolicyLine {
        id: id.0,
        name: name.to_owned(),
        default: id == PolicyId::default(),
        keeps: kind.map(PolicyKind::words).unwrap_or_default(),
        copies,
        data: code.map(Code::data),
        parity: code.map(Code::parity),
        note: code.zip(ring).and_then(|(code, ring)| note(code, ring)),
        ring_version: ring.map(|ring| ring.version()),
        partitions: ring.map(|ring| ring.partitions()),
        devices: ring.map(|ring| ring.devices().filter(|device| device.weight > 0.0).count()),
        moving: live.as_ref().is_some_and(|(state, _)| state.phase != Phase::Settled),
    })
}

/// DUR-1: what the ring's size means for writes.
fn note(code: Code, ring: &Ring) -> Option<String> {
    (!takes_writes_without_a_node(code, ring)).then(|| {
        let needed = code.data() + 1;
        format!(
            "writes stop while a node is down: {needed} fragments of a chunk then find too few nodes to survive the loss \
             of another one; reads go on"
        )
    })
}

/// Which policy a request to the rings means: `?policy=NAME`, the default one without it.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct WhichPolicy {
    policy: Option<String>,
}

impl WhichPolicy {
    /// Its number.
    ///
    /// # Errors
    /// 404 when there is none of that name.
    pub(super) async fn find(&self, client: &ClusterClient) -> Result<PolicyId, ApiError> {
        match &self.policy {
            None => Ok(PolicyId::default()),
            Some(name) if name.eq_ignore_ascii_case(DEFAULT_POLICY) => Ok(PolicyId::default()),
            Some(name) => {
                let known = client.policy_list(ASK_MAX).await?;
                let found = known.named(name).map(storage_node::client::Policy::id);
                found.ok_or_else(|| no_policy(name))
            }
        }
    }
}

fn no_policy(name: &str) -> ApiError {
    let sentence = format!("there is no policy `{name}`: see `halo admin policy list`");
    ApiError::new(StatusCode::NOT_FOUND, sentence)
}
