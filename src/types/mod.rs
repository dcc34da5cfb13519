//! What the messages of [`crate::proto`] mean: ids, exact resources, attributes, task states, validation, builders.

mod now;

pub use now::Now;
