//! When enough fragments of a chunk are synced (DUR-1). Plain.
//!
//! At least k+1 different fragments, on different devices, which either lie in as many failure domains as there are to be
//! had (k+1, or all), or survive the loss of any one domain: k are left then. Neither alone would do. Few nodes with many
//! disks each have no k+1 domains, and asking for all of them would stop writes with the first node that is down.

use std::collections::BTreeSet;

use super::Code;

/// The rule of one ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FragmentRule {
    data: usize,
    domains: usize,
}

impl FragmentRule {
    /// For chunks of `code` on a ring of `domains` failure domains.
    #[must_use]
    pub fn new(code: Code, domains: usize) -> Self {
        Self {
            data: code.data(),
            domains: domains.min(code.data() + 1),
        }
    }

    /// How many different fragments it takes at least.
    #[must_use]
    pub fn fragments(self) -> usize {
        self.data + 1
    }

    /// DUR-1: whether these are enough: fragments, each with the domain of a device of its own.
    pub fn met<D: Ord + Copy>(self, held: impl IntoIterator<Item = (u8, D)>) -> bool {
        let held: BTreeSet<(u8, D)> = held.into_iter().collect();
        let domains: BTreeSet<D> = held.iter().map(|(_, domain)| *domain).collect();
        let without = |lost: Option<D>| {
            let left = held.iter().filter(|(_, domain)| Some(*domain) != lost);
            left.map(|(number, _)| *number).collect::<BTreeSet<u8>>().len()
        };
        let survives = || domains.iter().all(|lost| without(Some(*lost)) >= self.data);
        without(None) > self.data && (domains.len() >= self.domains || survives())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn met(domains: usize, held: &[(u8, u32)]) -> bool {
        FragmentRule::new(Code::new(4, 2).unwrap(), domains).met(held.iter().copied())
    }

    #[test]
    fn dur_1_k_fragments_are_never_enough_and_one_fragment_twice_counts_once() {
        assert!(!met(6, &[(0, 0), (1, 1), (2, 2), (3, 3)]));
        assert!(!met(6, &[(0, 0), (1, 1), (2, 2), (3, 3), (3, 4)]));
        assert!(met(6, &[(0, 0), (1, 1), (2, 2), (3, 3), (4, 4)]));
    }

    #[test]
    fn dur_1_five_fragments_stand_in_all_of_three_domains_or_survive_the_loss_of_one() {
        assert!(met(3, &[(0, 0), (1, 0), (2, 1), (3, 1), (4, 2)]));
        // Two nodes of three: either may be lost next, and would take three fragments along.
        assert!(!met(3, &[(0, 0), (1, 0), (2, 0), (3, 1), (4, 1), (5, 1)]));
        // Three nodes of four.
        assert!(met(4, &[(0, 0), (1, 0), (2, 1), (3, 1), (4, 2), (5, 2)]));
        assert!(!met(4, &[(0, 0), (1, 0), (2, 1), (3, 1), (4, 2)]));
    }
}
