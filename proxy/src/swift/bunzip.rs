//! bzip2 as it streams in, one stream after the other, unpacked in bounded steps off the runtime's workers.

use bytes::{Buf, Bytes};
use bzip2::{Decompress, Status};
use futures::StreamExt;
use store::{Body, BodyError};

/// Bytes that one step unpacks at most (MEM-1: a small archive may unpack to very much).
const STEP_BYTES: usize = 256 << 10;

struct Unpacker {
    body: Body,
    /// The stream that is being unpacked; `None` between two of them.
    decoder: Option<Decompress>,
    packed: Bytes,
    /// Nothing more comes.
    ended: bool,
}

/// What `body` unpacks to.
pub(crate) fn bunzip(body: Body) -> Body {
    let unpacker = Unpacker {
        body,
        decoder: None,
        packed: Bytes::new(),
        ended: false,
    };
    futures::stream::unfold(Some(unpacker), |unpacker| async {
        let mut unpacker = unpacker?;
        match unpacker.next().await {
            Ok(None) => None,
            Ok(Some(bytes)) => Some((Ok(bytes), Some(unpacker))),
            Err(error) => Some((Err(error), None)),
        }
    })
    .boxed()
}

impl Unpacker {
    /// The next unpacked bytes; `None` at the end.
    async fn next(&mut self) -> Result<Option<Bytes>, BodyError> {
        loop {
            while self.packed.is_empty() && !self.ended {
                match self.body.next().await {
                    Some(bytes) => self.packed = bytes?,
                    None => self.ended = true,
                }
            }
            if self.packed.is_empty() && self.decoder.is_none() {
                return Ok(None);
            }
            let decoder = self.decoder.take().unwrap_or_else(|| Decompress::new(false));
            let packed = self.packed.clone();
            let done = tokio::task::spawn_blocking(move || step(decoder, &packed)).await;
            let (decoder, used, bytes) = done.map_err(|error| damaged(&error.to_string()))??;
            self.packed.advance(used);
            self.decoder = decoder;
            if !bytes.is_empty() {
                return Ok(Some(bytes));
            }
        }
    }
}

/// One step: the decoder, unless its stream has ended, the packed bytes it took, and what they unpack to.
fn step(mut decoder: Decompress, packed: &[u8]) -> Result<(Option<Decompress>, usize, Bytes), BodyError> {
    let mut bytes = Vec::with_capacity(STEP_BYTES);
    let before = decoder.total_in();
    let status = decoder
        .decompress_vec(packed, &mut bytes)
        .map_err(|error| damaged(&error.to_string()))?;
    // No more than `packed` holds.
    let used = usize::try_from(decoder.total_in() - before).unwrap_or(packed.len());
    let ended = status == Status::StreamEnd;
    if used == 0 && bytes.is_empty() && !ended {
        return Err(damaged("the archive does not go on"));
    }
    Ok(((!ended).then_some(decoder), used, bytes.into()))
}

fn damaged(why: &str) -> BodyError {
    BodyError {
        code: "archive",
        message: format!("the compression is damaged: {why}"),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use bzip2::Compression;
    use bzip2::write::BzEncoder;

    use super::*;

    fn packed(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = BzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).expect("memory takes it");
        encoder.finish().expect("memory takes it")
    }

    async fn unpacked(packed: &[u8], size: usize) -> Result<Vec<u8>, BodyError> {
        let pieces: Vec<_> = packed
            .chunks(size)
            .map(|piece| Ok(Bytes::copy_from_slice(piece)))
            .collect();
        let mut body = bunzip(futures::stream::iter(pieces).boxed());
        let mut all = Vec::new();
        while let Some(piece) = body.next().await {
            let piece = piece?;
            assert!(piece.len() <= STEP_BYTES, "MEM-1");
            all.extend_from_slice(&piece);
        }
        Ok(all)
    }

    #[tokio::test]
    async fn streams_unpack_however_they_are_cut() {
        let (first, second) = (vec![7; 3 << 20], b"and another stream".to_vec());
        let bytes = [packed(&first), packed(&second)].concat();
        for size in [7, bytes.len()] {
            assert_eq!(unpacked(&bytes, size).await.ok(), Some([&first[..], &second].concat()));
        }
        assert_eq!(unpacked(b"", 1).await.ok(), Some(Vec::new()));
    }

    #[tokio::test]
    async fn damage_is_told() {
        let good = packed(&[7; 1000]);
        let mut flipped = good.clone();
        flipped[20] ^= 1;
        for bad in [
            &good[..good.len() - 3],
            &flipped[..],
            b"BZh9 nonsense, and more of it",
            b"nonsense",
        ] {
            assert!(unpacked(bad, 100).await.is_err(), "{} bytes", bad.len());
        }
    }
}
