//! Which chunks of a stream lack copies, told in as few words as possible.

use metadata::ids::DeviceId;
use metadata::model::ShortChunks;

/// Collects chunks in ascending order; neighbours with the same devices become one entry.
#[derive(Debug, Default)]
pub(crate) struct ShortList {
    entries: Vec<ShortChunks>,
}

impl ShortList {
    /// Notes that `chunk` is confirmed by `stored` and should be on `primaries`. Complete chunks are not noted.
    pub(crate) fn note(&mut self, chunk: u32, primaries: &[DeviceId], mut stored: Vec<DeviceId>) {
        if primaries.iter().all(|primary| stored.contains(primary)) {
            return;
        }
        stored.sort_unstable();
        match self.entries.last_mut() {
            Some(last) if last.first + last.count == chunk && last.devices == stored => last.count += 1,
            _ => self.entries.push(ShortChunks {
                first: chunk,
                count: 1,
                devices: stored,
            }),
        }
    }

    pub(crate) fn finish(self) -> Vec<ShortChunks> {
        self.entries
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(numbers: &[u32]) -> Vec<DeviceId> {
        numbers.iter().copied().map(DeviceId).collect()
    }

    #[test]
    fn neighbours_with_the_same_devices_are_one_entry() {
        let mut list = ShortList::default();
        let primaries = ids(&[1, 2, 3]);
        list.note(0, &primaries, ids(&[3, 2, 1]));
        list.note(1, &primaries, ids(&[3, 1]));
        list.note(2, &primaries, ids(&[1, 3]));
        list.note(3, &primaries, ids(&[1, 2]));
        list.note(5, &primaries, ids(&[1, 2]));
        let entry = |first, count, devices: &[u32]| ShortChunks {
            first,
            count,
            devices: ids(devices),
        };
        assert_eq!(
            list.finish(),
            [entry(1, 2, &[1, 3]), entry(3, 1, &[1, 2]), entry(5, 1, &[1, 2])]
        );
    }

    #[test]
    fn a_copy_on_a_handoff_does_not_replace_a_primary() {
        let mut list = ShortList::default();
        list.note(0, &ids(&[1, 2]), ids(&[1, 9]));
        assert_eq!(list.finish().len(), 1);
    }
}
