//! The inputs of the core: parsed, validated, compact.
//!
//! The connections' tasks turn wire messages into these ([`crate::master::api::intake`]), so the core's thread does not
//! decode.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;

use super::{
    Principal,
    agents::{AgentFacts, Partition},
    container::ContainerId,
    keys::{RequestId, SessionId},
};
use crate::{
    allocator::fair::Quota,
    proto::v1,
    transport::outbox::RecordNumber,
    types::{Milli, Resources},
};

/// An event outside the core.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Input {
    /// A framework or an agent opened its stream.
    Attached { session: SessionId, principal: Principal },
    /// The stream ended, for any reason.
    Detached { session: SessionId },
    /// A framework sent a call; calls of one session are numbered from 1.
    Called { session: SessionId, seq: u64, call: Call },
    /// An agent sent a message.
    Reported { session: SessionId, report: Report },
    /// An operator sent a request.
    Asked { request: RequestId, principal: Principal, question: Question },
    /// The registry has synced everything up to this record.
    Synced { number: RecordNumber },
    /// Of the messages to this session, so many bytes were written, dropped or merged away.
    Written { session: SessionId, bytes: usize },
    /// The deadline passed.
    Ticked,
}

/// A framework's call.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Call {
    Subscribe(Box<Subscribe>),
    Teardown,
    Accept(Box<Accept>),
    Decline {
        offers: Vec<String>,
        refuse: Option<Duration>,
    },
    Revive {
        roles: Vec<String>,
    },
    Suppress {
        roles: Vec<String>,
    },
    Request {
        resources: Resources,
    },
    Kill {
        task: String,
        agent: Option<String>,
        policy: Option<v1::KillPolicy>,
    },
    Acknowledge {
        agent: String,
        task: String,
        uuid: Bytes,
    },
    Reconcile {
        tasks: Vec<ReconcileTask>,
    },
    Message {
        agent: String,
        executor: String,
        data: Bytes,
    },
    UpdateFramework(Box<Subscribe>),
    /// Malformed, or not supported by this master: refused with this text.
    Invalid {
        field: String,
        text: String,
    },
}

/// A task that a framework reconciles.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ReconcileTask {
    pub(crate) task: String,
    pub(crate) agent: Option<String>,
    /// When it counts as lost, by the policy of its launch.
    pub(crate) lost_after: Option<Duration>,
}

impl ReconcileTask {
    /// Names a task without a time after which it counts as lost.
    pub(crate) fn of(task: &str, agent: Option<&str>) -> Self {
        Self { task: task.to_owned(), agent: agent.map(str::to_owned), lost_after: None }
    }
}

/// SUBSCRIBE and `UPDATE_FRAMEWORK`, validated.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Subscribe {
    pub(crate) info: v1::FrameworkInfo,
    pub(crate) facts: FrameworkFacts,
    pub(crate) suppressed: Vec<String>,
    /// The instance of the framework's driver; empty if it names none.
    pub(crate) instance: Bytes,
}

/// What the core decides on about a framework; the rest of its info stays encoded.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a capability of its own")]
pub(crate) struct FrameworkFacts {
    pub(crate) name: String,
    pub(crate) user: String,
    pub(crate) principal: Option<String>,
    pub(crate) roles: Vec<Arc<str>>,
    pub(crate) failover: Duration,
    pub(crate) partition_aware: bool,
    pub(crate) multi_role: bool,
    pub(crate) refinement: bool,
    pub(crate) revocable: bool,
    pub(crate) shared: bool,
    pub(crate) gpus: bool,
    /// Per role: an offer has to hold one of these bundles of quantities.
    pub(crate) minimum: Vec<(Arc<str>, Vec<Quantities>)>,
}

/// Scalars per resource name, sorted by name.
pub(crate) type Quantities = Vec<(Arc<str>, Milli)>;

/// ACCEPT.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Accept {
    pub(crate) offers: Vec<String>,
    pub(crate) operations: Vec<Operation>,
    pub(crate) refuse: Option<Duration>,
}

/// One operation of an ACCEPT.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Operation {
    Launch(Vec<Launch>),
    /// Not supported by this master, or malformed; an id asks for feedback. Each of its tasks gets a status.
    Unsupported {
        name: String,
        id: Option<String>,
        text: String,
        tasks: Vec<Launch>,
    },
}

/// A task to launch.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Launch {
    pub(crate) id: String,
    pub(crate) agent: String,
    pub(crate) resources: Resources,
    /// The encoded `TaskInfo`, as it goes to the agent.
    pub(crate) info: Bytes,
    pub(crate) partition: Option<Box<Partition>>,
    /// What is wrong with it, whatever the state of the cluster.
    pub(crate) invalid: Option<String>,
}

/// A message of an agent.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Report {
    Register(Box<Register>),
    Updated(Box<Update>),
    Ponged,
    /// A container of a removed framework has ended.
    OrphanGone {
        container: ContainerId,
    },
    Sent {
        framework: String,
        executor: String,
        data: Bytes,
    },
    Unregistered,
    /// Malformed: the session is closed with this text.
    Invalid {
        text: String,
    },
}

/// An agent's first message.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Register {
    /// The protocol version that it and this master have in common.
    pub(crate) version: u32,
    pub(crate) id: Option<String>,
    /// Identifies the agent's work directory.
    pub(crate) installation: Bytes,
    /// Identifies the agent's process.
    pub(crate) instance: Bytes,
    pub(crate) facts: AgentFacts,
    pub(crate) total: Resources,
    pub(crate) info: v1::AgentInfo,
    pub(crate) epoch: u64,
    pub(crate) tasks: Vec<ReportedTask>,
    /// Containers that are being ended and belong to no task.
    pub(crate) orphans: Vec<ReportedTask>,
    pub(crate) frameworks: Vec<Subscribe>,
}

/// A task that an agent reports at registration.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ReportedTask {
    pub(crate) framework: String,
    pub(crate) id: String,
    pub(crate) container: ContainerId,
    pub(crate) info: Box<[u8]>,
    pub(crate) resources: Resources,
    pub(crate) role: Arc<str>,
    pub(crate) state: v1::TaskState,
    /// The state of the status that is not acknowledged yet, if any.
    pub(crate) unacknowledged: Option<v1::TaskState>,
    pub(crate) partition: Option<Box<Partition>>,
}

/// A task's status on its way to the scheduler.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Update {
    pub(crate) framework: String,
    pub(crate) container: ContainerId,
    pub(crate) state: v1::TaskState,
    pub(crate) latest: v1::TaskState,
    pub(crate) status: Arc<v1::TaskStatus>,
}

/// A request of an operator.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Question {
    /// Whether this master is alive.
    Alive,
    /// The whole state.
    Snapshot,
    /// Remove a framework and kill its tasks.
    Teardown { framework: String },
    /// The agents recorded as unreachable or gone.
    Departed,
    /// Mark an agent gone for good.
    MarkGone { agent: String },
    /// The contents of the registry.
    Registry,
    /// Set weights of roles, all or none.
    Weights { weights: Vec<(String, f64)> },
    /// Set or remove quotas, all or none. `force` skips the checks against the state of the cluster.
    Quotas { quotas: Vec<(String, Quota)>, force: bool },
}
