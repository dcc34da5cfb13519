//! Time in the core: deadlines to come, and moments that were written down.

pub(in crate::agent::core) mod moments;
pub(in crate::agent::core) mod timers;
