//! The master's process: the core, the queues of its sessions, and a registry whose appends take time.
//!
//! Wire messages go through the functions that the sockets use. A crash may fall between any two effects; unconfirmed
//! appends have reached the registry up to any point.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use prost::Message as _;
use rand::Rng as _;

use super::{
    chance::{millis, nanos},
    fact::Fact,
    links::{Directions, End, Frame, LinkId},
    nodes::{Client, Node},
    queue::Event as Coming,
    readers::Reader,
    sabotage::{self, Sabotage},
    world::World,
};
use crate::{
    harness::Harness,
    master::{
        api::{MasterFacts, intake},
        core::{
            Call, Effect, Event, Input, Master, Order, Principal, Question, Report, RequestId, SessionId, Snapshot,
        },
        registry::{Fence, Memory, Registry as _},
    },
    proto::{ext, internal, v1::TaskInfo},
    transport::outbox::{RecordNumber, SessionQueue},
    types::Now,
};

/// The master and the state that outlives its process.
#[derive(Debug, Default)]
pub(super) struct MasterNode {
    registry: Memory,
    /// Changes that a planted bug writes after its master has ended, with its epoch.
    ghosts: Vec<(u64, Vec<internal::RegistryChange>)>,
    /// Counts its processes.
    pub(super) life: u64,
    pub(super) process: Option<Box<MasterProcess>>,
}

/// One life of the master.
#[derive(Debug)]
pub(super) struct MasterProcess {
    pub(super) harness: Harness<Master>,
    /// The last record given to the registry, and the last that is durable.
    pub(super) stored: RecordNumber,
    pub(super) durable: RecordNumber,
    fence: Fence,
    pub(super) facts: MasterFacts,
    pub(super) sessions: BTreeMap<SessionId, Session>,
    /// Sessions with messages to be written.
    pub(super) waiting: BTreeSet<SessionId>,
    /// Whether a report of written bytes is scheduled.
    pub(super) report_is_due: bool,
    opened: u64,
    storing: VecDeque<(u64, Vec<internal::RegistryChange>)>,
    /// When the registry completes the last write.
    stored_ns: u64,
    pub(super) wake_ns: Option<u64>,
}

#[derive(Debug)]
pub(super) struct Session {
    pub(super) link: LinkId,
    pub(super) has_sent_version: bool,
    pub(super) closing: bool,
    pub(super) outbox: Outbox,
    pub(super) reader: Reader,
}

#[derive(Debug)]
pub(super) enum Outbox {
    Framework(SessionQueue<Event>),
    Agent(SessionQueue<Order>),
}

/// The agent that this change marks gone.
fn made_gone(change: &internal::RegistryChange) -> Option<String> {
    match &change.kind {
        Some(internal::registry_change::Kind::AgentGone(gone)) => Some(gone.agent_id.clone()),
        _ => None,
    }
}

impl MasterProcess {
    /// The id of this life.
    pub(super) fn id(&self) -> String {
        self.facts.id.clone()
    }

    /// The present state. Also requests a snapshot as readers do, which takes several turns; the core checks that it is
    /// consistent.
    pub(super) fn snapshot(&mut self, now: crate::types::Now) -> Snapshot {
        let question = Question::Snapshot;
        self.harness.handle(now, Input::Asked { request: RequestId(0), principal: Principal::Anonymous, question });
        self.harness.core.snapshot()
    }
}

impl World {
    pub(super) fn start_master(&mut self) {
        self.master.life += 1;
        let (state, fence) = self.master.registry.load().expect("a registry in memory can be loaded");
        let (rng, now) = (self.chance.for_core(), self.time(Node::Master));
        let id = format!("m{}", fence.epoch());
        let facts = MasterFacts {
            id: id.clone(),
            hostname: "master".to_owned(),
            address: std::net::SocketAddr::from(([127, 0, 0, 1], 5050)),
            started: now.wall_secs(),
        };
        let config = sabotage::sabotage_config(self.sabotage, &self.plan.master);
        let core = Master::new(&id, fence.epoch(), sabotage::sabotage_state(self.sabotage, state), config, rng, now);
        self.fact(Fact::MasterStarted { epoch: fence.epoch() });
        for (epoch, changes) in std::mem::take(&mut self.master.ghosts) {
            self.master.registry.append(fence, &changes).expect("the fence is the present master's");
            self.fact(Fact::Durable { epoch, changes });
        }
        self.master.process = Some(Box::new(MasterProcess {
            harness: Harness::new(core),
            stored: RecordNumber::default(),
            durable: RecordNumber::default(),
            fence,
            facts,
            sessions: BTreeMap::new(),
            waiting: BTreeSet::new(),
            report_is_due: false,
            opened: 0,
            storing: VecDeque::new(),
            stored_ns: 0,
            wake_ns: None,
        }));
        self.schedule_wake(Node::Master);
    }

    /// Ends the process; frames already sent may still arrive.
    pub(super) fn crash_master(&mut self) {
        let Some(mut process) = self.master.process.take() else { return };
        if self.sabotage == Some(Sabotage::OldMasterWrites) {
            let epoch = process.fence.epoch();
            self.master.ghosts.extend(process.storing.drain(..).map(|(_, changes)| (epoch, changes)));
        }
        let survive = self.chance.faults.random_range(0..=process.storing.len());
        for (_, changes) in process.storing.drain(..survive) {
            self.append(process.fence, changes);
        }
        self.fact(Fact::MasterCrashed);
        let notice = Duration::from_millis(500);
        for session in process.sessions.values() {
            let link = session.link;
            self.links.cut(self.now_ns, &mut self.chance.faults, &mut self.queue, link, Directions::Both, notice);
            self.links.release(session.link, End::Master);
        }
    }

    fn append(&mut self, fence: Fence, changes: Vec<internal::RegistryChange>) {
        let appended = self.master.registry.append(fence, &sabotage::kept_changes(self.sabotage, &changes));
        appended.expect("there is one master at a time, so none is fenced");
        self.gone.extend(changes.iter().filter_map(made_gone));
        self.fact(Fact::Durable { epoch: fence.epoch(), changes });
    }

    pub(super) fn stored(&mut self, life: u64, number: u64) {
        if self.master.life != life {
            return;
        }
        let Some(process) = &mut self.master.process else { return };
        let fence = process.fence;
        let mut all = Vec::new();
        while let Some((_, changes)) = process.storing.pop_front_if(|(stored, _)| *stored <= number) {
            all.extend(changes);
        }
        process.durable = process.durable.max(RecordNumber(number));
        process.waiting.extend(process.sessions.keys());
        if !all.is_empty() {
            self.append(fence, all);
        }
        self.give_master(vec![Input::Synced { number: RecordNumber(number) }]);
    }

    /// A client's connection attempt has reached the master.
    pub(super) fn reached(&mut self, client: Client, life: u64, attempt: u64) {
        let (isolated, now, limits) = (self.isolated(client), self.time(Node::Master), self.plan.master.queues);
        let wanted = self.expects_attempt(client, life, attempt);
        if isolated || self.master.process.is_none() {
            let after = millis(&mut self.chance.network, 1, if isolated { 20_000 } else { 50 });
            return self.after(after, Coming::Unreached { client, life, attempt });
        }
        if !wanted {
            return;
        }
        let reader = self.new_reader();
        let Some(process) = self.master.process.as_mut() else { return };
        let session = SessionId(process.opened);
        process.opened += 1;
        let link = self.links.open(client, session);
        let outbox = match client {
            Client::Agent(_) => Outbox::Agent(SessionQueue::new(now, limits)),
            Client::Framework(_) | Client::Replaced(_) | Client::Author(_) => {
                Outbox::Framework(SessionQueue::new(now, limits))
            }
        };
        process.sessions.insert(session, Session { link, has_sent_version: false, closing: false, outbox, reader });
        self.set_client_link(client, link);
        self.fact(Fact::SessionOpened { session, client });
        self.send(link, End::Client, Frame::Opened);
        self.give_master(vec![Input::Attached { session, principal: Principal::Anonymous }]);
    }

    /// The master receives a frame from a client.
    pub(super) fn master_received(&mut self, link: LinkId, frame: Frame) {
        let Some(session) = self.links.get(link).map(|link| link.session) else { return };
        let inputs = match frame {
            Frame::Calls(frame) => self.calls(session, frame),
            Frame::Reports(frame) => frame.messages.into_iter().map(|message| self.report(session, message)).collect(),
            Frame::Closed => return self.session_over(link),
            Frame::Opened | Frame::Events(_) | Frame::Orders(_) => Vec::new(),
        };
        self.give_master(inputs);
    }

    /// The link of a session is lost.
    pub(super) fn session_over(&mut self, link: LinkId) {
        let Some(session) = self.links.get(link).map(|link| link.session) else { return };
        self.links.close(self.now_ns, &mut self.chance.network, &mut self.queue, link, End::Master);
        let Some(process) = &mut self.master.process else { return };
        if process.sessions.get(&session).is_none_or(|known| known.link != link) {
            return;
        }
        self.fact(Fact::SessionEnded { session });
        self.give_master(vec![Input::Detached { session }]);
        if let Some(process) = &mut self.master.process {
            process.sessions.remove(&session);
        }
    }

    fn calls(&mut self, session: SessionId, frame: ext::Calls) -> Vec<Input> {
        let mut inputs = Vec::new();
        for (seq, call) in (frame.seq..).zip(frame.calls) {
            let call = intake::call(call);
            self.fact(Fact::Called { session, call: call.clone() });
            let Some(call) = self.sabotage_call(session, call) else { continue };
            let widened = self.sabotage_refusal(session, &call);
            inputs.push(Input::Called { session, seq, call });
            inputs.extend(widened);
        }
        inputs
    }

    fn report(&mut self, session: SessionId, message: internal::AgentMessage) -> Input {
        let mut report = intake::report(message, "10.0.0.1");
        self.fact(Fact::Reported { session, report: report.clone() });
        self.sabotage_report(&mut report);
        Input::Reported { session, report }
    }

    pub(super) fn give_master(&mut self, mut inputs: Vec<Input>) {
        let now = self.time(Node::Master);
        self.needs_inspection = true;
        self.sabotage_inputs(&mut inputs);
        self.readers.is_asked =
            inputs.iter().any(|it| matches!(it, Input::Called { call: Call::Reconcile { .. }, .. }));
        self.readers.is_registered_with =
            inputs.iter().any(|it| matches!(it, Input::Reported { report: Report::Register(_), .. }));
        let breaks = inputs.iter().filter_map(|it| match it {
            Input::Detached { session } => Some(*session),
            _ => None,
        });
        let core = self.master.process.as_ref().map(|process| &process.harness.core);
        if core.is_some_and(|core| breaks.into_iter().any(|session| core.is_registering(session))) {
            self.count("session that broke while its registration was processed");
        }
        let written = self.take_written();
        let Some(process) = &mut self.master.process else { return };
        let mut effects = Vec::new();
        for (session, bytes) in written {
            process.harness.handle(now, Input::Written { session, bytes });
        }
        process.harness.give(now, inputs, &mut effects);
        let effects = self.sabotage_effects(effects);
        self.trace.effects("master", &effects);
        self.record_decisions(&effects);
        self.execute_master_effects(now, effects);
        self.schedule_wake(Node::Master);
    }

    /// Marks an agent gone as an operator, if a master runs.
    pub(super) fn mark_gone(&mut self, index: usize) {
        let Some(agent) = self.id_of_agent(index) else { return };
        if self.master.process.is_none() || self.paused(Node::Master).is_some() {
            return;
        }
        self.fact(Fact::MarkedGone { agent: agent.clone() });
        self.give_master(vec![Input::Asked {
            request: RequestId(1),
            principal: Principal::Anonymous,
            question: Question::MarkGone { agent },
        }]);
    }

    /// Removes a framework as an operator.
    pub(super) fn tear_down(&mut self, framework: String) {
        self.fact(Fact::TornDown { framework: framework.clone() });
        let question = Question::Teardown { framework };
        self.give_master(vec![Input::Asked { request: RequestId(1), principal: Principal::Anonymous, question }]);
    }

    fn execute_master_effects(&mut self, now: Now, effects: Vec<Effect>) {
        for effect in effects {
            if self.crash_due(Node::Master) {
                self.flush_master();
                return self.crash(Node::Master);
            }
            if let Some((number, changes)) = self.queue_effect(now, effect) {
                self.store(number, changes);
                // Later effects wait for the registry, so a crash point after the append is needed here.
                if self.crash_due(Node::Master) {
                    self.flush_master();
                    return self.crash(Node::Master);
                }
            }
            if self.master.process.is_none() {
                return;
            }
        }
        self.flush_master();
    }

    fn store(&mut self, number: u64, changes: Vec<internal::RegistryChange>) {
        if self.disk_is_full(Node::Master) {
            return self.crash(Node::Master);
        }
        let (least, most) = self.plan.registry_ms;
        let slow = if self.writes_slowly(Node::Master) { 2_000 } else { 0 };
        let after = millis(&mut self.chance.hosts, least, most.max(slow));
        if after >= Duration::from_millis(50) {
            self.count("registry that took 50 ms to 5 s");
        }
        let life = self.master.life;
        let Some(process) = &mut self.master.process else { return };
        process.storing.push_back((number, changes));
        // Writes are sequential.
        process.stored_ns = process.stored_ns.max(self.now_ns.max(self.registry_until_ns) + nanos(after));
        self.queue.at(process.stored_ns, Coming::Stored { life, number });
    }

    /// Keeps the launched task, to decide later what it does.
    pub(super) fn note_launch(&mut self, order: &Order) {
        let Order::Run { container, info, .. } = order else { return };
        let Ok(info) = TaskInfo::decode(info.clone()) else { return };
        if self.task_behaviour.0.is_some() {
            self.launched.insert(container.to_string(), info);
        } else {
            self.tasks.insert(container.to_string(), info.task_id.value);
        }
    }
}
