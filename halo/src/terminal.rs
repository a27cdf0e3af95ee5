//! What the commands print: results to standard output, progress and warnings to standard error.
//!
//! Knows: whether a person is looking. Must not know: what is printed. A reader that went away (`halo ... | head`) is
//! not an error.

use std::io::{IsTerminal, Write};

use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

/// Prints a line of the result.
pub fn line(text: impl AsRef<str>) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{}", text.as_ref());
}

/// Prints a value as one line of JSON, or indented when a person looks.
///
/// # Errors
/// When the value has no JSON form.
pub fn json<T: Serialize>(value: &T) -> Result<(), serde_json::Error> {
    let text = if is_person() {
        serde_json::to_string_pretty(value)?
    } else {
        serde_json::to_string(value)?
    };
    line(text);
    Ok(())
}

/// Says something beside the result.
pub fn note(text: impl AsRef<str>) {
    let mut err = std::io::stderr().lock();
    let _ = writeln!(err, "{}", text.as_ref());
}

/// True when standard output is a terminal.
#[must_use]
pub fn is_person() -> bool {
    std::io::stdout().is_terminal()
}

/// A table with a header; its columns fit the terminal's width.
#[must_use]
pub fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::UTF8_BORDERS_ONLY)
        .set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(header.iter().copied());
    table
}

/// Colours `text` for a terminal, and only for one.
#[must_use]
pub fn coloured(text: &str, colour: Colour) -> String {
    if !is_person() || std::env::var_os("NO_COLOR").is_some() {
        return text.to_owned();
    }
    format!("\x1b[{}m{text}\x1b[0m", colour as u8)
}

/// The colours used, by their ANSI number.
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
pub enum Colour {
    /// Something is wrong.
    Red = 31,
    /// All is well.
    Green = 32,
    /// Something needs an eye.
    Yellow = 33,
}

/// Bytes as people read them.
#[must_use]
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut unit = 0;
    let mut value = count as f64;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 {
        format!("{count} B")
    } else {
        format!("{value:.1} {}", UNITS[unit])
    }
}

/// A moment in UTC, to the second.
#[must_use]
pub fn date(unix_ms: u64) -> String {
    let seconds = i64::try_from(unix_ms / 1000).unwrap_or(i64::MAX);
    let time = time::OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(time::OffsetDateTime::UNIX_EPOCH);
    let text = time.format(&time::format_description::well_known::Rfc3339);
    text.unwrap_or_else(|_| unix_ms.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_dates_read_well() {
        assert_eq!(bytes(17), "17 B");
        assert_eq!(bytes(4 * 1024 * 1024), "4.0 MiB");
        assert_eq!(date(1_369_353_600_999), "2013-05-24T00:00:00Z");
    }
}
