//! An adapter from callbacks back to events, for code that handles all events alike.

use async_trait::async_trait;
use bytes::Bytes;

use super::{
    driver::SchedulerDriver,
    error::Result,
    event::{InDoubt, Refusal, SchedulerEvent},
    scheduler::Scheduler,
};
use crate::proto::v1::{AgentId, ExecutorId, FrameworkId, MasterInfo, Offer, OfferId, TaskStatus};

/// Handles every event in one method.
#[async_trait]
pub(crate) trait Listener: Send {
    /// Handles an event like the callback of its kind.
    async fn handle_event(&mut self, driver: &SchedulerDriver, event: SchedulerEvent) -> Result<()>;
}

/// A scheduler that forwards its callbacks to a listener.
#[derive(Debug)]
pub(crate) struct ListenerAdapter<L>(pub(crate) L);

#[async_trait]
impl<L: Listener> Scheduler for ListenerAdapter<L> {
    async fn resource_offers(&mut self, driver: &SchedulerDriver, offers: Vec<Offer>) -> Result<()> {
        self.0.handle_event(driver, SchedulerEvent::ResourceOffers(offers)).await
    }

    async fn registered(
        &mut self,
        driver: &SchedulerDriver,
        framework_id: FrameworkId,
        master: MasterInfo,
    ) -> Result<()> {
        self.0.handle_event(driver, SchedulerEvent::Registered { framework_id, master: Box::new(master) }).await
    }

    async fn reregistered(&mut self, driver: &SchedulerDriver, master: MasterInfo) -> Result<()> {
        self.0.handle_event(driver, SchedulerEvent::Reregistered { master: Box::new(master) }).await
    }

    async fn disconnected(&mut self, driver: &SchedulerDriver) -> Result<()> {
        self.0.handle_event(driver, SchedulerEvent::Disconnected).await
    }

    async fn offer_rescinded(&mut self, driver: &SchedulerDriver, offer_id: OfferId) -> Result<()> {
        self.0.handle_event(driver, SchedulerEvent::OfferRescinded(offer_id)).await
    }

    async fn status_update(&mut self, driver: &SchedulerDriver, status: TaskStatus) -> Result<()> {
        self.0.handle_event(driver, SchedulerEvent::StatusUpdate(Box::new(status))).await
    }

    async fn unknown_task(&mut self, driver: &SchedulerDriver, status: TaskStatus) -> Result<()> {
        self.0.handle_event(driver, SchedulerEvent::UnknownTask(Box::new(status))).await
    }

    async fn in_doubt(&mut self, driver: &SchedulerDriver, in_doubt: InDoubt) -> Result<()> {
        self.0.handle_event(driver, SchedulerEvent::InDoubt(in_doubt)).await
    }

    async fn framework_message(
        &mut self,
        driver: &SchedulerDriver,
        agent_id: AgentId,
        executor_id: ExecutorId,
        data: Bytes,
    ) -> Result<()> {
        self.0.handle_event(driver, SchedulerEvent::FrameworkMessage { agent_id, executor_id, data }).await
    }

    async fn agent_lost(&mut self, driver: &SchedulerDriver, agent_id: AgentId) -> Result<()> {
        self.0.handle_event(driver, SchedulerEvent::AgentLost(agent_id)).await
    }

    async fn executor_lost(
        &mut self,
        driver: &SchedulerDriver,
        executor_id: ExecutorId,
        agent_id: AgentId,
        status: i32,
    ) -> Result<()> {
        self.0.handle_event(driver, SchedulerEvent::ExecutorLost { executor_id, agent_id, status }).await
    }

    async fn refused(&mut self, driver: &SchedulerDriver, refusal: Refusal) -> Result<()> {
        self.0.handle_event(driver, SchedulerEvent::Refused(refusal)).await
    }

    async fn error(&mut self, driver: &SchedulerDriver, message: String) -> Result<()> {
        self.0.handle_event(driver, SchedulerEvent::Error(message)).await
    }
}
