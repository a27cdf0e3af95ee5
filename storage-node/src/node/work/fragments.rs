//! Repairing one erasure coded chunk: who has which fragment, what is copied, what is rebuilt, prove.
//!
//! A fragment that is missing is copied from another device that has the same one, else rebuilt from k others. Fewer than
//! k different good ones, when nobody is silent, are a lost chunk.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::join_all;
use metadata::ids::DeviceId;

use super::mend::{Fetch, Mended};
use super::{ASK_DEADLINE, BLOB_DEADLINE, Workshop, handoffs};
use crate::client::{DataPlane, LiveRings};
use crate::device::{Blob, BlobKey};
use crate::erasure::Code;

/// Devices beyond homes and known holders that are asked for fragments nobody else has.
const SEARCHED_MAX: usize = 64;

/// Who says to have which fragment of one chunk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Stripe {
    /// The devices of each fragment.
    pub(super) held: BTreeMap<u8, BTreeSet<DeviceId>>,
    /// Devices that did not say.
    pub(super) silent: BTreeSet<DeviceId>,
}

impl Stripe {
    /// How many different fragments somebody has.
    pub(super) fn different(&self) -> usize {
        self.held.values().filter(|devices| !devices.is_empty()).count()
    }

    /// All devices that have one.
    pub(super) fn holders(&self) -> Vec<DeviceId> {
        let all: BTreeSet<DeviceId> = self.held.values().flatten().copied().collect();
        all.into_iter().collect()
    }

    /// Takes a claim back.
    pub(super) fn without(&mut self, number: u8, device: DeviceId) {
        if let Some(devices) = self.held.get_mut(&number) {
            devices.remove(&device);
        }
    }
}

/// What to do about the fragments that belong at homes, one for each number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Plan {
    /// Homes that lack their fragment.
    targets: Vec<(u8, DeviceId)>,
    /// Homes that claim to have it although the queue does not name them: a laggard's late success, or rot.
    doubted: Vec<(u8, DeviceId)>,
    /// Homes that did not say.
    waiting: Vec<DeviceId>,
    /// Others that have a fragment; not needed once every home has its own.
    surplus: Vec<(u8, DeviceId)>,
}

/// Decides. Plain function.
fn plan(stripe: &Stripe, homes: &[(u8, DeviceId)], listed: &[DeviceId]) -> Plan {
    let mut plan = Plan::default();
    for (number, home) in homes.iter().copied() {
        let has = stripe.held.get(&number).is_some_and(|devices| devices.contains(&home));
        if stripe.silent.contains(&home) {
            plan.waiting.push(home);
        } else if !has {
            plan.targets.push((number, home));
        } else if !listed.contains(&home) {
            plan.doubted.push((number, home));
        }
    }
    let claims = stripe
        .held
        .iter()
        .flat_map(|(number, devices)| devices.iter().map(|device| (*number, *device)));
    plan.surplus = claims.filter(|claim| !homes.contains(claim)).collect();
    plan
}

impl Workshop {
    /// Asks the homes of all fragments, those of the ring before, and `listed` holders; and, when they have too few, all
    /// other devices.
    pub(super) async fn stripe(&self, live: &LiveRings, chunk: BlobKey, listed: &[DeviceId]) -> Stripe {
        let mut asked: BTreeSet<DeviceId> = live.primaries(chunk.placement).into_iter().collect();
        asked.extend(live.leaving(chunk.placement));
        asked.extend(listed);
        let pieces = live.pieces(chunk);
        let mut stripe = Stripe::default();
        self.ask_stripe(&mut stripe, &asked, &pieces).await;
        if stripe.different() < live.pieces_needed() {
            let others = handoffs(&live.current.ring, chunk.placement, SEARCHED_MAX);
            let others = others.into_iter().filter(|device| !asked.contains(device)).collect();
            self.ask_stripe(&mut stripe, &others, &pieces).await;
        }
        stripe
    }

    async fn ask_stripe(&self, stripe: &mut Stripe, devices: &BTreeSet<DeviceId>, pieces: &[BlobKey]) {
        let asks = devices.iter().map(|device| async move {
            let said = self.client.stat_blobs(*device, pieces.to_vec(), ASK_DEADLINE).await;
            (*device, said)
        });
        for (device, said) in join_all(asks).await {
            let Ok(said) = said else {
                stripe.silent.insert(device);
                continue;
            };
            for (number, header) in (0_u8..).zip(said) {
                if header.is_some() {
                    stripe.held.entry(number).or_default().insert(device);
                }
            }
        }
    }

    /// Brings every fragment of a chunk to its home.
    pub(super) async fn mend_fragments(
        &self,
        live: &LiveRings,
        code: Code,
        chunk: BlobKey,
        chunk_len: u32,
        listed: &[DeviceId],
    ) -> Mended {
        let stripe = self.stripe(live, chunk, listed).await;
        let homes: Vec<(u8, DeviceId)> = code
            .numbers()
            .filter_map(|number| Some((number, *live.primaries(chunk.piece(number)).first()?)))
            .collect();
        let plan = plan(&stripe, &homes, listed);
        let silent = !stripe.silent.is_empty();
        let mut gather = Gather::new(self, code, chunk, live.piece_len(chunk_len), stripe);
        let mut targets = plan.targets;
        let mut waiting = plan.waiting;
        for (number, home) in plan.doubted {
            match gather.read(number, home).await {
                Ok(()) => {}
                Err(Fetch::Bad(_)) => targets.push((number, home)),
                Err(Fetch::Unknown(_)) => waiting.push(home),
            }
        }
        // Reading others may show that a home's own fragment is damaged.
        let mut at = 0;
        while let Some((number, home)) = targets.get(at).copied() {
            at += 1;
            let blob = match gather.fragment(number).await {
                Ok(blob) => blob,
                Err(Fetch::Bad(_)) if !silent && waiting.is_empty() => return Mended::Lost,
                Err(Fetch::Bad(why) | Fetch::Unknown(why)) => {
                    return Mended::Short(format!("too few good fragments were reached: {why}"));
                }
            };
            if let Err(error) = self.client.put_blob(home, blob, BLOB_DEADLINE).await {
                return Mended::Short(error.to_string());
            }
            let damaged = gather
                .bad
                .iter()
                .filter(|bad| homes.contains(bad) && !targets.contains(bad));
            let damaged: Vec<(u8, DeviceId)> = damaged.copied().collect();
            targets.extend(damaged);
        }
        match waiting.first() {
            Some(device) => Mended::Short(format!("device {device} does not answer")),
            None => Mended::Whole {
                surplus: plan
                    .surplus
                    .into_iter()
                    .map(|(number, device)| (device, chunk.piece(number)))
                    .collect(),
            },
        }
    }
}

/// Fragments of one chunk being brought together, each proven.
pub(super) struct Gather<'a> {
    workshop: &'a Workshop,
    code: Code,
    chunk: BlobKey,
    /// The length of each.
    len: u32,
    stripe: Stripe,
    known: BTreeMap<u8, Blob>,
    /// Claims that turned out wrong.
    pub(super) bad: BTreeSet<(u8, DeviceId)>,
    /// Why somebody could not be asked.
    unknown: Option<String>,
}

impl<'a> Gather<'a> {
    pub(super) fn new(workshop: &'a Workshop, code: Code, chunk: BlobKey, len: u32, stripe: Stripe) -> Self {
        Self {
            workshop,
            code,
            chunk,
            len,
            stripe,
            known: BTreeMap::new(),
            bad: BTreeSet::new(),
            unknown: None,
        }
    }

    /// Reads a fragment from a device and proves it: frames, length and BLAKE3 (INT-1).
    async fn read(&mut self, number: u8, device: DeviceId) -> Result<(), Fetch> {
        let read = self.workshop.fetch(device, self.chunk.piece(number), self.len).await;
        self.take(number, device, read)
    }

    fn take(&mut self, number: u8, device: DeviceId, read: Result<Blob, Fetch>) -> Result<(), Fetch> {
        self.stripe.without(number, device);
        match read {
            Ok(blob) => {
                self.known.insert(number, blob);
                Ok(())
            }
            Err(Fetch::Bad(why)) => {
                self.bad.insert((number, device));
                Err(Fetch::Bad(why))
            }
            Err(Fetch::Unknown(why)) => {
                self.unknown = Some(why.clone());
                Err(Fetch::Unknown(why))
            }
        }
    }

    /// The fragment: from a device that has it, else rebuilt.
    pub(super) async fn fragment(&mut self, number: u8) -> Result<Blob, Fetch> {
        while !self.known.contains_key(&number) {
            let Some(holder) = self.holder(number) else { break };
            // The next holder is tried, and what failed is remembered.
            let _ = self.read(number, holder).await;
        }
        if let Some(blob) = self.known.get(&number) {
            return Ok(blob.clone());
        }
        self.fill().await?;
        let blob = self.rebuilt(number).await?;
        self.known.insert(number, blob.clone());
        Ok(blob)
    }

    fn holder(&self, number: u8) -> Option<DeviceId> {
        self.stripe.held.get(&number)?.first().copied()
    }

    /// Reads until k different fragments are known.
    async fn fill(&mut self) -> Result<(), Fetch> {
        loop {
            let missing = self.code.data().saturating_sub(self.known.len());
            let unread = |number: &u8| !self.known.contains_key(number);
            let next: Vec<(u8, DeviceId)> = self
                .code
                .numbers()
                .filter(unread)
                .filter_map(|number| Some((number, self.holder(number)?)))
                .take(missing)
                .collect();
            if missing == 0 {
                return Ok(());
            }
            if next.is_empty() {
                let needed = self.code.data();
                let found = self.known.len();
                let why = format!("{found} good fragments were found and {needed} are needed");
                return Err(self.unknown.clone().map_or(Fetch::Bad(why), Fetch::Unknown));
            }
            let (workshop, chunk, len) = (self.workshop, self.chunk, self.len);
            let reads = next
                .iter()
                .map(|(number, device)| workshop.fetch(*device, chunk.piece(*number), len));
            let read = join_all(reads).await;
            for ((number, device), read) in next.into_iter().zip(read) {
                let _ = self.take(number, device, read);
            }
        }
    }

    async fn rebuilt(&self, number: u8) -> Result<Blob, Fetch> {
        let Some(header) = self.known.values().next().map(|blob| blob.header) else {
            return Err(Fetch::Bad("no fragment is known".to_owned()));
        };
        let (code, key) = (self.code, self.chunk.piece(number));
        let known: Vec<(u8, Blob)> = self
            .known
            .iter()
            .map(|(number, blob)| (*number, blob.clone()))
            .collect();
        // Decoding a mebibyte takes a moment: too long for a worker thread of the runtime.
        let coding = move || {
            let known = known
                .into_iter()
                .map(|(number, blob)| (number, blob.payload.to_bytes()))
                .collect();
            let bytes = code.rebuild(&known, number)?;
            Ok::<_, crate::erasure::CodeError>(Blob::seal(key, header, bytes))
        };
        let coded = crate::threads::blocking(coding)
            .await
            .map_err(|e| Fetch::Unknown(e.to_string()))?;
        coded.map_err(|e| Fetch::Bad(e.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(number: u32) -> DeviceId {
        DeviceId(number)
    }

    fn stripe(held: &[(u8, &[u32])], silent: &[u32]) -> Stripe {
        Stripe {
            held: held
                .iter()
                .map(|(n, devices)| (*n, devices.iter().copied().map(DeviceId).collect()))
                .collect(),
            silent: silent.iter().copied().map(DeviceId).collect(),
        }
    }

    #[test]
    fn heal_1_each_home_must_have_its_own_fragment_and_what_lies_elsewhere_is_surplus() {
        let homes = [(0, device(10)), (1, device(11)), (2, device(12))];
        let listed = [device(10), device(19)];
        let seen = stripe(&[(0, &[10]), (1, &[19]), (2, &[11])], &[]);
        assert_eq!(
            (seen.different(), seen.holders()),
            (3, vec![device(10), device(11), device(19)])
        );
        let plan = plan(&seen, &homes, &listed);
        assert_eq!(plan.targets, [(1, device(11)), (2, device(12))]);
        assert_eq!(plan.surplus, [(1, device(19)), (2, device(11))]);
        assert!(plan.doubted.is_empty() && plan.waiting.is_empty());
    }

    #[test]
    fn int_1_a_home_that_the_queue_does_not_name_is_doubted_and_a_silent_one_awaited() {
        let homes = [(0, device(10)), (1, device(11)), (2, device(12))];
        let plan = plan(&stripe(&[(0, &[10]), (1, &[11])], &[12]), &homes, &[device(10)]);
        assert_eq!(plan.doubted, [(1, device(11))]);
        assert_eq!(plan.waiting, [device(12)]);
        assert!(plan.targets.is_empty());
    }
}
