use metadata::command::Command;
use metadata::ids::RequestId;

use super::*;

fn gathering() -> (mpsc::Sender<Waiting>, Gathering) {
    let limits = Packing::default();
    let (queue, waiting) = mpsc::channel(limits.waiting_max);
    let gathering = Gathering {
        limits,
        waiting,
        carried: None,
    };
    (queue, gathering)
}

fn command(bytes: usize) -> (Waiting, oneshot::Receiver<Result<Reply, ShardFault>>) {
    let (reply, answered) = oneshot::channel();
    let room = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
    let envelope = Envelope {
        request: RequestId::new(1, 2),
        command: Command::Tick,
    };
    let waiting = Waiting {
        envelope,
        bytes,
        reply,
        _room: room,
    };
    (waiting, answered)
}

/// Sends commands, one every `pause`.
fn callers(queue: mpsc::Sender<Waiting>, count: usize, pause: Duration) {
    tokio::spawn(async move {
        let mut answers = Vec::new();
        for _ in 0..count {
            let (waiting, answered) = command(10);
            answers.push(answered);
            queue.send(waiting).await.ok();
            tokio::time::sleep(pause).await;
        }
        tokio::time::sleep(Duration::from_secs(60)).await;
    });
}

const NOBODY: (usize, Duration) = (1, Duration::ZERO);

#[test]
fn whoever_was_answered_is_expected_once() {
    let mut company = Company::default();
    assert_eq!(company.expect(), NOBODY);
    company.answer(30, Duration::from_millis(12));
    company.answer(2, Duration::from_millis(16));
    assert_eq!(company.expect(), (32, Duration::from_millis(2)));
    assert_eq!(company.expect(), NOBODY);
    company.answer(2, Duration::from_secs(9));
    assert_eq!(company.expect(), (2, COMPANY_WAIT_MAX));
}

#[test]
fn a_caller_alone_and_short_rounds_wait_for_nobody() {
    let mut company = Company::default();
    company.answer(1, Duration::from_millis(12));
    assert_eq!(company.expect(), NOBODY);
    company.answer(64, Duration::from_millis(7));
    assert_eq!(company.expect(), NOBODY);
}

#[tokio::test(start_paused = true)]
async fn a_pack_goes_as_soon_as_all_expected_are_there() {
    let (queue, mut gathering) = gathering();
    callers(queue, 10, Duration::from_millis(1));
    let begun = Instant::now();
    let pack = gathering.pack(|| (5, Duration::from_millis(100))).await.unwrap();
    assert_eq!((pack.len(), begun.elapsed()), (5, Duration::from_millis(4)));
    let pack = gathering.pack(|| NOBODY).await.unwrap();
    assert_eq!(pack.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_pack_does_not_wait_longer_than_told() {
    let (queue, mut gathering) = gathering();
    callers(queue, 10, Duration::from_millis(2));
    let begun = Instant::now();
    let pack = gathering.pack(|| (64, Duration::from_millis(5))).await.unwrap();
    assert_eq!((pack.len(), begun.elapsed()), (3, Duration::from_millis(5)));
}

#[tokio::test(start_paused = true)]
async fn mem_1_a_pack_is_bounded_in_bytes_and_the_next_begins_with_what_was_too_much() {
    let (queue, mut gathering) = gathering();
    let sizes = [600_000, 400_000, 100_000];
    let mut answers = Vec::new();
    for size in sizes {
        let (waiting, answered) = command(size);
        answers.push(answered);
        queue.try_send(waiting).ok().unwrap();
    }
    let lens = async |gathering: &mut Gathering| {
        let pack = gathering.pack(|| NOBODY).await.unwrap();
        pack.iter().map(|waiting| waiting.bytes).collect::<Vec<_>>()
    };
    assert_eq!(lens(&mut gathering).await, [600_000, 400_000]);
    assert_eq!(lens(&mut gathering).await, [100_000]);
}
