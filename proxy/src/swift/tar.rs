//! Tar archives as they stream in: POSIX ustar, its pax headers, and GNU's long names.
//!
//! ```text
//! archive = (header 512 | content, padded to 512)* | two empty blocks
//! header  = name 100 | mode 8 | uid 8 | gid 8 | size 12 octal | mtime 12 | checksum 8 octal | type 1 | link 100
//!           | "ustar" 6+2 | user 32 | group 32 | major 8 | minor 8 | prefix 155
//! ```

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use store::{Body, BodyError};

/// Bytes of a header, and what contents are padded to.
const BLOCK: usize = 512;
/// The longest pax header or long name, in bytes.
const EXTENSION_BYTES_MAX: u64 = 64 << 10;

/// A file in an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct File {
    pub(crate) name: String,
    pub(crate) size: u64,
    /// False for directories, links and devices.
    pub(crate) regular: bool,
}

/// An archive on its way in.
pub(crate) struct Archive {
    body: Body,
    buffer: BytesMut,
    /// What is left of the current file's content.
    left: u64,
    padding: usize,
}

fn malformed() -> BodyError {
    BodyError {
        code: "archive",
        message: "the archive is malformed".to_owned(),
    }
}

impl Archive {
    /// An archive without compression.
    pub(crate) fn new(body: Body) -> Self {
        Self {
            body,
            buffer: BytesMut::new(),
            left: 0,
            padding: 0,
        }
    }

    /// Waits until the buffer holds `wanted` bytes; false when the archive ends before.
    async fn fill(&mut self, wanted: usize) -> Result<bool, BodyError> {
        while self.buffer.len() < wanted {
            match self.body.next().await {
                Some(piece) => self.buffer.extend_from_slice(&piece?),
                None => return Ok(false),
            }
        }
        Ok(true)
    }

    /// The next piece of the current file; `None` at its end.
    pub(crate) async fn piece(&mut self) -> Result<Option<Bytes>, BodyError> {
        if self.left == 0 {
            return Ok(None);
        }
        if !self.fill(1).await? {
            return Err(malformed());
        }
        let take = usize::try_from(self.left).unwrap_or(usize::MAX).min(self.buffer.len());
        self.left -= take as u64;
        Ok(Some(self.buffer.split_to(take).freeze()))
    }

    /// Goes to the next file, past what is left of the current one; `None` at the archive's end.
    pub(crate) async fn next(&mut self) -> Result<Option<File>, BodyError> {
        let mut long_name = None;
        loop {
            while self.piece().await?.is_some() {}
            if !self.fill(self.padding).await? {
                return Err(malformed());
            }
            drop(self.buffer.split_to(std::mem::take(&mut self.padding)));
            if !self.fill(BLOCK).await? {
                // Some writers leave out the empty blocks at the end.
                return if self.buffer.is_empty() {
                    Ok(None)
                } else {
                    Err(malformed())
                };
            }
            let header = self.buffer.split_to(BLOCK);
            if header.iter().all(|byte| *byte == 0) {
                return Ok(None);
            }
            let (name, size, kind) = header_of(&header).ok_or_else(malformed)?;
            self.left = size;
            self.padding = (BLOCK - (size % BLOCK as u64) as usize) % BLOCK;
            match kind {
                b'L' => long_name = Some(text(&self.extension().await?)?),
                b'x' => {
                    let extension = self.extension().await?;
                    long_name = pax_path(&extension).or(long_name);
                }
                b'g' | b'K' => drop(self.extension().await?),
                _ => {
                    let regular = matches!(kind, b'0' | 0 | b'7');
                    let name = match long_name {
                        Some(name) => name,
                        None => String::from_utf8(name).map_err(|_| malformed())?,
                    };
                    return Ok(Some(File { name, size, regular }));
                }
            }
        }
    }

    async fn extension(&mut self) -> Result<Vec<u8>, BodyError> {
        if self.left > EXTENSION_BYTES_MAX {
            return Err(malformed());
        }
        let mut all = Vec::new();
        while let Some(piece) = self.piece().await? {
            all.extend_from_slice(&piece);
        }
        Ok(all)
    }
}

fn text(bytes: &[u8]) -> Result<String, BodyError> {
    String::from_utf8(until_zero(bytes).to_vec()).map_err(|_| malformed())
}

fn until_zero(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    &bytes[..end]
}

fn number(field: &[u8]) -> Option<u64> {
    // GNU writes large numbers in base 256, marked by the highest bit.
    if field[0] & 0x80 != 0 {
        let (high, low) = field.split_last_chunk::<8>()?;
        let small = high.iter().all(|byte| byte & 0x7f == 0);
        return small.then(|| u64::from_be_bytes(*low));
    }
    let digits = std::str::from_utf8(until_zero(field)).ok()?.trim();
    if digits.is_empty() {
        Some(0)
    } else {
        u64::from_str_radix(digits, 8).ok()
    }
}

/// Name, size and type of a header whose checksum is right.
fn header_of(header: &[u8]) -> Option<(Vec<u8>, u64, u8)> {
    let sum: u64 = header
        .iter()
        .enumerate()
        .map(|(at, byte)| if (148..156).contains(&at) { 32 } else { u64::from(*byte) })
        .sum();
    if number(&header[148..156])? != sum {
        return None;
    }
    let mut name = until_zero(&header[..100]).to_vec();
    let prefix = until_zero(&header[345..500]);
    if &header[257..262] == b"ustar" && header[262] == 0 && !prefix.is_empty() {
        name = [prefix, b"/", &name].concat();
    }
    Some((name, number(&header[124..136])?, header[156]))
}

/// The path that a pax header gives: records of `LENGTH KEY=VALUE\n`.
fn pax_path(mut records: &[u8]) -> Option<String> {
    while !records.is_empty() {
        let space = records.iter().position(|byte| *byte == b' ')?;
        let length: usize = std::str::from_utf8(&records[..space]).ok()?.parse().ok()?;
        let record = records.get(space + 1..length.checked_sub(1)?)?;
        if let Some(path) = record.strip_prefix(b"path=") {
            return String::from_utf8(path.to_vec()).ok();
        }
        records = records.get(length..)?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(name: &str, size: usize, kind: u8) -> Vec<u8> {
        let mut block = vec![0; BLOCK];
        block[..name.len()].copy_from_slice(name.as_bytes());
        block[124..135].copy_from_slice(format!("{size:011o}").as_bytes());
        block[156] = kind;
        block[148..156].copy_from_slice(b"        ");
        let sum: u64 = block.iter().map(|byte| u64::from(*byte)).sum();
        block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        block
    }

    fn file(name: &str, content: &[u8], kind: u8) -> Vec<u8> {
        let mut bytes = header(name, content.len(), kind);
        bytes.extend_from_slice(content);
        bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
        bytes
    }

    async fn read(bytes: &[u8], size: usize) -> Result<Vec<(String, Vec<u8>, bool)>, BodyError> {
        let pieces: Vec<_> = bytes
            .chunks(size)
            .map(|piece| Ok(Bytes::copy_from_slice(piece)))
            .collect();
        let mut archive = Archive::new(futures::stream::iter(pieces).boxed());
        let mut files = Vec::new();
        while let Some(file) = archive.next().await? {
            let mut content = Vec::new();
            while let Some(piece) = archive.piece().await? {
                content.extend_from_slice(&piece);
            }
            files.push((file.name, content, file.regular));
        }
        Ok(files)
    }

    #[tokio::test]
    async fn files_are_found_however_the_archive_is_cut() {
        let long = "d/".repeat(100);
        let bytes = [
            file("a", b"one", b'0'),
            file("dir/", b"", b'5'),
            file("././@LongLink", format!("{long}\0").as_bytes(), b'L'),
            file("cut", &[7; 600], b'0'),
            file("pax", b"14 path=x/y/z\n", b'x'),
            file("short", b"", b'0'),
            vec![0; 2 * BLOCK],
        ]
        .concat();
        for size in [1, 100, 512, 5000] {
            let files = read(&bytes, size).await.expect("an archive");
            let names: Vec<_> = files
                .iter()
                .map(|(name, content, regular)| (name.as_str(), content.len(), *regular))
                .collect();
            assert_eq!(
                names,
                [
                    ("a", 3, true),
                    ("dir/", 0, false),
                    (&long, 600, true),
                    ("x/y/z", 0, true)
                ],
                "{size}"
            );
        }
    }

    #[tokio::test]
    async fn what_is_no_archive_is_refused() {
        let mut damaged = file("a", b"one", b'0');
        damaged[0] = b'b';
        for bytes in [
            damaged,
            file("a", b"one", b'0')[..600].to_vec(),
            vec![1; 700],
            header("a", 1 << 20, b'L'),
        ] {
            assert!(read(&bytes, 100).await.is_err());
        }
        assert!(read(b"", 1).await.is_ok_and(|files| files.is_empty()));
    }
}
