//! What comes out of the core, compact.
//!
//! The connections' tasks turn these into wire messages ([`crate::master::api::outgo`]), so the core's thread does not encode.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;

use super::{
    agents::AgentFacts,
    container::ContainerId,
    keys::{OfferKey, RequestId, SessionId},
    operators::Snapshot,
};
use crate::{
    master::registry::State,
    proto::{internal, v1},
    transport::outbox::RecordNumber,
    types::Resources,
};

/// What the shell has to do. An effect leaves when the record that it names in `after` is durable; those of one session in
/// this order, but for pings and heartbeats, which overtake once the session is open.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Effect {
    /// Append to the registry and sync it; records are numbered from 1.
    Persist { number: RecordNumber, changes: Vec<internal::RegistryChange> },
    /// Send to the framework of this session.
    SendEvent { session: SessionId, after: RecordNumber, event: Event },
    /// Send to the agent of this session.
    SendOrder { session: SessionId, after: RecordNumber, order: Order },
    /// End the session once all that was sent before has gone out.
    Close { session: SessionId, after: RecordNumber },
    /// Answer a request.
    Reply { request: RequestId, after: RecordNumber, answer: Answer },
}

/// An agent that was given up as unreachable, or marked gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Departed {
    pub(crate) id: String,
    /// Empty where it is not known.
    pub(crate) hostname: String,
    /// Nanoseconds since 1970.
    pub(crate) since_ns: i64,
    pub(crate) gone: bool,
}

/// What an operator is told.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Answer {
    /// It answers.
    Alive,
    Snapshot(Arc<Snapshot>),
    Departed(Vec<Departed>),
    /// What the registry holds, synced, and the epoch of this master.
    Registry(Box<State>, u64),
    Done,
    Refused(String),
}

impl Answer {
    /// Whether it stands for no decision: it shows that this master is there, or what it has in mind just now. Such an
    /// answer need not wait for what is to be synced before it.
    pub(crate) fn bypasses_gate(&self) -> bool {
        match self {
            Self::Alive | Self::Snapshot(_) | Self::Departed(_) => true,
            Self::Registry(..) | Self::Done | Self::Refused(_) => false,
        }
    }
}

/// What a framework is told.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Event {
    Subscribed {
        framework: Arc<str>,
        /// So often the framework hears something, and may conclude from silence that the master is gone.
        heartbeat: Duration,
    },
    Offers(Vec<OfferMade>),
    Rescinded {
        offer: OfferKey,
    },
    Updated {
        status: Arc<v1::TaskStatus>,
    },
    Message {
        agent: Arc<str>,
        executor: String,
        data: Bytes,
    },
    /// These agents are lost: an event each for the framework.
    Failures {
        agents: Arc<[Arc<str>]>,
    },
    Error {
        text: String,
    },
    Heartbeat,
    /// All calls up to here are done with.
    Applied {
        seq: u64,
    },
    Refused {
        seq: u64,
        field: String,
        text: String,
        /// The call was carried out but for this, and its tasks are answered for by their statuses.
        partially_applied: bool,
    },
    OperationFailed {
        id: String,
        text: String,
    },
}

/// An offer, compact; the framework's connection makes the message of it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct OfferMade {
    pub(crate) key: OfferKey,
    pub(crate) framework: Arc<str>,
    pub(crate) agent: Arc<str>,
    pub(crate) facts: Arc<AgentFacts>,
    pub(crate) role: Arc<str>,
    pub(crate) resources: Arc<Resources>,
    pub(crate) multi_role: bool,
    pub(crate) refinement: bool,
}

/// What an agent is told.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Order {
    Registered(Box<internal::Registered>),
    Refused { text: String, permanent: bool },
    Run { framework: Arc<str>, container: ContainerId, info: Bytes },
    Kill { framework: Arc<str>, task: Arc<str>, container: ContainerId, policy: Option<v1::KillPolicy> },
    Acknowledge { framework: Arc<str>, task: String, uuid: Bytes },
    UpdateFramework { framework: Arc<str>, info: Bytes },
    Shutdown { framework: Arc<str> },
    Ping,
    Message { framework: Arc<str>, executor: String, data: Bytes },
    Gone,
}
