//! Pages compared with a listing written in the most obvious way: sort everything, fold, cut.

use proptest::prelude::*;

use crate::apply::tests::{BUCKET, TestShard, delete, put_inline};
use crate::command::Command;
use crate::ids::{BucketId, MultipartId, Seq};
use crate::model::{Key, VersionSelector, Versioning};
use crate::query::{Found, ListObjects, ListUploads, ListVersions, Page, Query, VersionFound, answer};

const ALPHABET: [u8; 5] = [0, b'/', b'a', b'b', 0xFF];

fn key(bytes: std::ops::Range<usize>) -> impl Strategy<Value = Key> {
    prop::collection::vec(prop::sample::select(ALPHABET.as_slice()), bytes)
}

fn delimiter() -> impl Strategy<Value = Option<Key>> {
    prop_oneof![
        2 => Just(None),
        4 => Just(Some(b"/".to_vec())),
        1 => Just(Some(b"ab".to_vec())),
        1 => Just(Some(vec![0xFF])),
        1 => Just(Some(Vec::new())),
    ]
}

/// One line of a listing: a common prefix, or a key with a number that tells versions or uploads apart.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Line {
    Prefix(Key),
    Entry(Key, u128),
}

/// AWS's rules: keys with the prefix, folded, in order, after the marker, `limit` of them.
fn obvious(
    all: &[(Key, u128)],
    prefix: &[u8],
    delimiter: Option<&Key>,
    after: impl Fn(&Key, u128) -> bool,
    skipped: impl Fn(&Key) -> bool,
    limit: usize,
) -> (Vec<Line>, bool) {
    let mut lines: Vec<Line> = Vec::new();
    for (key, number) in all
        .iter()
        .filter(|(key, number)| key.starts_with(prefix) && after(key, *number))
    {
        let folded = delimiter
            .filter(|delimiter| !delimiter.is_empty())
            .and_then(|delimiter| {
                let rest = &key[prefix.len()..];
                let at = (0..rest.len()).find(|at| rest[*at..].starts_with(delimiter))?;
                Some(key[..prefix.len() + at + delimiter.len()].to_vec())
            });
        match folded {
            Some(common) if skipped(&common) || lines.contains(&Line::Prefix(common.clone())) => {}
            Some(common) => lines.push(Line::Prefix(common)),
            None => lines.push(Line::Entry(key.clone(), *number)),
        }
    }
    let more = limit > 0 && lines.len() > limit;
    lines.truncate(limit);
    (lines, more)
}

/// A page as lines in byte order, common prefixes among the keys.
fn lines<T>(page: &Page<(Key, T)>, number: impl Fn(&T) -> u128) -> Vec<Line> {
    let mut lines: Vec<Line> = page
        .entries
        .iter()
        .map(|(key, entry)| Line::Entry(key.clone(), number(entry)))
        .collect();
    assert!(page.entries.is_sorted_by(|a, b| a.0 <= b.0) && page.prefixes.is_sorted());
    for prefix in &page.prefixes {
        let at = lines
            .iter()
            .position(|line| matches!(line, Line::Entry(key, _) | Line::Prefix(key) if key > prefix));
        lines.insert(at.unwrap_or(lines.len()), Line::Prefix(prefix.clone()));
    }
    lines
}

fn marker(lines: &[Line]) -> Option<(Key, Option<u128>)> {
    lines.last().map(|line| match line {
        Line::Prefix(key) => (key.clone(), None),
        Line::Entry(key, number) => (key.clone(), Some(*number)),
    })
}

fn find(shard: &TestShard, query: Query) -> Found {
    answer(&shard.rows, &query).unwrap().unwrap()
}

fn objects(shard: &TestShard, list: &ListObjects) -> (Vec<Line>, bool) {
    match find(shard, Query::ListObjects(list.clone())) {
        Found::Objects(page) => (lines(&page, |_| 0), page.more),
        other => panic!("{other:?}"),
    }
}

fn versions(shard: &TestShard, list: &ListVersions) -> (Vec<Line>, bool) {
    match find(shard, Query::ListVersions(list.clone())) {
        Found::Versions(page) => (lines(&page, |version| u128::from(seq_of(version).0)), page.more),
        other => panic!("{other:?}"),
    }
}

fn seq_of(version: &VersionFound) -> Seq {
    match version {
        VersionFound::Object { object, .. } => object.seq,
        VersionFound::Marker { marker, .. } => marker.seq,
    }
}

fn uploads(shard: &TestShard, list: &ListUploads) -> (Vec<Line>, bool) {
    match find(shard, Query::ListUploads(list.clone())) {
        Found::Uploads(page) => (lines(&page, |upload| upload.id.0), page.more),
        other => panic!("{other:?}"),
    }
}

/// Two neighbours that no page may show.
fn surround(shard: &mut TestShard) {
    for bucket in [BucketId(BUCKET.0 - 1), BucketId(BUCKET.0 + 1)] {
        if let Command::PutObject {
            key, condition, object, ..
        } = put_inline(b"a", b"x")
        {
            shard.done(Command::PutObject {
                bucket,
                key,
                condition,
                object,
            });
        }
    }
}

fn create_upload(key: &[u8], id: u64) -> Command {
    Command::CreateUpload {
        bucket: BUCKET,
        key: key.to_vec(),
        upload: MultipartId(id.into()),
        owner: String::new(),
        attributes: Vec::new(),
        user: Vec::new(),
        tags: Vec::new(),
        checksum: None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    /// CON-2, KEY-1: any page is what AWS's rules say, and paging shows everything once.
    #[test]
    fn con_2_pages_of_objects(
        keys in prop::collection::btree_set(key(1..5), 0..24),
        prefix in key(0..3),
        delimiter in delimiter(),
        after in prop::option::of(key(0..5)),
        start_after in any::<bool>(),
        limit in 0..6_usize,
    ) {
        let mut shard = TestShard::keys();
        surround(&mut shard);
        for key in &keys {
            shard.done(put_inline(key, b"x"));
        }
        let all: Vec<_> = keys.into_iter().map(|key| (key, 0)).collect();
        let mut list = ListObjects { bucket: BUCKET, prefix, delimiter, after, start_after, limit };
        let later = |key: &Key, _| list.after.as_ref().is_none_or(|after| key > after);
        let shown = |common: &Key| !start_after && list.after.as_ref().is_some_and(|after| after.starts_with(common));
        let expected = obvious(&all, &list.prefix, list.delimiter.as_ref(), later, shown, limit);
        prop_assert_eq!(objects(&shard, &list), expected, "CON-2: every acknowledged key is listed, once");

        (list.after, list.start_after, list.limit) = (None, false, limit.max(1));
        let (whole, _) = obvious(&all, &list.prefix, list.delimiter.as_ref(), |_, _| true, |_| false, usize::MAX);
        let mut paged = Vec::new();
        for pages in 0.. {
            prop_assert!(pages <= whole.len(), "paging does not end");
            let (page, more) = objects(&shard, &list);
            prop_assert_eq!(page.len() == list.limit, more || paged.len() + page.len() == whole.len() && !page.is_empty() && page.len() == list.limit);
            list.after = marker(&page).map(|(key, _)| key).or(list.after);
            paged.extend(page);
            if !more {
                break;
            }
        }
        prop_assert_eq!(paged, whole);
    }

    #[test]
    fn con_2_pages_of_versions(
        writes in prop::collection::vec((key(1..4), 0..6_u8), 0..30),
        prefix in key(0..3),
        delimiter in delimiter(),
        limit in 1..6_usize,
        suspended in any::<bool>(),
    ) {
        let mut shard = TestShard::keys();
        surround(&mut shard);
        shard.done(put_inline(b"a", b"null"));
        shard.done(Command::SetVersioning { bucket: BUCKET, versioning: Versioning::Enabled });
        for (at, (key, kind)) in writes.iter().enumerate() {
            match kind {
                0 => shard.done(delete(key, VersionSelector::Latest)),
                1 => shard.done(delete(key, VersionSelector::Id(Seq(1 + at as u64 / 2)))),
                _ => shard.done(put_inline(key, b"x")),
            };
            if suspended && at == writes.len() / 2 {
                shard.done(Command::SetVersioning { bucket: BUCKET, versioning: Versioning::Suspended });
            }
        }
        let mut list = ListVersions { bucket: BUCKET, limit: usize::MAX, ..Default::default() };
        let (everything, more) = versions(&shard, &list);
        prop_assert!(!more);
        let all: Vec<_> = everything.iter().map(|line| match line {
            Line::Entry(key, number) => (key.clone(), *number),
            Line::Prefix(_) => panic!("nothing folds without a delimiter"),
        }).collect();
        prop_assert!(all.is_sorted_by(|a, b| (&a.0, std::cmp::Reverse(a.1)) < (&b.0, std::cmp::Reverse(b.1))));
        let rows = |family| shard.rows.family(family).filter(|(name, _)| name.starts_with(&BUCKET.0.to_be_bytes())).count();
        prop_assert_eq!(all.len(), rows(crate::rows::Family::Current) + rows(crate::rows::Family::Versions));

        list = ListVersions { bucket: BUCKET, prefix, delimiter, limit, ..Default::default() };
        let (whole, _) = obvious(&all, &list.prefix, list.delimiter.as_ref(), |_, _| true, |_| false, usize::MAX);
        let mut paged = Vec::new();
        for pages in 0.. {
            prop_assert!(pages <= whole.len(), "paging does not end");
            let (page, more) = versions(&shard, &list);
            prop_assert!(page.len() <= limit && (page.len() == limit || !more));
            if let Some((key, seq)) = marker(&page) {
                list.after = Some(key);
                list.after_version = seq.map(|seq| Seq(u64::try_from(seq).unwrap()));
            }
            paged.extend(page);
            if !more {
                break;
            }
        }
        prop_assert_eq!(paged, whole);
        check_latest(&shard, &all, limit)?;
    }

    #[test]
    fn con_2_pages_of_uploads(
        creates in prop::collection::vec(key(1..4), 0..20),
        prefix in key(0..3),
        delimiter in delimiter(),
        after in prop::option::of(key(0..4)),
        limit in 1..6_usize,
    ) {
        let mut shard = TestShard::keys();
        for (at, key) in creates.iter().enumerate() {
            shard.done(create_upload(key, 100 - at as u64));
        }
        let mut all: Vec<_> = creates.iter().enumerate().map(|(at, key)| (key.clone(), 100 - at as u128)).collect();
        all.sort();
        let mut list = ListUploads { bucket: BUCKET, prefix, delimiter, after, after_upload: None, limit };
        let later = |key: &Key, _| list.after.as_ref().is_none_or(|after| key > after);
        let shown = |common: &Key| list.after.as_ref().is_some_and(|after| after.starts_with(common));
        let expected = obvious(&all, &list.prefix, list.delimiter.as_ref(), later, shown, limit);
        prop_assert_eq!(uploads(&shard, &list), expected);

        list.after = None;
        let (whole, _) = obvious(&all, &list.prefix, list.delimiter.as_ref(), |_, _| true, |_| false, usize::MAX);
        let mut paged = Vec::new();
        for pages in 0.. {
            prop_assert!(pages <= whole.len(), "paging does not end");
            let (page, more) = uploads(&shard, &list);
            if let Some((key, id)) = marker(&page) {
                list.after = Some(key);
                list.after_upload = id.map(MultipartId);
            }
            paged.extend(page);
            if !more {
                break;
            }
        }
        prop_assert_eq!(paged, whole);
    }
}

/// Exactly the newest version of each key is the latest, on whatever page it stands.
fn check_latest(shard: &TestShard, all: &[(Key, u128)], limit: usize) -> Result<(), TestCaseError> {
    let mut list = ListVersions {
        bucket: BUCKET,
        limit,
        ..Default::default()
    };
    for pages in 0.. {
        prop_assert!(pages <= all.len(), "paging does not end");
        let Found::Versions(page) = find(shard, Query::ListVersions(list.clone())) else {
            panic!("versions are found")
        };
        for (key, version) in &page.entries {
            let newest = all.iter().find(|(other, _)| other == key).map(|(_, seq)| *seq);
            let latest = match version {
                VersionFound::Object { latest, .. } | VersionFound::Marker { latest, .. } => *latest,
            };
            prop_assert_eq!(
                latest,
                newest == Some(u128::from(seq_of(version).0)),
                "{:?} {:?}",
                key,
                version
            );
        }
        if let Some((key, version)) = page.entries.last() {
            (list.after, list.after_version) = (Some(key.clone()), Some(seq_of(version)));
        }
        if !page.more {
            break;
        }
    }
    Ok(())
}

#[test]
fn a_version_promoted_between_two_pages_is_still_shown() {
    let mut shard = TestShard::keys();
    shard.done(Command::SetVersioning {
        bucket: BUCKET,
        versioning: Versioning::Enabled,
    });
    shard.done(put_inline(b"k", b"1"));
    shard.done(put_inline(b"k", b"2"));
    let mut list = ListVersions {
        bucket: BUCKET,
        limit: 1,
        ..Default::default()
    };
    assert_eq!(versions(&shard, &list), (vec![Line::Entry(b"k".to_vec(), 2)], true));
    shard.done(delete(b"k", VersionSelector::Id(Seq(2))));
    (list.after, list.after_version) = (Some(b"k".to_vec()), Some(Seq(2)));
    let Found::Versions(page) = find(&shard, Query::ListVersions(list)) else {
        panic!("versions are found")
    };
    assert!(matches!(&page.entries[..], [(_, VersionFound::Object { object, latest: true })] if object.seq == Seq(1)));
}
