//! What happened, in order: a digest that shows whether two runs were the same, and the text when it is asked for.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::dice::mix;

/// The record of one run; clones share it.
#[derive(Clone, Default)]
pub(crate) struct Trace(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    now_us: u64,
    digest: u64,
    events: u64,
    file: Option<BufWriter<File>>,
}

impl Trace {
    pub(crate) fn to_file(path: &Path) -> std::io::Result<Self> {
        let inner = Inner {
            file: Some(BufWriter::new(File::create(path)?)),
            ..Inner::default()
        };
        Ok(Self(Arc::new(Mutex::new(inner))))
    }

    pub(crate) fn set_now(&self, now_ms: u64) {
        self.0.lock().now_us = now_ms * 1000;
    }

    pub(crate) fn event(&self, what: &str) {
        let mut inner = self.0.lock();
        let now_us = inner.now_us;
        inner.events += 1;
        let mut digest = mix(inner.digest ^ now_us);
        for chunk in what.as_bytes().chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            digest = mix(digest ^ u64::from_le_bytes(word));
        }
        inner.digest = digest;
        if let Some(file) = &mut inner.file {
            // A trace that cannot be written must not change the run.
            let _ = writeln!(file, "{:>9.3} {what}", now_us as f64 / 1e6);
        }
    }

    pub(crate) fn digest(&self) -> u64 {
        self.0.lock().digest
    }

    pub(crate) fn events(&self) -> u64 {
        self.0.lock().events
    }

    pub(crate) fn flush(&self) {
        if let Some(file) = &mut self.0.lock().file {
            let _ = file.flush();
        }
    }
}
