//! The operating system's random numbers, replaced for the whole process.
//!
//! `HashMap`'s hasher, the branch that `tokio::select!` polls first and openraft's election timeouts all come from
//! `getrandom` in the end. This executable defines that symbol itself, so the linker binds every caller to it, in the
//! standard library and in every crate, now and later; nothing has to be remembered at a new `HashMap` or `select!`.
//! One process simulates one seed, so what comes out follows from the seed alone.

#![allow(
    unsafe_code,
    reason = "the C function's signature takes a raw buffer; this is the only unsafe code of the project"
)]

use std::sync::atomic::{AtomicU64, Ordering};

static STATE: AtomicU64 = AtomicU64::new(0);

/// Starts the stream anew. To be called first on the thread that simulates.
pub(crate) fn seed_randomness(seed: u64) {
    STATE.store(seed, Ordering::SeqCst);
}

/// Replaces the C library's function of this name.
///
/// # Safety
/// As `getrandom(2)`: `buffer` points to `length` writable bytes.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn getrandom(buffer: *mut u8, length: usize, _flags: u32) -> isize {
    for at in 0..length {
        let byte = (crate::dice::mix(STATE.fetch_add(1, Ordering::SeqCst)) & 0xff) as u8;
        // SAFETY: the caller gives `length` writable bytes, and `at` is below that.
        unsafe { buffer.add(at).write(byte) };
    }
    length.cast_signed()
}
