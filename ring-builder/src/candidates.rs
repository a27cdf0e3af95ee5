//! The candidate order of each partition, from a consistent hash ring.
//!
//! The hash ring is why an added device receives the partitions that it would have had from the start, instead of
//! whatever came first. It does not decide how many: quotas do.

use std::hash::{BuildHasher, Hasher};

use consistent_hash_ring::{Ring as HashRing, RingBuilder};

use crate::mix::mix;

/// Points on the hash ring for a member of average weight.
const POINTS_PER_MEMBER: usize = 16;
/// Most points on one hash ring; inserting a point moves half of the points before it.
const MAX_POINTS: usize = 16_384;
/// No member gets more than this many times the average number of points.
const MOST_TIMES_AVERAGE: usize = 8;

/// Members in an order of preference that differs from partition to partition, heavier members earlier on average.
pub(crate) struct Candidates {
    ring: HashRing<u32, Seeded>,
}

impl Candidates {
    /// `members` with what each still wants; those that want nothing are left out.
    pub(crate) fn new(members: impl Iterator<Item = (usize, u64)>, seed: u64) -> Self {
        let members: Vec<(usize, u64)> = members.filter(|&(_, wants)| wants > 0).collect();
        let total: u128 = members.iter().map(|&(_, wants)| u128::from(wants)).sum();
        let usual = POINTS_PER_MEMBER.min(MAX_POINTS / members.len().max(1)).max(1);
        let points = |wants: u64| {
            let fair = u128::from(wants) * members.len() as u128 * usual as u128 / total.max(1);
            usize::try_from(fair)
                .unwrap_or(usize::MAX)
                .clamp(1, usual * MOST_TIMES_AVERAGE)
        };
        let weighted = members.iter().map(|&(member, wants)| {
            (
                u32::try_from(member).expect("a position among at most MAX_DEVICES members"),
                points(wants),
            )
        });
        Self {
            ring: RingBuilder::new(Seeded(seed)).weighted_nodes_iter(weighted).build(),
        }
    }

    /// All members, those that should be asked first for `partition` in front.
    pub(crate) fn order(&self, partition: u32) -> impl Iterator<Item = usize> + '_ {
        self.ring
            .replicas(u64::from(partition) | 1 << 41)
            .map(|&member| member as usize)
    }
}

/// The first candidates of every partition, where many partitions are asked for: partitions share one of
/// [`Firsts::BUCKETS`] orders, which one differs from seed to seed.
pub(crate) struct Firsts {
    candidates: Candidates,
    known: Vec<Vec<u32>>,
    seed: u64,
}

impl Firsts {
    /// Different orders of one hash ring.
    const BUCKETS: u64 = 256;
    /// Candidates that are kept of each.
    const KEPT: usize = 16;

    pub(crate) fn new(members: impl Iterator<Item = (usize, u64)>, seed: u64) -> Self {
        Self {
            candidates: Candidates::new(members, seed),
            known: vec![Vec::new(); usize::try_from(Self::BUCKETS).expect("a small number")],
            seed,
        }
    }

    /// The members to ask first for `partition`.
    pub(crate) fn first(&mut self, partition: u32) -> &[u32] {
        let bucket = self.bucket(partition);
        let known = &mut self.known[bucket as usize];
        if known.is_empty() {
            let first = self.candidates.order(bucket).take(Self::KEPT);
            known.extend(
                first.map(|member| u32::try_from(member).expect("a position among at most MAX_DEVICES members")),
            );
        }
        known
    }

    /// The members to ask when none of the first will do.
    pub(crate) fn others(&self, partition: u32) -> impl Iterator<Item = usize> + '_ {
        self.candidates.order(self.bucket(partition)).skip(Self::KEPT)
    }

    fn bucket(&self, partition: u32) -> u32 {
        let bucket = mix(self.seed ^ u64::from(partition)) % Self::BUCKETS;
        u32::try_from(bucket).expect("below BUCKETS")
    }
}

/// Makes the hash ring depend on the seed, and on nothing else: not on the machine, nor on the library's default.
#[derive(Clone)]
struct Seeded(u64);

impl BuildHasher for Seeded {
    type Hasher = Scatter;

    fn build_hasher(&self) -> Scatter {
        Scatter(mix(self.0))
    }
}

struct Scatter(u64);

impl Hasher for Scatter {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(u64::from(byte));
        }
    }

    fn write_u32(&mut self, number: u32) {
        // Members are tagged here, partitions in `order`: so no partition walks along the points of one member.
        self.write_u64(u64::from(number) | 1 << 40);
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = mix(self.0 ^ number);
    }
}
