//! An author's framework: an unchanged [`Scheduler`] or event loop and the real driver, polled under virtual time.
//!
//! After each event the framework runs until all its futures wait; then the world executes their effects. A callback that
//! waits while its framework has no timer waits for something that is not simulated, and fails the run.

mod connection;
mod environment;
mod executor;
mod watchdog;
mod watched;

use std::{any::Any, fmt, sync::Arc, time::Duration};

use futures::future::BoxFuture;
use rand::Rng as _;

use self::{environment::Owner, executor::Executor, watched::ObservedScheduler};
pub(super) use self::{
    environment::{AuthorEffect, AuthorEnvironment},
    watchdog::Watchdog,
};
use super::{
    client_link::ClientLink,
    fact::Fact,
    links::{End, Frame, LinkId},
    nodes::{Client, Node},
    queue::Event,
    world::World,
};
use crate::{
    framework::{self, DriverBuilder, EventStream, Scheduler, SchedulerDriver, stream},
    proto::v1::{FrameworkId, FrameworkInfo},
};

/// How long a run continues after every driver has ended, so that their tasks end.
const DRAIN_TIME: Duration = Duration::from_mins(1);

/// The most runs of a framework in a second of virtual time.
const MOST_RUNS: u32 = 100_000;

/// Changes how a driver is built.
pub(super) type Configure = Arc<dyn Fn(DriverBuilder) -> DriverBuilder + Send + Sync>;
/// Makes the scheduler of each life.
pub(super) type Schedulers = Box<dyn FnMut() -> Box<dyn Scheduler> + Send>;
/// Makes the event loop of each life.
pub(super) type Loops =
    Box<dyn FnMut(SchedulerDriver, EventStream) -> BoxFuture<'static, framework::Result<()>> + Send>;

/// The user code of a framework.
pub(super) enum Body {
    /// A scheduler that cannot be restarted.
    Once(Option<Box<dyn Scheduler>>),
    Schedulers(Schedulers),
    Loops(Loops),
}

/// A framework and the state that outlives its process.
pub(super) struct AuthorNode {
    pub(super) info: FrameworkInfo,
    body: Body,
    configure: Configure,
    /// The framework id, as if on disk.
    framework_id: Option<FrameworkId>,
    pub(super) life: u64,
    pub(super) process: Option<Box<AuthorProcess>>,
    /// How its driver has ended, if it has: by a call, or with an error.
    pub(super) ended: Option<Result<(), String>>,
}

/// One life of a framework.
#[derive(Debug)]
pub(super) struct AuthorProcess {
    executor: Executor,
    pub(super) environment: AuthorEnvironment,
    driver: SchedulerDriver,
    pub(super) link: ClientLink,
    pub(super) wake_ns: Option<u64>,
    /// The present second, and the runs of the framework in it.
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

    /// Whether it can be restarted after a crash.
    pub(super) fn can_restart(&self) -> bool {
        match self.body {
            Body::Once(_) => false,
            Body::Schedulers(_) | Body::Loops(_) => true,
        }
    }

    fn driver(&self, environment: &AuthorEnvironment) -> DriverBuilder {
        let mut info = self.info.clone();
        if self.framework_id.is_some() {
            info.id.clone_from(&self.framework_id);
        }
        let builder = SchedulerDriver::builder(info);
        (self.configure)(builder).master("master:5050").environment(Arc::new(environment.clone()))
    }

    /// Builds the driver of a life and starts it.
    fn begin(&mut self, environment: &AuthorEnvironment) -> Result<Option<SchedulerDriver>, framework::DriverError> {
        let builder = self.driver(environment);
        let build =
            |builder: DriverBuilder, scheduler| builder.build(ObservedScheduler::new(scheduler, environment.clone()));
        let driver = match &mut self.body {
            Body::Once(scheduler) => {
                let Some(scheduler) = scheduler.take() else { return Ok(None) };
                build(builder, scheduler)?
            }
            Body::Schedulers(make) => build(builder, make())?,
            Body::Loops(make) => {
                let (feed, events) = stream::pair();
                let driver = build(builder, Box::new(feed))?;
                let task = guard_loop(make(driver.clone(), events), environment.clone());
                environment.spawn_as(Owner::User, task);
                driver
            }
        };
        driver.start()?;
        let (joined, sender) = (driver.clone(), environment.clone());
        let join = async move {
            sender.push_effect(AuthorEffect::DriverEnded(joined.join().await.map_err(|error| error.to_string())));
        };
        environment.spawn_as(Owner::Driver, Box::pin(join));
        Ok(Some(driver))
    }
}

/// Wraps an author's event loop, so that its error fails the run.
fn guard_loop(
    task: BoxFuture<'static, framework::Result<()>>,
    environment: AuthorEnvironment,
) -> BoxFuture<'static, ()> {
    Box::pin(async move {
        if let Err(error) = task.await {
            environment.set_user_error(environment.error_text(&format!("ended its event loop with an error: {error}")));
        }
    })
}

/// The message of a panic.
pub(super) fn panic_message(panic: &(dyn Any + Send)) -> String {
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
        let environment = AuthorEnvironment::new(&node.info.name, now, seed);
        let executor = Executor::new(environment.clone(), watchdog);
        match node.begin(&environment) {
            Ok(Some(driver)) => {
                node.process = Some(Box::new(AuthorProcess {
                    executor,
                    environment,
                    driver,
                    link: ClientLink::default(),
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

    /// Runs the framework until all its futures wait, and executes its effects.
    pub(super) fn run_author(&mut self, index: usize) {
        let now = self.time(Node::Author(index));
        let Some(process) = &mut self.authors[index].process else { return };
        process.environment.advance(now);
        let second = now.mono_ns / 1_000_000_000;
        process.runs = if second == process.second { process.runs + 1 } else { 0 };
        process.second = second;
        let ran = process.executor.run();
        let effects = process.environment.take_effects();
        for effect in effects {
            if self.crash_due(Node::Author(index)) {
                return self.crash(Node::Author(index));
            }
            self.execute_author_effect(index, effect);
        }
        if let Err(text) = ran.and_then(|()| self.check_author_idle(index)) {
            self.broken = Some(("framework", text));
        }
        self.schedule_wake(Node::Author(index));
    }

    /// Checks a framework whose futures all wait.
    fn check_author_idle(&self, index: usize) -> Result<(), String> {
        let Some(process) = &self.authors[index].process else { return Ok(()) };
        if let Some(text) = process.environment.user_error() {
            return Err(text);
        }
        if process.runs > MOST_RUNS {
            return Err(process
                .environment
                .error_text("does not come to rest: it wakes up more than 100,000 times a second"));
        }
        if process.environment.is_stuck() && process.driver.takes_calls() {
            let what = "waits for something other than the driver's time and calls (a tokio timer, a socket, a thread, a \
                        lock or a channel that never receives), which a simulation does not have; use driver.sleep() and \
                        driver.spawn()";
            return Err(process.environment.error_text(what));
        }
        Ok(())
    }

    fn execute_author_effect(&mut self, index: usize, effect: AuthorEffect) {
        let life = self.authors[index].life;
        let Some(process) = &mut self.authors[index].process else { return };
        match effect {
            AuthorEffect::Connect { attempt } => {
                let old = process.link.start_attempt(attempt);
                let travel_ns = self.links.travel_ns(&mut self.chance.network);
                let client = Client::Author(index);
                self.queue.at(self.now_ns + travel_ns, Event::Reach { client, life, attempt });
                self.close_client_link(old);
            }
            AuthorEffect::Send { attempt, calls } => {
                let Some(link) = process.link.link_of_attempt(attempt) else { return };
                self.send(link, End::Master, Frame::Calls(calls));
            }
            AuthorEffect::Disconnect { attempt } => {
                let link = process.link.abandon_attempt(attempt);
                self.close_client_link(link);
            }
            AuthorEffect::Called(request) => self.fact(Fact::Requested { framework: index, request }),
            AuthorEffect::CallbackStarted(event) => self.fact(Fact::CallbackStarted { framework: index, life, event }),
            AuthorEffect::CallbackReturned { event, ok } => {
                self.fact(Fact::CallbackReturned { framework: index, life, event, ok });
            }
            AuthorEffect::DriverEnded(how) => {
                self.fact(Fact::DriverEnded { framework: index, error: how.clone().err() });
                self.authors[index].ended = Some(how);
                if self.authors.iter().all(|author| author.ended.is_some()) {
                    self.after(DRAIN_TIME, Event::End);
                }
            }
        }
    }

    /// The driver receives a frame from the master.
    pub(super) fn author_received(&mut self, index: usize, link: LinkId, frame: Frame) {
        let Some(process) = &mut self.authors[index].process else { return };
        let Some(attempt) = process.link.attempt_of_link(link) else { return };
        match frame {
            Frame::Closed => self.author_link_lost(index, link),
            Frame::Opened | Frame::Calls(_) | Frame::Events(_) | Frame::Orders(_) | Frame::Reports(_) => {
                process.environment.deliver_frame(attempt, frame);
                self.run_author(index);
            }
        }
    }

    pub(super) fn author_link_lost(&mut self, index: usize, link: LinkId) {
        let Some(process) = &mut self.authors[index].process else { return };
        let Some(attempt) = process.link.remove_link(link) else { return };
        process.environment.deliver_frame(attempt, Frame::Closed);
        self.close_client_link(Some(link));
        self.run_author(index);
    }

    pub(super) fn author_unreached(&mut self, index: usize, life: u64, attempt: u64) {
        let node = &mut self.authors[index];
        let Some(process) = node.process.as_mut().filter(|_| node.life == life) else { return };
        if process.link.fail_attempt(attempt) {
            process.environment.deliver_frame(attempt, Frame::Closed);
            self.run_author(index);
        }
    }
}
