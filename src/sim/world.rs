//! The world: all nodes, the queue of what is going to happen, and the loop that lets it happen one by one.
//!
//! First everything goes wrong that the plan allows, while the workload runs; then the trouble ends and the cluster has
//! to settle and to serve new work within a bound of virtual time. After every step the invariants are looked at.

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
    plan::{Oddities, Plan},
    queue::{Event, Queue},
    reading::Readers,
    record::Record,
    run::Run,
    sabotage::{self, Sabotage},
    task_run::ShownLives,
};
use crate::{agent::core::Input as AgentInput, framework::core::Input as DriverInput, proto::v1::TaskInfo, types::Now};

/// The cluster has to settle within this time after the trouble, and to serve new work within it again.
const BOUND: Duration = Duration::from_mins(45);
/// A history that takes more steps does not come to rest.
const MOST_STEPS: u64 = 400_000;
/// Steps for each agent within a moment, after which they do not come to rest either.
const MOMENT_NS: u64 = 1_000_000;
const MOST_AT_ONCE: u64 = 20_000;
/// A cluster of so many agents is looked at as a whole after every step that may change it, a larger one now and then.
const SMALL: usize = 8;
const INSPECT_EVERY: u64 = 10_000;
/// How much of its history an author's failure tells.
const TOLD: usize = 60;
/// What the clocks show when a history begins.
const MONO_START_NS: u64 = 1_000_000_000_000;
const WALL_START_NS: i64 = 1_700_000_000_000_000_000;
/// How far a history is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Trouble,
    /// Nothing goes wrong any more, and the rest is up to the authors.
    Calm,
    Settling {
        until_ns: u64,
    },
    Serving {
        until_ns: u64,
    },
    Done,
}

/// What a history came to.
#[derive(Clone, Debug, Default)]
pub(super) struct Outcome {
    pub(super) steps: u64,
    /// How much virtual time has passed.
    pub(super) elapsed: Duration,
    pub(super) tasks: usize,
    pub(super) faults: BTreeMap<String, u64>,
    /// How often an invariant was asked, and all of them.
    pub(super) checks: u64,
    pub(super) invariants: Vec<&'static str>,
    /// A number for each step that differs where anything differs that matters to what follows.
    pub(super) digests: Vec<u64>,
}

/// Everything.
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
    /// Runs of frameworks that others were started in the place of, as long as they go on.
    pub(super) replaced: Vec<Option<Box<DriverProcess>>>,
    pub(super) authors: Vec<AuthorNode>,
    pub(super) watchdog: Arc<Watchdog>,
    /// What tasks do, where their author says it.
    pub(super) lives: ShownLives,
    /// The tasks of containers that were ordered, where no author says what they do.
    pub(super) tasks: BTreeMap<String, String>,
    /// Tasks that their schedulers wanted to be killed.
    pub(super) to_be_killed: BTreeSet<String>,
    /// What such an author is to be asked about, by container.
    pub(super) launched: BTreeMap<String, TaskInfo>,
    pub(super) sabotage: Option<Sabotage>,
    pub(super) planted: sabotage::Memory,
    pub(super) trace: Trace,
    /// Nodes about to crash: after so many effects, and whether the host goes with them.
    pub(super) fuses: BTreeMap<Node, (u32, bool)>,
    pub(super) isolated_until: BTreeMap<Client, u64>,
    /// Nodes whose disks are slow, and such whose disks are full.
    pub(super) slow_until: BTreeMap<Node, u64>,
    pub(super) full_until: BTreeMap<Node, u64>,
    /// Nodes whose processes are stopped.
    pub(super) paused_until: BTreeMap<Node, u64>,
    /// Ids of agents that the registry has as gone; what an operator asks of a master that crashes is not.
    pub(super) gone: BTreeSet<String>,
    /// Something happened that the invariants which look at the whole state have to look at.
    pub(super) stirred: bool,
    pub(super) registry_until_ns: u64,
    pub(super) readers: Readers,
    pub(super) wall_steps: BTreeMap<Node, i64>,
    pub(super) counted: BTreeMap<String, u64>,
    pub(super) phase: Phase,
    /// Something that must not be was found in the midst of a step.
    pub(super) broken: Option<(&'static str, String)>,
    /// What the authors' runs are asked about.
    pub(super) record: Record,
    facts: Vec<Fact>,
    digests: Vec<u64>,
    /// The present stretch of time, and how many steps fell into it.
    moment: u64,
    crowded: u64,
    calm: Oddities,
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
            frameworks: frameworks.map(|(index, wishes)| FrameworkNode::new(index, wishes.clone())).collect(),
            replaced: Vec::new(),
            authors: Vec::new(),
            watchdog: Arc::default(),
            lives: ShownLives(None),
            tasks: BTreeMap::new(),
            to_be_killed: BTreeSet::new(),
            launched: BTreeMap::new(),
            sabotage,
            planted: sabotage::Memory::default(),
            trace: Trace::default(),
            fuses: BTreeMap::new(),
            isolated_until: BTreeMap::new(),
            slow_until: BTreeMap::new(),
            full_until: BTreeMap::new(),
            paused_until: BTreeMap::new(),
            gone: BTreeSet::new(),
            stirred: false,
            registry_until_ns: 0,
            readers: Readers::default(),
            wall_steps: BTreeMap::new(),
            counted: BTreeMap::new(),
            phase: Phase::Trouble,
            broken: None,
            record: Record::default(),
            facts: Vec::new(),
            digests: Vec::new(),
            moment: 0,
            crowded: 0,
            calm: Oddities::default(),
            step: 0,
            plan,
        }
    }

    /// Lets the whole history happen.
    pub(super) fn run(&mut self) -> Result<Outcome, Failure> {
        let mut invariants = Invariants::new(self);
        self.begin();
        while self.phase != Phase::Done {
            let Some((at_ns, event)) = self.queue.next() else { return Err(self.failed("settled", "nothing happens")) };
            self.now_ns = self.now_ns.max(at_ns);
            self.step += 1;
            self.rest(at_ns)?;
            self.happen(event);
            self.digest();
            self.judge(&mut invariants)?;
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

    /// Times, facts and what is still to come: whatever leaks in from outside soon shows in one of them.
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

    /// A cluster that does ever more without time going on is broken, and so is one that does ever more at all.
    fn rest(&mut self, at_ns: u64) -> Result<(), Failure> {
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
            return Err(self.failed("settled", "the cluster does not come to rest"));
        }
        Ok(())
    }

    /// Arranges the end, and the faults that were asked for.
    pub(super) fn plan_faults(&mut self, time: Duration, planned: &[(Duration, Fault, Option<usize>)]) {
        for (at, fault, agent) in planned {
            self.after(*at, Event::Planned { fault: *fault, agent: *agent });
        }
        self.after(time, Event::End);
    }

    /// Lets it happen for the authors of its frameworks.
    pub(super) fn play_for_authors(mut self) -> Result<Run, Failure> {
        let outcome = super::play(&mut self);
        let record = std::mem::take(&mut self.record);
        match outcome {
            Ok(Outcome { steps, faults, elapsed, .. }) => {
                let ended = self.authors.iter().map(|author| author.ended.clone()).collect();
                Ok(Run { seed: self.seed, elapsed, steps, faults, ended, record })
            }
            Err(failure) => {
                let skipped = record.lines.len().saturating_sub(TOLD);
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
            self.want(index, self.frameworks[index].wishes.tasks);
            self.start_framework(index);
            if let Some(after) = self.frameworks[index].wishes.torn_down_after {
                self.after(after, Event::TearDown { framework: index });
            }
        }
        for index in 0..self.authors.len() {
            self.start_author(index);
        }
        let Oddities { kills, failovers, .. } = self.plan.oddities;
        if kills || failovers || self.plan.faults.kinds().next().is_some() {
            self.next_fault();
        }
        self.after(self.plan.trouble, Event::Heal);
    }

    fn judge(&mut self, invariants: &mut Invariants) -> Result<(), Failure> {
        let facts = std::mem::take(&mut self.facts);
        let found = facts.iter().find_map(|fact| invariants.observe(self.now_ns, fact).err());
        let broken = self.broken.take().or(found);
        for fact in facts {
            if self.authors.is_empty() {
                self.trace.push(self.step, self.now_ns, fact);
            } else {
                self.record.take_in(Duration::from_nanos(self.now_ns), &fact);
            }
        }
        let mut inspect = |world: &mut Self| {
            let stirred = std::mem::take(&mut world.stirred);
            let looks = if world.is_small() { stirred } else { world.step.is_multiple_of(INSPECT_EVERY) };
            if looks { invariants.inspect(world) } else { Ok(()) }
        };
        match broken.map_or_else(|| inspect(self), Err) {
            Ok(()) => Ok(()),
            Err((name, text)) => Err(self.failed(name, &text)),
        }
    }

    /// Whether the whole state is looked at after every step that may have changed it.
    pub(super) fn is_small(&self) -> bool {
        self.agents.len() <= SMALL
    }

    /// A failure of the present step.
    pub(super) fn failed(&self, invariant: &'static str, text: &str) -> Failure {
        Failure::new(self.seed, self.step, self.now_ns, invariant, text, &self.trace)
    }

    pub(super) fn fact(&mut self, fact: Fact) {
        self.stirred |= matches!(fact, Fact::ProcessStarted { .. } | Fact::AgentHeard { .. } | Fact::MasterCrashed);
        self.facts.push(fact);
    }

    /// What schedulers and tasks do now and then.
    pub(super) fn oddities(&self) -> &Oddities {
        if self.phase == Phase::Trouble { &self.plan.oddities } else { &self.calm }
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

    /// Sees to it that the node is woken at its deadline.
    pub(super) fn arm(&mut self, node: Node) {
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
                (process.surroundings.deadline(), &mut process.wake_ns, node.life)
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

    fn happen(&mut self, event: Event) {
        // What comes to a process that is stopped waits for it, in order.
        if !self.paused_until.is_empty()
            && let Some(until_ns) = event.taker(&self.links).and_then(|node| self.paused(node))
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
            Event::SupervisorGoesOn { agent, supervisor } => self.supervisor_goes_on(agent, supervisor),
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
            Event::Fault => self.fault(),
            Event::Planned { fault, agent } => self.inflict(fault, agent),
            Event::End => self.phase = Phase::Done,
            Event::Heal => self.heal(),
            Event::Look => self.look(),
        }
    }
}

pub(super) fn bound_ns() -> u64 {
    u64::try_from(BOUND.as_nanos()).unwrap_or(u64::MAX)
}
