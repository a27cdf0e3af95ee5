//! In which form a listing is answered: `format=`, else `Accept`.

use http::StatusCode;

use super::reply::{Refused, bad_request, refuse};
use super::request::Ask;

/// A listing's form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Text,
    Json,
    Xml,
}

impl Format {
    /// The media type answered.
    pub(crate) fn media_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; charset=utf-8",
            Self::Json => "application/json; charset=utf-8",
            Self::Xml => "application/xml; charset=utf-8",
        }
    }

    /// What a request asks for; 400 for what is no `Accept` header, 406 when nothing fits.
    pub(crate) fn of(ask: &Ask) -> Result<Self, Refused> {
        match ask.query.get("format").filter(|format| !format.is_empty()) {
            Some(format) => Ok(match format.to_ascii_lowercase().as_str() {
                "json" => Self::Json,
                "xml" => Self::Xml,
                _ => Self::Text,
            }),
            None => Self::accepted(ask.header("accept").unwrap_or_default()),
        }
    }

    /// Whether JSON is among what a request accepts.
    pub(crate) fn accepts_json(ask: &Ask) -> bool {
        let ranges = parse(ask.header("accept").unwrap_or_default()).unwrap_or_default();
        ranges
            .iter()
            .any(|range| range.quality > 0.0 && range.fits("application", "json"))
    }

    fn accepted(accept: &str) -> Result<Self, Refused> {
        let mut ranges = parse(accept).ok_or_else(|| bad_request("Invalid Accept header"))?;
        if ranges.is_empty() {
            return Ok(Self::Text);
        }
        ranges.sort_by(|a, b| b.quality.total_cmp(&a.quality).then(a.wildcards().cmp(&b.wildcards())));
        let offers = [
            ("text", "plain", Self::Text),
            ("application", "json", Self::Json),
            ("application", "xml", Self::Xml),
            ("text", "xml", Self::Xml),
        ];
        ranges
            .iter()
            .filter(|range| range.quality > 0.0)
            .find_map(|range| offers.iter().find(|offer| range.fits(offer.0, offer.1)))
            .map(|offer| offer.2)
            .ok_or_else(|| refuse(StatusCode::NOT_ACCEPTABLE))
    }
}

struct MediaRange<'a> {
    kind: &'a str,
    subkind: &'a str,
    quality: f64,
}

impl MediaRange<'_> {
    fn wildcards(&self) -> usize {
        usize::from(self.kind == "*") + usize::from(self.subkind == "*")
    }

    fn fits(&self, kind: &str, subkind: &str) -> bool {
        (self.kind == "*" || self.kind.eq_ignore_ascii_case(kind))
            && (self.subkind == "*" || self.subkind.eq_ignore_ascii_case(subkind))
    }
}

/// One pass over the header, whatever it holds.
fn parse(accept: &str) -> Option<Vec<MediaRange<'_>>> {
    let token = |text: &str| {
        let fine = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        !text.is_empty() && text.bytes().all(fine)
    };
    let mut ranges = Vec::new();
    for item in accept.split(',').map(str::trim).filter(|item| !item.is_empty()) {
        let mut fields = item.split(';').map(str::trim);
        let (kind, subkind) = fields.next()?.split_once('/')?;
        if !token(kind) || !token(subkind) || (kind == "*" && subkind != "*") {
            return None;
        }
        let mut quality = 1.0;
        for field in fields {
            let (name, value) = field.split_once('=')?;
            if !token(name.trim()) {
                return None;
            }
            if name.trim().eq_ignore_ascii_case("q") {
                quality = value
                    .trim()
                    .parse()
                    .ok()
                    .filter(|quality| (0.0..=1.0).contains(quality))?;
            }
        }
        ranges.push(MediaRange { kind, subkind, quality });
    }
    Some(ranges)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(accept: &str) -> Result<Format, u16> {
        Format::accepted(accept).map_err(|refused| refused.status.as_u16())
    }

    #[test]
    fn the_best_form_is_chosen() {
        assert_eq!(of(""), Ok(Format::Text));
        assert_eq!(of("*/*"), Ok(Format::Text));
        assert_eq!(of("application/*"), Ok(Format::Json));
        assert_eq!(of("application/json;q=0.5, application/xml"), Ok(Format::Xml));
        assert_eq!(
            of("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
            Ok(Format::Xml)
        );
        assert_eq!(of("image/png"), Err(406));
    }

    #[test]
    fn absurd_headers_are_refused_at_once() {
        for bad in ["json", "a/b;q=x", "*/json", "text/plain;;q", "a b/c"] {
            assert_eq!(of(bad), Err(400), "{bad}");
        }
        let long = format!("application/json{}", ";a=b".repeat(50_000));
        assert_eq!(of(&long), Ok(Format::Json));
    }
}
