//! Events observed at the edges of the cores and in the world around them.
//!
//! The invariants check these facts alone, never a core's own state.

use std::hash::{Hash as _, Hasher};
use std::sync::Arc;

use crate::{
    framework::{SchedulerEvent, core::Request},
    master::core::{Call, Event, OfferKey, OfferMade, Order, Report, SessionId},
    proto::{
        internal::{AgentMessage, AgentRecord, MasterMessage, RegistryChange},
        v1::TaskStatus,
    },
};

use super::nodes::Client;

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    Code(i32),
    Signal(i32),
    /// Because its supervisor or its host ended.
    WithSupervisor,
}

/// One thing that happened.
#[derive(Clone, Debug)]
pub(super) enum Fact {
    MasterStarted {
        epoch: u64,
    },
    MasterCrashed,
    /// These changes are durable in the registry; a master of this epoch wrote them.
    Durable {
        epoch: u64,
        changes: Vec<RegistryChange>,
    },
    /// The master's core requested these changes; [`Fact::Durable`] follows once they are written.
    Proposed(Vec<RegistryChange>),
    /// The core admitted the agent; the order leaves the master as [`Fact::OrderSent`].
    Admitted {
        session: SessionId,
        agent: String,
    },
    SessionOpened {
        session: SessionId,
        client: Client,
    },
    /// The core received the end of the session.
    SessionEnded {
        session: SessionId,
    },
    /// The master's core is about to process this call.
    Called {
        session: SessionId,
        call: Call,
    },
    Reported {
        session: SessionId,
        report: Report,
    },
    /// The core made these offers; they leave the master as [`Fact::EventSent`].
    OffersMade {
        session: SessionId,
        offers: Vec<OfferMade>,
    },
    /// The core subscribed a framework on this session; the event leaves the master as [`Fact::EventSent`].
    FrameworkSubscribed {
        session: SessionId,
        framework: Arc<str>,
    },
    /// The core queued this status. It leaves as [`Fact::EventSent`], unless a newer status of the task replaces it.
    StatusQueued {
        session: SessionId,
        status: Arc<TaskStatus>,
    },
    /// The core closed this session; it ends once all queued messages have left.
    SessionDropped {
        session: SessionId,
    },
    /// The core rescinded this offer; the event leaves the master as [`Fact::EventSent`].
    OfferRescinded {
        offer: OfferKey,
    },
    /// An operator marked an agent gone.
    MarkedGone {
        agent: String,
    },
    /// The agent's process has ended because it was marked gone.
    AgentLeft {
        agent: usize,
    },
    /// An operator removed a framework.
    TornDown {
        framework: String,
    },
    /// This event has left the master.
    EventSent {
        session: SessionId,
        event: Event,
    },
    OrderSent {
        session: SessionId,
        order: Order,
    },
    AgentStarted {
        agent: usize,
    },
    /// `host`: the host lost power, and with it some of what was not synced.
    AgentCrashed {
        agent: usize,
        host: bool,
        /// Containers whose end was on record on the host and is no longer.
        ends_lost: Vec<String>,
    },
    /// No record says how this container ends, or ended.
    EndUnrecorded {
        container: String,
    },
    /// The records are in the file.
    Wrote {
        agent: usize,
        records: Vec<AgentRecord>,
    },
    AgentSent {
        agent: usize,
        message: AgentMessage,
    },
    AgentReceived {
        agent: usize,
        message: MasterMessage,
    },
    ProcessStarted {
        agent: usize,
        container: String,
    },
    /// The process of this container is expected to end: by a signal, or with its supervisor or host.
    EndExpected {
        container: String,
    },
    ProcessEnded {
        agent: usize,
        container: String,
        how: How,
    },
    DriverStarted {
        framework: usize,
        life: u64,
    },
    DriverCrashed {
        framework: usize,
    },
    /// A new instance of the framework takes over; the old one still runs as the client `old`.
    FailedOver {
        framework: usize,
        old: Client,
    },
    /// An author's driver has ended; with an error if no call stopped it.
    DriverEnded {
        framework: usize,
        error: Option<String>,
    },
    /// The scheduler made a call.
    Requested {
        framework: usize,
        request: Request,
    },
    /// A callback starts with this event.
    CallbackStarted {
        framework: usize,
        life: u64,
        event: SchedulerEvent,
    },
    CallbackReturned {
        framework: usize,
        life: u64,
        event: SchedulerEvent,
        ok: bool,
    },
    /// A fault was injected; the text describes it.
    Fault(String),
}

impl Fact {
    /// Hashes what is cheap to hash: the kind, and for offers their keys in the order in which they were sent.
    pub(super) fn digest(&self, into: &mut impl Hasher) {
        std::mem::discriminant(self).hash(into);
        match self {
            Self::EventSent { session, event: Event::Offers(offers) } => {
                session.0.hash(into);
                for offer in offers {
                    offer.key.0.hash(into);
                }
            }
            Self::ProcessStarted { agent, container } | Self::ProcessEnded { agent, container, .. } => {
                agent.hash(into);
                container.hash(into);
            }
            _ => {}
        }
    }
}
