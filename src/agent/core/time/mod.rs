//! Time in the core: timers, and recorded moments.

pub(in crate::agent::core) mod moments;
pub(in crate::agent::core) mod timers;
