//! One client request on its way through the store, and the ids its commands carry.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use metadata::ids::RequestId;
use metadata::model::ProjectId;

/// One client request. Clones belong to the same request: they share the counter that numbers its commands.
#[derive(Clone, Debug)]
pub struct RequestContext {
    /// The id made once for the client's request.
    pub request: RequestId,
    /// Who acts.
    pub project: ProjectId,
    /// The time a metadata round, or the first byte of a body, may take. Bodies have deadlines per chunk.
    pub deadline: Duration,
    steps: Arc<AtomicU64>,
}

impl RequestContext {
    /// A context for a new client request.
    #[must_use]
    pub fn new(request: RequestId, project: ProjectId, deadline: Duration) -> Self {
        Self {
            request,
            project,
            deadline,
            steps: Arc::new(AtomicU64::new(0)),
        }
    }

    /// The same request, acting for another project: the commands of both are numbered together, since two under one
    /// id would be one.
    #[must_use]
    pub fn acting_for(&self, project: ProjectId) -> Self {
        Self {
            project,
            ..self.clone()
        }
    }

    /// The id of the request's next command: derived from the request and the command's number, so that no two
    /// commands share one. It is asked for once per command and kept through all repeats of it (exactly once).
    ///
    /// The id's age begins with the command and not with the request, because a body may take longer to arrive than
    /// shards remember replies ([`metadata::REQUEST_WINDOW_MS`]).
    pub(crate) fn next_command(&self, now_ms: u64) -> RequestId {
        let step = self.steps.fetch_add(1, Ordering::Relaxed);
        let mut text = [0; 24];
        text[..16].copy_from_slice(&self.request.0.to_be_bytes());
        text[16..].copy_from_slice(&step.to_be_bytes());
        let hash = blake3::hash(&text);
        let (random, _) = hash.as_bytes().split_first_chunk::<16>().expect("a hash has 32 bytes");
        RequestId::new(now_ms, u128::from_be_bytes(*random))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_of_one_request_never_share_an_id() {
        let cx = RequestContext::new(RequestId::new(5, 7), "p".into(), Duration::from_secs(1));
        let others = (0..100).map(|_| cx.acting_for("q".into()).next_command(9));
        let ids: std::collections::HashSet<_> = (0..100).map(|_| cx.clone().next_command(9)).chain(others).collect();
        assert_eq!(ids.len(), 200);
        assert!(ids.iter().all(|id| id.made_ms() == 9));
    }

    #[test]
    fn ids_follow_from_the_request() {
        let make = |request| RequestContext::new(RequestId(request), String::new(), Duration::ZERO).next_command(1);
        assert_eq!(make(3), make(3));
        assert_ne!(make(3), make(4));
    }
}
