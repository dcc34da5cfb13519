//! The queue of scheduled events, in the order of virtual time; ties in the order in which they were scheduled.

use std::collections::BTreeMap;

use super::{
    faults::Fault,
    links::{End, Frame, LinkId, Links},
    nodes::{Client, Node},
};
use crate::{
    agent::core::{ContainerId, Step, SupervisorId},
    master::core::SessionId,
    proto::internal::{SupervisorEvent, SupervisorRequest},
};

/// A scheduled event. One that belongs to a life of a node carries its number, and is void after that life.
#[derive(Clone, Debug)]
pub(super) enum Event {
    /// A node's deadline.
    Wake {
        node: Node,
        life: u64,
    },
    /// A node restarts.
    Restart {
        node: Node,
    },
    /// A client's connection attempt reaches the master.
    Reach {
        client: Client,
        life: u64,
        attempt: u64,
    },
    /// A client's connection attempt has failed, and the client notices.
    Unreached {
        client: Client,
        life: u64,
        attempt: u64,
    },
    /// A frame arrives at this end.
    Arrive {
        link: LinkId,
        to: End,
        number: u64,
        frame: Box<Frame>,
    },
    /// An end notices that its link is broken.
    Notice {
        link: LinkId,
        end: End,
    },
    /// The registry has written everything up to this number.
    Stored {
        life: u64,
        number: u64,
    },
    /// The peer of a session reads the next frame.
    Read {
        life: u64,
        session: SessionId,
    },
    /// The peer of a session is checked for progress.
    Watch {
        life: u64,
        session: SessionId,
    },
    /// Written bytes are reported to the master's core.
    Report {
        life: u64,
    },
    /// The agent's disk has completed a write.
    Written {
        agent: usize,
        life: u64,
    },
    /// Everything an agent wrote is synced in the background.
    Synced {
        agent: usize,
        boot: u64,
        upto: usize,
    },
    StepDone {
        agent: usize,
        life: u64,
        container: ContainerId,
        step: Step,
        fails: bool,
    },
    /// A supervisor receives a request, unless the host was restarted meanwhile.
    Requested {
        agent: usize,
        boot: u64,
        /// The life of the agent's process that sent it.
        life: u64,
        supervisor: SupervisorId,
        request: SupervisorRequest,
    },
    /// The agent's process receives an event.
    Supervised {
        agent: usize,
        life: u64,
        supervisor: SupervisorId,
        event: SupervisorEvent,
    },
    SupervisorLost {
        agent: usize,
        life: u64,
        supervisor: SupervisorId,
    },
    SupervisorEnded {
        agent: usize,
        life: u64,
        supervisor: SupervisorId,
    },
    /// An agent's process could not reach a supervisor that is stopped.
    SupervisorSilent {
        agent: usize,
        life: u64,
        supervisor: SupervisorId,
    },
    /// A stopped supervisor continues.
    SupervisorContinues {
        agent: usize,
        supervisor: SupervisorId,
    },
    /// The leftovers of containers without a supervisor have ended.
    LeftoversEnded {
        agent: usize,
        life: u64,
        containers: Vec<ContainerId>,
    },
    /// The disk of an agent is full, or has room again.
    DiskChanged {
        agent: usize,
    },
    /// A supervisor has started a process.
    Spawned {
        agent: usize,
        supervisor: SupervisorId,
        container: String,
    },
    /// An operator removes a framework, once the master knows it.
    TearDown {
        framework: usize,
    },
    /// A process ends by itself, or by a signal.
    ProcessEnds {
        agent: usize,
        container: String,
        signal: Option<i32>,
    },
    /// A callback starts.
    CallbackBegins {
        framework: usize,
        life: u64,
    },
    CallbackEnds {
        framework: usize,
        life: u64,
        callback: u64,
        ok: bool,
    },
    /// The scheduler does its periodic work.
    Chores {
        framework: usize,
        life: u64,
    },
    /// A random fault is injected.
    Fault,
    /// A planned fault is injected.
    Planned {
        fault: Fault,
        agent: Option<usize>,
    },
    /// The history is over.
    End,
    /// All faults end.
    Heal,
    /// The cluster is checked for quiescence.
    CheckQuiescence,
}

impl Event {
    /// The node whose process receives the event, if any.
    pub(super) fn receiver(&self, links: &Links) -> Option<Node> {
        match self {
            Self::Wake { node, .. } => Some(*node),
            Self::Reach { .. } | Self::Stored { .. } | Self::Read { .. } | Self::Watch { .. } | Self::Report { .. } => {
                Some(Node::Master)
            }
            Self::Unreached { client, .. } => Some(client.node()),
            Self::Arrive { link, to: end, .. } | Self::Notice { link, end } => match end {
                End::Master => Some(Node::Master),
                End::Client => links.get(*link).map(|link| link.client.node()),
            },
            Self::Written { agent, .. }
            | Self::StepDone { agent, .. }
            | Self::Supervised { agent, .. }
            | Self::SupervisorLost { agent, .. }
            | Self::SupervisorSilent { agent, .. }
            | Self::LeftoversEnded { agent, .. }
            | Self::DiskChanged { agent }
            | Self::SupervisorEnded { agent, .. } => Some(Node::Agent(*agent)),
            Self::CallbackBegins { framework, .. }
            | Self::CallbackEnds { framework, .. }
            | Self::Chores { framework, .. } => Some(Node::Framework(*framework)),
            Self::Restart { .. }
            | Self::Synced { .. }
            | Self::Requested { .. }
            | Self::SupervisorContinues { .. }
            | Self::Spawned { .. }
            | Self::ProcessEnds { .. }
            | Self::Fault
            | Self::Planned { .. }
            | Self::TearDown { .. }
            | Self::End
            | Self::Heal
            | Self::CheckQuiescence => None,
        }
    }
}

/// The queue of scheduled events.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: BTreeMap<(u64, u64), Event>,
    scheduled: u64,
}

impl Queue {
    pub(super) fn at(&mut self, at_ns: u64, event: Event) {
        self.scheduled += 1;
        self.waiting.insert((at_ns, self.scheduled), event);
    }

    /// The number of scheduled events.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// The next event and its time.
    pub(super) fn next(&mut self) -> Option<(u64, Event)> {
        self.waiting.pop_first().map(|((at_ns, _), event)| (at_ns, event))
    }
}
