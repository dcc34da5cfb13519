//! A framework in the words of its author: an unchanged [`Scheduler`] or event loop, the real driver around it, polled by
//! the simulator under virtual time.
//!
//! After everything that happens to it the framework runs until all its futures wait; then the world carries out what
//! they asked for. A callback that waits while no timer of its framework's is set waits for something that is not
//! simulated, and fails the run.

mod executor;
mod line;
mod surroundings;
mod watchdog;
mod watched;

use std::{any::Any, fmt, sync::Arc, time::Duration};

use futures::future::BoxFuture;
use rand::Rng as _;

use self::{executor::Executor, surroundings::Owner, watched::Watched};
pub(super) use self::{
    surroundings::{Ask, Surroundings},
    watchdog::Watchdog,
};
use super::{
    fact::Fact,
    links::{End, Frame, LinkId},
    nodes::{Client, Node},
    queue::Event,
    way::Way,
    world::World,
};
use crate::{
    framework::{self, DriverBuilder, EventStream, Scheduler, SchedulerDriver, stream},
    proto::v1::{FrameworkId, FrameworkInfo},
};

/// How long a run goes on when every driver has ended: their tasks are still to end.
const AFTERMATH: Duration = Duration::from_mins(1);

/// How often a framework may be run in a second of virtual time.
const MOST_RUNS: u32 = 100_000;

/// Changes how a driver is built.
pub(super) type Configure = Arc<dyn Fn(DriverBuilder) -> DriverBuilder + Send + Sync>;
/// Makes the scheduler of each life.
pub(super) type Schedulers = Box<dyn FnMut() -> Box<dyn Scheduler> + Send>;
/// Makes the event loop of each life.
pub(super) type Loops =
    Box<dyn FnMut(SchedulerDriver, EventStream) -> BoxFuture<'static, framework::Result<()>> + Send>;

/// What a framework is made of.
pub(super) enum Body {
    /// One that cannot be started again.
    Once(Option<Box<dyn Scheduler>>),
    Schedulers(Schedulers),
    Loops(Loops),
}

/// A framework and what outlives its process.
pub(super) struct AuthorNode {
    pub(super) info: FrameworkInfo,
    body: Body,
    configure: Configure,
    /// What the framework is taken to have on disk.
    framework_id: Option<FrameworkId>,
    pub(super) life: u64,
    pub(super) process: Option<Box<AuthorProcess>>,
    /// How its driver has ended, if it has: as it was told, or with an error.
    pub(super) ended: Option<Result<(), String>>,
}

/// One life of a framework.
#[derive(Debug)]
pub(super) struct AuthorProcess {
    executor: Executor,
    pub(super) surroundings: Surroundings,
    driver: SchedulerDriver,
    pub(super) way: Way,
    pub(super) wake_ns: Option<u64>,
    /// The present second, and how often the framework was run in it.
    second: u64,
    runs: u32,
}

impl fmt::Debug for AuthorNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthorNode").field("name", &self.info.name).field("life", &self.life).finish_non_exhaustive()
    }
}

impl AuthorNode {
    pub(super) fn new(info: FrameworkInfo, body: Body, configure: Configure) -> Self {
        Self { info, body, configure, framework_id: None, life: 0, process: None, ended: None }
    }

    /// Whether it can be started again after a crash.
    pub(super) fn restarts(&self) -> bool {
        match self.body {
            Body::Once(_) => false,
            Body::Schedulers(_) | Body::Loops(_) => true,
        }
    }

    fn driver(&self, surroundings: &Surroundings) -> DriverBuilder {
        let mut info = self.info.clone();
        if self.framework_id.is_some() {
            info.id.clone_from(&self.framework_id);
        }
        let builder = SchedulerDriver::builder(info);
        (self.configure)(builder).master("master:5050").environment(Arc::new(surroundings.clone()))
    }

    /// Builds the driver of a life and starts it.
    fn begin(&mut self, surroundings: &Surroundings) -> Result<Option<SchedulerDriver>, framework::DriverError> {
        let builder = self.driver(surroundings);
        let build = |builder: DriverBuilder, scheduler| builder.build(Watched::new(scheduler, surroundings.clone()));
        let driver = match &mut self.body {
            Body::Once(scheduler) => {
                let Some(scheduler) = scheduler.take() else { return Ok(None) };
                build(builder, scheduler)?
            }
            Body::Schedulers(make) => build(builder, make())?,
            Body::Loops(make) => {
                let (feed, events) = stream::pair();
                let driver = build(builder, Box::new(feed))?;
                let task = guarded(make(driver.clone(), events), surroundings.clone());
                surroundings.spawn_as(Owner::User, task);
                driver
            }
        };
        driver.start()?;
        let (joined, told) = (driver.clone(), surroundings.clone());
        let join = async move { told.ask(Ask::Ended(joined.join().await.map_err(|error| error.to_string()))) };
        surroundings.spawn_as(Owner::Driver, Box::pin(join));
        Ok(Some(driver))
    }
}

/// An author's event loop, whose error fails the run.
fn guarded(task: BoxFuture<'static, framework::Result<()>>, surroundings: Surroundings) -> BoxFuture<'static, ()> {
    Box::pin(async move {
        if let Err(error) = task.await {
            surroundings.panics(surroundings.blame(&format!("ended its event loop with an error: {error}")));
        }
    })
}

/// What a panic says.
pub(super) fn words_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
    let text = text.unwrap_or_else(|| "no message".to_owned());
    if text.contains("Tokio 1.x") || text.contains("no reactor running") {
        return format!(
            "{text} (use driver.sleep() and driver.spawn(): tokio's timers, sockets and tasks are not simulated)"
        );
    }
    text
}

impl World {
    pub(super) fn start_author(&mut self, index: usize) {
        let now = self.time(Node::Author(index));
        let seed = self.chance.ids.random();
        let watchdog = Arc::clone(&self.watchdog);
        let node = &mut self.authors[index];
        node.life += 1;
        let life = node.life;
        let surroundings = Surroundings::new(&node.info.name, now, seed);
        let executor = Executor::new(surroundings.clone(), watchdog);
        match node.begin(&surroundings) {
            Ok(Some(driver)) => {
                node.process = Some(Box::new(AuthorProcess {
                    executor,
                    surroundings,
                    driver,
                    way: Way::default(),
                    wake_ns: None,
                    second: 0,
                    runs: 0,
                }));
                self.fact(Fact::DriverStarted { framework: index, life });
                self.run_author(index);
            }
            Ok(None) => {}
            Err(error) => {
                self.broken = Some(("framework", format!("framework {} cannot start: {error}", node.info.name)));
            }
        }
    }

    pub(super) fn crash_author(&mut self, index: usize) {
        let node = &mut self.authors[index];
        let Some(process) = node.process.take() else { return };
        node.framework_id = process.driver.framework_id().or_else(|| node.framework_id.take());
        drop(process);
        self.fact(Fact::DriverCrashed { framework: index });
        self.drop_links(Client::Author(index), Duration::from_millis(500));
    }

    /// Lets the framework run until all of it waits, and carries out what it wants.
    pub(super) fn run_author(&mut self, index: usize) {
        let now = self.time(Node::Author(index));
        let Some(process) = &mut self.authors[index].process else { return };
        process.surroundings.advance(now);
        let second = now.mono_ns / 1_000_000_000;
        process.runs = if second == process.second { process.runs + 1 } else { 0 };
        process.second = second;
        let ran = process.executor.run();
        let asks = process.surroundings.asks();
        for ask in asks {
            if self.blows(Node::Author(index)) {
                return self.crash(Node::Author(index));
            }
            self.leaves_author(index, ask);
        }
        if let Err(text) = ran.and_then(|()| self.author_rests(index)) {
            self.broken = Some(("framework", text));
        }
        self.arm(Node::Author(index));
    }

    /// What must not be when all of a framework waits.
    fn author_rests(&self, index: usize) -> Result<(), String> {
        let Some(process) = &self.authors[index].process else { return Ok(()) };
        if let Some(words) = process.surroundings.panicked() {
            return Err(words);
        }
        if process.runs > MOST_RUNS {
            return Err(process
                .surroundings
                .blame("does not come to rest: it wakes up more than 100,000 times a second"));
        }
        if process.surroundings.waits_in_vain() && process.driver.takes_calls() {
            let what = "waits for something other than the driver's time and calls (a tokio timer, a socket, a thread, a \
                        lock or a channel that nobody fills), which a simulation does not have; use driver.sleep() and \
                        driver.spawn()";
            return Err(process.surroundings.blame(what));
        }
        Ok(())
    }

    fn leaves_author(&mut self, index: usize, ask: Ask) {
        let life = self.authors[index].life;
        let Some(process) = &mut self.authors[index].process else { return };
        match ask {
            Ask::Reach { attempt } => {
                let old = process.way.begin(attempt);
                let travel_ns = self.links.travel_ns(&mut self.chance.network);
                let client = Client::Author(index);
                self.queue.at(self.now_ns + travel_ns, Event::Reach { client, life, attempt });
                self.client_lets_go(old);
            }
            Ask::Send { attempt, calls } => {
                let Some(link) = process.way.link(attempt) else { return };
                self.send(link, End::Master, Frame::Calls(calls));
            }
            Ask::LetGo { attempt } => {
                let link = process.way.give_up(attempt);
                self.client_lets_go(link);
            }
            Ask::Called(request) => self.fact(Fact::Asked { framework: index, request }),
            Ask::Given(event) => self.fact(Fact::Given { framework: index, life, event }),
            Ask::Returned { event, ok } => self.fact(Fact::Returned { framework: index, life, event, ok }),
            Ask::Ended(how) => {
                self.fact(Fact::DriverEnded { framework: index, error: how.clone().err() });
                self.authors[index].ended = Some(how);
                if self.authors.iter().all(|author| author.ended.is_some()) {
                    self.after(AFTERMATH, Event::End);
                }
            }
        }
    }

    /// A frame of the master's has got to the driver.
    pub(super) fn author_received(&mut self, index: usize, link: LinkId, frame: Frame) {
        let Some(process) = &mut self.authors[index].process else { return };
        let Some(attempt) = process.way.attempt(link) else { return };
        match frame {
            Frame::Closed => self.author_link_lost(index, link),
            Frame::Opened | Frame::Calls(_) | Frame::Events(_) | Frame::Orders(_) | Frame::Reports(_) => {
                process.surroundings.arrived(attempt, frame);
                self.run_author(index);
            }
        }
    }

    pub(super) fn author_link_lost(&mut self, index: usize, link: LinkId) {
        let Some(process) = &mut self.authors[index].process else { return };
        let Some(attempt) = process.way.lose(link) else { return };
        process.surroundings.arrived(attempt, Frame::Closed);
        self.client_lets_go(Some(link));
        self.run_author(index);
    }

    pub(super) fn author_unreached(&mut self, index: usize, life: u64, attempt: u64) {
        let node = &mut self.authors[index];
        let Some(process) = node.process.as_mut().filter(|_| node.life == life) else { return };
        if process.way.fail(attempt) {
            process.surroundings.arrived(attempt, Frame::Closed);
            self.run_author(index);
        }
    }
}
