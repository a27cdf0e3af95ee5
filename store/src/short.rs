//! Which chunks of a stream lack copies, told in as few words as possible.

use metadata::ids::DeviceId;
use metadata::model::ShortChunks;

/// Collects chunks in ascending order; neighbours with the same devices become one entry.
#[derive(Debug, Default)]
pub(crate) struct ShortList {
    entries: Vec<ShortChunks>,
}

impl ShortList {
    /// Notes that `chunk`, which lacks copies or fragments, is confirmed by `stored`.
    pub(crate) fn note(&mut self, chunk: u32, mut stored: Vec<DeviceId>) {
        stored.sort_unstable();
        stored.dedup();
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
        list.note(1, ids(&[3, 1]));
        list.note(2, ids(&[1, 3]));
        list.note(3, ids(&[1, 2]));
        list.note(5, ids(&[1, 2, 2]));
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
}
