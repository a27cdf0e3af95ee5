use clock::SeededDice;

use super::{Sealed, Sealer};

#[test]
fn sec_1_a_sealed_secret_opens_only_under_its_record_and_key() {
    let sealer = Sealer::new(&[7; 32]);
    let sealed = sealer.seal(&SeededDice::new(1), "KEY", "secret");
    assert_eq!(
        sealer.open("KEY", &sealed).as_deref().map(String::as_str),
        Some("secret")
    );
    assert!(sealer.open("OTHER", &sealed).is_none());
    assert!(Sealer::new(&[8; 32]).open("KEY", &sealed).is_none());
}

#[test]
fn sec_1_every_flipped_bit_of_a_sealed_secret_is_seen() {
    let sealer = Sealer::new(&[7; 32]);
    let sealed = sealer.seal(&SeededDice::new(1), "KEY", "secret");
    assert!(!sealed.0.windows(6).any(|window| window == b"secret"));
    for bit in 0..sealed.0.len() * 8 {
        let mut bytes = sealed.0.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(sealer.open("KEY", &Sealed(bytes)).is_none(), "bit {bit}");
    }
    assert!(sealer.open("KEY", &Sealed(vec![1, 2])).is_none());
}
