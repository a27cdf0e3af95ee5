//! `multipart/form-data` as it streams in: heads of fields in memory, contents in pieces.
//!
//! ```text
//! --boundary CRLF head CRLF CRLF content   for every field
//! --boundary--
//! ```

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use store::{Body, BodyError};

/// The longest head of one field, in bytes.
const HEAD_BYTES_MAX: usize = 16 << 10;

/// What is said about a field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) filename: Option<String>,
    pub(crate) content_type: Option<String>,
    pub(crate) content_encoding: Option<String>,
}

/// A form on its way in.
pub(crate) struct Form {
    body: Body,
    /// Begins with the line break that stands before every boundary.
    buffer: BytesMut,
    delimiter: Vec<u8>,
    ended: bool,
}

fn malformed() -> BodyError {
    BodyError {
        code: super::reply::BROKEN,
        message: "the form is malformed".to_owned(),
    }
}

/// The boundary that a content type names.
pub(crate) fn boundary(content_type: &str) -> Option<String> {
    let (kind, rest) = content_type.split_once(';')?;
    if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let found = rest
        .split(';')
        .filter_map(|field| field.split_once('='))
        .find(|(name, _)| name.trim().eq_ignore_ascii_case("boundary"));
    let boundary = found?.1.trim().trim_matches('"');
    (!boundary.is_empty() && boundary.len() <= 200).then(|| boundary.to_owned())
}

impl Form {
    /// A form whose fields are parted by `boundary`.
    pub(crate) fn new(body: Body, boundary: &str) -> Self {
        Self {
            body,
            buffer: BytesMut::from(&b"\r\n"[..]),
            delimiter: format!("\r\n--{boundary}").into_bytes(),
            ended: false,
        }
    }

    async fn more(&mut self) -> Result<bool, BodyError> {
        match self.body.next().await {
            None => Ok(false),
            Some(piece) => {
                self.buffer.extend_from_slice(&piece?);
                Ok(true)
            }
        }
    }

    /// The next piece of the current field's content; `None` at its end.
    pub(crate) async fn piece(&mut self) -> Result<Option<Bytes>, BodyError> {
        loop {
            if let Some(at) = find(&self.buffer, &self.delimiter) {
                if at == 0 {
                    return Ok(None);
                }
                return Ok(Some(self.buffer.split_to(at).freeze()));
            }
            // What may be the beginning of a delimiter stays.
            let safe = self.buffer.len().saturating_sub(self.delimiter.len() - 1);
            if safe > 0 {
                return Ok(Some(self.buffer.split_to(safe).freeze()));
            }
            if !self.more().await? {
                return Err(malformed());
            }
        }
    }

    /// Goes to the next field, past what is left of the current one; `None` after the last.
    pub(crate) async fn next(&mut self) -> Result<Option<Field>, BodyError> {
        if self.ended {
            return Ok(None);
        }
        while self.piece().await?.is_some() {}
        drop(self.buffer.split_to(self.delimiter.len()));
        while self.buffer.len() < 2 {
            if !self.more().await? {
                return Err(malformed());
            }
        }
        if self.buffer.starts_with(b"--") {
            self.ended = true;
            return Ok(None);
        }
        loop {
            if let Some(at) = find(&self.buffer, b"\r\n\r\n") {
                let head = self.buffer.split_to(at + 4);
                return head_of(&head).map(Some).ok_or_else(malformed);
            }
            if self.buffer.len() > HEAD_BYTES_MAX || !self.more().await? {
                return Err(malformed());
            }
        }
    }

    /// The whole content of a short field.
    pub(crate) async fn text(&mut self, max: usize) -> Result<String, BodyError> {
        let mut all = Vec::new();
        while let Some(piece) = self.piece().await? {
            all.extend_from_slice(&piece);
            if all.len() > max {
                return Err(malformed());
            }
        }
        String::from_utf8(all).map_err(|_| malformed())
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

fn head_of(head: &[u8]) -> Option<Field> {
    let mut field = Field::default();
    for line in std::str::from_utf8(head)
        .ok()?
        .split("\r\n")
        .filter(|line| !line.is_empty())
    {
        let (name, value) = line.split_once(':')?;
        let value = value.trim();
        match name.trim().to_ascii_lowercase().as_str() {
            "content-disposition" => {
                field.name = parameter(value, "name").unwrap_or_default();
                field.filename = parameter(value, "filename");
            }
            "content-type" => field.content_type = Some(value.to_owned()),
            "content-encoding" => field.content_encoding = Some(value.to_owned()),
            _ => {}
        }
    }
    Some(field)
}

/// One parameter of a header, quoted or not.
fn parameter(value: &str, wanted: &str) -> Option<String> {
    let mut rest = value;
    while let Some((_, after)) = rest.split_once(';') {
        let (name, tail) = after.split_once('=')?;
        let (text, end) = match tail.strip_prefix('"') {
            Some(quoted) => {
                let end = quoted.find('"')?;
                (&quoted[..end], &quoted[end..])
            }
            None => {
                let end = tail.find(';').unwrap_or(tail.len());
                (tail[..end].trim(), &tail[end..])
            }
        };
        if name.trim().eq_ignore_ascii_case(wanted) {
            return Some(text.to_owned());
        }
        rest = end;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(body: &[u8], size: usize) -> Result<Vec<(Field, Vec<u8>)>, BodyError> {
        let pieces: Vec<_> = body
            .chunks(size)
            .map(|piece| Ok(Bytes::copy_from_slice(piece)))
            .collect();
        let mut form = Form::new(futures::stream::iter(pieces).boxed(), "XX");
        let mut fields = Vec::new();
        while let Some(field) = form.next().await? {
            let mut content = Vec::new();
            while let Some(piece) = form.piece().await? {
                content.extend_from_slice(&piece);
            }
            fields.push((field, content));
        }
        Ok(fields)
    }

    #[tokio::test]
    async fn fields_are_found_however_the_body_is_cut() {
        let body = b"--XX\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\none\r\n--XX\r\n\
                     Content-Disposition: form-data; name=f; filename=\"x y.txt\"\r\nContent-Type: text/plain\r\n\r\n\
                     two\r\n--X\r\n\r\n--XX\r\nContent-Disposition: form-data; name=\"e\"\r\n\r\n\r\n--XX--\r\n";
        for size in [1, 2, 7, 1000] {
            let fields = read(body, size).await.expect("a form");
            let names: Vec<_> = fields
                .iter()
                .map(|(field, content)| (field.name.as_str(), content.as_slice()))
                .collect();
            assert_eq!(
                names,
                [("a", &b"one"[..]), ("f", b"two\r\n--X\r\n"), ("e", b"")],
                "{size}"
            );
            assert_eq!(fields[1].0.filename.as_deref(), Some("x y.txt"));
            assert_eq!(fields[1].0.content_type.as_deref(), Some("text/plain"));
        }
    }

    #[tokio::test]
    async fn a_form_that_breaks_off_is_no_form() {
        for body in [
            &b""[..],
            b"--XX",
            b"--XX\r\nContent-Disposition: form-data; name=a\r\n\r\none",
            b"nothing",
        ] {
            assert!(read(body, 3).await.is_err());
        }
        let long = [b"--XX\r\n".to_vec(), vec![b'a'; 2 * HEAD_BYTES_MAX]].concat();
        assert!(read(&long, 4096).await.is_err());
    }

    #[test]
    fn boundaries() {
        assert_eq!(
            boundary("multipart/form-data; boundary=\"a b\"").as_deref(),
            Some("a b")
        );
        assert_eq!(boundary("multipart/form-data"), None);
        assert_eq!(boundary("text/plain; boundary=x"), None);
    }
}
