//! The author's scheduler, with every callback told to the world when it begins and when it ends.

use std::panic::AssertUnwindSafe;

use async_trait::async_trait;
use bytes::Bytes;
use futures::FutureExt as _;

use super::surroundings::{Ask, Surroundings};
use crate::{
    framework::{InDoubt, Refusal, Result, Scheduler, SchedulerDriver, SchedulerEvent, scheduler},
    proto::v1::{AgentId, ExecutorId, FrameworkId, MasterInfo, Offer, OfferId, TaskStatus},
};

/// A scheduler that is looked at.
pub(super) struct Watched {
    scheduler: Box<dyn Scheduler>,
    surroundings: Surroundings,
}

impl Watched {
    pub(super) fn new(scheduler: Box<dyn Scheduler>, surroundings: Surroundings) -> Self {
        Self { scheduler, surroundings }
    }

    async fn tell(&mut self, driver: &SchedulerDriver, event: SchedulerEvent) -> Result<()> {
        let callback = event.callback();
        self.surroundings.begins(callback);
        self.surroundings.ask(Ask::Given(event.clone()));
        let called = scheduler::call(&mut *self.scheduler, driver, event.clone());
        let result = AssertUnwindSafe(called).catch_unwind().await.unwrap_or_else(|panic| {
            let words = super::words_of(&*panic);
            self.surroundings.panics(self.surroundings.blame(&format!("panicked: {words}")));
            Err("a callback panicked".into())
        });
        self.surroundings.ends();
        self.surroundings.ask(Ask::Returned { event, ok: result.is_ok() });
        result
    }
}

#[async_trait]
impl Scheduler for Watched {
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

    async fn unknown_task(&mut self, driver: &SchedulerDriver, status: TaskStatus) -> Result<()> {
        self.tell(driver, SchedulerEvent::UnknownTask(Box::new(status))).await
    }

    async fn in_doubt(&mut self, driver: &SchedulerDriver, in_doubt: InDoubt) -> Result<()> {
        self.tell(driver, SchedulerEvent::InDoubt(in_doubt)).await
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
