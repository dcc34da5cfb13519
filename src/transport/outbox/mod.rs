//! What waits to leave to one peer: one queue per session, at once gate and outbox.
//!
//! Rule: a message leaves when the store has the record it follows from, in the order in which it came, and what waits is
//! bounded in bytes. [`queue`] decides and does no I/O; [`Outbox`] lets one thread put messages in without waiting and a
//! connection take frames out.

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

/// A frame takes no more bytes unless a single message is larger, so that on a slow link a peer receives frame after frame.
pub(crate) const FRAME_BYTES: usize = 64 << 10;
/// A frame takes no more messages.
pub(crate) const FRAME_MESSAGES: usize = 1_024;
