//! What was seen to happen at the edges of the cores and in the world around them: the invariants judge by this alone,
//! so that they believe no core's own account.

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
    /// With its supervisor or its host.
    Torn,
}

/// One thing that happened.
#[derive(Clone, Debug)]
pub(super) enum Fact {
    MasterStarted {
        epoch: u64,
    },
    MasterCrashed,
    /// The registry holds these for good; a master of this epoch wrote them.
    Durable {
        epoch: u64,
        changes: Vec<RegistryChange>,
    },
    /// The master's core wants these written; they are as [`Fact::Durable`].
    Proposed(Vec<RegistryChange>),
    /// The core wants the agent to be told that it is registered; it is, as [`Fact::Ordered`].
    Admits {
        session: SessionId,
        agent: String,
    },
    SessionOpened {
        session: SessionId,
        client: Client,
    },
    /// The core has heard that the session is over.
    SessionEnded {
        session: SessionId,
    },
    /// The master's core is about to take this in.
    Called {
        session: SessionId,
        call: Call,
    },
    Reported {
        session: SessionId,
        report: Report,
    },
    /// The core made these offers; they leave the master as [`Fact::Told`].
    Made {
        session: SessionId,
        offers: Vec<OfferMade>,
    },
    /// The core gives its framework to this session; it is told as [`Fact::Told`].
    Subscribes {
        session: SessionId,
        framework: Arc<str>,
    },
    /// The core sends this status; it leaves as [`Fact::Told`], unless a newer one of its task takes its place.
    Sends {
        session: SessionId,
        status: Arc<TaskStatus>,
    },
    /// The core is done with this session; it ends once all that was said to it has left.
    Drops {
        session: SessionId,
    },
    /// The core took this offer back; it is told as [`Fact::Told`].
    Withdrawn {
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
    /// This has left the master.
    Told {
        session: SessionId,
        event: Event,
    },
    Ordered {
        session: SessionId,
        order: Order,
    },
    AgentStarted {
        agent: usize,
    },
    /// `host`: with the whole host, and some of what was not synced.
    AgentCrashed {
        agent: usize,
        host: bool,
        /// Containers of whose end there was a record on the host, and is none any more.
        ends_lost: Vec<String>,
    },
    /// No record tells how this container ends, or ended.
    EndUnseen {
        container: String,
    },
    /// The records are in the file.
    Wrote {
        agent: usize,
        records: Vec<AgentRecord>,
    },
    AgentSaid {
        agent: usize,
        message: AgentMessage,
    },
    AgentHeard {
        agent: usize,
        message: MasterMessage,
    },
    ProcessStarted {
        agent: usize,
        container: String,
    },
    /// Whatever runs in this container is to end: of a signal, with its supervisor or its host.
    IsToEnd {
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
    /// Another run is started in the place of the framework's, which goes on as this client.
    FailsOver {
        framework: usize,
        old: Client,
    },
    /// An author's driver has ended; with an error where it did not end as it was told.
    DriverEnded {
        framework: usize,
        error: Option<String>,
    },
    /// The scheduler made a call.
    Asked {
        framework: usize,
        request: Request,
    },
    /// A callback begins with this.
    Given {
        framework: usize,
        life: u64,
        event: SchedulerEvent,
    },
    Returned {
        framework: usize,
        life: u64,
        event: SchedulerEvent,
        ok: bool,
    },
    /// Something went wrong, in words.
    Fault(String),
}

impl Fact {
    /// What is cheap to say of it: its kind, and of offers their keys in the order in which they were told.
    pub(super) fn digest(&self, into: &mut impl Hasher) {
        std::mem::discriminant(self).hash(into);
        match self {
            Self::Told { session, event: Event::Offers(offers) } => {
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
