//! What was written to each session, as it goes back to the core that decides by it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::Notify;

use super::budget::Limits;

/// So many bytes written wake the one who waits for reports; less is reported when it looks next.
const REPORT_BYTES: usize = 256 << 10;

/// Bytes written, dropped or merged away since they were last taken, by session; clones share them.
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

    /// Waits until enough was written to one session, or a large queue has run empty.
    pub(crate) async fn reported(&self) {
        self.shared.enough.notified().await;
    }

    /// What was written to each session since the last call.
    pub(crate) fn take(&self) -> BTreeMap<u64, usize> {
        std::mem::take(&mut *self.shared.bytes.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// `since_empty`: what was written since the queue was empty, if it is empty now.
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
