//! What happened, as data: the same events that [`Scheduler`](super::Scheduler)'s callbacks tell.
//!
//! The driver's core speaks in these; the callbacks and the [`EventStream`](super::EventStream) are two ways to hear
//! them. A new kind may be added, so a `match` outside the crate needs a last arm.

use bytes::Bytes;

use crate::proto::v1;

/// One thing a framework is told.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq)]
pub enum SchedulerEvent {
    /// The master knows the framework for the first time in this driver's life.
    Registered {
        /// The id to come back with after a failover.
        framework_id: v1::FrameworkId,
        /// Who is leading.
        master: Box<v1::MasterInfo>,
    },
    /// The driver is connected again, to the same master or its successor. Earlier offers are void.
    Reregistered {
        /// Who is leading.
        master: Box<v1::MasterInfo>,
    },
    /// The connection is gone, and with it every offer. The driver is already on its way back.
    Disconnected,
    /// Resources to use or to decline within the hold time.
    ResourceOffers(Vec<v1::Offer>),
    /// An offer is void: taken back by the master, or returned by the driver after the hold time.
    OfferRescinded(v1::OfferId),
    /// A task changed its state, or is told to have a certain state.
    StatusUpdate(Box<v1::TaskStatus>),
    /// The state of a task that this driver neither launched nor was told of; see
    /// [`UnknownTasks`](super::UnknownTasks).
    UnknownTask(Box<v1::TaskStatus>),
    /// An executor sent something. Delivered at most once.
    FrameworkMessage {
        /// Where the executor runs.
        agent_id: v1::AgentId,
        /// The executor.
        executor_id: v1::ExecutorId,
        /// What it sent.
        data: Bytes,
    },
    /// An agent is gone; its tasks' fates come as status updates.
    AgentLost(v1::AgentId),
    /// An executor ended; its tasks' fates come as status updates.
    ExecutorLost {
        /// The executor.
        executor_id: v1::ExecutorId,
        /// Where it ran.
        agent_id: v1::AgentId,
        /// Its wait status; -1 when unknown.
        status: i32,
    },
    /// A call was not carried out.
    Refused(Refusal),
    /// The connection broke while offers were being accepted. Nobody knows what became of that until the driver is
    /// registered again.
    InDoubt(InDoubt),
    /// The master ended the framework's session for good. The driver has stopped.
    Error(String),
}

/// An ACCEPT that was on its way when the connection broke.
///
/// What became of each task comes as its status, after the reconciliation that follows the next registration: the state
/// it is in, or that the master never heard of it (`TASK_UNKNOWN`, `TASK_GONE` or `TASK_LOST`). Nothing is sent again.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InDoubt {
    /// The number that the call returned.
    pub seq: u64,
    /// The tasks it was to launch of which nothing was heard; none when it was to do something else.
    pub task_ids: Vec<v1::TaskId>,
}

/// A driver call that was not carried out, and why.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The number that the call returned; 0 when the driver made the call itself.
    pub seq: u64,
    /// Path of the offending field, for example `accept.operations[0].launch.task_infos[3].resources[1]`.
    pub field: String,
    /// What was wrong with it.
    pub text: String,
}

impl SchedulerEvent {
    /// The name of the callback that tells it.
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
