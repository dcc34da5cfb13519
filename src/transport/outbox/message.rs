//! What a queue has to know of a message.

use std::{fmt::Debug, hash::Hash};

/// How a message that waits counts, and what may become of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// It opens the session: nothing overtakes it.
    Opening,
    /// What waits of it is bounded by what exists, such as tasks: it is never dropped and never ends the session.
    Bounded,
    /// It keeps its place, and counts against the budget for control messages.
    Control,
    /// Its origin sends it again when it is lost: dropped while the queue is over its budget.
    Repeated,
    /// Its delivery is not promised: dropped while more than half of the budget waits.
    BestEffort,
    /// It shows that this end is alive: it overtakes everything once the opening message has left.
    Urgent,
}

/// What becomes of a newer message whose key waits already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Merge {
    /// Both leave, the newer one in its own place.
    Both,
    /// The newer takes the place of the one that waits.
    Replace,
    /// The one that waits leaves and the newer does not.
    KeepWaiting,
    /// Neither leaves.
    Cancel,
}

/// A message on its way to a peer.
pub(crate) trait Message: Sized {
    /// Names what a message is about.
    type Key: Eq + Hash + Debug + Send;

    /// About how many bytes it takes on the wire; never zero, and always the same for the same message.
    fn weight(&self) -> usize;

    /// How it counts.
    fn class(&self) -> Class;

    /// What it is about, where a newer message can make an older one pointless.
    fn key(&self) -> Option<Self::Key> {
        None
    }

    /// What becomes of `newer`, which has the same key. `is_last`: nothing came after this one.
    fn merge(&self, newer: &Self, is_last: bool) -> Merge {
        let _ = (newer, is_last);
        Merge::Replace
    }

    /// The most bytes of a frame that it may be part of, beside others.
    fn frame_bytes(&self) -> usize {
        super::FRAME_BYTES
    }
}
