//! A simulated cluster for a framework's own tests: first described, then run.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use rand::RngCore;

use super::{
    author::{AuthorNode, Body, Configure, Watchdog, panic_message},
    failure::Failure,
    faults::{Fault, Faults},
    plan::{AgentPlan, Plan},
    run::Run,
    task_run::{self, OptionalTaskBehaviour, TaskBehaviour, TaskRun},
    world::World,
};
use crate::{
    framework::{self, DriverBuilder, EventStream, Scheduler, SchedulerDriver},
    proto::v1::{FrameworkInfo, TaskInfo},
    types::{Attributes, Resources},
};

/// How often the thread of a simulation is checked, in real time.
const CHECK_INTERVAL: Duration = Duration::from_millis(100);

/// Describes a simulated cluster and runs frameworks in it.
///
/// Agents are numbered from 0 and are called `host0`, `host1`, ...; without [`agents`](Self::agents) there are three,
/// without [`resources`](Self::resources) each has 4 CPUs and 4 GiB of memory. Nothing goes wrong unless
/// [`faults`](Self::faults) or [`at`](Self::at) is called.
#[must_use = "a cluster does nothing until one of the run functions is called"]
pub struct SimCluster {
    seed: u64,
    agents: Vec<AgentPlan>,
    shape: AgentPlan,
    latency: Duration,
    task_behaviour: TaskBehaviour,
    faults: Faults,
    faults_for: Option<Duration>,
    planned: Vec<(Duration, Fault, Option<usize>)>,
    info: FrameworkInfo,
    configure: Configure,
    beside: Vec<AuthorNode>,
    blocked_after: Duration,
}

impl fmt::Debug for SimCluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, agents, faults, .. } = self;
        let mut shown = f.debug_struct("SimCluster");
        shown.field("seed", seed).field("agents", &agents.len()).field("faults", faults).finish_non_exhaustive()
    }
}

impl SimCluster {
    /// A cluster whose randomness comes from this seed alone.
    pub fn new(seed: u64) -> Self {
        let shape = AgentPlan::of(4);
        Self {
            seed,
            agents: vec![shape.clone(); 3],
            shape,
            latency: Duration::from_millis(1),
            task_behaviour: Arc::new(task_run::usual),
            faults: Faults::none(),
            faults_for: None,
            planned: Vec::new(),
            info: FrameworkInfo::new("simulated"),
            configure: Arc::new(|builder| builder),
            beside: Vec::new(),
            blocked_after: Duration::from_mins(1),
        }
    }

    /// Sets the number of agents, all alike; at least one.
    pub fn agents(mut self, count: usize) -> Self {
        self.agents = vec![self.shape.clone(); count.max(1)];
        self
    }

    /// Sets the resources of each agent.
    pub fn resources(self, resources: Resources) -> Self {
        let attributes = self.shape.attributes.clone();
        self.shaped(AgentPlan { resources, attributes })
    }

    /// Sets the attributes of each agent.
    pub fn attributes(self, attributes: Attributes) -> Self {
        let resources = self.shape.resources.clone();
        self.shaped(AgentPlan { resources, attributes })
    }

    fn shaped(mut self, shape: AgentPlan) -> Self {
        for agent in self.agents.iter_mut().filter(|agent| **agent == self.shape) {
            *agent = shape.clone();
        }
        self.shape = shape;
        self
    }

    /// Adds one agent with resources and attributes of its own.
    pub fn agent(mut self, resources: Resources, attributes: Attributes) -> Self {
        self.agents.push(AgentPlan { resources, attributes });
        self
    }

    /// Sets the longest time that a message travels; 1 ms by default.
    pub fn latency(self, latency: Duration) -> Self {
        Self { latency, ..self }
    }

    /// Sets what each task does, from its `TaskInfo` and a random generator.
    ///
    /// By default a task runs for 1 to 60 s and exits with 0.
    pub fn tasks(
        self,
        task_behaviour: impl Fn(&TaskInfo, &mut dyn RngCore) -> TaskRun + Send + Sync + 'static,
    ) -> Self {
        Self { task_behaviour: Arc::new(task_behaviour), ..self }
    }

    /// Sets the random faults of the first two thirds of the run.
    pub fn faults(self, faults: Faults) -> Self {
        Self { faults, ..self }
    }

    /// Sets random faults that last for `time` from the start on.
    pub fn faults_for(self, faults: Faults, time: Duration) -> Self {
        Self { faults, faults_for: Some(time), ..self }
    }

    /// Injects a fault at this virtual time; the seed decides where.
    pub fn at(mut self, time: Duration, fault: Fault) -> Self {
        self.planned.push((time, fault, None));
        self
    }

    /// Injects a fault at this virtual time into the agent of this number.
    ///
    /// # Panics
    /// When there is no such agent yet.
    pub fn at_agent(mut self, time: Duration, fault: Fault, agent: usize) -> Self {
        assert!(agent < self.agents.len(), "there is no agent {agent}; there are {}", self.agents.len());
        self.planned.push((time, fault, Some(agent)));
        self
    }

    /// Sets the `FrameworkInfo`. The agents run tasks as its user, and refuse any other user.
    pub fn framework(self, info: FrameworkInfo) -> Self {
        Self { info, ..self }
    }

    /// Configures the driver; the simulator sets its master address and its seed.
    pub fn driver(self, configure: impl Fn(DriverBuilder) -> DriverBuilder + Send + Sync + 'static) -> Self {
        Self { configure: Arc::new(configure), ..self }
    }

    /// Adds a second framework, made anew after each of its crashes.
    ///
    /// Frameworks are numbered from 0, which is the one that is run.
    pub fn beside<S: Scheduler + 'static>(
        mut self,
        info: FrameworkInfo,
        mut make: impl FnMut() -> S + Send + 'static,
    ) -> Self {
        let body = Body::Schedulers(Box::new(move || Box::new(make())));
        self.beside.push(AuthorNode::new(info, body, Arc::new(|builder| builder)));
        self
    }

    /// Sets how long, in real time, user code may block the thread before the run fails; a minute by default.
    pub fn blocked_after(self, time: Duration) -> Self {
        Self { blocked_after: time, ..self }
    }

    /// Runs a scheduler for so much virtual time, or until its driver has ended.
    ///
    /// It never crashes, because it cannot be made anew.
    ///
    /// # Errors
    /// The scheduler did what a simulation does not allow, or the cluster broke a rule: see [`Failure`].
    pub fn run(self, scheduler: impl Scheduler + 'static, time: Duration) -> Result<Run, Failure> {
        self.play(Body::Once(Some(Box::new(scheduler))), time)
    }

    /// Runs a scheduler that `make` creates whenever its framework starts: at first, and after each crash.
    ///
    /// The framework re-registers with its old id, as if it kept that on disk. `make` passes on any other state that outlives
    /// a crash.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn run_with<S: Scheduler + 'static>(
        self,
        mut make: impl FnMut() -> S + Send + 'static,
        time: Duration,
    ) -> Result<Run, Failure> {
        self.play(Body::Schedulers(Box::new(move || Box::new(make()))), time)
    }

    /// Runs an event loop, which starts anew whenever its framework starts. An error that it returns fails the run.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn run_events<F>(
        self,
        mut make: impl FnMut(SchedulerDriver, EventStream) -> F + Send + 'static,
        time: Duration,
    ) -> Result<Run, Failure>
    where
        F: Future<Output = framework::Result<()>> + Send + 'static,
    {
        self.play(Body::Loops(Box::new(move |driver, events| Box::pin(make(driver, events)))), time)
    }

    fn play(self, body: Body, time: Duration) -> Result<Run, Failure> {
        self.play_watched(body, time).map_err(|failure| failure.in_test(thread::current().name()))
    }

    /// Plays the run on a thread of its own, so that user code that blocks is detected.
    fn play_watched(self, body: Body, time: Duration) -> Result<Run, Failure> {
        let watchdog = Arc::new(Watchdog::default());
        let (seed, blocked_after) = (self.seed, self.blocked_after);
        let (done, outcome) = mpsc::sync_channel(1);
        let dispatch = tracing::dispatcher::get_default(Clone::clone);
        let watched = Arc::clone(&watchdog);
        let play = move || {
            let run = || catch_unwind(AssertUnwindSafe(|| self.world(body, time, watched).play_for_authors()));
            let played = tracing::dispatcher::with_default(&dispatch, run);
            // The receiver is gone if the run failed because user code blocked.
            let _ = done.send(played.unwrap_or_else(|panic| Err(Failure::outside(seed, &panic_message(&*panic)))));
        };
        let spawned = thread::Builder::new().name("divvy-sim".to_owned()).spawn(play);
        if let Err(error) = spawned {
            return Err(Failure::outside(seed, &format!("no thread for the simulation: {error}")));
        }
        let (mut last_turn, mut checks) = (None, 0);
        loop {
            match outcome.recv_timeout(CHECK_INTERVAL) {
                Ok(played) => return played,
                Err(mpsc::RecvTimeoutError::Disconnected) => {
                    return Err(Failure::outside(seed, "the thread of the simulation ended without a result"));
                }
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    let turn = watchdog.turn();
                    checks = if turn.is_some() && turn == last_turn { checks + 1 } else { 0 };
                    last_turn = turn;
                    if CHECK_INTERVAL * checks >= blocked_after {
                        return Err(Failure::outside(seed, &watchdog.error_text()));
                    }
                }
            }
        }
    }

    fn world(self, body: Body, time: Duration, watchdog: Arc<Watchdog>) -> World {
        let plan = Plan {
            agents: self.agents,
            latency: self.latency,
            fault_time: self.faults_for.unwrap_or(time * 2 / 3).min(time),
            faults: self.faults,
            ..Plan::fault_free(0)
        };
        let plan = Plan { frameworks: Vec::new(), ..plan };
        let mut world = World::new(self.seed, plan, None);
        world.authors = vec![AuthorNode::new(self.info, body, self.configure)];
        world.authors.extend(self.beside);
        world.watchdog = watchdog;
        if !world.authors[0].info.user.is_empty() {
            for agent in &mut world.agents {
                agent.config.user.clone_from(&world.authors[0].info.user);
            }
        }
        world.task_behaviour = OptionalTaskBehaviour(Some(self.task_behaviour));
        world.plan_faults(time, &self.planned);
        world
    }
}
