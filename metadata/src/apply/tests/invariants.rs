//! Recounts everything a shard keeps counted, from the rows themselves.

use std::collections::{BTreeMap, BTreeSet};

use serde::de::DeserializeOwned;

use crate::codec;
use crate::ids::{BucketId, MultipartId, Seq, WriteId};
use crate::keys;
use crate::model::{Body, ManifestRow, ObjectRow, PartRow, RefRow, Totals, VersionRow};
use crate::read;
use crate::rows::{Family, MemoryRows};
use crate::values::{NullRow, ShortRow};

/// Checks every invariant of a key shard's rows.
pub(crate) fn check(rows: &MemoryRows) {
    let objects = check_keys(rows);
    check_inline(rows, &objects);
    check_references(rows, &objects);
    check_short(rows);
    check_reclaim(rows);
}

/// A refusal leaves everything but time and the remembered request as it was.
pub(crate) fn nothing_changed(before: &MemoryRows, after: &MemoryRows) {
    for family in Family::ALL {
        if family == Family::Requests {
            continue;
        }
        if family == Family::Meta {
            let (mut before, after) = (read::counters(before).unwrap(), read::counters(after).unwrap());
            before.time_ms = after.time_ms;
            assert_eq!(before, after);
            continue;
        }
        assert!(before.family(family).eq(after.family(family)), "{family:?} changed");
    }
}

fn all<T: DeserializeOwned>(rows: &MemoryRows, family: Family) -> Vec<(Vec<u8>, T)> {
    rows.family(family)
        .map(|(key, value)| (key.to_vec(), codec::decode_row(value).unwrap()))
        .collect()
}

fn bucket_of(name: &[u8]) -> BucketId {
    BucketId(u64::from_be_bytes(name[..8].try_into().unwrap()))
}

type Place = (BucketId, Vec<u8>, Seq);

/// Order and places of versions, null pointers, totals. Answers all objects.
fn check_keys(rows: &MemoryRows) -> BTreeMap<Place, ObjectRow> {
    let mut objects = BTreeMap::new();
    let mut totals: BTreeMap<BucketId, Totals> = BTreeMap::new();
    let mut newest_noncurrent: BTreeMap<(BucketId, Vec<u8>), VersionRow> = BTreeMap::new();
    let mut nulls = BTreeMap::new();
    for (name, row) in all::<VersionRow>(rows, Family::Versions) {
        let (key, seq) = keys::parts_of_version(&name).unwrap();
        let bucket = bucket_of(&name);
        assert_eq!(seq, row.seq(), "a version stands at its place");
        if row.is_null() {
            assert!(
                nulls.insert((bucket, key.clone()), seq).is_none(),
                "KEY-1: one null version a key"
            );
        }
        let total = totals.entry(bucket).or_default();
        total.noncurrent += 1;
        newest_noncurrent
            .entry((bucket, key.clone()))
            .or_insert_with(|| row.clone());
        if let VersionRow::Object(object) = row {
            total.noncurrent_bytes += object.size;
            objects.insert((bucket, key, seq), object);
        }
    }
    for (name, object) in all::<ObjectRow>(rows, Family::Current) {
        let (bucket, key) = (bucket_of(&name), name[8..].to_vec());
        if let Some(older) = newest_noncurrent.remove(&(bucket, key.clone())) {
            assert!(
                older.seq() < object.seq,
                "CON-1: the current object is the newest version"
            );
        }
        assert!(
            !(object.null && nulls.contains_key(&(bucket, key.clone()))),
            "one null version a key"
        );
        let total = totals.entry(bucket).or_default();
        total.objects += 1;
        total.bytes += object.size;
        objects.insert((bucket, key, object.seq), object);
    }
    for row in newest_noncurrent.values() {
        assert!(
            matches!(row, VersionRow::Marker(_)),
            "without a current object the newest version is a marker"
        );
    }
    check_nulls(rows, &nulls);
    check_totals(rows, totals);
    objects
}

fn check_nulls(rows: &MemoryRows, nulls: &BTreeMap<(BucketId, Vec<u8>), Seq>) {
    let found: BTreeMap<_, _> = all::<NullRow>(rows, Family::Nulls)
        .into_iter()
        .map(|(name, row)| {
            let mut version = name.clone();
            version.extend_from_slice(&[0; 8]);
            ((bucket_of(&name), keys::parts_of_version(&version).unwrap().0), row.seq)
        })
        .collect();
    assert_eq!(&found, nulls, "null pointers point to the noncurrent null versions");
}

fn check_totals(rows: &MemoryRows, mut totals: BTreeMap<BucketId, Totals>) {
    for (name, _) in rows.family(Family::Uploads).filter(|(name, _)| name[0] == 0) {
        totals.entry(bucket_of(&name[1..])).or_default().uploads += 1;
    }
    let mut sum = Totals::default();
    for (bucket, total) in &totals {
        assert_eq!(
            read::bucket_totals(rows, *bucket).unwrap(),
            *total,
            "totals of {bucket}"
        );
        sum.objects += total.objects;
        sum.bytes += total.bytes;
        sum.noncurrent += total.noncurrent;
        sum.noncurrent_bytes += total.noncurrent_bytes;
        sum.uploads += total.uploads;
    }
    for (name, _) in rows.family(Family::Buckets).filter(|(name, _)| name[8] == 1) {
        let total = read::bucket_totals(rows, bucket_of(name)).unwrap();
        assert_eq!(total, totals.get(&bucket_of(name)).copied().unwrap_or_default());
    }
    assert_eq!(read::counters(rows).unwrap().totals, sum);
}

fn check_inline(rows: &MemoryRows, objects: &BTreeMap<Place, ObjectRow>) {
    let kept: BTreeMap<Place, u64> = rows
        .family(Family::Inline)
        .map(|(name, value)| {
            let (key, seq) = keys::parts_of_version(name).unwrap();
            ((bucket_of(name), key, seq), value.len() as u64 - 1)
        })
        .collect();
    let wanted: BTreeMap<Place, u64> = objects
        .iter()
        .filter(|(_, object)| object.body == Body::Inline && object.size > 0)
        .map(|(place, object)| (place.clone(), object.size))
        .collect();
    assert_eq!(kept, wanted, "inline bytes stand for exactly the inline objects");
}

/// DUR-3: every reference is counted, and nothing else is.
fn check_references(rows: &MemoryRows, objects: &BTreeMap<Place, ObjectRow>) {
    let mut streams: BTreeMap<WriteId, u32> = BTreeMap::new();
    let mut manifests: BTreeMap<MultipartId, u32> = BTreeMap::new();
    for object in objects.values() {
        match &object.body {
            Body::Inline => {}
            Body::Stream(stream) => *streams.entry(stream.write).or_default() += 1,
            Body::Manifest(upload) => *manifests.entry(*upload).or_default() += 1,
        }
    }
    let mut parts: BTreeMap<MultipartId, Vec<(u16, u64)>> = BTreeMap::new();
    for (name, part) in all::<PartRow>(rows, Family::Parts) {
        let upload = MultipartId(u128::from_be_bytes(name[..16].try_into().unwrap()));
        parts.entry(upload).or_default().push((part.number, part.stream.size));
        *streams.entry(part.stream.write).or_default() += 1;
    }
    for (name, manifest) in all::<ManifestRow>(rows, Family::Manifests) {
        let upload = MultipartId(u128::from_be_bytes(name[..].try_into().unwrap()));
        assert_eq!(
            manifests.remove(&upload),
            Some(manifest.references),
            "DUR-3: references of {upload}"
        );
        assert_eq!(
            parts.remove(&upload),
            Some(manifest.parts),
            "a manifest has exactly its parts"
        );
    }
    assert!(manifests.is_empty(), "DUR-3: objects without manifest: {manifests:?}");
    let open: BTreeSet<MultipartId> = rows
        .family(Family::Uploads)
        .filter(|(name, _)| name[0] == 0)
        .map(|(name, _)| keys::parts_of_upload(name).unwrap().1)
        .collect();
    assert!(
        parts.keys().all(|upload| open.contains(upload)),
        "parts of no upload leak"
    );

    let refs = all::<RefRow>(rows, Family::Refs);
    let counted: BTreeMap<WriteId, u32> = refs
        .iter()
        .map(|(name, row)| (keys::write_of(name).unwrap(), row.references))
        .collect();
    assert_eq!(counted, streams, "DUR-3: references of streams");
    assert_eq!(read::counters(rows).unwrap().streams, streams.len() as u64);
}

fn check_reclaim(rows: &MemoryRows) {
    let queue: BTreeSet<WriteId> = rows
        .family(Family::Reclaim)
        .filter(|(name, _)| name[0] == 0)
        .map(|(name, _)| keys::reclaim_of(name).unwrap().write)
        .collect();
    let by_name = rows.family(Family::Reclaim).filter(|(name, _)| name[0] == 1);
    let by_name: BTreeSet<WriteId> = by_name.map(|(name, _)| keys::write_of(&name[1..]).unwrap()).collect();
    assert_eq!(queue, by_name);
    assert_eq!(read::counters(rows).unwrap().reclaim_streams, queue.len() as u64);
    for (name, _) in rows.family(Family::Refs) {
        let write = keys::write_of(name).unwrap();
        assert!(!queue.contains(&write), "DUR-3: {write} is referenced and in reclaim");
    }
    for (name, _) in rows.family(Family::Condemned) {
        let write = keys::write_of(name).unwrap();
        assert!(
            read::reference(rows, write).unwrap().is_none(),
            "DUR-3: {write} is referenced and condemned"
        );
    }
}

/// HEAL-1: the queue and its sums agree, and name live streams only.
fn check_short(rows: &MemoryRows) {
    let (mut queue, mut by_stream) = (BTreeMap::new(), BTreeMap::new());
    for (name, row) in all::<ShortRow>(rows, Family::Short) {
        if name[0] == 0 {
            let (copies, write, first) = keys::parts_of_short(&name).unwrap();
            assert_eq!(usize::from(copies), row.devices.len());
            queue.insert((write, first), row);
        } else {
            let first = keys::first_of_short(&name).unwrap();
            by_stream.insert((keys::write_of(&name[1..17]).unwrap(), first), row);
        }
    }
    assert_eq!(queue, by_stream);
    let mut end = (WriteId(0), 0);
    let (mut short, mut lost) = (0, 0);
    for ((write, first), row) in &by_stream {
        assert!(end.0 != *write || end.1 <= *first, "ranges of one stream are apart");
        end = (*write, first + row.count);
        let live = read::reference(rows, *write)
            .unwrap()
            .expect("short chunks belong to a live stream");
        assert!(row.count > 0 && end.1 <= live.stream.chunks());
        short += u64::from(row.count);
        lost += if row.devices.is_empty() {
            u64::from(row.count)
        } else {
            0
        };
    }
    let counters = read::counters(rows).unwrap();
    assert_eq!(
        (counters.short_chunks, counters.lost_chunks),
        (short, lost),
        "HEAL-1: sums of the queue"
    );
}
