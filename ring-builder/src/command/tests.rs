use clap::{CommandFactory, Parser};

use super::*;
use crate::ring::Ring;

#[derive(Parser)]
struct Tool {
    #[command(flatten)]
    args: Args,
}

/// A folder with one builder file, and the commands on it.
struct Desk {
    folder: tempfile::TempDir,
}

impl Desk {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn run(&self, words: &str) -> Result<String, String> {
        let file = self.path("test.builder");
        let words = words.replace("RING", self.path("test.ring").to_str().unwrap());
        let words = ["ring-builder", file.to_str().unwrap()]
            .into_iter()
            .chain(words.split(' '));
        let args = Tool::try_parse_from(words).map_err(|error| error.to_string())?.args;
        let (mut out, mut complaints) = (Vec::new(), Vec::new());
        let code = run(&args, 100, &mut out, &mut complaints);
        let text = |bytes| String::from_utf8(bytes).unwrap();
        if code == ExitCode::SUCCESS {
            Ok(text(out))
        } else {
            Err(text(out) + &text(complaints))
        }
    }

    fn with_devices(count: u32) -> Self {
        let desk = Self::new();
        desk.run("create --part-power 6 --replicas 3 --min-part-hours 2")
            .unwrap();
        for n in 0..count {
            desk.run(&format!(
                "add --zone {n} --node {n} --address h{n}:7000 --name d0 --weight 100"
            ))
            .unwrap();
        }
        desk
    }
}

#[test]
fn the_command_line_is_well_formed_and_has_examples() {
    Tool::command().debug_assert();
    assert!(
        Tool::command()
            .render_help()
            .to_string()
            .contains("blobs.builder rebalance")
    );
}

#[test]
fn from_nothing_to_a_ring_file() {
    let desk = Desk::with_devices(3);
    assert!(
        desk.run("rebalance")
            .unwrap()
            .contains("ring version 1: 192 replicas placed")
    );
    assert!(desk.run("validate").unwrap().contains("every device holds its share"));
    let table = desk.run("show").unwrap();
    assert!(table.contains("h2:7000") && table.contains("64"), "{table}");
    desk.run("write-ring RING").unwrap();
    let ring = Ring::from_bytes(&std::fs::read(desk.path("test.ring")).unwrap()).unwrap();
    assert_eq!((ring.version(), ring.partitions(), ring.devices().count()), (1, 64, 3));
}

#[test]
fn json_is_json() {
    let desk = Desk::with_devices(3);
    let moves: serde_json::Value = serde_json::from_str(&desk.run("rebalance --json").unwrap()).unwrap();
    assert_eq!(moves["moves"]["placed"], 192);
    let shown: serde_json::Value = serde_json::from_str(&desk.run("show --json").unwrap()).unwrap();
    assert_eq!(shown["devices"][1]["address"], "h1:7000");
    assert_eq!(shown["devices"][1]["held"], 64);
    let added = desk
        .run("add --zone 7 --node 7 --address h7:7000 --name d0 --weight 1 --json")
        .unwrap();
    assert_eq!(serde_json::from_str::<serde_json::Value>(&added).unwrap()["id"], 3);
}

#[test]
fn changes_take_effect_with_the_next_rebalance() {
    let desk = Desk::with_devices(4);
    desk.run("rebalance").unwrap();
    desk.run("set-weight 0 50.5").unwrap();
    assert!(
        desk.run("write-ring RING")
            .unwrap_err()
            .contains("run `rebalance` first")
    );
    let verdict = desk.run("validate").unwrap_err();
    assert!(
        verdict.contains("problem: ") && verdict.contains("error: "),
        "{verdict}"
    );
    desk.run("rebalance").unwrap();
    desk.run("remove 1").unwrap();
    assert!(desk.run("rebalance").unwrap().contains("of removed devices"));
    desk.run("set-address 2 other:7000").unwrap();
    desk.run("rebalance --seed 4").unwrap();
    assert!(desk.run("show").unwrap().contains("other:7000"));
}

#[test]
fn an_error_is_a_sentence_a_failure_code_and_no_change() {
    let desk = Desk::with_devices(2);
    let before = std::fs::read(desk.path("test.builder")).unwrap();
    for (words, said) in [
        ("create", "exists already"),
        ("rebalance", "there are 2: add devices first"),
        ("remove 0 9", "there is no device 9"),
        ("set-weight 0 -1", "weight -1 is not usable"),
        ("set-weight 0 NaN", "weight NaN is not usable"),
        ("set-weight 0 inf", "weight inf is not usable"),
        (
            "add --zone 0 --node 0 --address h0:7000 --name d0 --weight 1",
            "already has a device",
        ),
        ("write-ring RING", "run `rebalance` first"),
        ("frobnicate", "unrecognized subcommand"),
    ] {
        let complaint = desk.run(words).unwrap_err();
        assert!(complaint.contains(said), "{words}: {complaint}");
    }
    assert_eq!(std::fs::read(desk.path("test.builder")).unwrap(), before);
    assert!(!desk.path("test.ring").exists());
    std::fs::write(desk.path("test.builder"), &before[..40]).unwrap();
    assert!(desk.run("show").unwrap_err().contains("is damaged"));
    std::fs::remove_file(desk.path("test.builder")).unwrap();
    assert!(desk.run("show").unwrap_err().contains("cannot read"));
}

#[test]
fn two_commands_do_not_change_a_builder_at_once() {
    let desk = Desk::with_devices(3);
    let _lock = file::lock(&desk.path("test.builder")).unwrap();
    assert!(
        desk.run("rebalance")
            .unwrap_err()
            .contains("another command is working on")
    );
    desk.run("show").unwrap();
}
