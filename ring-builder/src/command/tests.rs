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

/// Three devices, balanced, as an operator of Swift would make them.
fn swift_style() -> Desk {
    let desk = Desk::new();
    desk.run("create 6 3 2").unwrap();
    desk.run("add r1z1-10.0.0.1:6200/d0_blue 100 r1z2-10.0.0.2:6200R10.1.0.2:6300/d0 100 r1z3-[FD00:0::3]:6200/d0 100")
        .unwrap();
    desk.run("add --region 1 --zone 3 --ip [fd00::3] --port 6200 --device d1 --weight 50 --meta red")
        .unwrap();
    desk.run("rebalance").unwrap_err();
    desk
}

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn devices_are_found_by_search_values_and_options() {
    let desk = swift_style();
    for (words, ids) in [
        ("z3", vec![2, 3]),
        ("d0 d3", vec![0, 3]),
        ("[fd00::3]:6200/d1", vec![3]),
        ("R10.1.0.2", vec![1]),
        ("--zone 3 --weight 50", vec![3]),
        ("--meta blu", vec![0]),
        ("--replication-port 6300", vec![1]),
    ] {
        let found = json(&desk.run(&format!("search {words} --json")).unwrap());
        let found: Vec<u64> = found
            .as_array()
            .unwrap()
            .iter()
            .map(|row| row["id"].as_u64().unwrap())
            .collect();
        assert_eq!(found, ids, "{words}");
    }
    let shown = json(&desk.run("show --json").unwrap());
    assert_eq!(shown["devices"][2]["address"], "[fd00::3]:6200");
    let nodes: Vec<u64> = (0..4)
        .map(|at| shown["devices"][at]["node"].as_u64().unwrap())
        .collect();
    assert_eq!(nodes, [1, 2, 3, 3], "devices at one host are of one node");
}

#[test]
fn many_devices_are_changed_only_after_a_question() {
    let desk = swift_style();
    let (code, text) = desk.outcome(100, "set_weight z3 70", "n\n");
    assert!(
        code == ExitCode::from(2) && text.contains("(y/N)") && text.contains("nothing was changed"),
        "{text}"
    );
    let weights = || {
        json(&desk.run("show --json").unwrap())["devices"]
            .as_array()
            .unwrap()
            .clone()
    };
    assert_eq!(weights()[3]["weight"], 50.0);
    desk.run_at(100, "set_weight z3 70", "y\n").unwrap();
    desk.run("set_weight z1 80 d1 90 --yes").unwrap();
    let now: Vec<f64> = weights().iter().map(|row| row["weight"].as_f64().unwrap()).collect();
    assert_eq!(now, [80.0, 90.0, 70.0, 70.0]);
    desk.run_at(100, "remove z3", "").unwrap_err();
    desk.run("remove --zone 3 --yes").unwrap();
    assert_eq!(weights().len(), 2);
}

#[test]
fn information_and_places_are_changed() {
    let desk = swift_style();
    desk.run("set_info d0 10.0.0.9:6201R10.1.0.9:6301/d7_green").unwrap();
    desk.run("set_info --zone 3 --change-ip 10.0.0.3 --yes").unwrap();
    desk.run("set_region z3 2 --yes").unwrap();
    desk.run("set_zone d0 9").unwrap();
    let shown = json(&desk.run("show --json").unwrap());
    let first = shown["devices"]
        .as_array()
        .unwrap()
        .iter()
        .find(|row| row["id"] == 0)
        .unwrap()
        .clone();
    for (field, value) in [
        ("address", "10.0.0.9:6201"),
        ("replication", "10.1.0.9:6301"),
        ("name", "d7"),
        ("meta", "green"),
    ] {
        assert_eq!(first[field], value);
    }
    assert_eq!(first["zone"], 9);
    let table = desk.run("").unwrap();
    assert!(
        table.contains("10.0.0.3:6200") && table.contains("2 regions"),
        "{table}"
    );
    assert!(
        desk.run("set_zone d2 8")
            .unwrap_err()
            .contains("give the same ones for all its")
    );
}

#[test]
fn settings_have_swifts_exit_codes() {
    let desk = swift_style();
    desk.run("set_min_part_hours 5").unwrap();
    desk.run("set_overload 10%").unwrap();
    assert_eq!(
        desk.outcome(100, "set_overload 10", "").0,
        ExitCode::from(1),
        "most likely a slip"
    );
    desk.run("set_overload 0.1").unwrap();
    desk.run("set_replicas 2.5").unwrap();
    desk.run("pretend_min_part_hours_passed").unwrap();
    let shown = json(&desk.run("show --json").unwrap());
    assert_eq!(
        (shown["overload"].as_f64(), shown["min_part_hours"].as_u64()),
        (Some(0.1), Some(5))
    );
    assert_eq!(
        (shown["replicas"].as_f64(), shown["changed"].as_bool()),
        (Some(2.5), Some(true))
    );
    assert_eq!(
        desk.outcome(100, "validate", "").0,
        ExitCode::from(2),
        "a rebalance is due"
    );
    for wrong in ["nonsense", "set_weight", "create 40 3 1", "rebalance --nonsense"] {
        assert_eq!(desk.outcome(100, wrong, "").0, ExitCode::from(2), "{wrong}");
    }
    assert_eq!(desk.outcome(100, "--help", "").0, ExitCode::SUCCESS);
}

#[test]
fn a_dry_run_saves_nothing_and_says_the_same() {
    let desk = swift_style();
    desk.run("set_weight d3 100").unwrap();
    let before = std::fs::read(desk.path("test.builder")).unwrap();
    let (dry_code, dry) = desk.outcome(200, "rebalance --dry-run --seed x --json", "");
    assert_eq!(std::fs::read(desk.path("test.builder")).unwrap(), before);
    let (code, real) = desk.outcome(200, "rebalance --seed x --json", "");
    let (dry, real) = (json(&dry), json(&real));
    assert_eq!(
        (dry_code, &dry["moves"], &dry["balance"]),
        (code, &real["moves"], &real["balance"])
    );
    assert_eq!(
        (dry["saved"].as_bool(), real["saved"].as_bool()),
        (Some(false), Some(true))
    );
    let ring = Ring::from_bytes(&std::fs::read(desk.path("test.ring.gz")).unwrap()).unwrap();
    assert_eq!(ring.version(), real["version"].as_u64().unwrap());
    assert!(desk.path("backups").join("720000.test.ring.gz").exists());
}

#[test]
fn what_is_not_worth_saving_is_not_saved_unless_forced() {
    let desk = Desk::with_devices(3);
    desk.run("rebalance").unwrap();
    let before = std::fs::read(desk.path("test.builder")).unwrap();
    let (code, text) = desk.outcome(300, "rebalance", "");
    assert!(
        code == ExitCode::from(1) && text.contains("there is no need to"),
        "{text}"
    );
    assert_eq!(std::fs::read(desk.path("test.builder")).unwrap(), before);
    desk.run_at(300, "rebalance --force", "").unwrap();
    assert_ne!(std::fs::read(desk.path("test.builder")).unwrap(), before);
    desk.run("set_weight z2 100 ").unwrap();
    assert_eq!(desk.outcome(300, "rebalance", "").0, ExitCode::from(1), "nothing moves");
    desk.run("write_ring").unwrap();
}

#[test]
fn the_dispersion_report_names_the_worst_domain() {
    let desk = swift_style();
    let (code, text) = desk.outcome(100, "dispersion -v --level zone", "");
    assert!(
        code == ExitCode::from(1) && text.contains("(r1z3)") && text.contains("required overload"),
        "{text}"
    );
    assert!(!text.contains("r1z3-"), "zones only: {text}");
    let report = json(&desk.outcome(100, "dispersion --json -v r1z3", "").1);
    assert!(
        report["domains"]
            .as_array()
            .unwrap()
            .iter()
            .all(|row| row["name"].as_str().unwrap().starts_with("r1z3"))
    );
    let parts = json(&desk.run("list_parts z3 --json").unwrap());
    assert_eq!(parts[0]["matches"], 2);
    assert!(desk.run("list_parts d0").unwrap().starts_with("Partition   Matches\n"));
}

#[test]
fn a_lost_builder_is_made_anew_from_its_ring() {
    let desk = swift_style();
    let before = json(&desk.run("show --json").unwrap());
    let remake = || {
        let (mut out, mut complaints) = (Vec::new(), Vec::new());
        let mut console = Console {
            out: &mut out,
            complaints: &mut complaints,
            answers: &mut io::empty(),
        };
        let ring = desk.path("test.ring.gz");
        let words = ["ring-builder", ring.to_str().unwrap(), "write_builder", "2"].map(OsString::from);
        let code = main(words, 0, &mut console);
        (code, String::from_utf8([out, complaints].concat()).unwrap())
    };
    let (code, text) = remake();
    assert!(code == ExitCode::from(2) && text.contains("exists already"), "{text}");
    std::fs::remove_file(desk.path("test.builder")).unwrap();
    assert_eq!(remake().0, ExitCode::SUCCESS);
    let after = json(&desk.run("show --json").unwrap());
    assert_eq!(before["devices"], after["devices"]);
}

#[test]
fn a_scenario_is_played_and_every_rebalance_measured() {
    let desk = Desk::new();
    let scenario = r#"{"part_power": 6, "replicas": 2, "overload": 0, "random_seed": 3, "rounds": [
        [["add", "r1z1-10.0.0.1:6200/d0", 100], ["add", "z2-10.0.0.2:6200/d0", 100], ["add", "r1z3-10.0.0.3:6200/d0", "100"]],
        [["remove", 1]], [["add", "r1z2-10.0.0.2:6200/d9", 100], ["set_weight", 1, 50], ["set_overload", 0.1]]]}"#;
    std::fs::write(desk.path("test.builder"), scenario).unwrap();
    let rounds = json(&desk.run("analyze --json").unwrap())["rounds"]
        .as_array()
        .unwrap()
        .clone();
    assert_eq!(
        (rounds.len(), &rounds[0][0]["moved"], &rounds[1][0]["removed"]),
        (3, &128.into(), &1.into())
    );
    assert!(
        rounds[2][0]["moved"].as_u64().unwrap() > 0,
        "the lowest free id is given first"
    );
    assert!(desk.run("analyze").unwrap().contains("round 3\n"));
    assert!(desk.run("analyze --check").unwrap().contains("3 rounds"));
    for (bad, said) in [
        (
            scenario.replace("\"remove\", 1", "\"remove\", 7"),
            "round 2, command 1: there is no device 7",
        ),
        (scenario.replace("set_overload", "set_fire"), "is no command"),
        (scenario.replace("\"rounds\"", "\"rows\""), "is no scenario"),
    ] {
        std::fs::write(desk.path("test.builder"), bad).unwrap();
        let complaint = desk.run("analyze").unwrap_err();
        assert!(complaint.contains(said), "{complaint}");
    }
}
