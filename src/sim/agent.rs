//! An agent's process: the core, its log, its link to the master and its connections to the supervisors.
//!
//! Effects are executed in order. Those behind a `Persist` wait until the disk has completed it; the core keeps running.

use std::collections::{BTreeSet, VecDeque};

use rand::Rng as _;

use super::{
    chance::{millis, percent},
    client_link::ClientLink,
    disk::Disk,
    fact::Fact,
    host::Host,
    links::{End, Frame, LinkId},
    nodes::{Client, Node},
    plan::AgentPlan,
    queue::Event,
    sabotage::Sabotage,
    scheduler::is_last,
    world::World,
};
use crate::{
    agent::core::{Agent, Config, Effect, Found, Input, Level, Retention, SessionId, StopReason},
    harness::Harness,
    proto::{
        internal::{AgentFrame, AgentRecord, MasterFrame, agent_record},
        v1,
    },
    types::Resources,
};

/// A longer log is compacted when no effect waits for the disk.
const COMPACT_AT: usize = 40;

/// An agent, its host, and the state that outlives its process.
#[derive(Debug)]
pub(super) struct AgentNode {
    pub(super) config: Config,
    pub(super) total: Resources,
    pub(super) disk: Disk,
    pub(super) host: Host,
    /// Counts its processes.
    pub(super) life: u64,
    pub(super) process: Option<Box<AgentProcess>>,
}

/// One life of an agent.
#[derive(Debug)]
pub(super) struct AgentProcess {
    pub(super) harness: Harness<Agent>,
    pub(super) link: ClientLink,
    /// Effects that wait for the disk; it is writing `writing`.
    held: VecDeque<Effect>,
    writing: Option<(Vec<AgentRecord>, Level)>,
    pub(super) wake_ns: Option<u64>,
}

impl AgentNode {
    pub(super) fn new(index: usize, plan: &AgentPlan) -> Self {
        let total = plan.resources.clone();
        let info = v1::AgentInfo {
            hostname: format!("host{index}"),
            port: Some(5051),
            resources: total.to_proto(),
            attributes: plan.attributes.to_proto(),
            ..v1::AgentInfo::default()
        };
        let config = Config {
            info,
            divvy_version: "0".to_owned(),
            user: "simulated".to_owned(),
            sandboxes: "/runs".to_owned(),
            retention: Retention { keep: std::time::Duration::from_mins(5), keep_at_most: 4 },
            spread_first: std::time::Duration::from_secs(1),
        };
        let (disk, host) = (Disk::default(), Host::default());
        Self { config, total, disk, host, life: 0, process: None }
    }

    /// The containers of whose start the log has a record.
    pub(super) fn starts_on_disk(&self) -> BTreeSet<String> {
        let started = self.disk.records().iter().filter_map(|record| match &record.kind {
            Some(agent_record::Kind::Started(started)) => Some(started.container_id.clone()),
            _ => None,
        });
        started.collect()
    }

    /// The containers of whose end the log or a supervisor has a record.
    fn ends_on_disk(&self) -> BTreeSet<String> {
        let logged = self.disk.records().iter().filter_map(|record| match &record.kind {
            Some(agent_record::Kind::Status(made)) => {
                let state = made.status.as_ref().map(v1::TaskStatus::state)?;
                is_last(state).then(|| made.container_id.clone())
            }
            _ => None,
        });
        logged.chain(self.host.ends()).collect()
    }
}

impl World {
    pub(super) fn start_agent(&mut self, index: usize) {
        self.agents[index].life += 1;
        let supervisors = self.supervisors_found(index);
        let (rng, now) = (self.chance.for_core(), self.time(Node::Agent(index)));
        let node = &mut self.agents[index];
        let forgets = self.sabotage == Some(Sabotage::RecoversNoSandboxes);
        let sandboxes = node.host.sandboxes.iter().filter(|_| !forgets).map(|(id, at)| (id.clone(), *at)).collect();
        let boot_id = format!("boot{}", node.host.boot);
        // All hosts share the simulation's monotonic clock.
        let boot_ns = Some(now.mono_ns);
        let found = Found { boot_id, boot_ns, supervisors: node.host.found(), sandboxes, ..Found::default() };
        let mut out = Vec::new();
        let core = Agent::recover(node.disk.records(), node.config.clone(), found, rng, now, &mut out);
        node.process = Some(Box::new(AgentProcess {
            harness: Harness::new(core),
            link: ClientLink::default(),
            held: VecDeque::new(),
            writing: None,
            wake_ns: None,
        }));
        self.fact(Fact::AgentStarted { agent: index });
        self.execute_agent_effects(index, out);
        for supervisor in supervisors {
            self.send_welcome(index, supervisor);
        }
        self.restart_started_again(index);
        if self.disk_is_full(Node::Agent(index)) {
            self.queue.at(self.now_ns, Event::DiskChanged { agent: index });
        }
        self.schedule_wake(Node::Agent(index));
    }

    /// Ends the process. A write under way is in the file up to any record; frames already sent may still arrive.
    pub(super) fn crash_agent(&mut self, index: usize, host: bool) {
        let rng = &mut self.chance.faults;
        let node = &mut self.agents[index];
        let process = node.process.take();
        if let Some((records, _)) = process.and_then(|process| process.writing) {
            let torn = rng.random_range(0..=records.len());
            node.disk.append(&records[..torn]);
            let records = records[..torn].to_vec();
            self.fact(Fact::Wrote { agent: index, records });
        }
        let ends_lost = if host { self.power_cut(index) } else { Vec::new() };
        self.fact(Fact::AgentCrashed { agent: index, host, ends_lost });
        let notice = std::time::Duration::from_millis(if host { 60_000 } else { 500 });
        self.drop_links(Client::Agent(index), notice);
    }

    /// Cuts the host's power: its processes end, and some unsynced records are lost.
    ///
    /// Returns the containers whose end is no longer on record.
    fn power_cut(&mut self, index: usize) -> Vec<String> {
        let before = self.agents[index].ends_on_disk();
        self.agents[index].disk.lose_unsynced(&mut self.chance.faults);
        self.take_host_down(index);
        let after = self.agents[index].ends_on_disk();
        before.difference(&after).cloned().collect()
    }

    pub(super) fn give_agent(&mut self, index: usize, input: Input) {
        let now = self.time(Node::Agent(index));
        let Some(process) = &mut self.agents[index].process else { return };
        let mut out = Vec::new();
        process.harness.give(now, [input], &mut out);
        self.trace.effects("agent", &out);
        self.execute_agent_effects(index, out);
        self.schedule_wake(Node::Agent(index));
    }

    fn execute_agent_effects(&mut self, index: usize, effects: Vec<Effect>) {
        let effects = self.sabotage_agent(index, effects);
        // Pongs bypass the gate: they do not wait for a write or a sync.
        let (pongs, effects): (Vec<_>, Vec<_>) = effects.into_iter().partition(Effect::bypasses_gate);
        for pong in pongs {
            if self.crash_due(Node::Agent(index)) {
                return self.crash(Node::Agent(index));
            }
            self.execute_agent_effect(index, pong);
        }
        let Some(process) = &mut self.agents[index].process else { return };
        process.held.extend(effects);
        self.drain_agent(index);
    }

    /// Executes the effects that need not wait for the disk.
    fn drain_agent(&mut self, index: usize) {
        loop {
            let Some(process) = &mut self.agents[index].process else { return };
            if process.writing.is_some() {
                return;
            }
            let Some(effect) = process.held.pop_front() else { break };
            if let Effect::Persist { records, level } = effect {
                process.writing = Some((records, level));
                if self.crash_due(Node::Agent(index)) {
                    return self.crash(Node::Agent(index));
                }
                self.write(index, level);
                continue;
            }
            if self.crash_due(Node::Agent(index)) {
                return self.crash(Node::Agent(index));
            }
            self.execute_agent_effect(index, effect);
        }
        self.compact(index);
    }

    /// The page cache takes records at once, mostly; a sync takes its time.
    fn write(&mut self, index: usize, level: Level) {
        let slow = self.writes_slowly(Node::Agent(index));
        let full = self.disk_is_full(Node::Agent(index));
        let at_once = level == Level::Process && !full && !(slow && percent(&mut self.chance.hosts, 30));
        if at_once {
            return self.take_in_records(index);
        }
        let mut after = millis(&mut self.chance.hosts, 0, if slow { 1_000 } else { 8 });
        if let Some(until_ns) = self.waits_for_room(index) {
            after = std::time::Duration::from_nanos(until_ns - self.now_ns);
        }
        let life = self.agents[index].life;
        self.after(after, Event::Written { agent: index, life });
    }

    /// When the disk has room again, if the space reserved for necessary writes is used up too.
    fn waits_for_room(&mut self, index: usize) -> Option<u64> {
        let until_ns = self.full_until.get(&Node::Agent(index)).copied().filter(|until_ns| *until_ns > self.now_ns)?;
        percent(&mut self.chance.hosts, 30).then_some(until_ns)
    }

    fn take_in_records(&mut self, index: usize) {
        let node = &mut self.agents[index];
        let Some((records, level)) = node.process.as_mut().and_then(|process| process.writing.take()) else { return };
        node.disk.append(&records);
        let (upto, boot) = (node.disk.records().len(), node.host.boot);
        if level == Level::Host {
            node.disk.sync(upto);
        } else {
            let after = millis(&mut self.chance.hosts, 1, 50);
            self.after(after, Event::Synced { agent: index, boot, upto });
        }
        self.fact(Fact::Wrote { agent: index, records });
    }

    pub(super) fn written(&mut self, index: usize, life: u64) {
        if self.agents[index].life == life && self.agents[index].process.is_some() {
            self.take_in_records(index);
            self.drain_agent(index);
        }
    }

    fn compact(&mut self, index: usize) {
        let node = &mut self.agents[index];
        let Some(process) = &mut node.process else { return };
        if node.disk.records().len() >= COMPACT_AT {
            node.disk.replace(process.harness.core.snapshot());
        }
    }

    fn execute_agent_effect(&mut self, index: usize, effect: Effect) {
        let life = self.agents[index].life;
        let Some(process) = &mut self.agents[index].process else { return };
        match effect {
            // The only step cannot be cancelled.
            Effect::Persist { .. } | Effect::CancelStep { .. } => {}
            Effect::Attach { session, .. } => {
                let old = process.link.start_attempt(session.0);
                let travel_ns = self.links.travel_ns(&mut self.chance.network);
                let client = Client::Agent(index);
                self.queue.at(self.now_ns + travel_ns, Event::Reach { client, life, attempt: session.0 });
                self.close_client_link(old);
            }
            Effect::Detach { session } => {
                let link = process.link.abandon_attempt(session.0);
                self.close_client_link(link);
            }
            Effect::Send { session, message } => {
                let Some(link) = process.link.link_of_attempt(session.0) else { return };
                self.fact(Fact::AgentSent { agent: index, message: message.clone() });
                self.send(link, End::Master, Frame::Reports(AgentFrame { messages: vec![message] }));
            }
            Effect::Supervise { supervisor, request } => self.send_supervisor_request(index, supervisor, request),
            Effect::Provision { container, step } => {
                let after = millis(&mut self.chance.hosts, 0, 10);
                let fails = self.misbehaviour().bad_tasks && percent(&mut self.chance.hosts, 3);
                self.after(after, Event::StepDone { agent: index, life, container, step, fails });
            }
            Effect::EndLeftovers { leftovers } => self.end_leftovers(index, &leftovers),
            Effect::RemoveSandbox { container } => {
                self.agents[index].host.sandboxes.remove(&container);
            }
            Effect::Stop { reason } => self.agent_stopped(index, &reason),
        }
    }

    /// The agent has stopped for good. An operator clears its host, which registers as a new agent.
    fn agent_stopped(&mut self, index: usize, reason: &StopReason) {
        let id = self.id_of_agent(index);
        if *reason != StopReason::Gone || id.is_none_or(|id| !self.gone.contains(&id)) {
            self.broken = Some(("quiescent", format!("agent {index} stopped for {reason:?} without a request")));
            return;
        }
        self.agents[index].process = None;
        self.fact(Fact::AgentLeft { agent: index });
        self.drop_links(Client::Agent(index), std::time::Duration::from_millis(500));
        self.clear_host(index);
        let after = self.outage();
        self.after(after, Event::Restart { node: Node::Agent(index) });
    }

    /// The host's disk has synced everything up to there.
    pub(super) fn synced(&mut self, agent: usize, boot: u64, upto: usize) {
        let node = &mut self.agents[agent];
        if node.host.boot == boot {
            node.disk.sync(upto);
        }
    }

    /// The id that the agent of this number has, or will have when it starts again.
    pub(super) fn id_of_agent(&self, index: usize) -> Option<String> {
        let node = &self.agents[index];
        if let Some(process) = &node.process {
            return process.harness.core.id().map(str::to_owned);
        }
        node.disk.records().iter().rev().find_map(|record| match &record.kind {
            Some(agent_record::Kind::Identity(identity)) => Some(identity.agent_id.clone()),
            _ => None,
        })
    }

    /// The agent receives a frame from the master.
    pub(super) fn agent_received(&mut self, index: usize, link: LinkId, frame: Frame) {
        let Some(process) = &mut self.agents[index].process else { return };
        let Some(session) = process.link.attempt_of_link(link).map(SessionId) else { return };
        match frame {
            Frame::Opened => self.give_agent(index, Input::Attached { session }),
            Frame::Orders(MasterFrame { messages }) => {
                for message in messages {
                    let message = self.sabotage_received_order(index, message);
                    self.fact(Fact::AgentReceived { agent: index, message: message.clone() });
                    self.give_agent(index, Input::Received { session, message });
                }
            }
            Frame::Closed => self.agent_link_lost(index, link),
            Frame::Calls(_) | Frame::Events(_) | Frame::Reports(_) => {}
        }
    }

    pub(super) fn agent_link_lost(&mut self, index: usize, link: LinkId) {
        let Some(process) = &mut self.agents[index].process else { return };
        let Some(session) = process.link.remove_link(link).map(SessionId) else { return };
        self.close_client_link(Some(link));
        self.give_agent(index, Input::Detached { session, leader: None });
    }

    pub(super) fn agent_unreached(&mut self, index: usize, life: u64, attempt: u64) {
        let node = &mut self.agents[index];
        let Some(process) = node.process.as_mut().filter(|_| node.life == life) else { return };
        if process.link.fail_attempt(attempt) {
            self.give_agent(index, Input::Detached { session: SessionId(attempt), leader: None });
        }
    }

    fn restart_started_again(&mut self, index: usize) {
        if self.sabotage == Some(Sabotage::StartsAgainAfterRestart) {
            for (supervisor, request) in self.agents[index].host.requests.clone() {
                self.send_supervisor_request(index, supervisor, request);
            }
        }
    }
}
