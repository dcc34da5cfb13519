//! The agent: what it decides ([`core`]), what it writes down ([`log`]), and how it runs tasks as real processes.

pub mod core;
pub mod log;
