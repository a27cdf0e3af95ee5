//! Logs of a server process: to standard error, text or JSON.
//!
//! No key of an object, no secret and no signature belongs in a log line; what identifies a request is its id.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

use crate::config::{LogFormat, LogSection};

/// Starts logging for the whole process.
///
/// # Errors
/// When the filter cannot be understood.
pub fn start(section: &LogSection) -> Result<(), ParseError> {
    let filter = EnvFilter::try_new(&section.filter)?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false);
    match section.format {
        LogFormat::Text => lines.init(),
        LogFormat::Json => lines.json().flatten_event(true).init(),
    }
    Ok(())
}
