//! The handle on a driver: its life, and the time, chance and company that it gives a scheduler.
//!
//! The calls that a framework makes of the master are in [`super::calls`]. A handle holds no state of the conversation;
//! that is the core's.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use rand::{Rng, SeedableRng as _, rngs::StdRng};
use tokio::sync::{mpsc, watch};

use super::{
    builder::DriverBuilder,
    calls::CallSeq,
    checks,
    core::{Driver, Finished, Input, Objection, Request, Standing, Stop},
    counts::{Counters, DriverCounts},
    environment::Environment,
    error::DriverError,
    service::{self, Broken, Start},
    task_ids::TaskIds,
};
use crate::{
    proto::v1::{FrameworkId, FrameworkInfo, TaskId},
    types::Now,
};

/// A handle on a driver; clones are handles on the same one.
#[derive(Clone, Debug)]
pub struct SchedulerDriver {
    shared: Arc<Shared>,
}

/// What all handles of a driver, its core and its callbacks share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) environment: Arc<dyn Environment>,
    pub(super) counts: Counters,
    published: Mutex<Published>,
    /// Which callbacks are still begun.
    pub(super) telling: watch::Sender<Telling>,
    pub(super) ended: watch::Sender<Option<Result<Finished, Broken>>>,
    mailbox: mpsc::Sender<Input>,
    stops: mpsc::Sender<Input>,
    seq: AtomicU64,
    task_ids: TaskIds,
    rng: Mutex<StdRng>,
    start: Mutex<Option<Start>>,
    explicit: bool,
}

/// Which callbacks are still begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Telling {
    Everything,
    /// The master cut the driver off: what was to be told is told still, its last word at the end, but nobody is waited
    /// for who has not read what came before.
    LastWord,
    /// The driver was told to stop.
    Nothing,
}

/// What the core lets its handles know.
#[derive(Debug, Default)]
struct Published {
    framework_id: Option<FrameworkId>,
    standing: Standing,
    counts: DriverCounts,
    finished: Option<Finished>,
}

impl Shared {
    /// Lets the handles know how things stand; to be done before anything that the core decided is carried out.
    pub(super) fn publish(&self, core: &Driver) {
        let mut published = self.published();
        published.standing = core.standing();
        published.counts = core.counts();
        if published.framework_id.as_ref() != core.framework_id() {
            published.framework_id = core.framework_id().cloned();
        }
        if published.finished.is_none() {
            published.finished = core.finished().cloned();
        }
    }

    pub(super) fn is_silent(&self) -> bool {
        *self.telling.borrow() == Telling::Nothing
    }

    fn published(&self) -> MutexGuard<'_, Published> {
        self.published.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl From<Arc<Shared>> for SchedulerDriver {
    fn from(shared: Arc<Shared>) -> Self {
        Self { shared }
    }
}

impl SchedulerDriver {
    /// Describes a driver for this framework; [`DriverBuilder::build`] makes it.
    ///
    /// What the framework leaves unsaid is filled in with what nearly all want, not with the wire's defaults:
    ///
    /// | field | filled in |
    /// |---|---|
    /// | `user` | the user that this process runs as |
    /// | `checkpoint` | `true` |
    /// | `failover_timeout` | a week: so long its tasks outlive a framework that is away |
    /// | `roles` | `*`, or the one in the old field `role` |
    /// | `capabilities` | those of [`own_capabilities`](DriverBuilder::own_capabilities), added to what is listed |
    pub fn builder(framework: FrameworkInfo) -> DriverBuilder {
        DriverBuilder::new(framework)
    }

    pub(super) fn new(
        environment: Arc<dyn Environment>,
        (rng, task_ids): (StdRng, TaskIds),
        (mailbox, stops): (mpsc::Sender<Input>, mpsc::Sender<Input>),
        start: Start,
    ) -> Self {
        let shared = Shared {
            environment,
            counts: Counters::default(),
            published: Mutex::new(Published {
                framework_id: start.options.framework.id.clone(),
                ..Published::default()
            }),
            telling: watch::Sender::new(Telling::Everything),
            ended: watch::Sender::new(None),
            mailbox,
            stops,
            seq: AtomicU64::new(0),
            task_ids,
            rng: Mutex::new(rng),
            explicit: start.options.explicit,
            start: Mutex::new(Some(start)),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Starts the driver in the tokio runtime around the caller.
    ///
    /// # Errors
    /// A driver that was started before, or no runtime.
    pub fn start(&self) -> Result<(), DriverError> {
        if !self.shared.environment.can_spawn() {
            return Err(DriverError::NoRuntime);
        }
        let start = self.lock_start().take().ok_or(DriverError::Started)?;
        service::spawn(start, &self.shared);
        Ok(())
    }

    /// Waits until the driver has ended and its last callback has returned.
    ///
    /// # Errors
    /// A driver that was not started, that the master cut off, or whose teardown was not confirmed.
    pub async fn join(&self) -> Result<(), DriverError> {
        if self.lock_start().is_some() {
            return Err(DriverError::NotStarted);
        }
        let mut ended = self.shared.ended.subscribe();
        let finished = ended.wait_for(Option::is_some).await.ok().and_then(|finished| finished.clone());
        match finished {
            Some(Ok(Finished::Failed(message))) => Err(DriverError::Failed(message)),
            Some(Ok(Finished::TeardownUnconfirmed)) => Err(DriverError::TeardownUnconfirmed),
            Some(Ok(Finished::TornDown | Finished::LeftForFailover | Finished::Aborted)) => Ok(()),
            Some(Err(Broken)) | None => Err(DriverError::Broken),
        }
    }

    /// Starts the driver and waits until it has ended.
    ///
    /// # Errors
    /// As [`start`](Self::start) and [`join`](Self::join).
    pub async fn run(&self) -> Result<(), DriverError> {
        self.start()?;
        self.join().await
    }

    /// Ends the framework: its tasks are killed, its id is not used again. No callback follows.
    ///
    /// # Errors
    /// A driver that has ended.
    pub async fn stop_teardown(&self) -> Result<CallSeq, DriverError> {
        self.stop(Stop::Teardown).await
    }

    /// Ends this driver only: the tasks go on, and a driver with the same framework id may take over until the failover
    /// timeout has passed. No callback follows.
    ///
    /// # Errors
    /// A driver that has ended.
    pub async fn stop_failover(&self) -> Result<CallSeq, DriverError> {
        self.stop(Stop::Failover).await
    }

    /// Gives up at once. To the master it looks like [`stop_failover`](Self::stop_failover).
    ///
    /// # Errors
    /// A driver that has ended.
    pub async fn abort(&self) -> Result<CallSeq, DriverError> {
        self.stop(Stop::Abort).await
    }

    /// Both clocks, in nanoseconds; in a simulation, its own.
    #[must_use]
    pub fn now(&self) -> Now {
        self.shared.environment.now()
    }

    /// Is done after `duration`; in a simulation, of its own time.
    ///
    /// # Panics
    /// Outside of a tokio runtime, unless it is a simulation.
    pub async fn sleep(&self, duration: Duration) {
        self.shared.environment.sleep(duration).await;
    }

    /// A source of chance of one's own, different at every call.
    #[must_use]
    pub fn rng(&self) -> impl Rng + Send + use<> {
        let mut rng = self.shared.rng.lock().unwrap_or_else(PoisonError::into_inner);
        StdRng::seed_from_u64(rng.random())
    }

    /// Runs a task beside the callbacks until it is done or the driver has ended.
    ///
    /// # Panics
    /// Outside of a tokio runtime, unless it is a simulation.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut ended = self.shared.ended.subscribe();
        self.shared.environment.spawn(Box::pin(async move {
            tokio::select! {
                biased;
                () = task => {}
                _ = ended.wait_for(Option::is_some) => {}
            }
        }));
    }

    /// The id that the master gave the framework, once it has.
    #[must_use]
    pub fn framework_id(&self) -> Option<FrameworkId> {
        self.shared.published().framework_id.clone()
    }

    /// What the driver did so far.
    #[must_use]
    pub fn counts(&self) -> DriverCounts {
        let of_core = self.shared.published().counts;
        self.shared.counts.complete(of_core)
    }

    pub(super) async fn call(&self, request: Request) -> Result<CallSeq, DriverError> {
        checks::check(&request)?;
        self.is_running()?;
        let objection = self.shared.published().standing.objection(&request);
        match objection {
            None => self.enqueue(&self.shared.mailbox, request).await,
            Some(Objection::Full) => Err(DriverError::Full),
            Some(Objection::Unheard) => Err(DriverError::Unheard),
            Some(Objection::Disconnected) => {
                if matches!(request, Request::Accept { .. }) {
                    // The core answers for the tasks.
                    self.enqueue(&self.shared.mailbox, request).await?;
                }
                Err(DriverError::Disconnected)
            }
        }
    }

    async fn stop(&self, stop: Stop) -> Result<CallSeq, DriverError> {
        if self.lock_start().is_some() {
            return Err(DriverError::NotStarted);
        }
        self.shared.telling.send_replace(Telling::Nothing);
        self.enqueue(&self.shared.stops, Request::Stop(stop)).await
    }

    fn is_running(&self) -> Result<(), DriverError> {
        if self.lock_start().is_some() {
            return Err(DriverError::NotStarted);
        }
        if self.shared.is_silent() { Err(self.ended()) } else { Ok(()) }
    }

    async fn enqueue(&self, queue: &mpsc::Sender<Input>, request: Request) -> Result<CallSeq, DriverError> {
        let seq = self.shared.seq.fetch_add(1, Ordering::Relaxed) + 1;
        self.shared.environment.called(&request);
        queue.send(Input::Called { seq, request }).await.map(|()| seq).map_err(|_closed| self.ended())
    }

    /// Why no call is taken any more.
    fn ended(&self) -> DriverError {
        match &self.shared.published().finished {
            Some(Finished::Failed(message)) => DriverError::Failed(message.clone()),
            Some(Finished::TeardownUnconfirmed) => DriverError::TeardownUnconfirmed,
            Some(Finished::TornDown | Finished::LeftForFailover | Finished::Aborted) | None => DriverError::Ended,
        }
    }

    /// Whether calls are taken without a wait.
    #[cfg(feature = "sim")]
    pub(crate) fn takes_calls(&self) -> bool {
        self.shared.mailbox.capacity() > 0
    }

    pub(super) fn mint(&self, name: &str, instance: u32) -> TaskId {
        self.shared.task_ids.mint(name, instance)
    }

    /// Whether the driver was told to stop, or was cut off.
    pub(super) fn is_silenced(&self) -> bool {
        *self.shared.telling.borrow() != Telling::Everything
    }

    /// Done once it is.
    pub(super) async fn silenced(&self) {
        // The handle holds the sender, so the wait ends only with the driver.
        let _ = self.shared.telling.subscribe().wait_for(|telling| *telling != Telling::Everything).await;
    }

    pub(super) fn is_explicit(&self) -> bool {
        self.shared.explicit
    }

    fn lock_start(&self) -> MutexGuard<'_, Option<Start>> {
        self.shared.start.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
