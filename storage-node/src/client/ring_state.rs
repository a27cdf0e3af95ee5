//! Which rings of a policy are live, and how that changes (DESIGN §3.4): plain data and plain decisions.
//!
//! ```text
//!  settled(A) --apply B--> copying(B, before A) --all copied--> fences in all shards --> sweeping(B, before A)
//!      ^                        |                                                             |
//!      |                        \--abort--> copying(A', before B)           --all swept--> settled(B)
//!      \--------------------------------------- A' swept ------------------------------------/
//! ```
//! **Epoch.** Every ring gets the next number when it begins to place writes; commits carry it ([`Stream::ring_version`]),
//! fences compare it. It is not the file's own version: an aborted change brings back an older file under a new epoch.
//!
//! **At most two.** A ring is applied only when no other is live; else it is refused until the change is done or
//! aborted. A device that fails or returns changes the current ring at once, under a new epoch, whatever is going on:
//! only the positions of that device change, so the ring before it stays the only other one with copies of its own.
//!
//! ```text
//! table "ring_state", key = policy in decimal:   JSON of RingState
//! table "ring_files", key = file "/" piece:      a piece of the ring file (see `ring::RingFile`)
//! table "rings",      key = policy in decimal:   the first ring's file, for a cluster that never changed it
//! ```
//!
//! [`Stream::ring_version`]: metadata::model::Stream

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// The table of what is live.
pub const RING_STATE_TABLE: &str = "ring_state";
/// The table of ring files.
pub const RING_FILES_TABLE: &str = "ring_files";
/// The format of [`RingState`].
const STATE_FORMAT: u32 = 1;

/// The rings of one policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RingState {
    /// The format version, 1.
    pub format: u32,
    /// The ring that places writes.
    pub current: LiveFile,
    /// The ring before it, as long as copies may lie where only it says.
    pub previous: Option<LiveFile>,
    /// The ring that was retired last, so that its partitions do not move again within min-part-hours.
    #[serde(default)]
    pub before: Option<LiveFile>,
    /// How far the change is.
    pub phase: Phase,
    /// The copies rest until an operator resumes.
    #[serde(default)]
    pub paused: bool,
    /// Bytes that each receiving device may be sent in a second; unset: the nodes' own default.
    #[serde(default)]
    pub bytes_per_second: Option<u64>,
    /// Why the last change was begun.
    pub reason: Reason,
    /// When the last change was begun, in milliseconds since the Unix epoch.
    pub since_ms: u64,
    /// When it was done.
    #[serde(default)]
    pub done_ms: Option<u64>,
    /// The failed devices that the cluster noticed by itself: they are taken back by themselves when they serve again.
    #[serde(default)]
    pub noticed: BTreeSet<u32>,
    /// Devices that were stood in for at some time since the change began: what was written then may lack its copy there,
    /// although the rings before and after it both name them.
    #[serde(default)]
    pub stood_in_for: BTreeSet<u32>,
}

/// Who says of devices that they failed, or are back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Says {
    /// An operator, whose word stands until an operator takes it back.
    Operator,
    /// The cluster's own watch over its devices.
    Watch,
}

/// A ring file in use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveFile {
    /// The number under which it places writes.
    pub epoch: u64,
    /// The file's own version, as its builder counts.
    pub version: u64,
    /// Where its pieces are in [`RING_FILES_TABLE`]; empty: in the table of first rings.
    pub file: String,
    /// Number of pieces.
    pub pieces: u32,
    /// Devices of it that are stood in for.
    #[serde(default)]
    pub failed: BTreeSet<u32>,
}

/// How far a change is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// One ring is live.
    Settled,
    /// Copies are made where the current ring wants them.
    Copying,
    /// No shard takes commits of the ring before any more; what came meanwhile is copied too.
    Sweeping,
}

/// Why a change was begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The cluster's first ring.
    First,
    /// An operator applied a ring.
    Apply,
    /// An operator aborted a change.
    Abort,
    /// A device failed or returned.
    Device,
}

/// Why a change is not begun.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RingRefusal {
    /// Two rings are live.
    #[error(
        "a change of the ring is under way ({phase:?}): wait until `halo ring status` says it is settled, or abort it \
         with `halo ring abort`"
    )]
    Busy {
        /// How far it is.
        phase: Phase,
    },
    /// The file is not newer.
    #[error("the live ring has version {live}, the given one {given}: apply a ring that was rebalanced after it")]
    NotNewer {
        /// Live.
        live: u64,
        /// Given.
        given: u64,
    },
    /// There is nothing to abort.
    #[error("no change of the ring is under way")]
    NothingToAbort,
    /// The change is an abort already.
    #[error("the change is being taken back already")]
    AbortingAlready,
    /// The change is no new ring.
    #[error(
        "this change is about a device: `halo admin device replace` takes back that it failed, `halo admin device fail` \
         that it is in use again"
    )]
    AboutDevices,
}

impl RingState {
    /// A cluster's first ring.
    #[must_use]
    pub fn first(file: LiveFile, now_ms: u64) -> Self {
        Self {
            format: STATE_FORMAT,
            current: file,
            previous: None,
            before: None,
            phase: Phase::Settled,
            paused: false,
            bytes_per_second: None,
            reason: Reason::First,
            since_ms: now_ms,
            done_ms: Some(now_ms),
            noticed: BTreeSet::new(),
            stood_in_for: BTreeSet::new(),
        }
    }

    /// Reads a record.
    ///
    /// # Errors
    /// A sentence, when it is not of this format.
    pub fn decode(value: &[u8]) -> Result<Self, String> {
        let state: Self = serde_json::from_slice(value).map_err(|e| e.to_string())?;
        if state.format == STATE_FORMAT {
            Ok(state)
        } else {
            Err(format!(
                "format {} is not known: a newer release has changed the ring",
                state.format
            ))
        }
    }

    /// The record.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a state has nothing JSON cannot write")
    }

    /// With a new ring; its epoch is given here. Failed devices stay failed.
    ///
    /// # Errors
    /// [`RingRefusal`].
    pub fn apply(&self, mut file: LiveFile, now_ms: u64) -> Result<Self, RingRefusal> {
        if self.phase != Phase::Settled {
            return Err(RingRefusal::Busy { phase: self.phase });
        }
        if file.version <= self.current.version {
            return Err(RingRefusal::NotNewer {
                live: self.current.version,
                given: file.version,
            });
        }
        file.failed.clone_from(&self.current.failed);
        Ok(self.moving_to(file, Some(self.current.clone()), Reason::Apply, now_ms))
    }

    /// Back to the ring before. What was written meanwhile moves back.
    ///
    /// # Errors
    /// [`RingRefusal`].
    pub fn abort(&self, now_ms: u64) -> Result<Self, RingRefusal> {
        let Some(previous) = &self.previous else {
            return Err(RingRefusal::NothingToAbort);
        };
        if self.reason == Reason::Abort {
            return Err(RingRefusal::AbortingAlready);
        }
        // What the ring before stood for is no longer known to be whole once a device has failed or returned.
        if self.reason == Reason::Device {
            return Err(RingRefusal::AboutDevices);
        }
        let mut back = previous.clone();
        back.failed.clone_from(&self.current.failed);
        let mut state = self.moving_to(back, Some(self.current.clone()), Reason::Abort, now_ms);
        state.paused = false;
        Ok(state)
    }

    /// With devices stood in for (`failed`) or back in their positions; `None` when it is so already. The watch takes back
    /// only what it has noticed itself.
    #[must_use]
    pub fn devices(&self, devices: &BTreeSet<u32>, failed: bool, says: Says, now_ms: u64) -> Option<Self> {
        let theirs = |device: &&u32| failed || says == Says::Operator || self.noticed.contains(device);
        let meant: BTreeSet<u32> = devices.iter().filter(theirs).copied().collect();
        let mut file = self.current.clone();
        let mut noticed = self.noticed.clone();
        if failed {
            let new = meant.difference(&self.current.failed);
            match says {
                Says::Watch => noticed.extend(new),
                Says::Operator => noticed.retain(|device| !meant.contains(device)),
            }
            file.failed.extend(&meant);
        } else {
            file.failed.retain(|device| !meant.contains(device));
            noticed.retain(|device| !meant.contains(device));
        }
        if file.failed == self.current.failed {
            // An operator's word about what the watch has noticed: nothing moves.
            return (noticed != self.noticed).then(|| Self {
                noticed,
                ..self.clone()
            });
        }
        let previous = self.previous.clone().unwrap_or_else(|| self.current.clone());
        // An abort stays one: aborting it again would go forward to the ring the operator gave up.
        let reason = match (self.phase, self.reason) {
            (Phase::Copying | Phase::Sweeping, reason) => reason,
            (Phase::Settled, _) => Reason::Device,
        };
        let mut state = self.moving_to(file, Some(previous), reason, now_ms);
        // A lost device is not an operator's change: nobody would think of resuming it.
        state.paused = self.paused && self.phase != Phase::Settled;
        state.noticed = noticed;
        Some(state)
    }

    /// All copies were made and every shard has its fence: `None` unless the change is that far.
    #[must_use]
    pub fn fenced(&self, epoch: u64) -> Option<Self> {
        (self.phase == Phase::Copying && self.current.epoch == epoch).then(|| Self {
            phase: Phase::Sweeping,
            ..self.clone()
        })
    }

    /// Everything is swept: the ring before is retired.
    #[must_use]
    pub fn retired(&self, epoch: u64, now_ms: u64) -> Option<Self> {
        (self.phase == Phase::Sweeping && self.current.epoch == epoch).then(|| Self {
            phase: Phase::Settled,
            before: self.previous.clone(),
            previous: None,
            paused: false,
            done_ms: Some(now_ms),
            stood_in_for: BTreeSet::new(),
            ..self.clone()
        })
    }

    fn moving_to(&self, mut file: LiveFile, previous: Option<LiveFile>, reason: Reason, now_ms: u64) -> Self {
        file.epoch = self.current.epoch + 1;
        let mut stood_in_for = self.stood_in_for.clone();
        if self.phase != Phase::Settled {
            stood_in_for.extend(&self.current.failed);
        }
        Self {
            format: STATE_FORMAT,
            current: file,
            previous,
            before: None,
            phase: Phase::Copying,
            paused: self.paused,
            bytes_per_second: self.bytes_per_second,
            reason,
            since_ms: now_ms,
            done_ms: None,
            noticed: self.noticed.clone(),
            stood_in_for,
        }
    }
}

/// The key of a piece of a ring file.
#[must_use]
pub fn piece_key(file: &str, piece: u32) -> String {
    format!("{file}/{piece:05}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(version: u64) -> LiveFile {
        LiveFile {
            epoch: 0,
            version,
            file: format!("f{version}"),
            pieces: 1,
            failed: BTreeSet::new(),
        }
    }

    fn first() -> RingState {
        RingState::first(LiveFile { epoch: 3, ..file(3) }, 1)
    }

    #[test]
    fn reb_1_a_third_ring_is_refused_until_the_second_is_done() {
        let moving = first().apply(file(4), 2).unwrap();
        assert_eq!((moving.current.epoch, moving.phase), (4, Phase::Copying));
        assert_eq!(moving.previous.as_ref().map(|ring| ring.version), Some(3));
        assert_eq!(
            moving.apply(file(5), 3),
            Err(RingRefusal::Busy { phase: Phase::Copying })
        );
        let sweeping = moving.fenced(4).unwrap();
        assert!(sweeping.apply(file(5), 3).is_err());
        let done = sweeping.retired(4, 4).unwrap();
        assert_eq!((done.phase, done.previous.clone()), (Phase::Settled, None));
        assert_eq!(done.apply(file(5), 5).unwrap().current.epoch, 5);
        assert!(matches!(
            done.apply(file(4), 5),
            Err(RingRefusal::NotNewer { live: 4, given: 4 })
        ));
    }

    #[test]
    fn reb_1_an_abort_goes_back_under_a_new_epoch_and_the_same_file_may_be_applied_again() {
        let moving = first().apply(file(4), 2).unwrap();
        let back = moving.abort(3).unwrap();
        assert_eq!(
            (back.current.version, back.current.epoch, back.phase),
            (3, 5, Phase::Copying)
        );
        assert_eq!(back.previous.as_ref().map(|ring| ring.version), Some(4));
        assert_eq!(back.abort(4), Err(RingRefusal::AbortingAlready));
        let done = back.fenced(5).unwrap().retired(5, 4).unwrap();
        assert!(done.apply(file(4), 5).is_ok());
        assert_eq!(done.abort(5), Err(RingRefusal::NothingToAbort));
    }

    #[test]
    fn a_step_of_another_epoch_or_phase_changes_nothing() {
        let moving = first().apply(file(4), 2).unwrap();
        assert_eq!(moving.fenced(3), None);
        assert_eq!(moving.retired(4, 9), None);
        assert_eq!(moving.fenced(4).unwrap().fenced(4), None);
    }

    #[test]
    fn heal_1_a_failed_device_is_stood_in_for_at_once_also_during_a_change() {
        let settled = first().devices(&BTreeSet::from([7]), true, Says::Operator, 2).unwrap();
        assert_eq!((settled.current.epoch, settled.reason), (4, Reason::Device));
        assert!(settled.current.failed.contains(&7) && settled.previous.as_ref().unwrap().failed.is_empty());
        assert_eq!(settled.devices(&BTreeSet::from([7]), true, Says::Operator, 3), None);

        let moving = first().apply(file(4), 2).unwrap();
        let lost = moving
            .fenced(4)
            .unwrap()
            .devices(&BTreeSet::from([7]), true, Says::Operator, 3)
            .unwrap();
        // The ring before the operator's change stays the other one, and all is copied and fenced anew.
        assert_eq!(lost.previous.as_ref().map(|ring| ring.version), Some(3));
        assert_eq!(
            (lost.current.epoch, lost.phase, lost.reason),
            (5, Phase::Copying, Reason::Apply)
        );
        let back = lost.abort(4).unwrap();
        assert!(back.current.failed.contains(&7));
        assert_eq!(
            back.fenced(6)
                .unwrap()
                .retired(6, 5)
                .unwrap()
                .devices(&BTreeSet::from([7]), false, Says::Operator, 6)
                .unwrap()
                .current
                .failed,
            BTreeSet::new()
        );
    }

    #[test]
    fn heal_1_who_was_stood_in_for_is_remembered_until_the_change_is_done() {
        let seven = BTreeSet::from([7]);
        let failed = first().devices(&seven, true, Says::Operator, 2).unwrap();
        assert!(failed.stood_in_for.is_empty());
        let back = failed.devices(&seven, false, Says::Operator, 3).unwrap();
        assert_eq!(back.stood_in_for, seven);
        let moving = first().apply(file(4), 2).unwrap();
        let lost = moving.devices(&seven, true, Says::Operator, 3).unwrap();
        let back_again = lost.devices(&seven, false, Says::Operator, 4).unwrap();
        assert_eq!(back_again.abort(5).unwrap().stood_in_for, seven);
        let done = back.fenced(5).unwrap().retired(5, 4).unwrap();
        assert!(done.stood_in_for.is_empty());
        assert!(done.apply(file(4), 5).unwrap().stood_in_for.is_empty());
    }

    #[test]
    fn heal_1_the_watch_takes_back_what_it_noticed_and_nothing_that_an_operator_said() {
        let both = BTreeSet::from([6, 7]);
        let told = first().devices(&BTreeSet::from([7]), true, Says::Operator, 2).unwrap();
        let noticed = told.devices(&both, true, Says::Watch, 3).unwrap();
        assert_eq!(
            (noticed.current.failed.clone(), noticed.noticed.clone()),
            (both.clone(), BTreeSet::from([6]))
        );
        let back = noticed.devices(&both, false, Says::Watch, 4).unwrap();
        assert_eq!(
            (back.current.failed, back.noticed),
            (BTreeSet::from([7]), BTreeSet::new())
        );
        // From now on it is the operator's word, and no copy moves for that.
        let kept = noticed.devices(&both, true, Says::Operator, 4).unwrap();
        assert_eq!(
            (kept.current.epoch, kept.noticed.clone()),
            (noticed.current.epoch, BTreeSet::new())
        );
        assert_eq!(kept.devices(&both, false, Says::Watch, 5), None);
        let settled = noticed.fenced(5).unwrap().retired(5, 6).unwrap();
        assert_eq!(settled.noticed, BTreeSet::from([6]));
    }

    #[test]
    fn a_record_of_another_format_is_not_guessed() {
        let mut state = first();
        assert_eq!(RingState::decode(&state.encode()).as_ref(), Ok(&state));
        state.format = 2;
        assert!(RingState::decode(&state.encode()).is_err());
    }
}
