use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Semaphore;

use super::*;

/// Rounds that end when the test lets them, and answer their own number.
struct GatedRound {
    begun: AtomicU64,
    gate: Semaphore,
}

#[async_trait]
impl Round for GatedRound {
    async fn read_index(&self) -> Result<Option<u64>, ShardFault> {
        let number = self.begun.fetch_add(1, Ordering::SeqCst) + 1;
        self.gate.acquire().await.unwrap().forget();
        Ok(Some(number))
    }
}

#[tokio::test]
async fn con_1_reads_share_a_round_but_never_one_that_began_before_them() {
    let round = Arc::new(GatedRound {
        begun: AtomicU64::new(0),
        gate: Semaphore::new(0),
    });
    let reads = ReadIndex::start(Arc::clone(&round) as Arc<dyn Round>);
    let mut first = Box::pin(reads.get());
    assert!(futures::poll!(&mut first).is_pending());
    while round.begun.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    let mut later: Vec<_> = (0..64).map(|_| Box::pin(reads.get())).collect();
    for read in &mut later {
        assert!(futures::poll!(read).is_pending());
    }
    round.gate.add_permits(2);
    assert_eq!(first.await, Ok(Some(1)));
    for read in later {
        assert_eq!(read.await, Ok(Some(2)));
    }
}
