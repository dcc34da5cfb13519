//! The events as a stream, for those who prefer a loop or a fold to callbacks.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{FutureExt as _, Stream};
use tokio::sync::{mpsc, oneshot};

use super::{
    driver::SchedulerDriver,
    error::Result,
    event::{InDoubt, Refusal, SchedulerEvent},
    scheduler::Scheduler,
};
use crate::proto::v1::{AgentId, ExecutorId, FrameworkId, MasterInfo, Offer, OfferId, TaskStatus};

/// What a driver tells, one event at a time; made by [`DriverBuilder::stream`](super::DriverBuilder::stream).
///
/// An event counts as dealt with when the next one is asked for: a status is acknowledged then, so one that was taken but
/// not finished before a crash is told again. [`tell_again`](Self::tell_again) says that it was not dealt with. Offers go back after the hold time whether they were taken from the stream
/// or not. The stream ends with the driver; dropping it leaves the tasks to a successor, as
/// [`stop_failover`](SchedulerDriver::stop_failover) does.
#[derive(Debug)]
pub struct EventStream {
    events: mpsc::Receiver<(SchedulerEvent, oneshot::Sender<Taken>)>,
    current: Option<oneshot::Sender<Taken>>,
}

/// What became of an event that was taken from the stream.
#[derive(Clone, Copy, Debug)]
enum Taken {
    DealtWith,
    ToBeToldAgain,
}

/// The event at hand was not dealt with, and nobody has to be told.
#[derive(Debug, thiserror::Error)]
#[error("an event taken from the stream was not dealt with")]
pub(super) struct Unread;

impl EventStream {
    /// The event taken last was not dealt with. A status is told again, after 1 s at first and ever longer up to a
    /// minute, and so are all later ones of its task; of other events it is logged.
    pub fn tell_again(&mut self) {
        self.settle(Taken::ToBeToldAgain);
    }

    fn settle(&mut self, taken: Taken) {
        if let Some(current) = self.current.take() {
            // Nobody waits for it when the driver has ended.
            let _ = current.send(taken);
        }
    }
}

impl Stream for EventStream {
    type Item = SchedulerEvent;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<SchedulerEvent>> {
        self.settle(Taken::DealtWith);
        self.events.poll_recv(cx).map(|next| {
            let (event, current) = next?;
            self.current = Some(current);
            Some(event)
        })
    }
}

/// The callbacks that feed a stream.
#[derive(Debug)]
pub(crate) struct Feed {
    events: mpsc::Sender<(SchedulerEvent, oneshot::Sender<Taken>)>,
}

/// A stream and what feeds it.
pub(crate) fn pair() -> (Feed, EventStream) {
    // One event that waits to be taken, and the last word behind it.
    let (sender, events) = mpsc::channel(2);
    (Feed { events: sender }, EventStream { events, current: None })
}

impl Feed {
    /// Waits until the event was taken and the next one asked for, or the driver was told to stop or cut off.
    async fn tell(&self, driver: &SchedulerDriver, event: SchedulerEvent) -> Result<()> {
        if driver.silenced().now_or_never().is_some() {
            return Err(Unread.into());
        }
        let (current, settled) = oneshot::channel();
        let told = async {
            self.events.send((event, current)).await.ok()?;
            settled.await.ok()
        };
        let told = tokio::select! {
            biased;
            told = told => told,
            () = driver.silenced() => return Err(Unread.into()),
        };
        match told {
            Some(Taken::DealtWith) => Ok(()),
            Some(Taken::ToBeToldAgain) => Err("the reader of the stream wants it told again".into()),
            None => {
                // It fails only when the driver has ended already.
                let _ = driver.stop_failover().await;
                Err(Unread.into())
            }
        }
    }
}

#[async_trait]
impl Scheduler for Feed {
    async fn resource_offers(&mut self, driver: &SchedulerDriver, offers: Vec<Offer>) -> Result<()> {
        self.tell(driver, SchedulerEvent::ResourceOffers(offers)).await
    }

    async fn registered(
        &mut self,
        driver: &SchedulerDriver,
        framework_id: FrameworkId,
        master: MasterInfo,
    ) -> Result<()> {
        self.tell(driver, SchedulerEvent::Registered { framework_id, master: Box::new(master) }).await
    }

    async fn reregistered(&mut self, driver: &SchedulerDriver, master: MasterInfo) -> Result<()> {
        self.tell(driver, SchedulerEvent::Reregistered { master: Box::new(master) }).await
    }

    async fn disconnected(&mut self, driver: &SchedulerDriver) -> Result<()> {
        self.tell(driver, SchedulerEvent::Disconnected).await
    }

    async fn offer_rescinded(&mut self, driver: &SchedulerDriver, offer_id: OfferId) -> Result<()> {
        self.tell(driver, SchedulerEvent::OfferRescinded(offer_id)).await
    }

    async fn status_update(&mut self, driver: &SchedulerDriver, status: TaskStatus) -> Result<()> {
        self.tell(driver, SchedulerEvent::StatusUpdate(Box::new(status))).await
    }

    async fn framework_message(
        &mut self,
        driver: &SchedulerDriver,
        agent_id: AgentId,
        executor_id: ExecutorId,
        data: Bytes,
    ) -> Result<()> {
        self.tell(driver, SchedulerEvent::FrameworkMessage { agent_id, executor_id, data }).await
    }

    async fn agent_lost(&mut self, driver: &SchedulerDriver, agent_id: AgentId) -> Result<()> {
        self.tell(driver, SchedulerEvent::AgentLost(agent_id)).await
    }

    async fn executor_lost(
        &mut self,
        driver: &SchedulerDriver,
        executor_id: ExecutorId,
        agent_id: AgentId,
        status: i32,
    ) -> Result<()> {
        self.tell(driver, SchedulerEvent::ExecutorLost { executor_id, agent_id, status }).await
    }

    async fn refused(&mut self, driver: &SchedulerDriver, refusal: Refusal) -> Result<()> {
        self.tell(driver, SchedulerEvent::Refused(refusal)).await
    }

    async fn unknown_task(&mut self, driver: &SchedulerDriver, status: TaskStatus) -> Result<()> {
        self.tell(driver, SchedulerEvent::UnknownTask(Box::new(status))).await
    }

    async fn in_doubt(&mut self, driver: &SchedulerDriver, in_doubt: InDoubt) -> Result<()> {
        self.tell(driver, SchedulerEvent::InDoubt(in_doubt)).await
    }

    /// The last event: it is left in the stream, for nothing waits for it to be read.
    async fn error(&mut self, _driver: &SchedulerDriver, message: String) -> Result<()> {
        let (current, _settled) = oneshot::channel();
        self.events.send((SchedulerEvent::Error(message), current)).await.map_err(|_closed| Unread.into())
    }
}
