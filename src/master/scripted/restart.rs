//! A restarted master with which all agents re-register: from the bytes received to the bytes sent.

use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;
use rand::{SeedableRng as _, rngs::StdRng};

use super::cluster::{MASTER, facts};
use crate::{
    harness::{Harness, Outlet},
    master::{
        api::{MasterFacts, intake, outgo},
        core::{Call, Config, Effect, Event, Input, Master, Order, Principal, SessionId, Subscribe},
        registry,
    },
    proto::{
        ext,
        internal::{AgentFrame, AgentMessage, AgentTask, MasterFrame, Register, Registered, agent_message},
        v1::{self, TaskState},
    },
    types::{Now, Resources},
};

const FRAMEWORK: &str = "framework-0000";
/// How many registrations the core handles before it makes offers, as under load.
const BATCH: usize = 32;

/// The registrations of all agents, and the registry's facts about them.
#[derive(Debug)]
pub struct Restart {
    frames: Vec<Bytes>,
    registry: registry::State,
}

/// The result of a restart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Restarted {
    /// Agents to which `Registered` was sent.
    pub agents: usize,
    /// Tasks that the master recorded.
    pub tasks: usize,
    /// Offers made.
    pub offers: usize,
    /// Bytes sent.
    pub bytes: usize,
}

impl Restart {
    /// A restart with this many agents and running tasks on each; half of every agent is in use.
    #[must_use]
    pub fn new(agents: usize, tasks: usize) -> Self {
        let mut registry = registry::State::default();
        let frames = (0..agents).map(|number| {
            let register = registration(number, tasks);
            if let Some(info) = &register.info {
                registry.agents.insert(format!("old-S{number}"), info.clone());
            }
            let kind = Some(agent_message::Kind::Register(Box::new(register)));
            Bytes::from(AgentFrame { messages: vec![AgentMessage { kind }] }.encode_to_vec())
        });
        Self { frames: frames.collect(), registry }
    }

    /// How many bytes the agents send.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.frames.iter().map(Bytes::len).sum()
    }

    /// The baseline: decodes every registration and encodes a minimal answer, without the core. Returns the number of
    /// tasks.
    ///
    /// # Panics
    /// If a message that was encoded here cannot be decoded.
    #[must_use]
    pub fn decoded_only(&self) -> usize {
        let mut tasks = 0;
        for frame in &self.frames {
            let frame = AgentFrame::decode(frame.clone()).expect("encoded here");
            for message in frame.messages {
                if let Some(agent_message::Kind::Register(register)) = message.kind {
                    let decoded = register.tasks.iter().map(|task| v1::TaskInfo::decode(task.task_info.clone()));
                    tasks += decoded.flatten().count();
                }
            }
            let registered = Registered { agent_id: MASTER.to_owned(), ..Registered::default() };
            let answer = outgo::agent_frame(vec![Order::Registered(Box::new(registered))]);
            std::hint::black_box(answer.encode_to_vec());
        }
        tasks
    }

    /// Runs a new master: loads the registry, handles every registration, offers what is free to one framework.
    ///
    /// # Panics
    /// If a message that was encoded here cannot be decoded.
    #[must_use]
    pub fn play(&self) -> Restarted {
        self.played().restarted()
    }

    /// As [`play`](Self::play), but returns the master too, so that a bench can measure its memory.
    ///
    /// # Panics
    /// If a message that was encoded here cannot be decoded.
    #[must_use]
    pub fn played(&self) -> Played {
        let now = Now { mono_ns: 1_000_000_000_000, wall_ns: 1_700_000_000_000_000_000 };
        let rng = StdRng::seed_from_u64(1);
        let core = Master::new(MASTER, 2, self.registry.clone(), Config::default(), rng, now);
        let mut harness = Harness::new(core);
        let mut encoder = Encoder::new();
        let framework = SessionId(0);
        harness.handle(now, Input::Attached { session: framework, principal: Principal::Anonymous });
        harness.handle(now, Input::Called { session: framework, seq: 1, call: subscribe() });
        for (frames, first) in self.frames.chunks(BATCH).zip((1..).step_by(BATCH)) {
            for (frame, number) in frames.iter().zip(first..) {
                let session = SessionId(number);
                harness.handle(now, Input::Attached { session, principal: Principal::Anonymous });
                // In a buffer of its own, as from a socket.
                let frame = AgentFrame::decode(Bytes::copy_from_slice(frame)).expect("encoded here");
                for message in frame.messages {
                    let report = intake::report(message, "127.0.0.1");
                    harness.handle(now, Input::Reported { session, report });
                }
            }
            harness.finish(now);
            harness.deliver(now, &mut encoder);
            encoder.flush();
        }
        Played { harness, restarted: encoder.restarted }
    }
}

/// A master that all agents have registered with.
#[derive(Debug)]
pub struct Played {
    harness: Harness<Master>,
    restarted: Restarted,
}

impl Played {
    /// The result.
    #[must_use]
    pub fn restarted(&self) -> Restarted {
        let tasks = self.harness.core.snapshot().agents.iter().map(|agent| agent.tasks.len()).sum();
        Restarted { tasks, ..self.restarted }
    }
}

fn subscribe() -> Call {
    let facts = facts(FRAMEWORK, "*");
    let info = v1::FrameworkInfo {
        id: Some(v1::FrameworkId { value: FRAMEWORK.to_owned() }),
        name: facts.name.clone(),
        user: facts.user.clone(),
        ..v1::FrameworkInfo::default()
    };
    Call::Subscribe(Box::new(Subscribe { info, facts, suppressed: Vec::new(), instance: Bytes::new() }))
}

fn registration(number: usize, tasks: usize) -> Register {
    let each = Resources::cpus_mem(0.1, 5.0);
    let info = v1::AgentInfo {
        id: Some(v1::AgentId { value: format!("old-S{number}") }),
        hostname: format!("agent{number}.example"),
        port: Some(5051),
        resources: Resources::cpus_mem(20.0, 10_240.0).with_ports(31_000..=32_000).to_proto(),
        ..v1::AgentInfo::default()
    };
    let task = |at: usize| {
        let mut info = v1::TaskInfo::shell("task", "exec /usr/bin/program --option value").with_resources(&each);
        info = info.with_id(format!("task-{number}-{at}")).with_agent(format!("old-S{number}"));
        for label in 0..10 {
            info = info.with_label(format!("key{label}"), format!("value{label}"));
        }
        AgentTask {
            framework_id: FRAMEWORK.to_owned(),
            container_id: format!("{number:08}-0000-8000-8000-{at:012}"),
            task_info: info.encode_to_vec().into(),
            state: TaskState::TaskRunning.into(),
            unacknowledged: None,
        }
    };
    let framework = v1::FrameworkInfo {
        id: Some(v1::FrameworkId { value: FRAMEWORK.to_owned() }),
        name: FRAMEWORK.to_owned(),
        user: "root".to_owned(),
        ..v1::FrameworkInfo::default()
    };
    Register {
        orphans: Vec::new(),
        versions: Some(ext::VersionRange { min: 1, max: 2 }),
        divvy_version: env!("CARGO_PKG_VERSION").to_owned(),
        info: Some(info),
        epoch: 1,
        boot_id: "boot".to_owned(),
        tasks: (0..tasks).map(task).collect(),
        frameworks: vec![framework],
        ..Register::default()
    }
}

/// Encodes the messages that the core sends.
#[derive(Debug)]
struct Encoder {
    facts: MasterFacts,
    restarted: Restarted,
    events: Vec<Event>,
}

impl Encoder {
    fn new() -> Self {
        let facts = MasterFacts {
            id: MASTER.to_owned(),
            hostname: "master.example".to_owned(),
            address: std::net::SocketAddr::from(([127, 0, 0, 1], 5050)),
            started: Duration::from_hours(24 * 365 * 54).as_secs_f64(),
        };
        Self { facts, restarted: Restarted::default(), events: Vec::new() }
    }

    /// Encodes one frame of all events of the batch.
    fn flush(&mut self) {
        let events = std::mem::take(&mut self.events);
        let frame = outgo::framework_frame(&self.facts, 1, events);
        self.restarted.bytes += frame.encode_to_vec().len();
    }
}

impl Outlet<Effect> for Encoder {
    fn take(&mut self, _: Now, effect: Effect) {
        match effect {
            Effect::SendOrder { order, .. } => {
                self.restarted.agents += usize::from(matches!(order, Order::Registered(_)));
                let frame: MasterFrame = outgo::agent_frame(vec![order]);
                self.restarted.bytes += frame.encode_to_vec().len();
            }
            Effect::SendEvent { event, .. } => {
                if let Event::Offers(offers) = &event {
                    self.restarted.offers += offers.len();
                }
                self.events.push(event);
            }
            Effect::Persist { .. } | Effect::Close { .. } | Effect::Reply { .. } => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_reported_tasks_are_recorded_and_the_free_resources_are_offered() {
        let restart = Restart::new(70, 5);
        let restarted = restart.play();
        assert_eq!((restarted.agents, restarted.tasks, restarted.offers), (70, 350, 70));
        assert_eq!(restart.decoded_only(), 350);
    }
}
