//! The bytes written to each session, reported back to the core.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::Notify;

use super::budget::Limits;

/// So many written bytes wake the waiting reader of reports; fewer are included in its next report.
const REPORT_BYTES: usize = 256 << 10;

/// Bytes written, dropped or merged away since they were last taken, by session. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Written {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    bytes: Mutex<BTreeMap<u64, usize>>,
    threshold: usize,
    enough: Notify,
}

impl Written {
    pub(crate) fn new(limits: &Limits) -> Self {
        let threshold = REPORT_BYTES.min(limits.session_bytes / 4).max(1);
        Self { shared: Arc::new(Shared { bytes: Mutex::default(), threshold, enough: Notify::new() }) }
    }

    /// Waits until enough bytes were written to one session, or a large queue became empty.
    pub(crate) async fn reported(&self) {
        self.shared.enough.notified().await;
    }

    /// Returns the bytes written to each session since the last call.
    pub(crate) fn take(&self) -> BTreeMap<u64, usize> {
        std::mem::take(&mut *self.shared.bytes.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Adds written bytes. `since_empty`: the bytes written since the queue was last empty, if it is empty now.
    pub(super) fn add(&self, session: u64, bytes: usize, since_empty: Option<usize>) {
        let sum = {
            let mut all = self.shared.bytes.lock().unwrap_or_else(PoisonError::into_inner);
            let sum = all.entry(session).or_default();
            *sum += bytes;
            *sum
        };
        let threshold = self.shared.threshold;
        if sum >= threshold || since_empty.is_some_and(|bytes| bytes >= threshold) {
            self.shared.enough.notify_one();
        }
    }
}
