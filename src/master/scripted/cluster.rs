//! Scripted agents and frameworks around the master's core, for benches.
//!
//! Frameworks and agents register as they would over sessions. [`allocate_all`](ScriptedCluster::allocate_all) makes
//! the offers, and [`tick`](ScriptedCluster::tick) advances the clock. There is no network: benches measure the core
//! only.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use rand::{SeedableRng as _, rngs::StdRng};

use crate::{
    allocator::fair::Quota,
    harness::Harness,
    master::{
        core::{
            Accept, AgentFacts, Call, Config, Effect, Event, FrameworkFacts, Input, Launch, Master, OfferMade,
            Operation, Order, Principal, Question, Register, Report, ReportedTask, RequestId, SessionId, Subscribe,
            offer_id,
        },
        registry,
    },
    proto::v1::{self, TaskState},
    types::{Now, Resources},
};

pub(super) const MASTER: &str = "00000000-0000-4000-8000-000000000000";

/// A master's core with scripted agents and frameworks attached.
#[derive(Debug)]
pub struct ScriptedCluster {
    harness: Harness<Master>,
    now: Now,
    sessions: u64,
    /// The session of each agent.
    agents: Vec<SessionId>,
    frameworks: Vec<Framework>,
    outstanding: usize,
}

/// The result of one turn of the core.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TurnResult {
    /// How many effects the core returned.
    pub effects: usize,
    /// Whether the next turn is already due.
    pub goes_on: bool,
}

#[derive(Debug)]
struct Framework {
    session: SessionId,
    id: String,
    calls: u64,
    offers: Vec<OfferMade>,
    launched: u64,
}

impl Default for ScriptedCluster {
    fn default() -> Self {
        Self::new()
    }
}

impl ScriptedCluster {
    /// A master without agents and frameworks, whose offers do not expire.
    #[must_use]
    pub fn new() -> Self {
        let now = Now { mono_ns: 1_000_000_000_000, wall_ns: 1_700_000_000_000_000_000 };
        let config = Config { offer_timeout: None, ..Config::default() };
        let core = Master::new(MASTER, 1, registry::State::default(), config, StdRng::seed_from_u64(1), now);
        let harness = Harness::new(core);
        Self { harness, now, sessions: 0, agents: Vec::new(), frameworks: Vec::new(), outstanding: 0 }
    }

    /// Subscribes a framework to one role.
    pub fn add_framework(&mut self, role: &str) {
        let session = self.attach();
        let name = format!("framework{}", self.frameworks.len());
        let facts = facts(&name, role);
        let info = v1::FrameworkInfo { name, user: facts.user.clone(), ..v1::FrameworkInfo::default() };
        let call =
            Call::Subscribe(Box::new(Subscribe { info, facts, suppressed: Vec::new(), instance: bytes::Bytes::new() }));
        self.frameworks.push(Framework { session, id: String::new(), calls: 1, offers: Vec::new(), launched: 0 });
        self.feed(Input::Called { session, seq: 1, call });
        self.deliver_effects();
    }

    /// Registers an agent. `used` is held by a running task; agents take turns among the frameworks.
    pub fn add_agent(&mut self, total: &Resources, used: &Resources) {
        self.add_agent_with(total, used, usize::from(!used.is_empty()));
    }

    /// Registers an agent with this many running tasks, each of `used`, of the frameworks in turn.
    pub fn add_agent_with(&mut self, total: &Resources, used: &Resources, tasks: usize) {
        let session = self.attach();
        let number = self.agents.len() as u64;
        self.agents.push(session);
        let hostname = format!("agent{number}.example");
        let info = v1::AgentInfo { hostname: hostname.clone(), ..v1::AgentInfo::default() };
        let facts = AgentFacts {
            hostname,
            address: "127.0.0.1".to_owned(),
            port: 5051,
            attributes: Vec::new(),
            domain: None,
            version: "0".to_owned(),
        };
        let tasks = (0..tasks).filter_map(|task| self.running_task(number, task, used)).collect();
        let register = Register {
            version: 2,
            id: None,
            installation: Bytes::new(),
            instance: Bytes::new(),
            facts,
            total: total.clone(),
            info,
            epoch: 0,
            tasks,
            orphans: Vec::new(),
            frameworks: Vec::new(),
        };
        self.feed(Input::Reported { session, report: Report::Register(Box::new(register)) });
        self.deliver_effects();
    }

    fn running_task(&self, number: u64, task: usize, used: &Resources) -> Option<ReportedTask> {
        let turn =
            (usize::try_from(number).unwrap_or(usize::MAX).wrapping_add(task)).checked_rem(self.frameworks.len())?;
        let id = format!("task{number}-{task}");
        Some(ReportedTask {
            framework: self.frameworks[turn].id.clone(),
            container: format!("container-of-{id}").as_str().into(),
            id,
            info: [].into(),
            resources: used.clone(),
            role: "*".into(),
            state: TaskState::TaskRunning,
            unacknowledged: None,
            partition: None,
        })
    }

    /// Closes the streams of these agents, numbered in the order in which they were added.
    pub fn detach_agents(&mut self, agents: std::ops::Range<usize>) {
        for at in agents {
            let session = self.agents[at];
            self.feed(Input::Detached { session });
        }
    }

    /// Closes the stream of this framework.
    pub fn detach_framework(&mut self, framework: usize) {
        let framework = &mut self.frameworks[framework];
        self.outstanding -= framework.offers.len();
        framework.offers.clear();
        let session = framework.session;
        self.feed(Input::Detached { session });
    }

    /// Sends this framework's TEARDOWN.
    pub fn tear_down(&mut self, framework: usize) {
        self.call(framework, Call::Teardown);
    }

    /// Sends this framework's RECONCILE for all its tasks.
    pub fn reconcile(&mut self, framework: usize) {
        self.call(framework, Call::Reconcile { tasks: Vec::new() });
    }

    fn call(&mut self, framework: usize, call: Call) {
        let framework = &mut self.frameworks[framework];
        framework.calls += 1;
        let (session, seq) = (framework.session, framework.calls);
        self.feed(Input::Called { session, seq, call });
    }

    /// Runs one turn as the service does: what is due, and an allocation.
    pub fn turn(&mut self) -> TurnResult {
        let mut effects = Vec::new();
        self.harness.finish(self.now);
        self.harness.deliver(self.now, &mut effects);
        let goes_on = self.harness.deadline().is_some_and(|at| at <= self.now.mono_ns);
        let result = TurnResult { effects: effects.len(), goes_on };
        self.apply_effects(effects);
        result
    }

    /// Requests a snapshot, as `/state` does.
    pub fn snapshot(&mut self) {
        self.feed(Input::Asked {
            request: RequestId(0),
            principal: Principal::Anonymous,
            question: Question::Snapshot,
        });
    }

    /// Advances the clock.
    pub fn advance(&mut self, by: Duration) {
        self.now = self.now.advanced(by);
    }

    /// Ends a batch of inputs and allocates until the run is complete; returns the number of offers made.
    pub fn allocate_all(&mut self) -> usize {
        let mut made = self.allocate_slice();
        while self.is_running() {
            made += self.allocate_slice();
        }
        made
    }

    /// Allocates as much as the core does in one turn; returns the number of offers made.
    pub fn allocate_slice(&mut self) -> usize {
        self.harness.end_batch(self.now);
        self.deliver_effects()
    }

    /// Whether the allocation run continues in the next turn.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.harness.core.is_running()
    }

    /// Sends this framework's REVIVE. Frameworks are numbered in the order in which they were added.
    pub fn revive(&mut self, framework: usize) {
        self.call(framework, Call::Revive { roles: Vec::new() });
        self.deliver_effects();
    }

    /// Every framework declines all its offers in one call, with a filter of this length.
    pub fn decline_all(&mut self, refuse: Duration) {
        for at in 0..self.frameworks.len() {
            let framework = &mut self.frameworks[at];
            if framework.offers.is_empty() {
                continue;
            }
            framework.calls += 1;
            let (session, seq) = (framework.session, framework.calls);
            let offers: Vec<String> = framework.offers.drain(..).map(|offer| offer_id(MASTER, offer.key)).collect();
            self.outstanding -= offers.len();
            self.feed(Input::Called { session, seq, call: Call::Decline { offers, refuse: Some(refuse) } });
        }
        self.deliver_effects();
    }

    /// Sets quotas, even ones above the cluster's capacity.
    pub fn set_quotas(&mut self, quotas: Vec<(String, Quota)>) {
        let question = Question::Quotas { quotas, force: true };
        self.feed(Input::Asked { request: RequestId(0), principal: Principal::Anonymous, question });
        self.deliver_effects();
    }

    /// Sends SUPPRESS of these frameworks.
    pub fn suppress(&mut self, frameworks: std::ops::Range<usize>) {
        for at in frameworks {
            self.call(at, Call::Suppress { roles: Vec::new() });
        }
        self.deliver_effects();
    }

    /// Every framework launches up to `most(framework)` tasks of `task(framework)` on each of its offers, without a
    /// filter for the rest. Returns the number of tasks launched.
    pub fn launch_all(&mut self, task: impl Fn(usize) -> Resources, most: impl Fn(usize, u64) -> u64) -> u64 {
        let mut all = 0;
        for at in 0..self.frameworks.len() {
            let wanted = task(at);
            for offer in std::mem::take(&mut self.frameworks[at].offers) {
                self.outstanding -= 1;
                let room = |name| match wanted.scalar(name).raw() {
                    0 => i64::MAX,
                    each => offer.resources.scalar(name).raw() / each,
                };
                let fit = u64::try_from(room("cpus").min(room("mem"))).unwrap_or(0);
                let count = fit.min(most(at, self.frameworks[at].launched));
                self.launch(at, &offer, &wanted, count);
                all += count;
            }
        }
        self.deliver_effects();
        all
    }

    /// How many tasks this framework has launched.
    #[must_use]
    pub fn launched(&self, framework: usize) -> u64 {
        self.frameworks[framework].launched
    }

    fn launch(&mut self, at: usize, offer: &OfferMade, wanted: &Resources, count: u64) {
        let framework = &mut self.frameworks[at];
        framework.calls += 1;
        let first = framework.launched;
        framework.launched += count;
        let task = |number: u64| Launch {
            id: format!("{at}-{number}"),
            agent: offer.agent.to_string(),
            resources: wanted.clone(),
            info: bytes::Bytes::new(),
            partition: None,
            invalid: None,
        };
        let operations = vec![Operation::Launch((first..first + count).map(task).collect())];
        let accept = Accept { offers: vec![offer_id(MASTER, offer.key)], operations, refuse: None };
        let (session, seq) = (framework.session, framework.calls);
        self.feed(Input::Called { session, seq, call: Call::Accept(Box::new(accept)) });
    }

    /// Every framework sends an empty REQUEST: all clients become active, and the next run visits every agent.
    pub fn look_again(&mut self) {
        for at in 0..self.frameworks.len() {
            self.call(at, Call::Request { resources: Resources::default() });
        }
        self.deliver_effects();
    }

    /// How many offers are outstanding.
    #[must_use]
    pub fn offers_outstanding(&self) -> usize {
        self.outstanding
    }

    /// Advances the clock and runs what is due; agents answer pings. Returns the number of offers made.
    pub fn tick(&mut self, by: Duration) -> usize {
        self.now = self.now.advanced(by);
        self.feed(Input::Ticked);
        self.allocate_all()
    }

    fn attach(&mut self) -> SessionId {
        self.sessions += 1;
        let session = SessionId(self.sessions);
        self.feed(Input::Attached { session, principal: Principal::Anonymous });
        session
    }

    fn feed(&mut self, input: Input) {
        self.harness.handle(self.now, input);
    }

    /// Delivers the core's effects; returns the number of offers made.
    fn deliver_effects(&mut self) -> usize {
        let before = self.outstanding;
        let mut effects = Vec::new();
        self.harness.deliver(self.now, &mut effects);
        self.apply_effects(effects);
        self.outstanding - before
    }

    /// Records offers and answers pings; other effects are dropped.
    fn apply_effects(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::SendEvent { session, event: Event::Offers(offers), .. } => {
                    self.outstanding += offers.len();
                    self.framework_of(session).offers.extend(offers);
                }
                Effect::SendEvent { session, event: Event::Subscribed { framework, .. }, .. } => {
                    self.framework_of(session).id = framework.to_string();
                }
                Effect::SendOrder { session, order: Order::Ping, .. } => {
                    self.feed(Input::Reported { session, report: Report::Ponged });
                }
                Effect::SendEvent { .. }
                | Effect::SendOrder { .. }
                | Effect::Persist { .. }
                | Effect::Close { .. }
                | Effect::Reply { .. } => {}
            }
        }
    }

    fn framework_of(&mut self, session: SessionId) -> &mut Framework {
        let at = self.frameworks.partition_point(|one| one.session < session);
        &mut self.frameworks[at]
    }
}

/// A framework of one role, with the capabilities that need no special resources.
pub(in crate::master) fn facts(name: &str, role: &str) -> FrameworkFacts {
    FrameworkFacts {
        name: name.to_owned(),
        user: "root".to_owned(),
        principal: None,
        roles: vec![Arc::from(role)],
        failover: Duration::from_mins(1),
        partition_aware: true,
        multi_role: true,
        refinement: true,
        revocable: false,
        shared: false,
        gpus: false,
        minimum: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_are_launched_within_quotas_and_suppressed_frameworks_get_no_offers() {
        let mut cluster = ScriptedCluster::new();
        for role in ["a", "b", "c"] {
            cluster.add_framework(role);
        }
        cluster.set_quotas(vec![("a".to_owned(), Quota::new([], [("cpus", 1.0)]).expect("a quota"))]);
        cluster.suppress(2..3);
        (0..2).for_each(|_| cluster.add_agent(&Resources::cpus_mem(4.0, 1024.0), &Resources::default()));
        cluster.allocate_all();
        let launched = cluster.launch_all(|_| Resources::cpus_mem(1.0, 10.0), |_, _| 100);
        assert_eq!(
            launched,
            1 + 4,
            "one within the limit, which took the memory beside it, and four on the other agent"
        );
    }

    #[test]
    fn declined_resources_are_offered_to_the_next_framework_until_all_have_declined_them() {
        let mut cluster = ScriptedCluster::new();
        (0..2).for_each(|_| cluster.add_framework("*"));
        let (total, used) = (Resources::cpus_mem(4.0, 1024.0), Resources::cpus_mem(1.0, 512.0));
        (0..4).for_each(|_| cluster.add_agent(&total, &used));
        let mut made = vec![cluster.allocate_all()];
        for _ in 0..3 {
            cluster.decline_all(Duration::from_hours(24 * 365));
            made.push(cluster.tick(Duration::from_secs(2)));
        }
        assert_eq!(made, [4, 4, 0, 0]);
        assert_eq!(cluster.offers_outstanding(), 0);
    }
}
