use proptest::prelude::*;

use super::*;
use crate::testing::{builder, device, even};

fn a_ring() -> Ring {
    let mut devices = even(2, 2, 2);
    devices[3].meta = "serial \"7\"".to_owned();
    devices[4].replication = Some("10.9.9.9:7001".to_owned());
    let mut builder = builder(5, 3, devices);
    builder
        .add(Device {
            address: "[fd00::1]:7000".to_owned(),
            ..device(2, 1, 8, 0, 50.5)
        })
        .unwrap();
    builder.rebalance(7, 0).unwrap();
    builder.ring().unwrap()
}

/// A file with this header and table.
fn file(header: &str, table: &[u8]) -> Vec<u8> {
    let length = u32::try_from(header.len()).unwrap().to_be_bytes();
    let bytes = [b"R1NG".as_slice(), &[0, 1], &length, header.as_bytes(), table].concat();
    let mut zipped = GzBuilder::new().write(Vec::new(), Compression::fast());
    zipped.write_all(&bytes).unwrap();
    zipped.finish().unwrap()
}

fn why(result: Result<Ring, RingError>) -> &'static str {
    match result {
        Err(RingError::Damaged { why, .. }) => why,
        other => panic!("expected damage: {other:?}"),
    }
}

#[test]
fn a_ring_comes_back_as_it_was() {
    let ring = a_ring();
    let file = ring.to_swift().unwrap();
    assert_eq!(Ring::from_swift(&file), Ok(ring.clone()));
    assert_eq!(Ring::from_bytes(&file), Ok(ring.clone()));
    assert_eq!(Ring::from_bytes(&ring.to_bytes()), Ok(ring));
}

#[test]
fn fractions_of_replicas_and_removed_devices_come_back() {
    let mut builder = builder(6, 2, even(3, 2, 2));
    builder.rebalance(7, 0).unwrap();
    builder.remove(DeviceId(4)).unwrap();
    builder.set_replicas(2.3).unwrap();
    builder.rebalance(9, 0).unwrap();
    let ring = builder.ring().unwrap();
    assert_eq!(Ring::from_swift(&ring.to_swift().unwrap()), Ok(ring));
}

#[test]
fn what_swift_leaves_out_has_its_usual_meaning() {
    let dev = |id: u32, zone: u32, ip: &str| {
        format!(r#"{{"id":{id},"zone":{zone},"ip":"{ip}","port":6200,"device":"sdb{id}","weight":100.0}}"#)
    };
    let devs = [
        dev(0, 1, "10.0.0.1"),
        dev(1, 1, "10.0.0.1"),
        "null".to_owned(),
        dev(3, 2, "10.0.0.2"),
    ]
    .join(",");
    let header = format!(r#"{{"byteorder":"big","devs":[{devs}],"part_shift":31,"replica_count":2}}"#);
    let ring = Ring::from_swift(&file(&header, &[0, 0, 0, 1, 0, 3, 0, 3])).unwrap();
    assert_eq!(ring.primaries(crate::PartitionId(1)), [DeviceId(1), DeviceId(3)]);
    let nodes: Vec<u64> = ring.devices().map(|device| device.node).collect();
    assert_eq!(
        (nodes, ring.version(), ring.device(DeviceId(3)).unwrap().region),
        (vec![1, 1, 2], 0, 1)
    );
}

#[test]
fn foreign_damaged_and_empty_files_are_named() {
    let good = a_ring().to_swift().unwrap();
    assert_eq!(Ring::from_swift(b"HALORING"), Err(RingError::NotOurs { what: WHAT }));
    assert_eq!(
        why(Ring::from_swift(&good[..8])),
        "it ends too early, or is no gzip file"
    );
    assert!(Ring::from_swift(&good[..good.len() - 20]).is_err());
    let header = r#"{"devs":[],"part_shift":31,"replica_count":0}"#;
    assert!(why(Ring::from_swift(&file(header, &[]))).contains("nothing was placed yet"));
    let header = r#"{"devs":[],"part_shift":31,"replica_count":1}"#;
    assert_eq!(
        why(Ring::from_swift(&file(header, &[0, 0, 0, 0]))),
        "its table names a device that it does not list"
    );
    assert_eq!(
        why(Ring::from_swift(&file(header, &[0; 5]))),
        "it is shorter or longer than it says"
    );
    let header = r#"{"devs":[],"part_shift":0,"replica_count":1}"#;
    assert_eq!(
        why(Ring::from_swift(&file(header, &[]))),
        "its size is beyond the limits"
    );
    assert_eq!(why(Ring::from_swift(&file("{", &[]))), "its header is not one");
}

#[test]
fn an_id_beyond_sixteen_bits_is_refused() {
    let mut builder = builder(4, 1, even(1, 1, 1));
    builder.next_id = 65_535;
    builder.add(device(1, 1, 5, 0, 1.0)).unwrap();
    builder.rebalance(1, 0).unwrap();
    assert_eq!(
        builder.ring().unwrap().to_swift(),
        Err(RingError::IdTooLarge(DeviceId(65_535)))
    );
}

proptest! {
    #[test]
    fn flipped_bits_never_panic(at in 0usize..2000, bit in 0u8..8) {
        let mut file = a_ring().to_swift().unwrap();
        let at = at % file.len();
        file[at] ^= 1 << bit;
        let _ = Ring::from_swift(&file);
    }

    #[test]
    fn arbitrary_contents_never_panic(body in proptest::collection::vec(any::<u8>(), 0..300), header in ".{0,80}") {
        let _ = Ring::from_swift(&file(&header, &body));
    }
}
