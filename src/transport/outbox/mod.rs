//! Outboxes: one queue of outgoing messages per session, which is also the durability gate.
//!
//! Rule: a message is sent once the store has the record that it follows from, in the order of pushes. The waiting
//! bytes are bounded. [`queue`] decides and does no I/O. Through [`Outbox`] one thread pushes without waiting, and a
//! connection takes frames.

pub(crate) mod budget;
pub(crate) mod durable;
mod message;
mod outlet;
pub(crate) mod queue;
mod slots;
mod written;

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;

pub(crate) use self::{
    budget::{Budget, Limits},
    durable::Durable,
    message::{Class, Merge, Message},
    outlet::Outbox,
    queue::{EndReason, RecordNumber, SessionQueue, Taken},
    written::Written,
};

/// The byte limit of a frame, unless a single message is larger. On a slow link the peer receives frame after frame.
pub(crate) const FRAME_BYTES: usize = 64 << 10;
/// The message limit of a frame.
pub(crate) const FRAME_MESSAGES: usize = 1_024;
