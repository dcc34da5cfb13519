//! What is going to happen, in the order of virtual time; at one time, in the order in which it was arranged.

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

/// Something that is going to happen. What belongs to one life of a node carries its number and is void after it.
#[derive(Clone, Debug)]
pub(super) enum Event {
    /// A node's deadline.
    Wake {
        node: Node,
        life: u64,
    },
    /// A node starts again.
    Restart {
        node: Node,
    },
    /// An attempt of a client to reach the master gets there.
    Reach {
        client: Client,
        life: u64,
        attempt: u64,
    },
    /// It did not, and the client learns of it.
    Unreached {
        client: Client,
        life: u64,
        attempt: u64,
    },
    /// A frame gets to this end.
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
    /// The registry has taken everything up to this number.
    Stored {
        life: u64,
        number: u64,
    },
    /// The peer of a session takes the next frame.
    Read {
        life: u64,
        session: SessionId,
    },
    /// Whether the peer of a session takes anything is looked at.
    Watch {
        life: u64,
        session: SessionId,
    },
    /// What was written is reported to the master's core.
    Report {
        life: u64,
    },
    /// The agent's disk has taken what was given to it.
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
    /// A request gets to a supervisor, unless the host was restarted meanwhile.
    Requested {
        agent: usize,
        boot: u64,
        /// The life of the agent's process that asks.
        life: u64,
        supervisor: SupervisorId,
        request: SupervisorRequest,
    },
    /// An event gets to the agent's process.
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
    /// A stopped supervisor goes on.
    SupervisorGoesOn {
        agent: usize,
        supervisor: SupervisorId,
    },
    /// Nothing is left of containers that no supervisor had.
    LeftoversEnded {
        agent: usize,
        life: u64,
        containers: Vec<ContainerId>,
    },
    /// The disk of an agent is full, or has room again.
    DiskChanged {
        agent: usize,
    },
    /// A supervisor has started what it was asked to.
    Spawned {
        agent: usize,
        supervisor: SupervisorId,
        container: String,
    },
    /// An operator removes a framework, as soon as the master knows it.
    TearDown {
        framework: usize,
    },
    /// A process ends by itself, or of a signal.
    ProcessEnds {
        agent: usize,
        container: String,
        signal: Option<i32>,
    },
    /// A callback begins, and ends.
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
    /// The scheduler looks after its tasks.
    Chores {
        framework: usize,
        life: u64,
    },
    /// Something goes wrong.
    Fault,
    /// Something goes wrong that was asked for.
    Planned {
        fault: Fault,
        agent: Option<usize>,
    },
    /// The history is over.
    End,
    /// The trouble ends.
    Heal,
    /// Whether all has settled is looked at.
    Look,
}

impl Event {
    /// The node whose process the event comes to, if it comes to one.
    pub(super) fn taker(&self, links: &Links) -> Option<Node> {
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
            | Self::SupervisorGoesOn { .. }
            | Self::Spawned { .. }
            | Self::ProcessEnds { .. }
            | Self::Fault
            | Self::Planned { .. }
            | Self::TearDown { .. }
            | Self::End
            | Self::Heal
            | Self::Look => None,
        }
    }
}

/// The queue.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: BTreeMap<(u64, u64), Event>,
    arranged: u64,
}

impl Queue {
    pub(super) fn at(&mut self, at_ns: u64, event: Event) {
        self.arranged += 1;
        self.waiting.insert((at_ns, self.arranged), event);
    }

    /// How much is going to happen.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// The next event and its time.
    pub(super) fn next(&mut self) -> Option<(u64, Event)> {
        self.waiting.pop_first().map(|((at_ns, _), event)| (at_ns, event))
    }
}
