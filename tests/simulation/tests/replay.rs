//! One seed is one history: everything that happens follows from it.

use std::process::Command;

fn run(seed: u64) -> String {
    let seed = seed.to_string();
    let ran = Command::new(env!("CARGO_BIN_EXE_simulation"))
        .args(["--seed", &seed])
        .output();
    let said = ran.expect("the simulation starts");
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stdout));
    String::from_utf8(said.stdout).expect("a trace is text")
}

#[test]
fn one_seed_replays_exactly() {
    // The line ends with a digest over every message, fault and answer, with their times.
    for seed in [1, 2, 3] {
        assert_eq!(run(seed), run(seed));
    }
}

#[test]
fn two_seeds_differ() {
    assert_ne!(run(1), run(2));
}
