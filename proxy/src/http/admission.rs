//! How much is worked on at once (MEM-1): requests and bytes, with a fair share for every project.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Limits of an [`Admission`].
#[derive(Clone, Debug)]
pub struct AdmissionOptions {
    /// Requests in progress.
    pub requests_max: u64,
    /// Bytes that the requests in progress are taken to hold.
    pub bytes_max: u64,
}

impl Default for AdmissionOptions {
    fn default() -> Self {
        Self {
            requests_max: 1024,
            bytes_max: 192 << 20,
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Load {
    requests: u64,
    bytes: u64,
}

impl Load {
    fn plus(self, bytes: u64) -> Self {
        Self {
            requests: self.requests + 1,
            bytes: self.bytes.saturating_add(bytes),
        }
    }

    fn minus(self, bytes: u64) -> Self {
        Self {
            requests: self.requests.saturating_sub(1),
            bytes: self.bytes.saturating_sub(bytes),
        }
    }

    fn within(self, requests: u64, bytes: u64) -> bool {
        self.requests <= requests && self.bytes <= bytes
    }
}

#[derive(Debug, Default)]
struct State {
    total: Load,
    projects: HashMap<String, Load>,
}

/// Admits requests, or not.
#[derive(Clone, Debug)]
pub struct Admission {
    options: AdmissionOptions,
    state: Arc<Mutex<State>>,
}

/// The right to work on one request; ends when dropped.
#[derive(Debug)]
pub struct Permit {
    state: Arc<Mutex<State>>,
    project: String,
    bytes: u64,
}

/// Whether one more request fits. Half of everything is for whoever comes; beyond it a project gets no more than an
/// equal share, so that one busy project cannot keep the others out.
fn fits(options: &AdmissionOptions, total: Load, mine: Load, projects: u64) -> bool {
    if !total.within(options.requests_max, options.bytes_max) {
        return false;
    }
    let free = total.within(options.requests_max / 2, options.bytes_max / 2);
    free || mine.within(
        options.requests_max / projects.max(1),
        options.bytes_max / projects.max(1),
    )
}

impl Admission {
    /// Admission within these limits.
    #[must_use]
    pub fn new(options: AdmissionOptions) -> Self {
        Self {
            options,
            state: Arc::default(),
        }
    }

    /// Admits a request of `project` that holds about `bytes`; `None`: come back later.
    #[must_use]
    pub fn admit(&self, project: &str, bytes: u64) -> Option<Permit> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mine = state.projects.get(project).copied().unwrap_or_default().plus(bytes);
        let total = state.total.plus(bytes);
        let newcomer = u64::from(!state.projects.contains_key(project));
        let projects = state.projects.len() as u64 + newcomer;
        if !fits(&self.options, total, mine, projects) {
            metrics::counter!("halo_edge_slow_down_total").increment(1);
            return None;
        }
        state.total = total;
        state.projects.insert(project.to_owned(), mine);
        Some(Permit {
            state: Arc::clone(&self.state),
            project: project.to_owned(),
            bytes,
        })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.total = state.total.minus(self.bytes);
        if let Some(mine) = state.projects.get_mut(&self.project) {
            *mine = mine.minus(self.bytes);
            if mine.requests == 0 {
                state.projects.remove(&self.project);
            }
        }
    }
}

#[cfg(test)]
#[path = "admission_tests.rs"]
mod tests;
