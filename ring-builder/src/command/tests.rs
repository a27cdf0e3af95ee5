use clap::CommandFactory;

use super::*;

#[derive(Parser)]
struct Tool {
    #[command(flatten)]
    args: Args,
}

const HOUR_MS: u64 = 3_600_000;

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
        self.run_at(100, words, "")
    }

    /// Runs at this hour, with these answers to questions; the output, and for an exit code above 0 that code.
    fn run_at(&self, hour: u64, words: &str, answers: &str) -> Result<String, String> {
        let (code, text) = self.outcome(hour, words, answers);
        if code == ExitCode::SUCCESS { Ok(text) } else { Err(text) }
    }

    fn outcome(&self, hour: u64, words: &str, answers: &str) -> (ExitCode, String) {
        let file = self.path("test.builder");
        let words = words.replace("RING", self.path("test.ring").to_str().unwrap());
        let words = ["ring-builder", file.to_str().unwrap()]
            .into_iter()
            .chain(words.split(' ').filter(|word| !word.is_empty()));
        let (mut out, mut complaints) = (Vec::new(), Vec::new());
        let mut console = Console {
            out: &mut out,
            complaints: &mut complaints,
            answers: &mut answers.as_bytes(),
        };
        let code = main(words.map(OsString::from), hour * HOUR_MS, &mut console);
        out.extend(complaints);
        (code, String::from_utf8(out).unwrap())
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
            .contains("192 placed, 0 of removed devices, 0 moved")
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
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&added).unwrap()["devices"][0]["id"],
        3
    );
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
    // Many partitions rest, so the balance is far off: a warning.
    let (code, text) = desk.outcome(100, "rebalance", "");
    assert!(
        code == ExitCode::from(1) && text.contains(" of removed devices") && text.contains("wait at least 2 hours")
    );
    desk.run("set-address 2 other:7000").unwrap();
    desk.run("write-ring RING").unwrap();
    assert!(desk.run("show").unwrap().contains("other:7000"));
}

#[test]
fn an_error_is_a_sentence_a_failure_code_and_no_change() {
    let desk = Desk::with_devices(2);
    let before = std::fs::read(desk.path("test.builder")).unwrap();
    for (words, said) in [
        ("create", "exists already"),
        ("rebalance", "there are 2: add devices first"),
        ("remove 9", "no device matches"),
        ("search r7", "no device matches"),
        ("set_weight r1", "give pairs of SEARCH and VALUE"),
        ("list_parts d0", "run `rebalance` first"),
        ("dispersion", "run `rebalance` first"),
        ("set_replicas 0.5", "0.5 replicas are not possible"),
        ("set_overload -1", "unexpected argument"),
        ("set_overload much", "is not a number"),
        ("add z1-10.0.0.1/d0 1", "is not usable: give it as"),
        ("add z1-10.0.0.1:1/d0", "give pairs of DEVICE and WEIGHT"),
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
