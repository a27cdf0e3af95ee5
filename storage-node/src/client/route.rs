//! Which node to ask next: a plain decision for one request, fed with what the nodes said.

use std::time::Duration;

use metadata::ids::NodeId;

/// How often a request follows a node's word about who leads without a pause in between.
const HOPS_MAX: u32 = 3;
/// The first pause after every node was asked in vain.
const PAUSE_MIN: Duration = Duration::from_millis(20);
/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_millis(250);

/// What a node made of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// Another one leads, when it knows which.
    NotLeader(Option<NodeId>),
    /// Nobody could decide just now; ask again.
    Undecided,
    /// The node was not reached, did not answer, or takes no part: ask another.
    Failed,
}

/// The search for the node that answers one request.
#[derive(Debug)]
pub(super) struct Route {
    nodes: Vec<NodeId>,
    /// Asked first; a hint of the cache or of a node.
    favourite: Option<NodeId>,
    /// Nodes that failed since the last pause.
    failed: Vec<NodeId>,
    /// Nodes asked since the last pause.
    asked: Vec<NodeId>,
    hops: u32,
    pauses: u32,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Ask this node.
    Ask(NodeId),
    /// Wait this long (before jitter), then ask on.
    Pause(Duration),
    /// No node is known at all.
    Nobody,
}

impl Route {
    /// A search among `nodes` (in the order to be tried) that begins at `leader`, when one is believed to lead.
    pub(super) fn new(nodes: Vec<NodeId>, leader: Option<NodeId>) -> Self {
        Self {
            nodes,
            favourite: leader,
            failed: Vec::new(),
            asked: Vec::new(),
            hops: 0,
            pauses: 0,
        }
    }

    pub(super) fn next(&mut self) -> Next {
        if let Some(node) = self.favourite.take() {
            self.asked.push(node);
            return Next::Ask(node);
        }
        if self.nodes.is_empty() && self.asked.is_empty() {
            return Next::Nobody;
        }
        match self.nodes.iter().find(|node| !self.asked.contains(node)) {
            Some(&node) => {
                self.asked.push(node);
                Next::Ask(node)
            }
            None => {
                self.asked.clear();
                self.failed.clear();
                self.hops = 0;
                self.pauses += 1;
                Next::Pause(
                    PAUSE_MIN
                        .saturating_mul(1 << self.pauses.saturating_sub(1).min(10))
                        .min(PAUSE_MAX),
                )
            }
        }
    }

    pub(super) fn said(&mut self, by: NodeId, said: Said) {
        match said {
            // A leader that just failed is still named by those who have not noticed: wait for the election instead.
            Said::NotLeader(Some(leader)) if leader != by && !self.failed.contains(&leader) && self.hops < HOPS_MAX => {
                self.hops += 1;
                self.favourite = Some(leader);
            }
            Said::NotLeader(_) | Said::Undecided => {}
            Said::Failed => self.failed.push(by),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: NodeId = NodeId(1);
    const B: NodeId = NodeId(2);
    const C: NodeId = NodeId(3);

    #[test]
    fn the_cached_leader_is_asked_first_and_its_successor_followed() {
        let mut route = Route::new(vec![A, B, C], Some(B));
        assert_eq!(route.next(), Next::Ask(B));
        route.said(B, Said::NotLeader(Some(C)));
        assert_eq!(route.next(), Next::Ask(C));
    }

    #[test]
    fn a_dead_leader_named_by_the_others_is_not_asked_again_before_a_pause() {
        let mut route = Route::new(vec![A, B, C], Some(A));
        assert_eq!(route.next(), Next::Ask(A));
        route.said(A, Said::Failed);
        assert_eq!(route.next(), Next::Ask(B));
        route.said(B, Said::NotLeader(Some(A)));
        assert_eq!(route.next(), Next::Ask(C));
        route.said(C, Said::NotLeader(Some(A)));
        assert_eq!(route.next(), Next::Pause(PAUSE_MIN));
        assert_eq!(route.next(), Next::Ask(A));
    }

    #[test]
    fn nodes_that_name_each_other_do_not_keep_a_request_running_in_circles() {
        let mut route = Route::new(vec![A, B], None);
        let mut asks = 0;
        loop {
            match route.next() {
                Next::Ask(node) => {
                    asks += 1;
                    route.said(node, Said::NotLeader(Some(if node == A { B } else { A })));
                }
                Next::Pause(_) => break,
                Next::Nobody => unreachable!(),
            }
        }
        assert!(asks <= 2 + HOPS_MAX, "{asks}");
    }

    #[test]
    fn pauses_grow_to_their_bound_and_nobody_is_said_at_once() {
        let mut route = Route::new(vec![A], None);
        let mut pauses = Vec::new();
        while pauses.len() < 20 {
            match route.next() {
                Next::Ask(node) => route.said(node, Said::Undecided),
                Next::Pause(pause) => pauses.push(pause),
                Next::Nobody => unreachable!(),
            }
        }
        assert!(pauses.is_sorted());
        assert_eq!(pauses[19], PAUSE_MAX);
        assert_eq!(Route::new(Vec::new(), None).next(), Next::Nobody);
    }
}
