//! Every target for a moment, with a fixed seed, after what earlier runs found.

use fuzz::{Campaign, targets};

/// Inputs per target.
const INPUTS: u64 = 20_000;
/// What decides chance.
const SEED: u64 = 20_260_101;

#[test]
fn no_parser_breaks_a_rule() {
    for target in targets() {
        let mut campaign = Campaign::new(&target, SEED);
        let told = |finding: fuzz::Finding| panic!("{}: {}: {:?}", target.name, finding.why, finding.input);
        campaign.seeds().unwrap_or_else(told);
        for input in fuzz::regressions(&target) {
            campaign.one(input).unwrap_or_else(told);
        }
        campaign.mutated(INPUTS).unwrap_or_else(told);
        assert!(campaign.outcomes() > 3, "{}: the seeds lead nowhere", target.name);
    }
}
