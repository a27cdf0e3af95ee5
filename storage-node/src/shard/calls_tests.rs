use metadata::command::Command;
use metadata::ids::RequestId;

use super::*;

#[test]
fn a_propose_call_comes_back_as_it_was_written() {
    let call = ProposeCall {
        shard: ShardId(3),
        envelopes: vec![Envelope {
            request: RequestId::new(7, 9),
            command: Command::Tick,
        }],
    };
    assert_eq!(decode::<ProposeCall>(&encode(&call)), Ok(call));
}

#[test]
fn faults_travel_inside_answers() {
    let answer: ProposeAnswer = Err(ShardFault::NotLeader {
        leader: Some(NodeId(2)),
    });
    assert_eq!(decode::<ProposeAnswer>(&encode(&answer)), Ok(answer));
}

#[test]
fn unknown_versions_and_garbage_are_refused() {
    assert_eq!(decode::<QueryCall>(&[]), Err(BadBody::Version(None)));
    assert_eq!(decode::<QueryCall>(&[9, 1, 2]), Err(BadBody::Version(Some(9))));
    assert!(matches!(decode::<QueryCall>(&[CALLS_FORMAT]), Err(BadBody::Garbled(_))));
}
