//! Many inputs for one target, and what is kept of them.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use crate::mutator::Mutator;
use crate::{SLOW, Target};

/// The most inputs that a corpus keeps.
const CORPUS_MAX: usize = 4096;
/// The most outcomes that are told apart.
const OUTCOMES_MAX: usize = 65_536;

/// An input that breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The input.
    pub input: Vec<u8>,
    /// Which rule, in words.
    pub why: String,
}

/// The state of a run.
pub struct Campaign<'a> {
    target: &'a Target,
    corpus: Vec<Vec<u8>>,
    outcomes: HashSet<String>,
    mutator: Mutator,
    runs: u64,
}

impl<'a> Campaign<'a> {
    /// A run of `target` whose chance is decided by `seed`.
    #[must_use]
    pub fn new(target: &'a Target, seed: u64) -> Self {
        Self {
            target,
            corpus: vec![Vec::new()],
            outcomes: HashSet::new(),
            mutator: Mutator::new(seed),
            runs: 0,
        }
    }

    /// Inputs tried.
    #[must_use]
    pub fn runs(&self) -> u64 {
        self.runs
    }

    /// Different outcomes seen.
    #[must_use]
    pub fn outcomes(&self) -> usize {
        self.outcomes.len()
    }

    /// Tries the seeds.
    ///
    /// # Errors
    /// The first finding.
    pub fn seeds(&mut self) -> Result<(), Finding> {
        (self.target.seeds)().into_iter().try_for_each(|seed| self.one(seed))
    }

    /// Tries `count` mutated inputs.
    ///
    /// # Errors
    /// The first finding.
    pub fn mutated(&mut self, count: u64) -> Result<(), Finding> {
        (0..count).try_for_each(|_| {
            let input = self.mutator.input(&self.corpus, self.target.words);
            self.one(input)
        })
    }

    /// Tries one input.
    ///
    /// # Errors
    /// When it breaks a rule.
    pub fn one(&mut self, input: Vec<u8>) -> Result<(), Finding> {
        self.runs += 1;
        let (outcome, took) = attempt(self.target, &input)?;
        if took > SLOW {
            let why = format!("it took {took:?}");
            return Err(Finding { input, why });
        }
        let new = self.outcomes.len() < OUTCOMES_MAX && self.outcomes.insert(outcome);
        if new && self.corpus.len() < CORPUS_MAX {
            self.corpus.push(input);
        }
        Ok(())
    }
}

fn attempt(target: &Target, input: &[u8]) -> Result<(String, Duration), Finding> {
    let began = Instant::now();
    let run = target.run;
    match catch_unwind(AssertUnwindSafe(|| run(input))) {
        Ok(outcome) => Ok((outcome, began.elapsed())),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            Err(Finding {
                input: input.to_vec(),
                why: text.unwrap_or_else(|| "a panic without words".to_owned()),
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BROKEN: Target = Target {
        name: "broken",
        run: |bytes| {
            assert!(!bytes.starts_with(b"OPEN\xff"), "it was opened");
            bytes
                .iter()
                .take_while(|byte| b"OPEN".contains(byte))
                .count()
                .to_string()
        },
        seeds: || vec![b"shut".to_vec()],
        words: &[b"OPEN"],
    };

    #[test]
    fn a_broken_parser_is_found() {
        let mut campaign = Campaign::new(&BROKEN, 1);
        campaign.seeds().expect("the seed is harmless");
        let finding = campaign.mutated(2_000_000).expect_err("it is broken");
        assert!(finding.input.starts_with(b"OPEN\xff"));
        assert_eq!(finding.why, "it was opened");
    }

    #[test]
    fn the_same_seed_makes_the_same_run() {
        let run = |seed| {
            let mut mutator = Mutator::new(seed);
            (0..50)
                .map(|_| mutator.input(&[b"abcdef".to_vec()], &[b"x"]))
                .collect::<Vec<_>>()
        };
        assert_eq!(run(7), run(7));
        assert_ne!(run(7), run(8));
    }
}
