//! What changed while a snapshot is being taken.

use std::collections::BTreeSet;

/// The keys that changed since a snapshot was begun; empty while none is being taken.
#[derive(Debug)]
pub(super) struct Changes<K>(Option<BTreeSet<K>>);

impl<K> Default for Changes<K> {
    fn default() -> Self {
        Self(None)
    }
}

impl<K: Ord> Changes<K> {
    /// Starts to record changes.
    pub(super) fn begin(&mut self) {
        self.0 = Some(BTreeSet::new());
    }

    /// Records that this was changed, added or removed.
    pub(super) fn note(&mut self, key: impl FnOnce() -> K) {
        if let Some(keys) = &mut self.0 {
            keys.insert(key());
        }
    }

    /// Stops recording and returns the keys that changed.
    pub(super) fn end(&mut self) -> BTreeSet<K> {
        self.0.take().unwrap_or_default()
    }
}
