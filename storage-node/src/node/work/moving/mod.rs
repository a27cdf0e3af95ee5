//! The copies that a change of the ring asks for (REB-1): added and verified at the new place, removed nowhere.
//!
//! ```text
//! current ring names device D for a partition, the ring before does not   ->  one job, done by D's node
//! job:  digests of D and of everybody who has the partition; equal -> done
//!       else the lists of keys, page by page; what D lacks is asked of its shard; what is referenced is copied and proven
//! ```
//! 1. **Copying.** Every device works on its own jobs, several at once, at the pace an operator sets. What is done is
//!    noted in the system shard, so that a node that starts again goes on where it was.
//! 2. When all devices are done, the leader of the system shard (`conductor`) raises the fence in every key shard: from
//!    then on no commit names an older ring.
//! 3. **Sweeping.** Every job is done once more, which finds what was committed under the old ring meanwhile. The digests
//!    make that cheap.
//! 4. The ring before is retired. Its copies are surplus now; `repair` drops them once every primary has its own.
//!
//! Nothing is removed before step 4, so a change can be paused and aborted at any moment, and never lowers redundancy.
//! A device that does not answer delays only the jobs that need it: as long as half of a partition's old holders answer,
//! every chunk that lies on all of them is found, and what does not is in its shard's `short` queue.

mod arrivals;
mod conductor;
mod job;
mod mover;
mod pace;
mod progress;

pub(super) use arrivals::Span;
pub use arrivals::receivers;
pub(super) use conductor::run as conduct;
pub(super) use job::{Copied, Job, Manner, Outcome, Scope, bring};
pub(super) use mover::{line_name, rate, run};
pub(super) use pace::Pace;
pub use progress::{Progress, RING_PROGRESS_TABLE, progress_prefix};
