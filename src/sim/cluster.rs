//! A cluster under virtual time for a framework's own tests: described, then run.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use rand::RngCore;

use super::{
    author::{AuthorNode, Body, Configure, Watchdog, words_of},
    failure::Failure,
    faults::{Fault, Faults},
    plan::{AgentPlan, Plan},
    run::Run,
    task_run::{self, Lives, ShownLives, TaskRun},
    world::World,
};
use crate::{
    framework::{self, DriverBuilder, EventStream, Scheduler, SchedulerDriver},
    proto::v1::{FrameworkInfo, TaskInfo},
    types::{Attributes, Resources},
};

/// How often the thread of a simulation is looked at, in real time.
const LOOK: Duration = Duration::from_millis(100);

/// Describes a simulated cluster and runs frameworks in it.
///
/// Agents are numbered from 0 and are called `host0`, `host1`, ...; without [`agents`](Self::agents) there are three,
/// without [`resources`](Self::resources) each has 4 CPUs and 4 GiB of memory. Nothing goes wrong unless
/// [`faults`](Self::faults) or [`at`](Self::at) say so.
#[must_use = "a cluster does nothing until one of the run functions is called"]
pub struct SimCluster {
    seed: u64,
    agents: Vec<AgentPlan>,
    shape: AgentPlan,
    latency: Duration,
    lives: Lives,
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
    /// A cluster whose every chance comes from this seed.
    pub fn new(seed: u64) -> Self {
        let shape = AgentPlan::of(4);
        Self {
            seed,
            agents: vec![shape.clone(); 3],
            shape,
            latency: Duration::from_millis(1),
            lives: Arc::new(task_run::usual),
            faults: Faults::none(),
            faults_for: None,
            planned: Vec::new(),
            info: FrameworkInfo::new("simulated"),
            configure: Arc::new(|builder| builder),
            beside: Vec::new(),
            blocked_after: Duration::from_mins(1),
        }
    }

    /// So many agents, all alike; at least one.
    pub fn agents(mut self, count: usize) -> Self {
        self.agents = vec![self.shape.clone(); count.max(1)];
        self
    }

    /// What each agent has.
    pub fn resources(self, resources: Resources) -> Self {
        let attributes = self.shape.attributes.clone();
        self.shaped(AgentPlan { resources, attributes })
    }

    /// What each agent says of itself.
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

    /// One agent more, with resources and attributes of its own.
    pub fn agent(mut self, resources: Resources, attributes: Attributes) -> Self {
        self.agents.push(AgentPlan { resources, attributes });
        self
    }

    /// The longest that a message is under way; 1 ms unless set.
    pub fn latency(self, latency: Duration) -> Self {
        Self { latency, ..self }
    }

    /// What each task does, by what its framework says of it and by chance. Unless set, a task runs for 1 to 60 s and
    /// exits with 0.
    pub fn tasks(self, lives: impl Fn(&TaskInfo, &mut dyn RngCore) -> TaskRun + Send + Sync + 'static) -> Self {
        Self { lives: Arc::new(lives), ..self }
    }

    /// What goes wrong at random, in the first two thirds of the run.
    pub fn faults(self, faults: Faults) -> Self {
        Self { faults, ..self }
    }

    /// What goes wrong at random, for so long from the start on.
    pub fn faults_for(self, faults: Faults, time: Duration) -> Self {
        Self { faults, faults_for: Some(time), ..self }
    }

    /// This goes wrong at this virtual time; where, the seed decides.
    pub fn at(mut self, time: Duration, fault: Fault) -> Self {
        self.planned.push((time, fault, None));
        self
    }

    /// This goes wrong at this virtual time with the agent of this number.
    ///
    /// # Panics
    /// When there is no such agent yet.
    pub fn at_agent(mut self, time: Duration, fault: Fault, agent: usize) -> Self {
        assert!(agent < self.agents.len(), "there is no agent {agent}; there are {}", self.agents.len());
        self.planned.push((time, fault, Some(agent)));
        self
    }

    /// What the framework says of itself. The agents run everything as the user that it names, and nothing as another.
    pub fn framework(self, info: FrameworkInfo) -> Self {
        Self { info, ..self }
    }

    /// How the driver is built; the master's address and the seed of it are the simulator's to choose.
    pub fn driver(self, configure: impl Fn(DriverBuilder) -> DriverBuilder + Send + Sync + 'static) -> Self {
        Self { configure: Arc::new(configure), ..self }
    }

    /// A second framework beside the one that is run, made anew after each of its crashes. Frameworks are numbered from
    /// 0, which is the one that is run.
    pub fn beside<S: Scheduler + 'static>(
        mut self,
        info: FrameworkInfo,
        mut make: impl FnMut() -> S + Send + 'static,
    ) -> Self {
        let body = Body::Schedulers(Box::new(move || Box::new(make())));
        self.beside.push(AuthorNode::new(info, body, Arc::new(|builder| builder)));
        self
    }

    /// How long in real time user code may hold the thread before the run is given up; a minute unless set.
    pub fn blocked_after(self, time: Duration) -> Self {
        Self { blocked_after: time, ..self }
    }

    /// Runs a scheduler for so much virtual time, or until its driver has ended. It is not crashed: nobody could make it
    /// anew.
    ///
    /// # Errors
    /// What the scheduler did wrong, or a rule that the cluster broke: see [`Failure`].
    pub fn run(self, scheduler: impl Scheduler + 'static, time: Duration) -> Result<Run, Failure> {
        self.play(Body::Once(Some(Box::new(scheduler))), time)
    }

    /// Runs a scheduler that is made anew whenever its framework starts: at first, and after each crash. The framework
    /// comes back under its old id, as one does that keeps it on disk; what else outlives a crash `make` has to hand on.
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

    /// Runs an event loop, which is begun anew whenever its framework starts. An error that it returns fails the run.
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

    /// Plays it on a thread of its own, so that user code that blocks is noticed.
    fn play_watched(self, body: Body, time: Duration) -> Result<Run, Failure> {
        let watchdog = Arc::new(Watchdog::default());
        let (seed, blocked_after) = (self.seed, self.blocked_after);
        let (done, outcome) = mpsc::sync_channel(1);
        let dispatch = tracing::dispatcher::get_default(Clone::clone);
        let watched = Arc::clone(&watchdog);
        let play = move || {
            let run = || catch_unwind(AssertUnwindSafe(|| self.world(body, time, watched).play_for_authors()));
            let played = tracing::dispatcher::with_default(&dispatch, run);
            // Nobody waits any more when the run was given up.
            let _ = done.send(played.unwrap_or_else(|panic| Err(Failure::outside(seed, &words_of(&*panic)))));
        };
        let spawned = thread::Builder::new().name("divvy-sim".to_owned()).spawn(play);
        if let Err(error) = spawned {
            return Err(Failure::outside(seed, &format!("no thread for the simulation: {error}")));
        }
        let (mut looked_at, mut looks) = (None, 0);
        loop {
            match outcome.recv_timeout(LOOK) {
                Ok(played) => return played,
                Err(mpsc::RecvTimeoutError::Disconnected) => {
                    return Err(Failure::outside(seed, "the thread of the simulation ended without a word"));
                }
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    let turn = watchdog.turn();
                    looks = if turn.is_some() && turn == looked_at { looks + 1 } else { 0 };
                    looked_at = turn;
                    if LOOK * looks >= blocked_after {
                        return Err(Failure::outside(seed, &watchdog.blame()));
                    }
                }
            }
        }
    }

    fn world(self, body: Body, time: Duration, watchdog: Arc<Watchdog>) -> World {
        let plan = Plan {
            agents: self.agents,
            latency: self.latency,
            trouble: self.faults_for.unwrap_or(time * 2 / 3).min(time),
            faults: self.faults,
            ..Plan::calm(0)
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
        world.lives = ShownLives(Some(self.lives));
        world.plan_faults(time, &self.planned);
        world
    }
}
