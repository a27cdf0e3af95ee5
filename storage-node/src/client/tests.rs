//! The client against nodes that a script plays: leaders that move, nodes that lie, are late, or are gone.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use clock::{Dice, ManualClock, SeededDice};
use metadata::command::{Command, RecordCondition};
use metadata::ids::{ClusterId, NodeId, RequestId, ShardId};
use metadata::query::{Found, Query, Summary};
use metadata::reply::{Done, Reply};
use parking_lot::Mutex;
use proptest::prelude::*;
use tokio::sync::Semaphore;

use super::system_copy::STALENESS_MAX;
use super::*;
use crate::shard::calls::{ProposeCall, QueryAnswer, ShardFault, WatchFrom, WatchPage, WatchRow, decode, encode};
use crate::wire::{AddressBook, CallKind, Caller, Channel, Credentials, NodeAddress, Role, Secret, WireError};

const NODES: [NodeId; 3] = [NodeId(1), NodeId(2), NodeId(3)];
const SHARD: ShardId = ShardId(1);
const LONG: Duration = Duration::from_secs(30);

/// What a node does with the next call.
#[derive(Clone, Debug)]
enum Act {
    Lead,
    Say(ShardFault),
    Garbage,
    Refuse,
    /// Executes the call, but the answer is lost.
    Swallow,
    Silent,
}

/// Three nodes. Each plays its script, then its habit.
struct Play {
    scripts: Mutex<[VecDeque<Act>; 3]>,
    habits: Mutex<[Act; 3]>,
    calls: AtomicUsize,
    /// Commands executed, first executions only, as a shard would.
    executed: Mutex<Vec<RequestId>>,
    batches: Mutex<Vec<usize>>,
    /// Calls wait here; open for most tests.
    gate: Semaphore,
    pages: Mutex<VecDeque<WatchPage>>,
}

impl Play {
    fn new(habits: [Act; 3]) -> Arc<Self> {
        Arc::new(Self {
            scripts: Mutex::default(),
            habits: Mutex::new(habits),
            calls: AtomicUsize::new(0),
            executed: Mutex::default(),
            batches: Mutex::default(),
            gate: Semaphore::new(Semaphore::MAX_PERMITS),
            pages: Mutex::default(),
        })
    }

    fn script(&self, node: NodeId, acts: impl IntoIterator<Item = Act>) {
        self.scripts.lock()[node.0 as usize - 1] = acts.into_iter().collect();
    }

    fn next(&self, node: NodeId) -> Act {
        let at = node.0 as usize - 1;
        let scripted = self.scripts.lock()[at].pop_front();
        scripted.unwrap_or_else(|| self.habits.lock()[at].clone())
    }

    fn execute(&self, kind: CallKind, body: &[u8]) -> Bytes {
        if kind == CallKind::Query {
            let answer: QueryAnswer = Ok(Ok(Found::Summary(Summary {
                time_ms: 7,
                ..Summary::default()
            })));
            return encode(&answer);
        }
        let call: ProposeCall = decode(body).unwrap();
        self.batches.lock().push(call.envelopes.len());
        let mut executed = self.executed.lock();
        let replies: Vec<Reply> = call
            .envelopes
            .iter()
            .map(|envelope| {
                if !executed.contains(&envelope.request) {
                    executed.push(envelope.request);
                }
                Ok(Done::Record {
                    version: envelope.request.0 as u64,
                })
            })
            .collect();
        encode(&Ok::<_, ShardFault>(replies))
    }
}

#[async_trait]
impl Caller for Play {
    async fn call(
        &self,
        node: NodeId,
        _: Channel,
        kind: CallKind,
        body: Bytes,
        deadline: Duration,
    ) -> Result<Bytes, WireError> {
        let lost = |why: &str| WireError::NoAnswer {
            node,
            reason: why.to_owned(),
        };
        if kind == CallKind::WatchSystem {
            let page = self.pages.lock().pop_front();
            return match page {
                Some(page) => Ok(encode(&Ok::<_, ShardFault>(page))),
                None => {
                    tokio::time::sleep(deadline).await;
                    Err(lost("no news"))
                }
            };
        }
        if !matches!(kind, CallKind::Query | CallKind::Propose) {
            return Err(WireError::UnknownCall { node });
        }
        self.calls.fetch_add(1, Ordering::SeqCst);
        self.gate.acquire().await.unwrap().forget();
        self.gate.add_permits(1);
        match self.next(node) {
            Act::Lead => Ok(self.execute(kind, &body)),
            Act::Say(fault) => Ok(encode(&Err::<Vec<Reply>, _>(fault))),
            Act::Garbage => Ok(Bytes::from_static(b"\x01\xff\xff\xff\xff\xff\xff")),
            Act::Refuse => Err(WireError::Unreachable {
                node,
                reason: "refused".to_owned(),
            }),
            Act::Swallow => {
                self.execute(kind, &body);
                Err(lost("the connection broke"))
            }
            Act::Silent => {
                tokio::time::sleep(deadline).await;
                Err(lost("too late"))
            }
        }
    }
}

fn client(play: &Arc<Play>) -> ClusterClient {
    let nowhere = NodeAddress {
        wire: "127.0.0.1:1".into(),
        blobs: "127.0.0.1:1".into(),
    };
    let book = AddressBook::new(NODES.map(|node| (node, nowhere.clone())));
    let secret = Secret::new(b"a secret of at least sixteen bytes").unwrap();
    let credentials = Credentials {
        cluster: ClusterId(1),
        role: Role::Proxy,
        secret,
        tls: None,
    };
    let config = ClientConfig {
        credentials,
        book,
        key_shards: 1,
        local: None,
    };
    let remote: Arc<dyn Caller> = Arc::<Play>::clone(play);
    ClusterClient::start(
        config,
        remote,
        Arc::new(ManualClock::at(1)),
        Arc::new(SeededDice::new(5)),
    )
}

fn command() -> Command {
    Command::PutRecord {
        table: "t".into(),
        key: "k".into(),
        expect: RecordCondition::Any,
        value: Bytes::new(),
    }
}

fn not_leader(leader: Option<NodeId>) -> Act {
    Act::Say(ShardFault::NotLeader { leader })
}

async fn propose(client: &ClusterClient, id: u128) -> Result<Reply, PlaneError> {
    client.propose(SHARD, RequestId(id), command(), LONG).await
}

fn version(id: u64) -> Result<Reply, PlaneError> {
    Ok(Ok(Done::Record { version: id }))
}

#[tokio::test(start_paused = true)]
async fn the_leader_is_found_by_hint_and_asked_directly_from_then_on() {
    let play = Play::new([not_leader(Some(NODES[2])), not_leader(Some(NODES[2])), Act::Lead]);
    let client = client(&play);
    assert_eq!(propose(&client, 1).await, version(1));
    let calls = play.calls.load(Ordering::SeqCst);
    assert!(calls <= 2, "{calls}");
    for id in 2..10 {
        assert_eq!(propose(&client, id).await, version(id as u64));
    }
    assert_eq!(play.calls.load(Ordering::SeqCst), calls + 8);
}

#[tokio::test(start_paused = true)]
async fn con_1_a_lost_answer_is_asked_for_again_under_the_same_request_id() {
    let play = Play::new([Act::Lead, Act::Lead, Act::Lead]);
    for node in NODES {
        play.script(node, [Act::Swallow]);
    }
    let client = client(&play);
    assert_eq!(propose(&client, 9).await, version(9));
    assert_eq!(*play.executed.lock(), [RequestId(9)]);
    assert!(play.batches.lock().len() > 1);
}

#[tokio::test(start_paused = true)]
async fn an_election_is_waited_out_inside_the_deadline() {
    let play = Play::new([Act::Refuse, not_leader(Some(NODES[0])), not_leader(Some(NODES[0]))]);
    let client = client(&play);
    let waiting = {
        let client = client.clone();
        tokio::spawn(async move { propose(&client, 4).await })
    };
    // The dead leader is still named by the others until they have elected another.
    tokio::time::sleep(Duration::from_millis(1800)).await;
    *play.habits.lock() = [Act::Refuse, not_leader(Some(NODES[2])), Act::Lead];
    assert_eq!(waiting.await.unwrap(), version(4));
    // Bounded: two nodes asked now and then, not in a tight loop.
    assert!(play.calls.load(Ordering::SeqCst) < 100);
}

#[tokio::test(start_paused = true)]
async fn garbage_and_quarantine_lead_to_another_node() {
    let play = Play::new([Act::Garbage, Act::Say(ShardFault::Quarantined("x".into())), Act::Lead]);
    assert_eq!(propose(&client(&play), 1).await, version(1));
}

#[tokio::test(start_paused = true)]
async fn nobody_in_time_is_unavailable_and_too_much_is_busy() {
    let play = Play::new([
        Act::Silent,
        Act::Refuse,
        Act::Say(ShardFault::Unavailable("no quorum".into())),
    ]);
    let begun = tokio::time::Instant::now();
    let answer = client(&play).query(SHARD, Query::Summary, Duration::from_secs(5)).await;
    assert!(
        matches!(answer, Err(PlaneError::Unavailable { shard: SHARD, .. })),
        "{answer:?}"
    );
    assert_eq!(begun.elapsed().as_secs(), 5);
    let busy = Act::Say(ShardFault::Busy);
    let play = Play::new([busy.clone(), busy.clone(), busy]);
    assert_eq!(propose(&client(&play), 1).await, Err(PlaneError::Busy { shard: SHARD }));
    let play = Play::new([Act::Lead, Act::Lead, Act::Lead]);
    play.script(NODES[0], [Act::Say(ShardFault::Busy)]);
    play.script(NODES[1], [Act::Say(ShardFault::Busy)]);
    assert_eq!(propose(&client(&play), 1).await, version(1));
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_one_shard_travels_together_and_each_gets_its_own_reply() {
    let play = Play::new([Act::Lead, Act::Lead, Act::Lead]);
    let client = client(&play);
    propose(&client, 1).await.unwrap().unwrap();
    let permits = play.gate.forget_permits(Semaphore::MAX_PERMITS);
    let proposals = (100..400_u64).map(|id| {
        let client = client.clone();
        tokio::spawn(async move { (id, propose(&client, id.into()).await) })
    });
    let proposals: Vec<_> = proposals.collect();
    tokio::time::sleep(Duration::from_millis(10)).await;
    play.gate.add_permits(permits);
    for proposal in proposals {
        let (id, answer) = proposal.await.unwrap();
        assert_eq!(answer, version(id));
    }
    let batches = play.batches.lock().clone();
    assert_eq!(batches.iter().sum::<usize>(), 301);
    assert!(batches.len() < 12, "{batches:?}");
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_gives_up_before_sending_is_not_sent() {
    let play = Play::new([Act::Lead, Act::Lead, Act::Lead]);
    let client = client(&play);
    let permits = play.gate.forget_permits(Semaphore::MAX_PERMITS);
    let mut calls = tokio::task::JoinSet::new();
    // More than travel at once.
    for id in 0..64 {
        let client = client.clone();
        calls.spawn(async move { propose(&client, id).await });
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let short = client
        .propose(SHARD, RequestId(77), command(), Duration::from_millis(5))
        .await;
    assert!(matches!(short, Err(PlaneError::Unavailable { .. })));
    play.gate.add_permits(permits);
    calls.join_all().await;
    assert!(!play.executed.lock().contains(&RequestId(77)));
}

fn page(rows: Vec<WatchRow>, complete: bool, behind_ms: u64) -> WatchPage {
    WatchPage {
        restart: true,
        rows,
        next: WatchFrom::Index(5),
        complete,
        behind_ms,
    }
}

#[tokio::test(start_paused = true)]
async fn sec_1_a_copy_without_news_or_from_a_node_that_is_behind_is_not_used() {
    let query = Query::GetRecord {
        table: "t".into(),
        key: "k".into(),
    };
    let fresh = async |behind_ms: u64, complete: bool, age: Duration| {
        let play = Play::new([Act::Refuse, Act::Refuse, Act::Refuse]);
        play.pages.lock().push_back(page(Vec::new(), complete, behind_ms));
        let client = client(&play);
        tokio::time::sleep(age).await;
        client.query_system_copy(&query).is_some()
    };
    let moment = Duration::from_millis(1);
    assert!(fresh(0, true, Duration::from_millis(100)).await);
    assert!(fresh(0, true, STALENESS_MAX - moment).await);
    assert!(!fresh(0, true, STALENESS_MAX + moment).await);
    assert!(fresh(1500, true, Duration::from_millis(499)).await);
    assert!(!fresh(1500, true, Duration::from_millis(501)).await);
    assert!(!fresh(u64::MAX, true, moment).await);
    assert!(!fresh(0, false, moment).await);
}

#[tokio::test(start_paused = true)]
async fn settling_is_bounded_when_nobody_can_tell() {
    let play = Play::new([Act::Refuse, Act::Refuse, Act::Refuse]);
    let begun = tokio::time::Instant::now();
    client(&play).settle_system_copies().await;
    assert_eq!(begun.elapsed().as_millis(), STALENESS_MAX.as_millis());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    /// Whatever three nodes say: as soon as one of them decides, the command is executed exactly once.
    #[test]
    fn con_1_any_faults_end_in_one_execution(scripts in prop::collection::vec(prop::collection::vec(0_u8..6, 0..6), 3), seed in any::<u64>()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let play = Play::new([Act::Lead, Act::Lead, Act::Lead]);
            let dice = SeededDice::new(seed);
            for (node, script) in NODES.into_iter().zip(&scripts) {
                let hint = NODES[(dice.u64() % 3) as usize];
                play.script(node, script.iter().map(|act| match act {
                    0 => not_leader(Some(hint)),
                    1 => not_leader(None),
                    2 => Act::Garbage,
                    3 => Act::Refuse,
                    4 => Act::Swallow,
                    _ => Act::Say(ShardFault::Unavailable("electing".into())),
                }));
            }
            let answer = client(&play).propose(SHARD, RequestId(3), command(), Duration::from_secs(60)).await;
            prop_assert_eq!(answer, version(3));
            prop_assert_eq!(&*play.executed.lock(), &[RequestId(3)]);
            Ok(())
        })?;
    }
}
