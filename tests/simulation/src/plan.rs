//! What one seed does: the shape of its cluster, which faults it knows, and the next one.

use std::time::Duration;

use storage_node::shard::LogLimits;

use crate::dice::SimDice;
use crate::ground::Death;
use crate::net::{MachineId, PROXY, Weather};

/// The shape of a cluster and the kinds of faults it meets; each seed leaves some out, so that the others get room.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) nodes: u64,
    pub(crate) devices_per_node: u64,
    pub(crate) proxies: u64,
    pub(crate) clients_per_proxy: u64,
    pub(crate) keys: usize,
    pub(crate) rounds: u64,
    pub(crate) round_ms: u64,
    pub(crate) log_limits: LogLimits,
    /// Between two faults.
    pub(crate) pause_ms: u64,
    /// Whether an operator changes the ring meanwhile.
    pub(crate) operator: bool,
    /// How long a device may be out before others stand in for it; zero: for ever.
    pub(crate) device_patience: Duration,
    kinds: Vec<Kind>,
    /// The one node whose disks rot and vanish: losing synced bytes on two would be more than three copies promise to bear.
    pub(crate) rotting: MachineId,
    /// The node that loses its metadata, once at most.
    loses_metadata: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Kill,
    PowerCut,
    PowerCutAll,
    Freeze,
    Cut,
    Isolate,
    Weather,
    Clock,
    Disk,
    Rows,
    Rot,
    KillProxy,
    LoseDisk,
}

const KINDS: [Kind; 13] = [
    Kind::Kill,
    Kind::PowerCut,
    Kind::PowerCutAll,
    Kind::Freeze,
    Kind::Cut,
    Kind::Isolate,
    Kind::Weather,
    Kind::Clock,
    Kind::Disk,
    Kind::Rows,
    Kind::Rot,
    Kind::KillProxy,
    Kind::LoseDisk,
];

/// Something that goes wrong, and for how long.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    Die(MachineId, Death, u64),
    DieAll(Death, u64),
    /// As [`Fault::Die`], and the metadata store is gone (DUR-5).
    LoseMetadata(MachineId, u64),
    Freeze(MachineId, u64),
    /// One way.
    Cut(MachineId, MachineId, u64),
    Isolate(MachineId, u64),
    Weather(Weather, u64),
    Clock(MachineId, i64),
    /// The node's device with this number.
    Disk(MachineId, u64, BadDisk, u64),
    RowSyncs(MachineId),
    Rot(MachineId, u64),
    /// The node dies and comes back with an empty device of this number.
    LoseDisk(MachineId, u64, u64),
}

/// How a disk fails.
#[derive(Clone, Copy, Debug)]
pub(crate) enum BadDisk {
    Writes,
    Syncs,
    Reads,
    Full,
}

impl Plan {
    pub(crate) fn of(seed: u64) -> Self {
        let dice = SimDice::new(seed, "plan");
        let kinds: Vec<Kind> = KINDS.into_iter().filter(|_| dice.chance(450)).collect();
        let operator = dice.chance(600);
        // With three nodes a ring can only be moved between the devices of each.
        let nodes = if dice.chance(if operator { 700 } else { 300 }) {
            4
        } else {
            3
        };
        Self {
            nodes,
            devices_per_node: if operator { 2 } else { 1 + dice.below(2) },
            proxies: 2,
            clients_per_proxy: 2 + dice.below(2),
            keys: 3 + dice.below(6) as usize,
            rounds: 2,
            round_ms: dice.within(8_000..14_000),
            log_limits: LogLimits {
                bytes_max: if dice.chance(500) { 32 * 1024 } else { 1 << 30 },
                age_min: Duration::ZERO,
                bytes_hard_max: u64::MAX,
                age_max: Duration::from_secs(dice.within(4..60)),
            },
            pause_ms: dice.within(300..2_500),
            kinds: if kinds.is_empty() { vec![Kind::PowerCut] } else { kinds },
            rotting: 1 + dice.below(nodes),
            loses_metadata: dice.chance(250),
            operator,
            device_patience: Duration::from_secs(if dice.chance(400) { dice.within(2..6) } else { 0 }),
        }
    }

    /// The next fault.
    pub(crate) fn fault(&mut self, dice: &SimDice) -> Fault {
        let node = 1 + dice.below(self.nodes);
        let length = dice.within(200..6_000);
        if self.loses_metadata && dice.chance(100) {
            self.loses_metadata = false;
            return Fault::LoseMetadata(1 + dice.below(3), length);
        }
        let kind = *dice.pick(&self.kinds).expect("a plan knows some fault");
        let any = |dice: &SimDice| match dice.below(self.nodes + self.proxies) {
            n if n < self.nodes => n + 1,
            n => PROXY + n - self.nodes,
        };
        match kind {
            Kind::Kill => Fault::Die(node, Death::Kill, length),
            Kind::PowerCut => Fault::Die(node, Death::PowerCut, length),
            Kind::PowerCutAll => Fault::DieAll(Death::PowerCut, length),
            Kind::Freeze => Fault::Freeze(any(dice), length),
            Kind::Cut => Fault::Cut(any(dice), any(dice), length),
            Kind::Isolate => Fault::Isolate(any(dice), length),
            Kind::Weather => Fault::Weather(
                Weather {
                    delay_ms: (1, dice.within(3..60)),
                    slow_permille: dice.below(200),
                    slow_ms: dice.within(50..2_500),
                    loss_permille: dice.below(150),
                    twice_permille: dice.below(300),
                },
                length,
            ),
            Kind::Clock => Fault::Clock(any(dice), dice.within(0..24_000).cast_signed() - 12_000),
            Kind::Disk => {
                let bad = [BadDisk::Writes, BadDisk::Syncs, BadDisk::Reads, BadDisk::Full];
                let bad = *dice.pick(&bad).expect("four kinds");
                Fault::Disk(node, dice.below(self.devices_per_node), bad, length)
            }
            Kind::Rows => Fault::RowSyncs(node),
            Kind::Rot => Fault::Rot(self.rotting, dice.below(self.devices_per_node)),
            Kind::LoseDisk => Fault::LoseDisk(self.rotting, dice.below(self.devices_per_node), length),
            Kind::KillProxy => Fault::Die(PROXY + dice.below(self.proxies), Death::Kill, length),
        }
    }
}
