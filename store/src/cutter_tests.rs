//! The cutter against bodies in pieces of every size, of the declared length or another.

use proptest::prelude::*;

use super::*;
use crate::request::BodyError;

fn body(pieces: Vec<Result<Vec<u8>, BodyError>>) -> Input {
    Input::Client(Box::pin(futures::stream::iter(
        pieces.into_iter().map(|piece| piece.map(Bytes::from)),
    )))
}

fn good(pieces: &[Vec<u8>]) -> Input {
    body(pieces.iter().cloned().map(Ok).collect())
}

async fn cut(input: Input, declared: Option<u64>, chunk_bytes: usize) -> Result<Vec<Vec<u8>>, StoreError> {
    let mut cutter = Cutter::new(input, declared, 1 << 20)?;
    let mut chunks = Vec::new();
    while !cutter.ended() {
        let chunk = cutter.chunk(chunk_bytes).await?;
        if !chunk.is_empty() {
            chunks.push(chunk.to_bytes().to_vec());
        }
    }
    Ok(chunks)
}

#[tokio::test]
async fn a_short_or_long_body_is_refused() {
    for declared in [0, 4, 6, 100] {
        let pieces = [b"abc".to_vec(), b"de".to_vec()];
        assert_eq!(
            cut(good(&pieces), Some(declared), 2).await,
            Err(StoreError::IncompleteBody)
        );
    }
}

#[tokio::test]
async fn an_error_behind_the_last_byte_refuses_the_body() {
    // A wrong trailer comes after all declared bytes.
    let error = BodyError {
        code: "BadDigest",
        message: String::new(),
    };
    let input = body(vec![Ok(b"abcd".to_vec()), Err(error.clone())]);
    assert_eq!(cut(input, Some(4), 4).await, Err(StoreError::Body(error)));
}

#[tokio::test]
async fn a_body_above_the_limit_is_refused() {
    assert!(matches!(
        Cutter::new(good(&[]), Some(11), 10),
        Err(StoreError::EntityTooLarge)
    ));
    let mut cutter = Cutter::new(good(&[vec![0; 11]]), None, 10).ok().unwrap();
    assert_eq!(
        cutter.chunk(4).await.map(|chunk| chunk.len()),
        Err(StoreError::EntityTooLarge)
    );
}

#[tokio::test]
async fn large_pieces_are_not_copied_and_tiny_ones_share_a_buffer() {
    let large = Bytes::from(vec![7; WHOLE_PIECE_BYTES]);
    let place = large.as_ptr();
    let tiny = (0..1000).map(|_| Bytes::from_static(b"x"));
    let pieces: Vec<_> = std::iter::once(large).chain(tiny).map(Ok).collect();
    let input = Input::Client(Box::pin(futures::stream::iter(pieces)));
    let chunk = Cutter::new(input, None, 1 << 20)
        .ok()
        .unwrap()
        .chunk(1 << 20)
        .await
        .unwrap();
    let lengths: Vec<usize> = chunk.iter().map(Bytes::len).collect();
    assert_eq!(lengths, [WHOLE_PIECE_BYTES, 1000]);
    assert_eq!(chunk.iter().next().map(|piece| piece.as_ptr()), Some(place));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn chunks_are_the_body(
        pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40_000), 0..8),
        chunk_bytes in 1_usize..60_000,
        declare in any::<bool>(),
    ) {
        let whole = pieces.concat();
        let declared = declare.then_some(whole.len() as u64);
        let chunks = futures::executor::block_on(cut(good(&pieces), declared, chunk_bytes)).unwrap();
        prop_assert_eq!(chunks.concat(), whole);
        let full = chunks.len().saturating_sub(1);
        prop_assert!(chunks[..full].iter().all(|chunk| chunk.len() == chunk_bytes));
    }
}
