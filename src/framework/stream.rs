//! The events as a stream, for those who prefer a loop or a fold to callbacks.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::Stream;
use tokio::sync::{mpsc, oneshot};

use super::{
    driver::SchedulerDriver,
    error::Result,
    event::{Refusal, SchedulerEvent},
    scheduler::Scheduler,
};
use crate::proto::v1::{AgentId, ExecutorId, FrameworkId, MasterInfo, Offer, OfferId, TaskStatus};

/// What a driver tells, one event at a time; made by [`DriverBuilder::stream`](super::DriverBuilder::stream).
///
/// An event counts as dealt with when the next one is asked for: a status is acknowledged then, so one that was taken but
/// not finished before a crash is told again. Offers go back after the hold time whether they were taken from the stream
/// or not. The stream ends with the driver; dropping it leaves the tasks to a successor, as
/// [`stop_failover`](SchedulerDriver::stop_failover) does.
#[derive(Debug)]
pub struct EventStream {
    events: mpsc::Receiver<(SchedulerEvent, oneshot::Sender<()>)>,
    current: Option<oneshot::Sender<()>>,
}

impl Stream for EventStream {
    type Item = SchedulerEvent;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<SchedulerEvent>> {
        if let Some(done) = self.current.take() {
            // Nobody waits for it when the driver has ended.
            let _ = done.send(());
        }
        self.events.poll_recv(cx).map(|next| {
            let (event, done) = next?;
            self.current = Some(done);
            Some(event)
        })
    }
}

/// The callbacks that feed a stream.
#[derive(Debug)]
pub(crate) struct Feed {
    events: mpsc::Sender<(SchedulerEvent, oneshot::Sender<()>)>,
}

/// A stream and what feeds it.
pub(crate) fn pair() -> (Feed, EventStream) {
    let (sender, events) = mpsc::channel(1);
    (Feed { events: sender }, EventStream { events, current: None })
}

impl Feed {
    /// Waits until the event was taken and the next one asked for.
    async fn tell(&self, driver: &SchedulerDriver, event: SchedulerEvent) -> Result<()> {
        let (done, wait) = oneshot::channel();
        let told = self.events.send((event, done)).await.is_ok() && wait.await.is_ok();
        if told {
            return Ok(());
        }
        // It fails only when the driver has ended already.
        let _ = driver.stop_failover().await;
        Err("the stream of events was dropped".into())
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

    async fn error(&mut self, driver: &SchedulerDriver, message: String) -> Result<()> {
        self.tell(driver, SchedulerEvent::Error(message)).await
    }
}
