//! The names that nearly every framework imports: `use divvy::prelude::*;`.
//!
//! Traits and types only, none of which shadows a name of the standard library: the driver's `Result` stays at
//! [`framework::Result`].

pub use crate::{
    allocator::{self, TaskRequest},
    framework::{self, Scheduler, SchedulerDriver, SchedulerEvent, async_trait},
    proto::v1::{AgentId, FrameworkInfo, Offer, OfferId, TaskId, TaskInfo, TaskState, TaskStatus},
};
