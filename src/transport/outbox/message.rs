//! The properties of a message that its queue uses.

use std::{fmt::Debug, hash::Hash};

/// How a queued message counts against the budget, and whether it may be dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// It opens the session: nothing overtakes it.
    Opening,
    /// Its count is bounded elsewhere, such as by tasks: it is never dropped and never ends the session.
    Bounded,
    /// It keeps its place and counts against the budget for control messages.
    Control,
    /// Its sender resends it when it is lost: dropped while the queue is over its budget.
    Repeated,
    /// Its delivery is not guaranteed: dropped while more than half of the budget is used.
    BestEffort,
    /// A ping or heartbeat: it overtakes everything once the opening message has been sent.
    Urgent,
}

/// What happens to a newer message whose key is already queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Merge {
    /// Both are sent, each in its own place.
    Both,
    /// The newer replaces the queued one.
    Replace,
    /// The queued one is sent; the newer is dropped.
    KeepWaiting,
    /// Both are dropped.
    Cancel,
}

/// A message to a peer.
pub(crate) trait Message: Sized {
    /// What identifies the subject of a message.
    type Key: Eq + Hash + Debug + Send;

    /// Returns its approximate bytes on the wire; never zero, and constant for one message.
    fn weight(&self) -> usize;

    /// Returns how it counts.
    fn class(&self) -> Class;

    /// Returns the key under which a newer message may replace this one.
    fn key(&self) -> Option<Self::Key> {
        None
    }

    /// Decides between this message and a `newer` one of the same key. `is_last`: nothing was queued after this one.
    fn merge(&self, newer: &Self, is_last: bool) -> Merge {
        let _ = (newer, is_last);
        Merge::Replace
    }

    /// Returns the byte limit of a frame that holds other messages beside it.
    fn frame_bytes(&self) -> usize {
        super::FRAME_BYTES
    }
}
