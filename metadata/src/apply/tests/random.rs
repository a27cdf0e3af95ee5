//! Random histories.

use proptest::prelude::*;

use super::ops::{Op, World, op};
use super::{START_MS, TestShard};
use crate::command::Envelope;

/// Enough to meet every pair of commands many times in about a second.
const CASES: u32 = 768;

fn history() -> impl Strategy<Value = Vec<Op>> {
    prop::collection::vec(op(), 1..80)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(CASES))]

    /// CON-1, DUR-3, KEY-1: shard and model agree on every answer, every version and every stream's life.
    #[test]
    fn con_1_dur_3_every_history_is_what_the_model_says(ops in history()) {
        let mut world = World::new();
        for op in &ops {
            let command = world.command(op);
            world.shard.now_ms += 100;
            let _ = world.take(command);
            world.check();
        }
    }

    /// CON-1: a repeat under the same request id gets the first reply and changes nothing at all.
    #[test]
    fn con_1_a_repeat_of_any_command_changes_nothing(ops in history(), which in any::<prop::sample::Index>()) {
        let mut world = World::new();
        let mut sent: Vec<(Envelope, _)> = Vec::new();
        for op in &ops {
            let command = world.command(op);
            let envelope = world.shard.envelope(command.clone());
            world.model.apply(&command);
            let reply = world.shard.apply(vec![envelope.clone()]).0.remove(0);
            sent.push((envelope, reply));
            let (repeat, first) = &sent[which.index(sent.len())];
            let (replies, changes) = world.shard.apply(vec![repeat.clone()]);
            prop_assert_eq!(&replies[0], first);
            prop_assert_eq!(changes, vec![]);
        }
    }

    /// How commands are packed into entries makes no difference, and two replicas never differ.
    #[test]
    fn con_1_one_batch_equals_many(ops in history(), cuts in prop::collection::vec(1..9_usize, 1..40)) {
        let mut world = World::new();
        let mut envelopes = Vec::new();
        for op in &ops {
            let command = world.command(op);
            envelopes.push(world.shard.envelope(command.clone()));
            let last = envelopes.last().unwrap().clone();
            world.shard.apply(vec![last]);
            world.model.apply(&command);
        }
        let mut whole = TestShard::keys();
        let replies = whole.apply(envelopes.clone()).0;
        let (mut pieces, mut piecewise) = (TestShard::keys(), Vec::new());
        let mut rest = envelopes.as_slice();
        for cut in cuts.iter().cycle() {
            let (piece, after) = rest.split_at((*cut).min(rest.len()));
            piecewise.extend(pieces.apply(piece.to_vec()).0);
            rest = after;
            if rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!(START_MS, whole.now_ms);
        prop_assert_eq!(replies, piecewise);
        prop_assert_eq!(&whole.rows, &pieces.rows);
        prop_assert_eq!(&whole.rows, &world.shard.rows);
    }
}
