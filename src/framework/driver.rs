//! The handle on a driver: start, stop and join, and the time, randomness and spawned tasks for a scheduler.
//!
//! The calls to the master are in [`super::calls`]. A handle holds no protocol state; the core does.

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
    core::{CallAdmission, Driver, Finished, Input, RefusalReason, Request, Stop},
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

/// A handle on the driver that connects a framework to a master.
///
/// A clone is a handle on the same driver.
#[derive(Clone, Debug)]
pub struct SchedulerDriver {
    shared: Arc<Shared>,
}

/// The state that the handles of a driver, its core and its callbacks share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) environment: Arc<dyn Environment>,
    pub(super) counts: Counters,
    published: Mutex<Published>,
    pub(super) delivery_mode: watch::Sender<DeliveryMode>,
    pub(super) ended: watch::Sender<Option<Result<Finished, Broken>>>,
    mailbox: mpsc::Sender<Input>,
    stops: mpsc::Sender<Input>,
    seq: AtomicU64,
    task_ids: TaskIds,
    rng: Mutex<StdRng>,
    start: Mutex<Option<Start>>,
    explicit: bool,
}

/// Which events are still delivered to the callbacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DeliveryMode {
    All,
    /// The master ended the session. Queued events and the final error are still delivered, but the driver does not
    /// wait for a reader of the stream that holds an earlier event.
    FinalEvent,
    /// The user stopped the driver.
    Disabled,
}

/// The state of the core that handles can read.
#[derive(Debug, Default)]
struct Published {
    framework_id: Option<FrameworkId>,
    admission: CallAdmission,
    counts: DriverCounts,
    finished: Option<Finished>,
}

impl Shared {
    /// Publishes the state of the core. Call it before carrying out the effects of the core.
    pub(super) fn publish(&self, core: &Driver) {
        let mut published = self.published();
        published.admission = core.admission();
        published.counts = core.counts();
        if published.framework_id.as_ref() != core.framework_id() {
            published.framework_id = core.framework_id().cloned();
        }
        if published.finished.is_none() {
            published.finished = core.finished().cloned();
        }
    }

    pub(super) fn is_delivery_disabled(&self) -> bool {
        *self.delivery_mode.borrow() == DeliveryMode::Disabled
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
    /// Starts the configuration of a driver for this framework.
    ///
    /// Unset fields get these defaults, not those of the wire:
    ///
    /// | field | default |
    /// |---|---|
    /// | `user` | the user that this process runs as |
    /// | `checkpoint` | `true` |
    /// | `failover_timeout` | a week: so long tasks outlive a framework that is disconnected |
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
            delivery_mode: watch::Sender::new(DeliveryMode::All),
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

    /// Starts the driver in the current tokio runtime.
    ///
    /// # Errors
    /// The driver was started before, or there is no runtime.
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
    /// The driver was not started, the master ended its session, or no master confirmed the teardown.
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

    /// Ends the framework: the master kills its tasks and retires its id.
    ///
    /// No callback follows.
    ///
    /// # Errors
    /// The driver has ended.
    pub async fn stop_teardown(&self) -> Result<CallSeq, DriverError> {
        self.stop(Stop::Teardown).await
    }

    /// Ends this driver only; the tasks keep running. No callback follows.
    ///
    /// A driver with the same framework id may take over until the failover timeout has passed.
    ///
    /// # Errors
    /// The driver has ended.
    pub async fn stop_failover(&self) -> Result<CallSeq, DriverError> {
        self.stop(Stop::Failover).await
    }

    /// Ends this driver at once.
    ///
    /// For the master it is the same as [`stop_failover`](Self::stop_failover).
    ///
    /// # Errors
    /// The driver has ended.
    pub async fn abort(&self) -> Result<CallSeq, DriverError> {
        self.stop(Stop::Abort).await
    }

    /// Reads both clocks, in nanoseconds; in a simulation, the virtual ones.
    #[must_use]
    pub fn now(&self) -> Now {
        self.shared.environment.now()
    }

    /// Waits for `duration`; in a simulation, of virtual time.
    ///
    /// # Panics
    /// Outside of a tokio runtime, except in a simulation.
    pub async fn sleep(&self, duration: Duration) {
        self.shared.environment.sleep(duration).await;
    }

    /// A new random number generator, seeded differently at every call.
    #[must_use]
    pub fn rng(&self) -> impl Rng + Send + use<> {
        let mut rng = self.shared.rng.lock().unwrap_or_else(PoisonError::into_inner);
        StdRng::seed_from_u64(rng.random())
    }

    /// Spawns a task that is dropped when the driver has ended.
    ///
    /// It runs concurrently with the callbacks.
    ///
    /// # Panics
    /// Outside of a tokio runtime, except in a simulation.
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

    /// The framework id that the master assigned, once registered.
    #[must_use]
    pub fn framework_id(&self) -> Option<FrameworkId> {
        self.shared.published().framework_id.clone()
    }

    /// The counters of this driver.
    #[must_use]
    pub fn counts(&self) -> DriverCounts {
        let of_core = self.shared.published().counts;
        self.shared.counts.complete(of_core)
    }

    pub(super) async fn call(&self, request: Request) -> Result<CallSeq, DriverError> {
        checks::check(&request)?;
        self.is_running()?;
        let refusal_reason = self.shared.published().admission.refusal_reason(&request);
        match refusal_reason {
            None => self.enqueue(&self.shared.mailbox, request).await,
            Some(RefusalReason::Full) => Err(DriverError::Full),
            Some(RefusalReason::EventBacklogFull) => Err(DriverError::EventBacklogFull),
            Some(RefusalReason::Disconnected) => {
                if matches!(request, Request::Accept { .. }) {
                    // The core reports the tasks as dropped.
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
        self.shared.delivery_mode.send_replace(DeliveryMode::Disabled);
        self.enqueue(&self.shared.stops, Request::Stop(stop)).await
    }

    fn is_running(&self) -> Result<(), DriverError> {
        if self.lock_start().is_some() {
            return Err(DriverError::NotStarted);
        }
        if self.shared.is_delivery_disabled() { Err(self.ended()) } else { Ok(()) }
    }

    async fn enqueue(&self, queue: &mpsc::Sender<Input>, request: Request) -> Result<CallSeq, DriverError> {
        let seq = self.shared.seq.fetch_add(1, Ordering::Relaxed) + 1;
        self.shared.environment.called(&request);
        queue.send(Input::Called { seq, request }).await.map(|()| seq).map_err(|_closed| self.ended())
    }

    /// Why no further call is accepted.
    fn ended(&self) -> DriverError {
        match &self.shared.published().finished {
            Some(Finished::Failed(message)) => DriverError::Failed(message.clone()),
            Some(Finished::TeardownUnconfirmed) => DriverError::TeardownUnconfirmed,
            Some(Finished::TornDown | Finished::LeftForFailover | Finished::Aborted) | None => DriverError::Ended,
        }
    }

    /// Whether a call can be queued without waiting.
    #[cfg(feature = "sim")]
    pub(crate) fn takes_calls(&self) -> bool {
        self.shared.mailbox.capacity() > 0
    }

    pub(super) fn mint(&self, name: &str, instance: u32) -> TaskId {
        self.shared.task_ids.mint(name, instance)
    }

    /// True when the user stopped the driver or the master ended its session.
    pub(super) fn is_stopping(&self) -> bool {
        *self.shared.delivery_mode.borrow() != DeliveryMode::All
    }

    /// Waits until [`is_stopping`](Self::is_stopping) is true.
    pub(super) async fn until_stopping(&self) {
        // The handle holds the sender, so the wait ends only with the driver.
        let _ =
            self.shared.delivery_mode.subscribe().wait_for(|delivery_mode| *delivery_mode != DeliveryMode::All).await;
    }

    pub(super) fn is_explicit(&self) -> bool {
        self.shared.explicit
    }

    fn lock_start(&self) -> MutexGuard<'_, Option<Start>> {
        self.shared.start.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
