//! What goes into the core, past the edge: parsed, validated, compact.
//!
//! The connections' tasks turn wire messages into these ([`crate::master::api::intake`]), so the core's thread does not decode.

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

/// What happened outside.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Input {
    /// A framework or an agent opened its stream.
    Attached { session: SessionId, principal: Principal },
    /// The stream ended, however it did.
    Detached { session: SessionId },
    /// A framework called; calls of one session are numbered from 1.
    Called { session: SessionId, seq: u64, call: Call },
    /// An agent said something.
    Reported { session: SessionId, report: Report },
    /// An operator asked for something.
    Asked { request: RequestId, principal: Principal, question: Question },
    /// The registry has everything up to this record.
    Synced { number: RecordNumber },
    /// So many bytes of what was sent to this session were written, dropped or merged away.
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
    /// The edge found it wrong, or this master does not do it: refused with these words.
    Invalid {
        field: String,
        text: String,
    },
}

/// A task that a framework asks after.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ReconcileTask {
    pub(crate) task: String,
    pub(crate) agent: Option<String>,
    /// When it counts as lost, by the policy it was launched with.
    pub(crate) lost_after: Option<Duration>,
}

impl ReconcileTask {
    /// Of a task of which nobody says when it counts as lost.
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
    /// Which run of the framework's driver it is; empty where it does not say.
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
    /// Not done by this master, or malformed; the id asks for feedback. Tasks that it was to launch are answered for.
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
    /// What is wrong with it whatever the state of the cluster.
    pub(crate) invalid: Option<String>,
}

/// What an agent says.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Report {
    Register(Box<Register>),
    Updated(Box<Update>),
    Ponged,
    /// Nothing is left of a container of a removed framework.
    OrphanGone {
        container: ContainerId,
    },
    Sent {
        framework: String,
        executor: String,
        data: Bytes,
    },
    Unregistered,
    /// The edge found it wrong: the session ends with these words.
    Invalid {
        text: String,
    },
}

/// An agent's first message.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Register {
    /// The version of the protocol that it and this master speak.
    pub(crate) version: u32,
    pub(crate) id: Option<String>,
    /// The agent's work directory.
    pub(crate) installation: Bytes,
    /// The run of the agent.
    pub(crate) instance: Bytes,
    pub(crate) facts: AgentFacts,
    pub(crate) total: Resources,
    pub(crate) info: v1::AgentInfo,
    pub(crate) epoch: u64,
    pub(crate) tasks: Vec<ReportedTask>,
    /// Containers that are being ended and are nobody's tasks.
    pub(crate) orphans: Vec<ReportedTask>,
    pub(crate) frameworks: Vec<Subscribe>,
}

/// A task an agent still has.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ReportedTask {
    pub(crate) framework: String,
    pub(crate) id: String,
    pub(crate) container: ContainerId,
    pub(crate) info: Box<[u8]>,
    pub(crate) resources: Resources,
    pub(crate) role: Arc<str>,
    pub(crate) state: v1::TaskState,
    /// The state of the status that is not acknowledged yet, where one is not.
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

/// What an operator asks.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Question {
    /// Whether it answers.
    Alive,
    /// All there is to see.
    Snapshot,
    /// Remove a framework and kill its tasks.
    Teardown { framework: String },
    /// The agents that went, as far as they are remembered.
    Departed,
    /// End an agent for good.
    MarkGone { agent: String },
    /// All that the registry holds.
    Registry,
    /// Set weights of roles, all or none.
    Weights { weights: Vec<(String, f64)> },
    /// Set or remove quotas, all or none. `force` leaves out what depends on the state of the cluster.
    Quotas { quotas: Vec<(String, Quota)>, force: bool },
}
