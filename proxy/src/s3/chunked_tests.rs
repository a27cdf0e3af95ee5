use std::collections::VecDeque;

use bytes::Bytes;
use proptest::prelude::*;

use super::{Frames, Framing, SIGNED_CHUNK_BYTES_MAX};

fn run(framing: Framing, pieces: &[&[u8]]) -> Result<Vec<u8>, &'static str> {
    let mut frames = Frames::new(framing);
    let mut out = VecDeque::new();
    for piece in pieces {
        frames.take(Bytes::copy_from_slice(piece), &mut out)?;
    }
    frames.end()?;
    Ok(out.into_iter().flatten().collect())
}

const UNSIGNED: Framing = Framing {
    signed: false,
    trailer: true,
    decoded: 5,
};

#[test]
fn mem_1_unsigned_chunks_are_cut_where_they_arrive() {
    let seen = run(
        UNSIGNED,
        &[b"5\r\nhe", b"llo\r\n0\r\nx-amz-checksum-crc32:AAAA", b"AA==\r\n\r\n"],
    )
    .expect("whole");
    assert_eq!(
        seen,
        b"2\r\nhe\r\n3\r\nllo\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n"
    );
}

#[test]
fn signed_chunks_pass_unchanged_and_are_bounded() {
    let framing = Framing {
        signed: true,
        trailer: false,
        decoded: 5,
    };
    let body = b"5;chunk-signature=ab\r\nhello\r\n0;chunk-signature=cd\r\n\r\n";
    assert_eq!(run(framing, &[&body[..9], &body[9..]]).expect("whole"), body);
    let framing = Framing {
        decoded: u64::MAX,
        ..framing
    };
    let line = format!("{:x};chunk-signature=ab\r\n", SIGNED_CHUNK_BYTES_MAX + 1);
    assert_eq!(run(framing, &[line.as_bytes()]), Err("InvalidChunkSizeError"));
}

#[test]
fn truncated_endless_and_overlong_bodies_are_refused() {
    let cases: &[(&[u8], &str)] = &[
        (b"", "IncompleteBody"),
        (b"5\r\nhell", "IncompleteBody"),
        (b"5\r\nhello\r\n", "IncompleteBody"),
        (b"4\r\nhell\r\n0\r\n\r\n", "IncompleteBody"),
        (b"6\r\nhello!\r\n0\r\n\r\n", "IncompleteBody"),
        (b"5\r\nhelloXX", "InvalidChunkSizeError"),
        (b"\r\n", "InvalidChunkSizeError"),
        (b"-1\r\n", "InvalidChunkSizeError"),
        (b"ffffffffffffffffff\r\n", "InvalidChunkSizeError"),
        (&[b'0'; 600], "InvalidChunkSizeError"),
    ];
    for (body, code) in cases {
        assert_eq!(
            run(UNSIGNED, &[body]),
            Err(*code),
            "{:?}",
            String::from_utf8_lossy(body)
        );
    }
    let endless = [b"5\r\nhello\r\n0\r\n".to_vec(), vec![b'a'; 10_000]].concat();
    assert_eq!(run(UNSIGNED, &[&endless]), Err("MalformedTrailerError"));
    let framing = Framing {
        trailer: false,
        ..UNSIGNED
    };
    assert_eq!(
        run(framing, &[b"5\r\nhello\r\n0\r\nx-a:b\r\n\r\n"]),
        Err("MalformedTrailerError")
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_cut_gives_the_same_bytes(data in prop::collection::vec(any::<u8>(), 1..200), cut in 1usize..20, size in 1usize..50) {
        let mut body = Vec::new();
        for chunk in data.chunks(size) {
            body.extend(format!("{:X}\r\n", chunk.len()).bytes());
            body.extend(chunk);
            body.extend(b"\r\n");
        }
        body.extend(b"0\r\n\r\n");
        let framing = Framing { signed: false, trailer: true, decoded: data.len() as u64 };
        let pieces: Vec<&[u8]> = body.chunks(cut).collect();
        let seen = run(framing, &pieces).expect("whole");
        // What comes out is a chunked body of the same bytes.
        let again = run(framing, &[&seen]).expect("whole");
        prop_assert!(again.windows(data.len().min(cut)).count() > 0);
        let mut rest = &seen[..];
        let mut decoded: Vec<u8> = Vec::new();
        loop {
            let end = rest.windows(2).position(|w| w == b"\r\n").expect("a line");
            let size = usize::from_str_radix(std::str::from_utf8(&rest[..end]).expect("hex"), 16).expect("hex");
            if size == 0 { break; }
            decoded.extend(&rest[end + 2..end + 2 + size]);
            rest = &rest[end + 2 + size + 2..];
        }
        prop_assert_eq!(decoded, data);
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        super::fuzz(&bytes);
    }
}
