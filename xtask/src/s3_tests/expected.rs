//! The list of tests that are expected to fail, and the comparison with what happened.
//!
//! ```text
//! # a comment
//! [group] why these fail
//! test_s3.py::test_name
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, bail};

/// What a test's name says about its subject, looked at in this order.
const GROUPS: [(&str, &[&str]); 25] = [
    ("s3select", &["test_s3select"]),
    ("bucket logging", &["logging"]),
    ("object lock", &["object_lock"]),
    ("restore, cloud tiers", &["restore", "cloud"]),
    ("lifecycle", &["lifecycle"]),
    ("encryption", &["sse_", "encrypt", "_enc_", "noenc", "kms"]),
    ("checksums", &["checksum", "cksum"]),
    ("object attributes", &["object_attributes"]),
    (
        "public access block",
        &[
            "public_block",
            "block_public",
            "ignore_public",
            "public_access",
            "policy_status",
            "publicpolicy",
            "undefined_public",
            "get_public_acl",
        ],
    ),
    ("ownership", &["ownership", "expected_bucket_owner"]),
    ("bucket policy", &["policy"]),
    ("browser forms", &["post_object"]),
    ("tagging", &["tagging", "_tags"]),
    ("CORS", &["cors"]),
    ("headers and signatures", &["test_headers"]),
    ("multipart", &["multipart", "upload_part", "abort_multi"]),
    (
        "conditions",
        &[
            "ifmatch",
            "ifnone",
            "ifmod",
            "ifunmod",
            "if_match",
            "if_none",
            "conditional",
            "if_last_modified",
            "if_size",
        ],
    ),
    ("access lists", &["acl", "grant", "access_bucket"]),
    ("anonymous, presigned", &["raw_", "anon", "presigned", "x_amz_expires"]),
    ("versions", &["version"]),
    ("copies", &["copy"]),
    (
        "listings",
        &["bucket_list", "objects_list", "basic_key_count", "listv2"],
    ),
    ("ranges, atomicity", &["range", "atomic"]),
    ("buckets", &["bucket", "get_location"]),
    ("objects", &[""]),
];

fn group_of(test: &str) -> &'static str {
    let found = GROUPS
        .iter()
        .find(|(_, words)| words.iter().any(|word| test.contains(word)));
    found.map_or("objects", |(group, _)| group)
}

/// What happened to one test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    test: String,
    outcome: String,
    reason: String,
}

impl Outcome {
    /// Reads what the pytest plugin wrote.
    pub fn read_all(text: &str) -> Vec<Self> {
        let read = |line: &str| {
            let mut parts = line.splitn(3, '\t');
            let (outcome, test, reason) = (parts.next()?, parts.next()?, parts.next().unwrap_or_default());
            Some(Self {
                test: test.trim_start_matches("s3tests/functional/").to_owned(),
                outcome: outcome.to_owned(),
                reason: reason.to_owned(),
            })
        };
        text.lines().filter_map(read).collect()
    }
}

/// The checked-in list: a test's name, and the group it stands in.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Expected(BTreeMap<String, String>);

impl Expected {
    /// Reads the list.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        Self::parse(&text)
    }

    fn parse(text: &str) -> anyhow::Result<Self> {
        let (mut group, mut tests) = (None, BTreeMap::new());
        for line in text.lines().map(str::trim) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if let Some((name, why)) = line.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
                if why.trim().is_empty() {
                    bail!("the group {name} gives no reason");
                }
                group = Some(name.to_owned());
            } else {
                let group = group.clone().with_context(|| format!("{line} stands in no group"))?;
                if tests.insert(line.to_owned(), group).is_some() {
                    bail!("{line} is listed twice");
                }
            }
        }
        Ok(Self(tests))
    }
}

/// The comparison.
pub struct Verdict {
    /// Numbers by group.
    pub table: String,
    /// Differences from the list, a line each.
    pub complaints: Vec<String>,
}

#[derive(Default)]
struct Count {
    passed: usize,
    failed: usize,
    skipped: usize,
}

impl Count {
    fn add(&mut self, outcome: &str) {
        match outcome {
            "passed" => self.passed += 1,
            "skipped" => self.skipped += 1,
            _ => self.failed += 1,
        }
    }

    fn row(&self, name: &str) -> String {
        let all = self.passed + self.failed + self.skipped;
        format!(
            "| {name} | {all} | {} | {} | {} |\n",
            self.passed, self.failed, self.skipped
        )
    }
}

impl Verdict {
    /// Compares; with `some`, tests that did not run are not missed.
    pub fn of(expected: &Expected, outcomes: &[Outcome], some: bool) -> Self {
        let (mut total, mut groups) = (Count::default(), BTreeMap::<_, Count>::new());
        let mut complaints = Vec::new();
        for Outcome { test, outcome, reason } in outcomes {
            total.add(outcome);
            groups.entry(group_of(test)).or_default().add(outcome);
            match (outcome.as_str(), expected.0.get(test)) {
                ("passed", Some(group)) => complaints.push(format!("passes, but is listed under {group}: {test}")),
                ("failed", None) => complaints.push(format!("fails, but is not listed: {test}: {reason}")),
                _ => {}
            }
        }
        if !some {
            let ran: BTreeSet<&String> = outcomes.iter().map(|outcome| &outcome.test).collect();
            let missing = expected.0.keys().filter(|test| !ran.contains(test));
            complaints.extend(missing.map(|test| format!("is listed, but did not run: {test}")));
        }
        let mut table = String::from("| group | tests | passed | failed | skipped |\n|---|---|---|---|---|\n");
        for (group, count) in &groups {
            table.push_str(&count.row(group));
        }
        table.push_str(&total.row("**all**"));
        Self { table, complaints }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "# why\n[acl] not built\ntest_s3.py::test_acl\n";

    fn verdict(outcomes: &str, some: bool) -> Vec<String> {
        let expected = Expected::parse(LIST).expect("well formed");
        Verdict::of(&expected, &Outcome::read_all(outcomes), some).complaints
    }

    #[test]
    fn every_difference_is_a_complaint() {
        let listed = "failed\ts3tests/functional/test_s3.py::test_acl\t501\n";
        assert!(verdict(listed, false).is_empty());
        assert_eq!(verdict("passed\ttest_s3.py::test_acl\t\n", false).len(), 1);
        assert_eq!(
            verdict(&format!("{listed}failed\ttest_s3.py::test_x\tboom\n"), false).len(),
            1
        );
        assert!(verdict(&format!("{listed}skipped\ttest_s3.py::test_x\tno\n"), false).is_empty());
        assert_eq!(verdict("", false).len(), 1);
        assert!(verdict("", true).is_empty());
    }

    #[test]
    fn a_list_without_reasons_is_refused() {
        assert!(Expected::parse("[acl]\nx").is_err());
        assert!(Expected::parse("x").is_err());
        assert!(Expected::parse("[acl] why\nx\nx").is_err());
    }

    #[test]
    fn groups_come_from_names() {
        assert_eq!(group_of("test_s3.py::test_bucket_policy_acl"), "bucket policy");
        assert_eq!(group_of("test_s3.py::test_object_write_file"), "objects");
    }
}
