//! What changed while a snapshot is being taken.

use std::collections::BTreeSet;

/// The keys of what changed since a snapshot was begun; nothing is kept while there is none.
#[derive(Debug)]
pub(super) struct Changes<K>(Option<BTreeSet<K>>);

impl<K> Default for Changes<K> {
    fn default() -> Self {
        Self(None)
    }
}

impl<K: Ord> Changes<K> {
    /// A snapshot begins.
    pub(super) fn begin(&mut self) {
        self.0 = Some(BTreeSet::new());
    }

    /// This changed, was added or was removed.
    pub(super) fn note(&mut self, key: impl FnOnce() -> K) {
        if let Some(keys) = &mut self.0 {
            keys.insert(key());
        }
    }

    /// The snapshot ends with these.
    pub(super) fn end(&mut self) -> BTreeSet<K> {
        self.0.take().unwrap_or_default()
    }
}
