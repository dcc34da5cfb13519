//! One input into the core at a time: the answer, the effects, the state.

pub(super) mod partitioned;
pub(super) mod world;

mod closed;
mod effects;
mod unread;
