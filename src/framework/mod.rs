//! (being built)

mod core;
mod event;

pub use event::{Refusal, SchedulerEvent};
