//! The device from outside: one contract for all implementations, and the real one on real files with RocksDB.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use clock::{SystemClock, SystemDice};
use futures::future::join_all;
use metadata::ids::{ClusterId, DeviceId};
use metadata::model::PolicyId;
use storage_node::device::conformance::{conforms, sample_blob};
use storage_node::device::{
    Blob, BlobKey, BlobStore, DeviceError, DeviceOptions, DeviceState, DiskDevice, DiskFaults, FaultyDevice,
    FaultyDisk, Identity, MapIndex, MemoryDevice, MemoryDisk, OnEmpty, OpenReport, Parts, RealDisk,
};

const CLUSTER: ClusterId = ClusterId(77);
const IDENTITY: Identity = Identity {
    cluster: CLUSTER,
    device: DeviceId(3),
};

fn options() -> DeviceOptions {
    DeviceOptions {
        segment_bytes: 1 << 20,
        ..DeviceOptions::default()
    }
}

fn open(dir: &Path) -> Result<(DiskDevice, OpenReport), DeviceError> {
    DiskDevice::open(
        dir,
        IDENTITY,
        options(),
        Arc::new(SystemClock),
        Arc::new(SystemDice),
        None,
    )
}

fn open_slow(dir: &Path) -> (DiskDevice, Arc<DiskFaults>) {
    let faults = Arc::new(DiskFaults::default());
    let disk = FaultyDisk::new(Arc::new(RealDisk::open(dir).unwrap()), Arc::clone(&faults));
    let (clock, dice) = (Arc::new(SystemClock), Arc::new(SystemDice));
    let opened = DiskDevice::open_on_disk(Arc::new(disk), dir, IDENTITY, options(), clock, dice, None);
    (opened.unwrap().0, faults)
}

fn blob(n: u64, len: usize) -> Blob {
    sample_blob(CLUSTER, n, u128::from(n), len, 1)
}

async fn holds(device: &dyn BlobStore, blob: &Blob) -> bool {
    match device.read(blob.key, 0..u32::MAX).await {
        Ok(slice) => slice.verify().is_ok() && slice.bytes(0..u32::MAX) == blob.payload.to_bytes(),
        Err(_) => false,
    }
}

fn segments(dir: &Path) -> Vec<std::path::PathBuf> {
    let mut paths: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.retain(|path| path.extension().is_some_and(|suffix| suffix == "seg"));
    paths.sort();
    paths
}

/// Flips a bit in the payload of `blob`, wherever it lies in the folder.
fn rot(dir: &Path, blob: &Blob) {
    let needle = blob.payload.to_bytes();
    for path in segments(dir) {
        let mut bytes = std::fs::read(&path).unwrap();
        if let Some(at) = bytes.windows(needle.len()).position(|window| window == &needle[..]) {
            bytes[at + 10] ^= 2;
            std::os::unix::fs::FileExt::write_all_at(
                &std::fs::OpenOptions::new().write(true).open(&path).unwrap(),
                &bytes[at..at + 64],
                at as u64,
            )
            .unwrap();
            return;
        }
    }
    panic!("the blob is in no segment");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_real_device_conforms() {
    let dir = tempfile::tempdir().unwrap();
    let (device, _) = open(dir.path()).unwrap();
    conforms(&device, CLUSTER).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_device_conforms_on_a_disk_in_memory_with_slow_syncs() {
    let faults = Arc::new(DiskFaults::default());
    faults.sync_delay_us.store(500, Ordering::Relaxed);
    let parts = Parts {
        disk: Arc::new(FaultyDisk::new(Arc::new(MemoryDisk::default()), faults)),
        index: Arc::new(MapIndex::default()),
        clock: Arc::new(SystemClock),
        dice: Arc::new(SystemDice),
    };
    let (device, _) = DiskDevice::open_parts(parts, IDENTITY, options()).unwrap();
    conforms(&device, CLUSTER).await;
}

/// Noticed as a disk that fails is: the watch over devices reads the same state.
#[tokio::test(flavor = "multi_thread")]
async fn heal_1_a_disk_that_hangs_says_so_until_it_goes_on() {
    let faults = Arc::new(DiskFaults::default());
    let parts = Parts {
        disk: Arc::new(FaultyDisk::new(Arc::new(MemoryDisk::default()), Arc::clone(&faults))),
        index: Arc::new(MapIndex::default()),
        clock: Arc::new(SystemClock),
        dice: Arc::new(SystemDice),
    };
    let options = DeviceOptions {
        hangs_after: Duration::ZERO,
        ..options()
    };
    let (device, _) = DiskDevice::open_parts(parts, IDENTITY, options).unwrap();
    let hang = Arc::clone(&faults);
    let (held, release) = (tokio::sync::oneshot::channel(), std::sync::mpsc::channel::<()>());
    let holder = std::thread::spawn(move || {
        let _hang = hang.hang.lock();
        held.0.send(()).unwrap();
        release.1.recv().unwrap();
    });
    held.1.await.unwrap();
    let writer = device.clone();
    let put = tokio::spawn(async move { writer.put(blob(5, 1000)).await });
    while device.usage().state == DeviceState::Ok {
        tokio::task::yield_now().await;
    }
    assert_eq!(device.usage().state, DeviceState::ReadOnly);
    assert!(device.usage().why.unwrap().contains("hangs"));
    release.0.send(()).unwrap();
    holder.join().unwrap();
    put.await.unwrap().unwrap();
    assert_eq!(device.usage().state, DeviceState::Ok);
    assert!(holds(&device, &blob(5, 1000)).await);
}

#[tokio::test]
async fn the_device_in_memory_conforms() {
    conforms(&MemoryDevice::new(CLUSTER, 64 << 20), CLUSTER).await;
}

#[tokio::test]
async fn the_fault_injecting_device_conforms_without_faults_and_fails_with_them() {
    let device = FaultyDevice::new(Arc::new(MemoryDevice::new(CLUSTER, 64 << 20)));
    conforms(&device, CLUSTER).await;
    let blob = blob(1 << 50, 1000);
    device.fail_writes(Some(DeviceError::Full));
    assert_eq!(device.put(blob.clone()).await, Err(DeviceError::Full));
    device.fail_writes(None);
    device.put(blob.clone()).await.unwrap();
    device.rot_reads(true);
    assert!(device.read(blob.key, 0..10).await.unwrap().verify().is_err());
    device.rot_reads(false);
    device.fail_reads(Some(DeviceError::Io("cable".into())));
    assert!(device.stat(blob.key).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn dur1_a_restart_finds_everything() {
    let dir = tempfile::tempdir().unwrap();
    let blobs: Vec<Blob> = (0..200).map(|n| blob(n, 20_000 + n as usize)).collect();
    {
        let (device, _) = open(dir.path()).unwrap();
        assert!(
            join_all(blobs.iter().map(|blob| device.put(blob.clone())))
                .await
                .iter()
                .all(Result::is_ok)
        );
        device
            .remove(blobs[..50].iter().map(|blob| blob.key).collect())
            .await
            .unwrap();
        assert!(
            matches!(
                open(dir.path()),
                Err(DeviceError::Refused(_)) | Err(DeviceError::Out(_))
            ),
            "opened twice"
        );
        device.close().await.unwrap();
        assert!(matches!(device.put(blobs[0].clone()).await, Err(DeviceError::Out(_))));
    }
    assert!(segments(dir.path()).len() > 1);
    let (device, report) = open(dir.path()).unwrap();
    assert_eq!((report.replayed, report.blobs, report.rebuilt), (0, 150, None));
    for (n, blob) in blobs.iter().enumerate() {
        assert_eq!(holds(&device, blob).await, n >= 50, "blob {n}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dur3_a_rebuilt_index_is_the_index_that_was_lost() {
    let dir = tempfile::tempdir().unwrap();
    let blobs: Vec<Blob> = (0..100).map(|n| blob(n, 30_000)).collect();
    let before;
    {
        let (device, _) = open(dir.path()).unwrap();
        join_all(blobs.iter().map(|blob| device.put(blob.clone()))).await;
        device
            .remove(blobs[..60].iter().map(|blob| blob.key).collect())
            .await
            .unwrap();
        device.put(blobs[7].clone()).await.unwrap();
        while device.reclaim_step().await.unwrap().victim.is_some() {}
        before = (
            device.digest(0..=u64::MAX, PolicyId(0)).await.unwrap(),
            device.list(None, u64::MAX, 1000).await.unwrap(),
        );
        device.close().await.unwrap();
    }
    let rebuild = || {
        DiskDevice::rebuild_index(
            dir.path(),
            IDENTITY,
            options(),
            Arc::new(SystemClock),
            Arc::new(SystemDice),
        )
    };
    let report = rebuild().unwrap();
    assert_eq!((report.blobs, report.rot_regions), (41, 0));
    // A lost index folder is rebuilt by the next open, a damaged one too.
    std::fs::remove_dir_all(dir.path().join("index")).unwrap();
    let check = async |report: OpenReport, device: &DiskDevice| {
        assert_eq!(report.blobs, 41);
        assert!(report.replayed > 41);
        let now = (
            device.digest(0..=u64::MAX, PolicyId(0)).await.unwrap(),
            device.list(None, u64::MAX, 1000).await.unwrap(),
        );
        assert_eq!(now, before);
    };
    {
        let (device, report) = open(dir.path()).unwrap();
        assert!(rebuild().is_err(), "not while the device is open");
        check(report, &device).await;
        device.close().await.unwrap();
    }
    for entry in std::fs::read_dir(dir.path().join("index")).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap().to_string_lossy().starts_with("MANIFEST") {
            std::fs::write(&path, b"not a manifest").unwrap();
        }
    }
    let (device, report) = open(dir.path()).unwrap();
    check(report, &device).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dur1_many_writers_share_a_sync() {
    let dir = tempfile::tempdir().unwrap();
    let (device, faults) = open_slow(dir.path());
    faults.sync_delay_us.store(5_000, Ordering::Relaxed);
    let syncs = faults.syncs.load(Ordering::Relaxed);
    let begun = Instant::now();
    let (clients, each) = (64, 20);
    let client = |c: u64| {
        let device = device.clone();
        async move {
            for n in 0..each {
                device.put(blob(c * 1000 + n, 5_000)).await.unwrap();
            }
        }
    };
    join_all((0..clients).map(|c| tokio::spawn(client(c)))).await;
    let puts = (clients * each) as f64;
    let syncs = (faults.syncs.load(Ordering::Relaxed) - syncs) as f64;
    let rate = puts / begun.elapsed().as_secs_f64();
    assert!(syncs / puts <= 0.25, "{syncs} syncs for {puts} puts");
    assert!(rate > 1000.0, "{rate:.0} puts/s with syncs of 5 ms");
    assert_eq!(device.usage().puts, clients * each);
}

#[tokio::test(flavor = "multi_thread")]
async fn dur4_a_failed_sync_makes_the_device_read_only_until_it_is_opened_again() {
    let dir = tempfile::tempdir().unwrap();
    let (first, second) = (blob(1, 9_000), blob(2, 9_000));
    {
        let (device, faults) = open_slow(dir.path());
        device.put(first.clone()).await.unwrap();
        faults.fail_syncs.store(true, Ordering::Relaxed);
        assert!(matches!(
            device.put(second.clone()).await,
            Err(DeviceError::ReadOnly(_))
        ));
        faults.fail_syncs.store(false, Ordering::Relaxed);
        let syncs = faults.syncs.load(Ordering::Relaxed);
        assert!(matches!(
            device.put(second.clone()).await,
            Err(DeviceError::ReadOnly(_))
        ));
        assert!(matches!(
            device.remove(vec![first.key]).await,
            Err(DeviceError::ReadOnly(_))
        ));
        assert_eq!(
            faults.syncs.load(Ordering::Relaxed),
            syncs,
            "a failed sync is never tried again"
        );
        let usage = device.usage();
        assert_eq!(usage.state, DeviceState::ReadOnly);
        assert!(usage.why.unwrap().contains("sync"));
        assert!(holds(&device, &first).await, "reads go on");
        assert!(device.close().await.is_err());
    }
    let (device, _) = open(dir.path()).unwrap();
    assert!(holds(&device, &first).await);
    device.put(second.clone()).await.unwrap();
    assert!(holds(&device, &second).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_write_makes_the_device_read_only_and_want_of_space_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let (device, faults) = open_slow(dir.path());
    device.put(blob(1, 9_000)).await.unwrap();
    faults.no_space.store(true, Ordering::Relaxed);
    assert_eq!(device.put(blob(2, 9_000)).await, Err(DeviceError::Full));
    faults.no_space.store(false, Ordering::Relaxed);
    device.put(blob(2, 9_000)).await.unwrap();
    faults.fail_writes.store(true, Ordering::Relaxed);
    assert!(matches!(
        device.put(blob(3, 9_000)).await,
        Err(DeviceError::ReadOnly(_))
    ));
    assert!(holds(&device, &blob(1, 9_000)).await && holds(&device, &blob(2, 9_000)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_cannot_be_read_is_out() {
    let dir = tempfile::tempdir().unwrap();
    let (device, faults) = open_slow(dir.path());
    device.put(blob(1, 9_000)).await.unwrap();
    faults.fail_reads.store(true, Ordering::Relaxed);
    assert!(matches!(
        device.read(blob(1, 9_000).key, 0..1).await,
        Err(DeviceError::Io(_))
    ));
    for _ in 0..20 {
        assert!(device.read(blob(1, 9_000).key, 0..1).await.is_err());
    }
    assert_eq!(device.usage().state, DeviceState::Out);
    assert!(matches!(device.put(blob(2, 10)).await, Err(DeviceError::Out(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn int1_rot_is_found_by_readers_and_scrub_and_healed_by_a_put() {
    let dir = tempfile::tempdir().unwrap();
    let (device, _) = open(dir.path()).unwrap();
    let blobs: Vec<Blob> = (0..20)
        .map(|n| sample_blob(CLUSTER, n, u128::from(n), 10_000, n as u8 * 11))
        .collect();
    join_all(blobs.iter().map(|blob| device.put(blob.clone()))).await;
    rot(dir.path(), &blobs[7]);
    assert!(
        device.read(blobs[7].key, 0..u32::MAX).await.unwrap().verify().is_err(),
        "the last hop sees it"
    );
    let mut damaged = Vec::new();
    let mut after = None;
    loop {
        let report = device.scrub_step(after, 30_000).await.unwrap();
        damaged.extend(report.damaged);
        match report.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    assert_eq!(damaged, [blobs[7].key]);
    assert!(device.usage().corrupt_records > 0);
    device.put(blobs[7].clone()).await.unwrap();
    for blob in &blobs {
        assert!(holds(&device, blob).await);
    }
    assert!(device.scrub_step(None, u64::MAX).await.unwrap().damaged.is_empty());
    assert_eq!(device.usage().blobs, 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn dur2_readers_and_writers_do_not_notice_reclaim() {
    let dir = tempfile::tempdir().unwrap();
    let (device, _) = open(dir.path()).unwrap();
    let stays: Vec<Blob> = (0..60).map(|n| blob(n * 10, 40_000)).collect();
    for (n, stay) in stays.iter().enumerate() {
        device.put(stay.clone()).await.unwrap();
        device.put(blob(n as u64 * 10 + 1, 40_000)).await.unwrap();
    }
    device
        .remove((0..60).map(|n| blob(n * 10 + 1, 40_000).key).collect())
        .await
        .unwrap();
    let used = device.usage().used_bytes;
    let reading = tokio::spawn({
        let (device, stays) = (device.clone(), stays.clone());
        async move {
            for _ in 0..10 {
                for stay in &stays {
                    assert!(holds(&device, stay).await, "{} is gone", stay.key.id);
                }
            }
        }
    });
    let writing = tokio::spawn({
        let device = device.clone();
        async move {
            for n in 0..200u64 {
                device.put(blob(100_000 + n, 3_000)).await.unwrap();
                if n % 2 == 0 {
                    device.remove(vec![blob(100_000 + n, 3_000).key]).await.unwrap();
                }
            }
        }
    });
    let mut freed = 0;
    loop {
        let report = device.reclaim_step().await.unwrap();
        freed += report.freed_bytes;
        if report.victim.is_none() && writing.is_finished() && reading.is_finished() {
            break;
        }
        tokio::task::yield_now().await;
    }
    reading.await.unwrap();
    writing.await.unwrap();
    assert!(freed > used / 3, "freed {freed} of {used}");
    assert_eq!(device.usage().blobs, 160);
}

#[tokio::test(flavor = "multi_thread")]
async fn mem1_a_full_queue_of_puts_does_not_hold_up_removes_and_cancelled_puts_free_their_places() {
    let dir = tempfile::tempdir().unwrap();
    let faults = Arc::new(DiskFaults::default());
    let disk = FaultyDisk::new(Arc::new(RealDisk::open(dir.path()).unwrap()), Arc::clone(&faults));
    let options = DeviceOptions {
        queue_blobs: 4,
        ..options()
    };
    let (clock, dice) = (Arc::new(SystemClock), Arc::new(SystemDice));
    let opened = DiskDevice::open_on_disk(Arc::new(disk), dir.path(), IDENTITY, options, clock, dice, None);
    let (device, _) = opened.unwrap();
    device.put(blob(1, 100)).await.unwrap();
    faults.sync_delay_us.store(20_000, Ordering::Relaxed);
    let waiting: Vec<_> = (10..40)
        .map(|n| {
            let device = device.clone();
            tokio::spawn(async move { device.put(blob(n, 100)).await })
        })
        .collect();
    let removed = tokio::time::timeout(Duration::from_secs(5), device.remove(vec![blob(1, 100).key])).await;
    removed.expect("removes have places of their own").unwrap();
    waiting.iter().skip(10).for_each(tokio::task::JoinHandle::abort);
    for put in waiting {
        if let Ok(answer) = put.await {
            answer.unwrap();
        }
    }
    faults.sync_delay_us.store(0, Ordering::Relaxed);
    for n in 100..120 {
        device.put(blob(n, 100)).await.unwrap();
    }
}

#[test]
fn a_wrong_folder_is_refused_with_a_sentence() {
    let refused = |result: Result<(DiskDevice, OpenReport), DeviceError>| match result {
        Err(DeviceError::Refused(why)) => why,
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("opened"),
    };
    let dir = tempfile::tempdir().unwrap();
    let (clock, dice) = (Arc::new(SystemClock), Arc::new(SystemDice));
    let as_other = |identity: Identity, options: DeviceOptions| {
        DiskDevice::open(dir.path(), identity, options, clock.clone(), dice.clone(), None)
    };
    assert!(
        refused(as_other(
            IDENTITY,
            DeviceOptions {
                on_empty: OnEmpty::Refuse,
                ..options()
            }
        ))
        .contains("mount")
    );
    drop(open(dir.path()).unwrap());
    let opened = |identity| loop {
        // The writer thread of the device that was dropped may still hold the folder.
        match as_other(identity, options()) {
            Err(DeviceError::Out(_)) => std::thread::yield_now(),
            Err(DeviceError::Refused(why)) if why.contains("in use") => std::thread::yield_now(),
            other => return other,
        }
    };
    assert!(
        refused(opened(Identity {
            cluster: ClusterId(1),
            ..IDENTITY
        }))
        .contains("cluster")
    );
    assert!(
        refused(opened(Identity {
            device: DeviceId(9),
            ..IDENTITY
        }))
        .contains("device 9")
    );
    std::fs::write(dir.path().join("notes.txt"), b"mine").unwrap();
    assert!(refused(opened(IDENTITY)).contains("notes.txt"));
    let missing = dir.path().join("no/such/parent");
    let result = DiskDevice::open(&missing, IDENTITY, options(), clock.clone(), dice.clone(), None);
    assert!(refused(result).contains("cannot be used"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_the_list_begins_behind_any_key() {
    let dir = tempfile::tempdir().unwrap();
    let (device, _) = open(dir.path()).unwrap();
    for n in [1u64, 5, 9, u64::MAX] {
        device.put(blob(n, 10)).await.unwrap();
    }
    let keys = |page: Vec<(BlobKey, _)>| page.into_iter().map(|(key, _)| key.placement).collect::<Vec<_>>();
    assert_eq!(
        keys(device.list(Some(BlobKey::first(5)), u64::MAX, 10).await.unwrap()),
        [5, 9, u64::MAX]
    );
    assert_eq!(keys(device.list(Some(blob(5, 10).key), 9, 10).await.unwrap()), [9]);
    assert_eq!(keys(device.list(None, u64::MAX, 0).await.unwrap()), [0u64; 0]);
}
