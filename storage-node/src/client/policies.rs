//! Storage policies (DESIGN §3.4): each has a number, a name, a way to keep copies and a ring of its own.
//!
//! ```text
//! table "policies", key = policy id, 5 digits:   JSON of Policy
//! ```
//! Policy 0 is there from the start, without a record. A policy never changes and never goes: objects are stored under
//! it. Its rings do change, each policy's by itself, see `ring_state`.

use std::sync::Arc;

use metadata::ids::BlobId;
use metadata::model::{PolicyId, Record};
use parking_lot::RwLock;
use serde::{Deserialize, Serialize};

use crate::erasure::Code;

/// The table of policies.
pub const POLICIES_TABLE: &str = "policies";
/// The name of policy 0 where no edge shows it under another one.
pub const DEFAULT_POLICY: &str = "Policy-0";
/// The longest name, in bytes.
const NAME_BYTES_MAX: usize = 64;
/// The most copies of a chunk.
const COPIES_MAX: usize = 16;
const FORMAT: u32 = 1;
/// Storage classes that AWS has and this cluster has not
/// (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObject.html>).
pub const AWS_CLASSES: [&str; 12] = [
    "REDUCED_REDUNDANCY",
    "STANDARD_IA",
    "ONEZONE_IA",
    "INTELLIGENT_TIERING",
    "GLACIER",
    "DEEP_ARCHIVE",
    "OUTPOSTS",
    "GLACIER_IR",
    "SNOW",
    "EXPRESS_ONEZONE",
    "FSX_OPENZFS",
    "FSX_ONTAP",
];
/// Names that, with [`AWS_CLASSES`], mean something else to S3's clients.
const RESERVED: [&str; 2] = ["STANDARD", "DEFAULT"];

/// How a policy keeps a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PolicyKind {
    /// Whole, once on each of so many devices.
    Replicated {
        /// How many.
        copies: usize,
    },
    /// As fragments, one on each of so many devices, see [`crate::erasure`].
    ErasureCoded {
        /// As many give a chunk back.
        data: usize,
        /// As many may be lost.
        parity: usize,
    },
}

impl PolicyKind {
    /// How many devices the ring names for a partition.
    #[must_use]
    pub fn slots(self) -> usize {
        match self {
            Self::Replicated { copies } => copies,
            Self::ErasureCoded { data, parity } => data.saturating_add(parity),
        }
    }

    /// The code of an erasure coded policy.
    #[must_use]
    pub fn code(self) -> Option<Code> {
        match self {
            Self::Replicated { .. } => None,
            Self::ErasureCoded { data, parity } => Code::new(data, parity),
        }
    }

    /// In a few words.
    #[must_use]
    pub fn words(self) -> String {
        match self {
            Self::Replicated { copies: 1 } => "1 copy".to_owned(),
            Self::Replicated { copies } => format!("{copies} copies"),
            Self::ErasureCoded { data, parity } => format!("{data} data and {parity} parity fragments"),
        }
    }

    fn check(self) -> Result<(), String> {
        match self {
            Self::Replicated { copies } if (1..=COPIES_MAX).contains(&copies) => Ok(()),
            Self::Replicated { .. } => Err(format!("a policy keeps 1 to {COPIES_MAX} copies")),
            Self::ErasureCoded { .. } if self.code().is_some() => Ok(()),
            Self::ErasureCoded { .. } => Err(format!(
                "an erasure coded policy has 2 or more data fragments, 1 or more of parity, and at most {} together",
                BlobId::FRAGMENTS_MAX
            )),
        }
    }
}

/// A storage policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// The format version, 1.
    pub format: u32,
    /// Its number: rings, streams and blobs name it.
    pub id: u16,
    /// Its name, as clients and operators use it.
    pub name: String,
    /// How it keeps chunks.
    pub kind: PolicyKind,
}

impl Policy {
    /// A policy as it would be recorded.
    ///
    /// # Errors
    /// A sentence, when the name or the numbers are not fit.
    pub fn new(id: PolicyId, name: &str, kind: PolicyKind) -> Result<Self, String> {
        let fit = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(fit) {
            return Err(format!(
                "a policy's name has 1 to {NAME_BYTES_MAX} letters, digits, dashes, underscores and dots"
            ));
        }
        let mut taken = RESERVED.iter().chain(&AWS_CLASSES);
        if taken.any(|word| word.eq_ignore_ascii_case(name)) {
            return Err(format!(
                "`{name}` is a storage class of AWS and means something else to clients"
            ));
        }
        if id.0 >= BlobId::POLICIES {
            return Err(format!("a cluster has at most {} policies", BlobId::POLICIES));
        }
        kind.check()?;
        Ok(Self {
            format: FORMAT,
            id: id.0,
            name: name.to_owned(),
            kind,
        })
    }

    /// Reads a record.
    ///
    /// # Errors
    /// A sentence, when a newer release wrote it, or nobody.
    pub fn decode(value: &[u8]) -> Result<Self, String> {
        // The format first: another one may have other fields.
        let fields: serde_json::Value = serde_json::from_slice(value).map_err(|e| e.to_string())?;
        match fields.get("format").and_then(serde_json::Value::as_u64) {
            Some(format) if format == u64::from(FORMAT) => {}
            _ => return Err("a newer release made this policy".to_owned()),
        }
        let policy: Self = serde_json::from_value(fields).map_err(|e| e.to_string())?;
        Self::new(policy.id(), &policy.name, policy.kind)
    }

    /// The record.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a policy has nothing JSON cannot write")
    }

    /// Its number.
    #[must_use]
    pub fn id(&self) -> PolicyId {
        PolicyId(self.id)
    }
}

/// The key of a policy's record.
#[must_use]
pub fn policy_key(id: PolicyId) -> String {
    format!("{:05}", id.0)
}

/// The policies as this process knows them; policy 0 is not among them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicyList(Vec<Policy>);

impl PolicyList {
    /// From the records of [`POLICIES_TABLE`]; those that cannot be read are left out.
    #[must_use]
    pub fn read(records: &[(String, Record)]) -> Self {
        let read = records.iter().filter_map(|(key, record)| {
            let policy = Policy::decode(&record.value);
            policy
                .inspect_err(|why| tracing::error!(policy = key, why, "a recorded policy cannot be read"))
                .ok()
        });
        Self(read.collect())
    }

    /// All, by number.
    pub fn iter(&self) -> impl Iterator<Item = &Policy> {
        self.0.iter()
    }

    /// The one with this number.
    #[must_use]
    pub fn get(&self, id: PolicyId) -> Option<&Policy> {
        self.0.iter().find(|policy| policy.id() == id)
    }

    /// The one of this name, whatever the case of its letters.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&Policy> {
        self.0.iter().find(|policy| policy.name.eq_ignore_ascii_case(name))
    }

    /// Adds one, for planes in memory.
    pub fn push(&mut self, policy: Policy) {
        self.0.push(policy);
    }
}

/// The policies of a process, replaced whenever their records change.
#[derive(Default)]
pub(super) struct KnownPolicies(RwLock<Arc<PolicyList>>);

impl KnownPolicies {
    pub(super) fn list(&self) -> Arc<PolicyList> {
        Arc::clone(&self.0.read())
    }

    pub(super) fn take(&self, records: &[(String, Record)]) {
        *self.0.write() = Arc::new(PolicyList::read(records));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THREE: PolicyKind = PolicyKind::Replicated { copies: 3 };

    #[test]
    fn names_that_mislead_and_numbers_that_do_not_fit_are_refused() {
        for bad in ["", "a b", "standard", "GLACIER", "ü", "a/b", &"x".repeat(65)] {
            assert!(Policy::new(PolicyId(1), bad, THREE).is_err(), "{bad}");
        }
        assert!(Policy::new(PolicyId(128), "gold", THREE).is_err());
        assert!(Policy::new(PolicyId(1), "gold", PolicyKind::Replicated { copies: 0 }).is_err());
        for (data, parity) in [(1, 2), (4, 0), (30, 2), (usize::MAX, 1)] {
            let kind = PolicyKind::ErasureCoded { data, parity };
            assert!(Policy::new(PolicyId(1), "gold", kind).is_err(), "{kind:?}");
        }
        assert!(Policy::new(PolicyId(127), "gold-2.x_y", THREE).is_ok());
    }

    #[test]
    fn a_record_is_read_back_and_one_of_another_format_is_not_guessed_at() {
        let gold = Policy::new(PolicyId(1), "gold", THREE).unwrap();
        assert_eq!(Policy::decode(&gold.encode()), Ok(gold.clone()));
        let text = String::from_utf8(gold.encode()).unwrap();
        assert!(Policy::decode(text.replace("\"format\":1", "\"format\":2").as_bytes()).is_err());
        let record = |value: &str| Record {
            version: 1,
            value: value.to_owned().into(),
        };
        let kind = PolicyKind::ErasureCoded { data: 4, parity: 2 };
        let coded = Policy::new(PolicyId(2), "ec-4-2", kind).unwrap();
        assert_eq!(Policy::decode(&coded.encode()), Ok(coded));
        let list = PolicyList::read(&[("00001".into(), record(&text)), ("00002".into(), record("{}"))]);
        assert_eq!(list.named("GOLD"), Some(&gold));
        assert_eq!((list.get(PolicyId(1)), list.get(PolicyId(2))), (Some(&gold), None));
    }
}
