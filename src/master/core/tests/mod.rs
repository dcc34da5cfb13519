//! One input into the core at a time: the answer, the effects, the state.

pub(super) mod partitioned;
pub(in crate::master) mod scenes;
pub(super) mod world;

mod closed;
mod effects;
mod refused;
mod unread;
