//! What a page costs: rows visited, counted. Time is measured elsewhere; here the counts must not depend on what a page
//! does not show.

use std::cell::Cell;

use bytes::Bytes;

use crate::apply::tests::{BUCKET, TestShard, delete, object, put_inline, tag};
use crate::command::{Command, Condition, Envelope, NewBody};
use crate::model::{VersionSelector, Versioning};
use crate::query::{Found, ListObjects, ListVersions, Query, answer};
use crate::rows::{Family, MemoryRows, ReadRows, RowsError, Visit};

/// Rows that count what is read of them.
struct Counting<'a> {
    rows: &'a MemoryRows,
    read: Cell<usize>,
}

impl ReadRows for Counting<'_> {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Bytes>, RowsError> {
        self.read.set(self.read.get() + 1);
        self.rows.get(family, key)
    }

    fn scan(
        &self,
        family: Family,
        from: &[u8],
        until: Option<&[u8]>,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> Visit,
    ) -> Result<(), RowsError> {
        self.rows.scan(family, from, until, &mut |key, value| {
            self.read.set(self.read.get() + 1);
            visit(key, value)
        })
    }
}

fn cost(shard: &TestShard, query: Query) -> (usize, Found) {
    let counting = Counting {
        rows: &shard.rows,
        read: Cell::new(0),
    };
    let found = answer(&counting, &query).unwrap().unwrap();
    (counting.read.get(), found)
}

fn all(shard: &mut TestShard, commands: impl Iterator<Item = Command>) {
    let envelopes: Vec<Envelope> = commands.map(|command| shard.envelope(command)).collect();
    assert!(shard.apply(envelopes).0.iter().all(Result::is_ok));
}

fn list(delimiter: bool, limit: usize) -> Query {
    let delimiter = delimiter.then(|| b"/".to_vec());
    Query::ListObjects(ListObjects {
        bucket: BUCKET,
        delimiter,
        limit,
        ..Default::default()
    })
}

#[test]
fn a_folded_prefix_costs_one_row_however_many_keys_it_has() {
    let mut shard = TestShard::keys();
    let keys = (0..5).flat_map(|folder| (0..400).map(move |file| format!("{folder}/{file:04}")));
    all(&mut shard, keys.map(|key| put_inline(key.as_bytes(), b"x")));
    let (read, found) = cost(&shard, list(true, 100));
    assert!(matches!(found, Found::Objects(page) if page.prefixes.len() == 5 && !page.more));
    assert!(read <= 5 + 1, "{read} rows were read");
}

#[test]
fn a_page_behind_markers_and_versions_costs_the_page() {
    let mut shard = TestShard::keys();
    all(
        &mut shard,
        std::iter::once(Command::SetVersioning {
            bucket: BUCKET,
            versioning: Versioning::Enabled,
        }),
    );
    all(
        &mut shard,
        (0..1000).map(|number| delete(format!("a{number:04}").as_bytes(), VersionSelector::Latest)),
    );
    all(&mut shard, (0..1000).map(|_| put_inline(b"b", b"x")));
    all(
        &mut shard,
        (0..20).map(|number| put_inline(format!("c{number:02}").as_bytes(), b"x")),
    );
    let (read, found) = cost(&shard, list(false, 10));
    assert!(matches!(found, Found::Objects(page) if page.entries.len() == 10 && page.more));
    assert!(read <= 10 + 2, "{read} rows were read");
    let versions = |after: Option<&[u8]>, after_version| {
        Query::ListVersions(ListVersions {
            bucket: BUCKET,
            after: after.map(<[u8]>::to_vec),
            after_version,
            limit: 10,
            ..Default::default()
        })
    };
    for query in [
        versions(None, None),
        versions(Some(b"b"), Some(crate::ids::Seq(1500))),
        versions(Some(b"b"), None),
    ] {
        let (read, found) = cost(&shard, query);
        assert!(matches!(found, Found::Versions(page) if page.entries.len() == 10 && page.more));
        // Two walks of a page and one row more, the row that tells there is more, configuration and the first key's latest.
        assert!(read <= 2 * (10 + 2) + 3, "{read} rows were read");
    }
}

#[test]
fn mem_1_a_page_of_large_rows_is_short() {
    let mut shard = TestShard::keys();
    let heavy = (0..200).map(|number| {
        let mut object = object(NewBody::Inline(Bytes::new()), tag(1));
        object.user = vec![("m".to_owned(), "x".repeat(30_000))];
        let key = format!("{number:03}").into_bytes();
        Command::PutObject {
            bucket: BUCKET,
            key,
            condition: Condition::Always,
            object,
        }
    });
    all(&mut shard, heavy);
    let (mut after, mut seen) = (None, 0);
    loop {
        let query = ListObjects {
            bucket: BUCKET,
            after,
            limit: 10_000,
            ..Default::default()
        };
        let (_, Found::Objects(page)) = cost(&shard, Query::ListObjects(query)) else {
            panic!("objects are found")
        };
        assert!(!page.entries.is_empty() && page.entries.len() <= 141);
        seen += page.entries.len();
        after = page.entries.last().map(|(key, _)| key.clone());
        if !page.more {
            break;
        }
    }
    assert_eq!(seen, 200);
}

#[test]
fn a_put_into_an_unversioned_bucket_reads_few_rows() {
    let mut shard = TestShard::keys();
    shard.done(put_inline(b"k", b"x"));
    let commands = vec![
        shard.envelope(put_inline(b"k", b"y")),
        shard.envelope(put_inline(b"l", b"y")),
    ];
    let counting = Counting {
        rows: &shard.rows,
        read: Cell::new(0),
    };
    let batch = crate::command::Batch {
        stamp_ms: shard.now_ms,
        commands,
    };
    crate::apply::apply_batch(&counting, &batch, crate::apply::ShardKind::Keys).unwrap();
    // Counters, configuration and totals once a batch, the purge's first request; request and current once a put.
    assert_eq!(counting.read.get(), 3 + 1 + 2 * 2);
}
