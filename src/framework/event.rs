//! The events of a driver as data: one variant per callback of [`Scheduler`](super::Scheduler).
//!
//! The core produces them; the callbacks and the [`EventStream`](super::EventStream) deliver them. A new variant may be
//! added, so a `match` outside the crate needs a wildcard arm.

use bytes::Bytes;

use crate::proto::v1;

/// An event that the driver delivers to a framework.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq)]
pub enum SchedulerEvent {
    /// The master registered the framework, for the first time with this driver.
    Registered {
        /// The id to re-register with after a failover.
        framework_id: v1::FrameworkId,
        /// The leading master.
        master: Box<v1::MasterInfo>,
    },
    /// The driver registered again, with the same master or another one.
    ///
    /// Earlier offers are void.
    Reregistered {
        /// The leading master.
        master: Box<v1::MasterInfo>,
    },
    /// The connection was lost, and every offer is void. The driver reconnects.
    Disconnected,
    /// Offers to accept or to decline within the hold time.
    ResourceOffers(Vec<v1::Offer>),
    /// An offer is void: rescinded by the master, or declined after the hold time.
    OfferRescinded(v1::OfferId),
    /// A task changed its state, or the master answered a question about it.
    StatusUpdate(Box<v1::TaskStatus>),
    /// An unknown task changed its state; see [`UnknownTasks`](super::UnknownTasks).
    UnknownTask(Box<v1::TaskStatus>),
    /// An executor sent a message. Delivered at most once.
    FrameworkMessage {
        /// The agent that the executor runs on.
        agent_id: v1::AgentId,
        /// The executor.
        executor_id: v1::ExecutorId,
        /// The message.
        data: Bytes,
    },
    /// An agent was lost; the states of its tasks follow as status updates.
    AgentLost(v1::AgentId),
    /// An executor ended; the states of its tasks follow as status updates.
    ExecutorLost {
        /// The executor.
        executor_id: v1::ExecutorId,
        /// The agent that it ran on.
        agent_id: v1::AgentId,
        /// Its wait status; -1 when unknown.
        status: i32,
    },
    /// A call was refused.
    Refused(Refusal),
    /// The connection was lost during an accept.
    ///
    /// The outcome is unknown until the driver is registered again.
    InDoubt(InDoubt),
    /// The master ended the framework's session permanently. The driver has stopped.
    Error(String),
}

/// An ACCEPT whose outcome is unknown because the connection was lost.
///
/// The reconciliation after the next registration reports each task: its state, or that the master does not know it
/// (`TASK_UNKNOWN`, `TASK_GONE` or `TASK_LOST`). The driver does not resend the call.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InDoubt {
    /// The number that the call returned.
    pub seq: u64,
    /// The tasks of the call without a status; empty if it launched none.
    pub task_ids: Vec<v1::TaskId>,
}

/// A driver call that was refused, and why.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The number that the call returned; 0 when the driver made the call itself.
    pub seq: u64,
    /// Path of the offending field, for example `accept.operations[0].launch.task_infos[3].resources[1]`.
    pub field: String,
    /// What is wrong with it.
    pub text: String,
}

impl SchedulerEvent {
    /// The name of the callback for this event.
    #[must_use]
    pub fn callback(&self) -> &'static str {
        match self {
            Self::Registered { .. } => "registered",
            Self::Reregistered { .. } => "reregistered",
            Self::Disconnected => "disconnected",
            Self::ResourceOffers(_) => "resource_offers",
            Self::OfferRescinded(_) => "offer_rescinded",
            Self::StatusUpdate(_) => "status_update",
            Self::UnknownTask(_) => "unknown_task",
            Self::FrameworkMessage { .. } => "framework_message",
            Self::AgentLost(_) => "agent_lost",
            Self::ExecutorLost { .. } => "executor_lost",
            Self::Refused(_) => "refused",
            Self::InDoubt(_) => "in_doubt",
            Self::Error(_) => "error",
        }
    }
}
