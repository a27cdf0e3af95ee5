//! The digests of a body: MD5 always, what the client asked for beside it, each byte once per purpose.

use crc_fast::CrcAlgorithm;
use md5::Md5;
use metadata::model::{Checksum, ChecksumAlgorithm, ChecksumKind, PartRow};
use sha1::Sha1;
use sha2::{Digest as _, Sha256};
use storage_node::device::Pieces;

use crate::error::StoreError;
use crate::request::Digests;

/// Digests of a body that is still coming in.
pub(crate) struct BodyDigests {
    md5: Md5,
    sums: Vec<(ChecksumAlgorithm, Sum)>,
    size: u64,
}

enum Sum {
    Crc(CrcAlgorithm, crc_fast::Digest),
    Sha1(Sha1),
    Sha256(Sha256),
}

impl BodyDigests {
    /// Of no bytes yet. An algorithm asked for twice is computed once.
    pub(crate) fn new(asked: &[ChecksumAlgorithm]) -> Self {
        let mut sums: Vec<(ChecksumAlgorithm, Sum)> = Vec::with_capacity(asked.len());
        for algorithm in asked {
            if sums.iter().all(|(known, _)| known != algorithm) {
                sums.push((*algorithm, Sum::new(*algorithm)));
            }
        }
        Self {
            md5: Md5::new(),
            sums,
            size: 0,
        }
    }

    pub(crate) fn update(&mut self, pieces: &Pieces) {
        for piece in pieces.iter() {
            self.md5.update(piece);
            for (_, sum) in &mut self.sums {
                sum.update(piece);
            }
        }
        self.size += pieces.len() as u64;
    }

    pub(crate) fn finish(self) -> Digests {
        let checksums = self
            .sums
            .into_iter()
            .map(|(algorithm, sum)| (algorithm, sum.finish()))
            .collect();
        Digests {
            md5: self.md5.finalize().into(),
            size: self.size,
            checksums,
        }
    }
}

impl Sum {
    fn new(algorithm: ChecksumAlgorithm) -> Self {
        match algorithm {
            ChecksumAlgorithm::Sha1 => Self::Sha1(Sha1::new()),
            ChecksumAlgorithm::Sha256 => Self::Sha256(Sha256::new()),
            ChecksumAlgorithm::Crc32 => Self::crc(CrcAlgorithm::Crc32IsoHdlc),
            ChecksumAlgorithm::Crc32c => Self::crc(CrcAlgorithm::Crc32Iscsi),
            ChecksumAlgorithm::Crc64Nvme => Self::crc(CrcAlgorithm::Crc64Nvme),
        }
    }

    fn crc(algorithm: CrcAlgorithm) -> Self {
        Self::Crc(algorithm, crc_fast::Digest::new(algorithm))
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Crc(_, digest) => digest.update(bytes),
            Self::Sha1(digest) => digest.update(bytes),
            Self::Sha256(digest) => digest.update(bytes),
        }
    }

    fn finish(self) -> Vec<u8> {
        match self {
            Self::Crc(algorithm, digest) => crc_bytes(algorithm, digest.finalize()),
            Self::Sha1(digest) => digest.finalize().to_vec(),
            Self::Sha256(digest) => digest.finalize().to_vec(),
        }
    }
}

/// The checksum of an object made of `parts`: of the parts' checksums ([`ChecksumKind::Composite`]), or of all bytes,
/// which CRCs allow to compute from the parts' CRCs and lengths. All parts must carry `algorithm`.
///
/// # Errors
/// [`StoreError::InvalidPart`] for a part without the checksum, [`StoreError::InvalidRequest`] for an algorithm that
/// cannot be combined.
pub(crate) fn of_parts<'a>(
    algorithm: ChecksumAlgorithm,
    kind: ChecksumKind,
    parts: impl Iterator<Item = &'a PartRow>,
) -> Result<Checksum, StoreError> {
    let value = match kind {
        ChecksumKind::Composite => {
            let mut sum = Sum::new(algorithm);
            for part in parts {
                sum.update(value_of(part, algorithm)?);
            }
            sum.finish()
        }
        ChecksumKind::FullObject => combined(algorithm, parts)?,
    };
    Ok(Checksum { algorithm, kind, value })
}

fn combined<'a>(algorithm: ChecksumAlgorithm, parts: impl Iterator<Item = &'a PartRow>) -> Result<Vec<u8>, StoreError> {
    let Sum::Crc(crc, empty) = Sum::new(algorithm) else {
        return Err(StoreError::InvalidRequest(
            "this checksum cannot cover the whole of a multipart object".into(),
        ));
    };
    let mut whole = empty.finalize();
    for part in parts {
        let value = value_of(part, algorithm)?;
        let part_crc = value.iter().fold(0_u64, |crc, byte| crc << 8 | u64::from(*byte));
        whole = crc_fast::checksum_combine(crc, whole, part_crc, part.stream.size);
    }
    Ok(crc_bytes(crc, whole))
}

fn value_of(part: &PartRow, algorithm: ChecksumAlgorithm) -> Result<&[u8], StoreError> {
    let checksum = part
        .checksum
        .as_ref()
        .filter(|checksum| checksum.algorithm == algorithm);
    checksum
        .map(|checksum| checksum.value.as_slice())
        .ok_or(StoreError::InvalidPart(part.number))
}

/// Big endian, in the algorithm's width, as S3 shows it.
fn crc_bytes(algorithm: CrcAlgorithm, value: u64) -> Vec<u8> {
    match algorithm {
        CrcAlgorithm::Crc64Nvme => value.to_be_bytes().to_vec(),
        _ => value.to_be_bytes()[4..].to_vec(),
    }
}

#[cfg(test)]
#[path = "digest_tests.rs"]
mod tests;
