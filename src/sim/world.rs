//! The world: all nodes, the queue of scheduled events, and the loop that processes them one by one.
//!
//! First the faults of the plan are injected while the workload runs. Then the faults end, and the cluster has to become
//! quiescent and serve new work within a bound of virtual time. The invariants are checked after every step.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{Hash as _, Hasher as _},
    sync::Arc,
    time::Duration,
};

use super::{
    agent::AgentNode,
    author::{AuthorNode, Watchdog},
    chance::{Chance, nanos},
    fact::Fact,
    failure::{Failure, Trace},
    faults::Fault,
    framework::{DriverProcess, FrameworkNode},
    invariants::Invariants,
    links::Links,
    master::MasterNode,
    nodes::{Client, Node},
    plan::{Misbehaviour, Plan},
    queue::{Event, Queue},
    readers::Readers,
    record::Record,
    run::Run,
    sabotage::{self, Sabotage},
    task_run::OptionalTaskBehaviour,
};
use crate::{agent::core::Input as AgentInput, framework::core::Input as DriverInput, proto::v1::TaskInfo, types::Now};

/// After the faults the cluster becomes quiescent within this time, and serves new work within it again.
const BOUND: Duration = Duration::from_mins(45);
/// A history that takes more steps never becomes quiescent.
const MOST_STEPS: u64 = 400_000;
/// The length of a moment.
const MOMENT_NS: u64 = 1_000_000;
/// The most steps for each agent within a moment.
const MOST_AT_ONCE: u64 = 20_000;
/// Up to so many agents the whole state is inspected after every step that may change it; beyond, only now and then.
const SMALL: usize = 8;
const INSPECT_EVERY: u64 = 10_000;
/// How many lines of history an author's failure shows.
const FAILURE_LINES: usize = 60;
/// The clocks at the start of a history.
const MONO_START_NS: u64 = 1_000_000_000_000;
const WALL_START_NS: i64 = 1_700_000_000_000_000_000;
/// The phase of a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Faults,
    /// The faults have ended, in a history of authors' frameworks.
    Healed,
    Quiescing {
        until_ns: u64,
    },
    Serving {
        until_ns: u64,
    },
    Done,
}

/// The result of a history.
#[derive(Clone, Debug, Default)]
pub(super) struct Outcome {
    pub(super) steps: u64,
    /// How much virtual time has passed.
    pub(super) elapsed: Duration,
    pub(super) tasks: usize,
    pub(super) faults: BTreeMap<String, u64>,
    /// How often invariants were checked, and their names.
    pub(super) checks: u64,
    pub(super) invariants: Vec<&'static str>,
    /// A digest of each step: two runs that differ have different digests soon.
    pub(super) digests: Vec<u64>,
}

/// A simulated cluster and everything around it.
#[derive(Debug)]
pub(super) struct World {
    pub(super) seed: u64,
    pub(super) plan: Plan,
    pub(super) chance: Chance,
    pub(super) now_ns: u64,
    pub(super) queue: Queue,
    pub(super) links: Links,
    pub(super) master: MasterNode,
    pub(super) agents: Vec<AgentNode>,
    pub(super) frameworks: Vec<FrameworkNode>,
    /// Instances of frameworks that newer ones replaced, as long as they run.
    pub(super) replaced: Vec<Option<Box<DriverProcess>>>,
    pub(super) authors: Vec<AuthorNode>,
    pub(super) watchdog: Arc<Watchdog>,
    /// What tasks do, if their author decides it.
    pub(super) task_behaviour: OptionalTaskBehaviour,
    /// The task of each launched container, unless an author decides what tasks do.
    pub(super) tasks: BTreeMap<String, String>,
    /// Tasks whose kill was requested.
    pub(super) to_be_killed: BTreeSet<String>,
    /// The `TaskInfo` of each launched container, if an author decides what tasks do.
    pub(super) launched: BTreeMap<String, TaskInfo>,
    pub(super) sabotage: Option<Sabotage>,
    pub(super) planted: sabotage::Memory,
    pub(super) trace: Trace,
    /// Nodes about to crash: after how many effects, and whether the host goes down too.
    pub(super) crash_points: BTreeMap<Node, (u32, bool)>,
    pub(super) isolated_until: BTreeMap<Client, u64>,
    /// Nodes whose disks are slow, and nodes whose disks are full.
    pub(super) slow_until: BTreeMap<Node, u64>,
    pub(super) full_until: BTreeMap<Node, u64>,
    /// Nodes whose processes are stopped.
    pub(super) paused_until: BTreeMap<Node, u64>,
    /// Ids of agents that the registry records as gone.
    pub(super) gone: BTreeSet<String>,
    /// Whether the state may have changed since the invariants last inspected it.
    pub(super) needs_inspection: bool,
    pub(super) registry_until_ns: u64,
    pub(super) readers: Readers,
    pub(super) wall_steps: BTreeMap<Node, i64>,
    pub(super) counted: BTreeMap<String, u64>,
    pub(super) phase: Phase,
    /// An invariant found broken in the middle of a step.
    pub(super) broken: Option<(&'static str, String)>,
    /// The record of an author's run.
    pub(super) record: Record,
    facts: Vec<Fact>,
    digests: Vec<u64>,
    /// The present moment, and the number of steps in it.
    moment: u64,
    crowded: u64,
    no_misbehaviour: Misbehaviour,
    step: u64,
}

impl World {
    pub(super) fn new(seed: u64, plan: Plan, sabotage: Option<Sabotage>) -> Self {
        let frameworks = plan.frameworks.iter().enumerate();
        Self {
            seed,
            chance: Chance::new(seed),
            now_ns: 0,
            queue: Queue::default(),
            links: Links::new(plan.latency),
            master: MasterNode::default(),
            agents: plan.agents.iter().enumerate().map(|(index, agent)| AgentNode::new(index, agent)).collect(),
            frameworks: frameworks.map(|(index, plan)| FrameworkNode::new(index, plan.clone())).collect(),
            replaced: Vec::new(),
            authors: Vec::new(),
            watchdog: Arc::default(),
            task_behaviour: OptionalTaskBehaviour(None),
            tasks: BTreeMap::new(),
            to_be_killed: BTreeSet::new(),
            launched: BTreeMap::new(),
            sabotage,
            planted: sabotage::Memory::default(),
            trace: Trace::default(),
            crash_points: BTreeMap::new(),
            isolated_until: BTreeMap::new(),
            slow_until: BTreeMap::new(),
            full_until: BTreeMap::new(),
            paused_until: BTreeMap::new(),
            gone: BTreeSet::new(),
            needs_inspection: false,
            registry_until_ns: 0,
            readers: Readers::default(),
            wall_steps: BTreeMap::new(),
            counted: BTreeMap::new(),
            phase: Phase::Faults,
            broken: None,
            record: Record::default(),
            facts: Vec::new(),
            digests: Vec::new(),
            moment: 0,
            crowded: 0,
            no_misbehaviour: Misbehaviour::default(),
            step: 0,
            plan,
        }
    }

    /// Plays the whole history.
    pub(super) fn run(&mut self) -> Result<Outcome, Failure> {
        let mut invariants = Invariants::new(self);
        self.begin();
        while self.phase != Phase::Done {
            let Some((at_ns, event)) = self.queue.next() else {
                return Err(self.failed("quiescent", "nothing happens"));
            };
            self.now_ns = self.now_ns.max(at_ns);
            self.step += 1;
            self.check_progress(at_ns)?;
            self.dispatch(event);
            self.digest();
            self.check_invariants(&mut invariants)?;
        }
        let tasks = self.frameworks.iter().map(|one| one.store.tasks.len()).sum();
        Ok(Outcome {
            steps: self.step,
            elapsed: Duration::from_nanos(self.now_ns),
            tasks,
            faults: std::mem::take(&mut self.counted),
            checks: invariants.checks,
            invariants: invariants.names(),
            digests: std::mem::take(&mut self.digests),
        })
    }

    /// Hashes the time, the facts and the length of the queue: outside influence soon shows in one of them.
    fn digest(&mut self) {
        if self.authors.is_empty() {
            let mut digest = std::hash::DefaultHasher::new();
            (self.now_ns, self.facts.len(), self.queue.len()).hash(&mut digest);
            for fact in &self.facts {
                fact.digest(&mut digest);
            }
            self.digests.push(digest.finish());
        }
    }

    /// Fails if the cluster takes too many steps within a moment, or altogether.
    fn check_progress(&mut self, at_ns: u64) -> Result<(), Failure> {
        let moment = at_ns / MOMENT_NS;
        self.crowded = if moment == self.moment { self.crowded + 1 } else { 0 };
        self.moment = moment;
        let (most, crowd) = if self.authors.is_empty() {
            let most = MOST_STEPS * if self.plan.pace > 1 { 5 } else { 1 };
            (most, most)
        } else {
            (u64::MAX, MOST_AT_ONCE * self.agents.len() as u64)
        };
        if self.step > most || self.crowded > crowd {
            return Err(self.failed("quiescent", "the cluster does not come to rest"));
        }
        Ok(())
    }

    /// Schedules the end, and the planned faults.
    pub(super) fn plan_faults(&mut self, time: Duration, planned: &[(Duration, Fault, Option<usize>)]) {
        for (at, fault, agent) in planned {
            self.after(*at, Event::Planned { fault: *fault, agent: *agent });
        }
        self.after(time, Event::End);
    }

    /// Plays the history for the authors of its frameworks.
    pub(super) fn play_for_authors(mut self) -> Result<Run, Failure> {
        let outcome = super::play(&mut self);
        let record = std::mem::take(&mut self.record);
        match outcome {
            Ok(Outcome { steps, faults, elapsed, .. }) => {
                let ended = self.authors.iter().map(|author| author.ended.clone()).collect();
                Ok(Run { seed: self.seed, elapsed, steps, faults, ended, record })
            }
            Err(failure) => {
                let skipped = record.lines.len().saturating_sub(FAILURE_LINES);
                Err(failure.of_author(record.lines.into_iter().skip(skipped)))
            }
        }
    }

    fn begin(&mut self) {
        self.start_master();
        for index in 0..self.agents.len() {
            self.start_agent(index);
        }
        for index in 0..self.frameworks.len() {
            self.add_tasks(index, self.frameworks[index].plan.tasks);
            self.start_framework(index);
            if let Some(after) = self.frameworks[index].plan.torn_down_after {
                self.after(after, Event::TearDown { framework: index });
            }
        }
        for index in 0..self.authors.len() {
            self.start_author(index);
        }
        let Misbehaviour { kills, failovers, .. } = self.plan.misbehaviour;
        if kills || failovers || self.plan.faults.kinds().next().is_some() {
            self.next_fault();
        }
        self.after(self.plan.fault_time, Event::Heal);
    }

    fn check_invariants(&mut self, invariants: &mut Invariants) -> Result<(), Failure> {
        let facts = std::mem::take(&mut self.facts);
        let found = facts.iter().find_map(|fact| invariants.observe(self.now_ns, fact).err());
        let broken = self.broken.take().or(found);
        for fact in facts {
            if self.authors.is_empty() {
                self.trace.push(self.step, self.now_ns, fact);
            } else {
                self.record.add_fact(Duration::from_nanos(self.now_ns), &fact);
            }
        }
        let mut inspect = |world: &mut Self| {
            let needs_inspection = std::mem::take(&mut world.needs_inspection);
            let is_due = if world.is_small() { needs_inspection } else { world.step.is_multiple_of(INSPECT_EVERY) };
            if is_due { invariants.inspect(world) } else { Ok(()) }
        };
        match broken.map_or_else(|| inspect(self), Err) {
            Ok(()) => Ok(()),
            Err((name, text)) => Err(self.failed(name, &text)),
        }
    }

    /// Whether the whole state is inspected after every step that may have changed it.
    pub(super) fn is_small(&self) -> bool {
        self.agents.len() <= SMALL
    }

    /// Creates a failure of the present step.
    pub(super) fn failed(&self, invariant: &'static str, text: &str) -> Failure {
        Failure::new(self.seed, self.step, self.now_ns, invariant, text, &self.trace)
    }

    pub(super) fn fact(&mut self, fact: Fact) {
        self.needs_inspection |=
            matches!(fact, Fact::ProcessStarted { .. } | Fact::AgentReceived { .. } | Fact::MasterCrashed);
        self.facts.push(fact);
    }

    /// How schedulers and tasks misbehave in this phase.
    pub(super) fn misbehaviour(&self) -> &Misbehaviour {
        if self.phase == Phase::Faults { &self.plan.misbehaviour } else { &self.no_misbehaviour }
    }

    pub(super) fn time(&self, node: Node) -> Now {
        let step = self.wall_steps.get(&node).copied().unwrap_or(0);
        let passed = i64::try_from(self.now_ns).unwrap_or(i64::MAX);
        Now { mono_ns: MONO_START_NS + self.now_ns, wall_ns: WALL_START_NS + passed + step }
    }

    pub(super) fn after(&mut self, time: Duration, event: Event) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.queue.at(self.now_ns.saturating_add(nanos), event);
    }

    /// Schedules the node's wake-up at its deadline.
    pub(super) fn schedule_wake(&mut self, node: Node) {
        let now_ns = self.now_ns;
        let (deadline, wake_ns, life) = match node {
            Node::Master => {
                let Some(process) = &mut self.master.process else { return };
                (process.harness.deadline(), &mut process.wake_ns, self.master.life)
            }
            Node::Agent(index) => {
                let node = &mut self.agents[index];
                let Some(process) = &mut node.process else { return };
                (process.harness.deadline(), &mut process.wake_ns, node.life)
            }
            Node::Framework(index) => {
                let node = &mut self.frameworks[index];
                let Some(process) = &mut node.process else { return };
                (process.harness.deadline(), &mut process.wake_ns, node.life)
            }
            Node::Replaced(index) => {
                let Some(process) = &mut self.replaced[index] else { return };
                (process.harness.deadline(), &mut process.wake_ns, 0)
            }
            Node::Author(index) => {
                let node = &mut self.authors[index];
                let Some(process) = &mut node.process else { return };
                (process.environment.deadline(), &mut process.wake_ns, node.life)
            }
        };
        let turn = if node == Node::Master { self.plan.turn } else { Duration::from_micros(1) };
        let soonest = now_ns + nanos(turn);
        let Some(at_ns) = deadline.map(|at| at.saturating_sub(MONO_START_NS).max(soonest)) else { return };
        if wake_ns.is_none_or(|wake_ns| at_ns < wake_ns || wake_ns <= now_ns) {
            *wake_ns = Some(at_ns);
            self.queue.at(at_ns, Event::Wake { node, life });
        }
    }

    fn wake(&mut self, node: Node, life: u64) {
        match node {
            Node::Master if self.master.life == life => self.give_master(Vec::new()),
            Node::Agent(index) if self.agents[index].life == life => self.give_agent(index, AgentInput::Tick),
            Node::Framework(index) if self.frameworks[index].life == life => {
                self.give_framework(index, DriverInput::Tick);
            }
            Node::Replaced(index) => self.give_driver(Client::Replaced(index), DriverInput::Tick),
            Node::Author(index) if self.authors[index].life == life => self.run_author(index),
            Node::Master | Node::Agent(_) | Node::Framework(_) | Node::Author(_) => {}
        }
    }

    fn dispatch(&mut self, event: Event) {
        // Events for a stopped process wait, in order.
        if !self.paused_until.is_empty()
            && let Some(until_ns) = event.receiver(&self.links).and_then(|node| self.paused(node))
        {
            return self.queue.at(until_ns, event);
        }
        match event {
            Event::Wake { node, life } => self.wake(node, life),
            Event::Restart { node } => self.restart(node),
            Event::Reach { client, life, attempt } => self.reached(client, life, attempt),
            Event::Unreached { client: Client::Agent(index), life, attempt } => {
                self.agent_unreached(index, life, attempt);
            }
            Event::Unreached { client: client @ (Client::Framework(_) | Client::Replaced(_)), life, attempt } => {
                self.driver_unreached(client, life, attempt);
            }
            Event::Unreached { client: Client::Author(index), life, attempt } => {
                self.author_unreached(index, life, attempt);
            }
            Event::Arrive { link, to, number, frame } => self.arrive(link, to, number, *frame),
            Event::Notice { link, end } => self.notice(link, end),
            Event::Stored { life, number } => self.stored(life, number),
            Event::Read { life, session } => self.read_is_due(life, session),
            Event::Watch { life, session } => self.watch_is_due(life, session),
            Event::Report { life } => self.report_is_due(life),
            Event::Written { agent, life } => self.written(agent, life),
            Event::Synced { agent, boot, upto } => self.synced(agent, boot, upto),
            Event::StepDone { agent, life, container, step, fails } => {
                self.step_done(agent, life, container, step, fails);
            }
            Event::Requested { agent, boot, life, supervisor, request } => {
                self.request_arrives(agent, (boot, life), supervisor, request);
            }
            Event::Supervised { agent, life, supervisor, event } => {
                if self.agents[agent].life == life {
                    self.give_agent(agent, AgentInput::Supervised { supervisor, event });
                }
            }
            Event::SupervisorSilent { agent, life, supervisor } => self.supervisor_silent(agent, life, supervisor),
            Event::SupervisorContinues { agent, supervisor } => self.supervisor_continues(agent, supervisor),
            Event::LeftoversEnded { agent, life, containers } => self.leftovers_ended(agent, life, containers),
            Event::DiskChanged { agent } => self.disk_changed(agent),
            Event::SupervisorLost { agent, life, supervisor } => self.supervisor_lost(agent, life, supervisor),
            Event::SupervisorEnded { agent, life, supervisor } => {
                if self.agents[agent].life == life {
                    self.give_agent(agent, AgentInput::SupervisorEnded { supervisor });
                }
            }
            Event::Spawned { agent, supervisor, container } => self.spawn_is_due(agent, supervisor, container),
            Event::ProcessEnds { agent, container, signal } => self.process_ends(agent, &container, signal),
            Event::CallbackBegins { framework, life } => self.callback_begins(framework, life),
            Event::CallbackEnds { framework, life, callback, ok } => self.callback_ends(framework, life, callback, ok),
            Event::Chores { framework, life } => self.chores(framework, life),
            Event::TearDown { framework } => self.tear_down_soon(framework),
            Event::Fault => self.inject_random(),
            Event::Planned { fault, agent } => self.inflict(fault, agent),
            Event::End => self.phase = Phase::Done,
            Event::Heal => self.heal(),
            Event::CheckQuiescence => self.check_quiescence(),
        }
    }
}

pub(super) fn bound_ns() -> u64 {
    u64::try_from(BOUND.as_nanos()).unwrap_or(u64::MAX)
}
