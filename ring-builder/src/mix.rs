//! The one hash of this crate: fast, seeded, the same on every machine. It spreads; it protects nothing.

/// Scatters the bits of `x` (a bijection on 64 bits, with the constants of the SplitMix64 generator).
pub(crate) fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// The numbers 0..n in an order that depends on `seed` only.
pub(crate) fn shuffled(n: u32, seed: u64) -> Vec<u32> {
    let mut order: Vec<u32> = (0..n).collect();
    let mut state = mix(seed);
    for last in (1..order.len()).rev() {
        state = mix(state);
        // The remainder's bias is below 2^-40 for the sizes used here.
        let other = usize::try_from(state % (last as u64 + 1)).expect("smaller than the length of a Vec");
        order.swap(last, other);
    }
    order
}
