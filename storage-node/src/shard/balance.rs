//! Which leader hands which shard over to whom, so that leaders are spread evenly. Decides only.
//!
//! Every shard has a *home*: one of its voters, by the shard's number, so all nodes agree on it without talking. A
//! leader hands over only to the home, only while it holds more than its fair share or leads away from a home that has
//! been well for a while; since the home never hands back, leaders do not flap.

use std::collections::BTreeMap;
use std::time::Duration;

use metadata::ids::{NodeId, ShardId};

/// The voter that should lead a shard.
pub(crate) fn home(shard: ShardId, voters: &[NodeId]) -> Option<NodeId> {
    let mut voters = voters.to_vec();
    voters.sort_unstable();
    let count = u64::try_from(voters.len()).ok().filter(|count| *count > 0)?;
    let at = usize::try_from(shard.0 % count).ok()?;
    voters.get(at).copied()
}

/// What a leader sees of one of its shards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Led {
    pub(crate) shard: ShardId,
    pub(crate) voters: Vec<NodeId>,
    /// Voters that answered lately, have all but the last few entries and a right clock.
    pub(crate) well: Vec<NodeId>,
}

/// Remembers since when each handover would have been right.
#[derive(Debug, Default)]
pub(crate) struct Balance {
    since: BTreeMap<ShardId, (NodeId, Duration)>,
}

impl Balance {
    /// Looks at the shards this node leads at time `now` (of any steady clock) and names at most one handover.
    pub(crate) fn look(
        &mut self,
        me: NodeId,
        led: &[Led],
        now: Duration,
        settle: Duration,
    ) -> Option<(ShardId, NodeId)> {
        let wishes: BTreeMap<ShardId, NodeId> = led
            .iter()
            .filter_map(|led| {
                let home = home(led.shard, &led.voters)?;
                (home != me && led.well.contains(&home)).then_some((led.shard, home))
            })
            .collect();
        self.since.retain(|shard, (home, _)| wishes.get(shard) == Some(home));
        for (shard, home) in wishes {
            self.since.entry(shard).or_insert((home, now));
        }
        let (shard, home) = self
            .since
            .iter()
            .find_map(|(shard, (home, since))| (now.saturating_sub(*since) >= settle).then_some((*shard, *home)))?;
        // One attempt per settling time: a handover that failed waits as long as the first.
        self.since.remove(&shard);
        Some((shard, home))
    }
}

#[cfg(test)]
#[path = "balance_tests.rs"]
mod tests;
