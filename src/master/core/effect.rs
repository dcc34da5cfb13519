//! The effects of the core, compact.
//!
//! The connections' tasks turn these into wire messages ([`crate::master::api::outgo`]), so the core's thread does not
//! encode.

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

/// What the shell has to do. An effect leaves when the record named in `after` is durable. Effects of one session leave
/// in order, except that pings and heartbeats bypass the gate once the session is open.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Effect {
    /// Append to the registry and sync; records are numbered from 1.
    Persist { number: RecordNumber, changes: Vec<internal::RegistryChange> },
    /// Send to the framework of this session.
    SendEvent { session: SessionId, after: RecordNumber, event: Event },
    /// Send to the agent of this session.
    SendOrder { session: SessionId, after: RecordNumber, order: Order },
    /// Close the session once everything sent before was written.
    Close { session: SessionId, after: RecordNumber },
    /// Answer a request.
    Reply { request: RequestId, after: RecordNumber, answer: Answer },
}

/// An agent that was marked unreachable or gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Departed {
    pub(crate) id: String,
    /// Empty if unknown.
    pub(crate) hostname: String,
    /// Nanoseconds since 1970.
    pub(crate) since_ns: i64,
    pub(crate) gone: bool,
}

/// An answer to an operator.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Answer {
    /// This master is alive.
    Alive,
    Snapshot(Arc<Snapshot>),
    Departed(Vec<Departed>),
    /// The synced contents of the registry, and the epoch of this master.
    Registry(Box<State>, u64),
    Done,
    Refused(String),
}

impl Answer {
    /// Whether it shows state only and rests on no decision. Such an answer does not wait for records to be synced.
    pub(crate) fn bypasses_gate(&self) -> bool {
        match self {
            Self::Alive | Self::Snapshot(_) | Self::Departed(_) => true,
            Self::Registry(..) | Self::Done | Self::Refused(_) => false,
        }
    }
}

/// A message to a framework.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Event {
    Subscribed {
        framework: Arc<str>,
        /// The interval of heartbeats; a framework that receives none may assume that the connection is lost.
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
    /// These agents are lost; the framework receives one event for each.
    Failures {
        agents: Arc<[Arc<str>]>,
    },
    Error {
        text: String,
    },
    Heartbeat,
    /// All calls up to this one were processed.
    Applied {
        seq: u64,
    },
    Refused {
        seq: u64,
        field: String,
        text: String,
        /// The rest of the call was applied, and each of its tasks gets a status.
        partially_applied: bool,
    },
    OperationFailed {
        id: String,
        text: String,
    },
}

/// An offer, compact; the framework's connection encodes the message.
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

/// A message to an agent.
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
