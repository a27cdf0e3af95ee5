//! `multipart/form-data` as browsers send it: short fields first, read whole; then the file, as a stream.
//!
//! ```text
//! form    = ["--" boundary CRLF] field* file "--" …
//! field   = head CRLF CRLF content CRLF "--" boundary CRLF
//! file    = the field named "file"; what follows it does not count
//! ```
//! Bounded (MEM-1): heads, single fields and all fields together, and of the file what may be the beginning of a
//! boundary.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use futures::Stream;
use s3s::StdError;

/// The longest boundary, in bytes (RFC 2046).
const BOUNDARY_BYTES_MAX: usize = 70;
/// The longest head of a field, in bytes.
const HEAD_BYTES_MAX: usize = 8 << 10;
/// All fields before the file together, in bytes (AWS: 20 KB).
const FIELDS_BYTES_MAX: usize = 20 << 10;
/// Fields before the file.
const FIELDS_MAX: usize = 200;

/// What is wrong with a form: a code of S3, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FormFault(pub(crate) &'static str, pub(crate) &'static str);

const MALFORMED: FormFault = FormFault(
    "MalformedPOSTRequest",
    "The body of your POST request is not well-formed multipart/form-data.",
);
const NO_FILE: FormFault = FormFault("InvalidArgument", "POST requires exactly one file upload per request.");
const TOO_LARGE: FormFault = FormFault(
    "MaxPostPreDataLengthExceededError",
    "Your POST request fields preceding the upload file were too large.",
);

/// The fields of a form before its file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fields {
    /// Names in lower case, values as they came, in their order.
    list: Vec<(String, String)>,
    /// The name of the file.
    pub(crate) filename: String,
}

impl Fields {
    /// The first field of that name.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let mut found = self.list.iter().filter(|(given, _)| given == name);
        found.next().map(|(_, value)| value.as_str())
    }

    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.list.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Sets a field.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.list.retain(|(given, _)| given != name);
        self.list.push((name.to_owned(), value.to_owned()));
    }
}

/// The boundary that a content type names, when it is a form's.
pub(crate) fn boundary(content_type: &str) -> Option<String> {
    let (kind, parameters) = content_type.split_once(';')?;
    if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let value = parameter(parameters, "boundary")?;
    (!value.is_empty() && value.len() <= BOUNDARY_BYTES_MAX).then_some(value)
}

/// A parameter of a header's value: `; name=value` or `; name="value"`, with `\"` for a quote.
fn parameter(text: &str, wanted: &str) -> Option<String> {
    let mut rest = text.trim_start_matches([';', ' ', '\t']);
    while let Some((name, after)) = rest.split_once('=') {
        let (value, next) = match after.strip_prefix('"') {
            Some(quoted) => unquoted(quoted)?,
            None => {
                let end = after.find(';').unwrap_or(after.len());
                (after[..end].trim().to_owned(), &after[end..])
            }
        };
        if name.trim().eq_ignore_ascii_case(wanted) {
            return Some(value);
        }
        rest = next.trim_start_matches([';', ' ', '\t']);
    }
    None
}

fn unquoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, c)) = characters.next() {
        match c {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => match characters.next()? {
                (_, next @ ('"' | '\\')) => value.push(next),
                (_, next) => value.extend(['\\', next]),
            },
            _ => value.push(c),
        }
    }
    None
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    /// Before the first boundary, or right behind one.
    Boundary,
    /// In a field's head.
    Head,
    /// In the content of a field of this name.
    Field(String),
    /// In the file.
    File,
    /// Behind the file.
    End,
}

/// Reads a form; decides, and does no I/O.
#[derive(Debug)]
struct Reader {
    /// CRLF, two dashes, the boundary.
    delimiter: Vec<u8>,
    held: BytesMut,
    place: Place,
    fields: Fields,
    bytes: usize,
}

impl Reader {
    fn new(boundary: &str) -> Self {
        Self {
            delimiter: format!("\r\n--{boundary}").into_bytes(),
            // The first boundary need not stand behind a line break.
            held: BytesMut::from(&b"\r\n"[..]),
            place: Place::Boundary,
            fields: Fields::default(),
            bytes: 0,
        }
    }

    /// Takes a piece of the body; the file's bytes go to `out`.
    fn take(&mut self, piece: &[u8], out: &mut VecDeque<Bytes>) -> Result<(), FormFault> {
        if self.place == Place::End {
            return Ok(());
        }
        self.held.extend_from_slice(piece);
        while self.step(out)? {}
        Ok(())
    }

    /// One step; false when more bytes are needed.
    fn step(&mut self, out: &mut VecDeque<Bytes>) -> Result<bool, FormFault> {
        match &mut self.place {
            Place::Boundary => self.boundary(),
            Place::Head => self.head(),
            Place::Field(name) => {
                let name = std::mem::take(name);
                self.field(name)
            }
            Place::File => Ok(self.file(out)),
            Place::End => Ok(false),
        }
    }

    fn boundary(&mut self) -> Result<bool, FormFault> {
        let end = self.delimiter.len();
        if self.held.len() < end + 2 {
            return self.within(HEAD_BYTES_MAX);
        }
        if self.held.starts_with(&self.delimiter) && &self.held[end..end + 2] == b"--" {
            return Err(NO_FILE);
        }
        if !self.held.starts_with(&self.delimiter) || &self.held[end..end + 2] != b"\r\n" {
            return Err(MALFORMED);
        }
        self.held.advance(end);
        self.place = Place::Head;
        Ok(true)
    }

    fn head(&mut self) -> Result<bool, FormFault> {
        let Some(end) = find(&self.held, b"\r\n\r\n") else {
            return self.within(HEAD_BYTES_MAX);
        };
        let head = self.held.split_to(end);
        self.held.advance(4);
        let (name, filename) = disposition(&head).ok_or(MALFORMED)?;
        if name == "file" {
            self.fields.filename = filename.unwrap_or_default();
            self.place = Place::File;
            return Ok(true);
        }
        self.count(head.len() + name.len())?;
        self.place = Place::Field(name);
        Ok(true)
    }

    fn field(&mut self, name: String) -> Result<bool, FormFault> {
        let Some(end) = find(&self.held, &self.delimiter) else {
            self.place = Place::Field(name);
            return if self.held.len() > FIELDS_BYTES_MAX {
                Err(TOO_LARGE)
            } else {
                Ok(false)
            };
        };
        self.count(end)?;
        let value = self.held.split_to(end);
        let value = std::str::from_utf8(&value).map_err(|_| MALFORMED)?;
        if self.fields.list.len() == FIELDS_MAX {
            return Err(TOO_LARGE);
        }
        self.fields.list.push((name, value.to_owned()));
        self.place = Place::Boundary;
        Ok(true)
    }

    /// Hands on what is certainly the file's.
    fn file(&mut self, out: &mut VecDeque<Bytes>) -> bool {
        let (end, over) = match find(&self.held, &self.delimiter) {
            Some(end) => (end, true),
            None => (self.held.len().saturating_sub(self.delimiter.len() - 1), false),
        };
        if end > 0 {
            out.push_back(self.held.split_to(end).freeze());
        }
        if over {
            self.place = Place::End;
            self.held.clear();
        }
        false
    }

    fn within(&self, max: usize) -> Result<bool, FormFault> {
        if self.held.len() > max {
            Err(MALFORMED)
        } else {
            Ok(false)
        }
    }

    fn count(&mut self, bytes: usize) -> Result<(), FormFault> {
        self.bytes += bytes;
        if self.bytes > FIELDS_BYTES_MAX {
            Err(TOO_LARGE)
        } else {
            Ok(())
        }
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    let first = wanted.first()?;
    let mut from = 0;
    while let Some(at) = bytes[from..].iter().position(|byte| byte == first) {
        if bytes[from + at..].starts_with(wanted) {
            return Some(from + at);
        }
        from += at + 1;
    }
    None
}

/// The name, in lower case, and the file's name of a field's head. Browsers of old send a path as the file's name.
fn disposition(head: &[u8]) -> Option<(String, Option<String>)> {
    let head = std::str::from_utf8(head).ok()?;
    let lines = head.split("\r\n").filter_map(|line| line.split_once(':'));
    let mut values = lines.filter(|(name, _)| name.trim().eq_ignore_ascii_case("content-disposition"));
    let (_, value) = values.next()?;
    let (kind, parameters) = value.split_once(';')?;
    if !kind.trim().eq_ignore_ascii_case("form-data") {
        return None;
    }
    let filename = parameter(parameters, "filename");
    let filename = filename.map(|path| path.rsplit(['/', '\\']).next().unwrap_or_default().to_owned());
    Some((parameter(parameters, "name")?.to_ascii_lowercase(), filename))
}

/// The file of a form.
pub(crate) struct FormFile<S> {
    body: S,
    reader: Reader,
    out: VecDeque<Bytes>,
    ended: bool,
}

/// Reads a form up to its file.
///
/// # Errors
/// A fault of the form's, or the body's own error.
pub(crate) async fn read<S>(mut body: S, boundary: &str) -> Result<(Fields, FormFile<S>), FormError>
where
    S: Stream<Item = Result<Bytes, StdError>> + Unpin,
{
    let (mut reader, mut out) = (Reader::new(boundary), VecDeque::new());
    while !matches!(reader.place, Place::File | Place::End) {
        match futures::StreamExt::next(&mut body).await {
            Some(piece) => reader
                .take(&piece.map_err(FormError::Body)?, &mut out)
                .map_err(FormError::Form)?,
            None => return Err(FormError::Form(MALFORMED)),
        }
    }
    let fields = std::mem::take(&mut reader.fields);
    let file = FormFile {
        body,
        reader,
        out,
        ended: false,
    };
    Ok((fields, file))
}

/// Why a form could not be read.
#[derive(Debug)]
pub(crate) enum FormError {
    /// It is not one, or too large.
    Form(FormFault),
    /// Its bytes did not come.
    Body(StdError),
}

impl<S: Stream<Item = Result<Bytes, StdError>> + Unpin> Stream for FormFile<S> {
    type Item = Result<Bytes, StdError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            if let Some(bytes) = this.out.pop_front() {
                return Poll::Ready(Some(Ok(bytes)));
            }
            if this.ended {
                return Poll::Ready(None);
            }
            match ready!(Pin::new(&mut this.body).poll_next(cx)) {
                Some(Ok(piece)) => {
                    // Behind the head of the file nothing is malformed any more.
                    let _ = this.reader.take(&piece, &mut this.out);
                }
                Some(Err(cause)) => {
                    this.ended = true;
                    return Poll::Ready(Some(Err(cause)));
                }
                None => {
                    this.ended = true;
                    if this.reader.place != Place::End {
                        return Poll::Ready(Some(Err("the form ends before its file".into())));
                    }
                }
            }
        }
    }
}

/// For the fuzzer: a form with the boundary `b`, whole and in pieces, with the same result.
pub fn fuzz(bytes: &[u8]) -> String {
    let read = |size: usize| {
        let (mut reader, mut out) = (Reader::new("b"), VecDeque::new());
        let done = bytes.chunks(size).try_for_each(|piece| reader.take(piece, &mut out));
        let file: Vec<u8> = out.iter().flatten().copied().collect();
        (done, reader.place, reader.fields, file)
    };
    let whole = read(bytes.len().max(1));
    let (done, place, fields, file) = read(1 + bytes.len() % 7);
    if whole.0.is_ok() && done.is_ok() {
        assert_eq!(
            (&whole.1, &whole.2, &whole.3),
            (&place, &fields, &file),
            "pieces make no difference"
        );
    }
    assert!(find(&file, b"\r\n--b").is_none(), "no boundary is the file's");
    format!("{done:?} {} {}", place == Place::End, fields.list.len().min(3))
}

#[cfg(test)]
#[path = "form_tests.rs"]
mod tests;
