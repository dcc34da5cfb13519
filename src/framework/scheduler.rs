//! The trait that authors of frameworks implement.

use async_trait::async_trait;
use bytes::Bytes;

use super::{
    driver::SchedulerDriver,
    error::Result,
    event::{InDoubt, Refusal, SchedulerEvent},
};
use crate::proto::v1::{AgentId, ExecutorId, FrameworkId, MasterInfo, Offer, OfferId, TaskStatus};

/// A framework's side of the conversation. Callbacks come one at a time and in order, status updates before offers.
///
/// Only [`resource_offers`](Self::resource_offers) has to be written. An `Err` or a panic in a callback is logged and
/// counted and the driver goes on; for [`status_update`](Self::status_update) it means "tell me again". A scheduler that
/// takes time, timers and chance from the driver ([`now`](SchedulerDriver::now), [`sleep`](SchedulerDriver::sleep),
/// [`rng`](SchedulerDriver::rng)) runs unchanged in a simulation.
#[async_trait]
pub trait Scheduler: Send {
    /// Resources to use ([`apply`](SchedulerDriver::apply), [`launch_tasks`](SchedulerDriver::launch_tasks)) or to decline.
    /// What is neither used nor declined within the hold time goes back by itself.
    async fn resource_offers(&mut self, driver: &SchedulerDriver, offers: Vec<Offer>) -> Result<()>;

    /// The master knows the framework. Keep the id to come back as the same framework after a crash.
    async fn registered(
        &mut self,
        _driver: &SchedulerDriver,
        _framework_id: FrameworkId,
        _master: MasterInfo,
    ) -> Result<()> {
        Ok(())
    }

    /// The driver is connected again. Offers from before are void; tasks are reconciled by the driver.
    async fn reregistered(&mut self, _driver: &SchedulerDriver, _master: MasterInfo) -> Result<()> {
        Ok(())
    }

    /// There is no master at the moment. Launches are answered with dropped tasks until there is.
    async fn disconnected(&mut self, _driver: &SchedulerDriver) -> Result<()> {
        Ok(())
    }

    /// An offer is void. Only schedulers that keep offers beyond a callback need to know.
    async fn offer_rescinded(&mut self, _driver: &SchedulerDriver, _offer_id: OfferId) -> Result<()> {
        Ok(())
    }

    /// A task changed its state. Acknowledged when this returns `Ok`, unless acknowledging was left to the user.
    async fn status_update(&mut self, _driver: &SchedulerDriver, _status: TaskStatus) -> Result<()> {
        Ok(())
    }

    /// The state of a task that this driver neither launched nor was told of; see
    /// [`UnknownTasks`](super::UnknownTasks). Acknowledged like any other status.
    async fn unknown_task(&mut self, _driver: &SchedulerDriver, status: TaskStatus) -> Result<()> {
        tracing::warn!(task_id = %status.task_id, state = status.state().as_str_name(), "a task that nobody here launched");
        Ok(())
    }

    /// An executor sent something; it may also get lost on the way.
    async fn framework_message(
        &mut self,
        _driver: &SchedulerDriver,
        _agent_id: AgentId,
        _executor_id: ExecutorId,
        _data: Bytes,
    ) -> Result<()> {
        Ok(())
    }

    /// An agent is gone. What became of its tasks comes as status updates.
    async fn agent_lost(&mut self, _driver: &SchedulerDriver, _agent_id: AgentId) -> Result<()> {
        Ok(())
    }

    /// An executor ended with this wait status. What became of its tasks comes as status updates.
    async fn executor_lost(
        &mut self,
        _driver: &SchedulerDriver,
        _executor_id: ExecutorId,
        _agent_id: AgentId,
        _status: i32,
    ) -> Result<()> {
        Ok(())
    }

    /// A call was not carried out; its number is the one that the call returned.
    async fn refused(&mut self, _driver: &SchedulerDriver, refusal: Refusal) -> Result<()> {
        tracing::warn!(seq = refusal.seq, field = refusal.field, "call refused: {}", refusal.text);
        Ok(())
    }

    /// The connection broke while offers were being accepted; what became of the tasks comes as status updates.
    async fn in_doubt(&mut self, _driver: &SchedulerDriver, in_doubt: InDoubt) -> Result<()> {
        let InDoubt { seq, task_ids } = in_doubt;
        tracing::info!(seq, tasks = task_ids.len(), "the connection broke during a launch; its outcome will be told");
        Ok(())
    }

    /// The master ended the session for good; the driver has stopped.
    async fn error(&mut self, _driver: &SchedulerDriver, message: String) -> Result<()> {
        tracing::error!("the master ended the session: {message}");
        Ok(())
    }
}

/// Calls the callback that an event belongs to.
pub(super) async fn call(scheduler: &mut dyn Scheduler, driver: &SchedulerDriver, event: SchedulerEvent) -> Result<()> {
    match event {
        SchedulerEvent::Registered { framework_id, master } => {
            scheduler.registered(driver, framework_id, *master).await
        }
        SchedulerEvent::Reregistered { master } => scheduler.reregistered(driver, *master).await,
        SchedulerEvent::Disconnected => scheduler.disconnected(driver).await,
        SchedulerEvent::ResourceOffers(offers) => scheduler.resource_offers(driver, offers).await,
        SchedulerEvent::OfferRescinded(offer_id) => scheduler.offer_rescinded(driver, offer_id).await,
        SchedulerEvent::StatusUpdate(status) => scheduler.status_update(driver, *status).await,
        SchedulerEvent::UnknownTask(status) => scheduler.unknown_task(driver, *status).await,
        SchedulerEvent::FrameworkMessage { agent_id, executor_id, data } => {
            scheduler.framework_message(driver, agent_id, executor_id, data).await
        }
        SchedulerEvent::AgentLost(agent_id) => scheduler.agent_lost(driver, agent_id).await,
        SchedulerEvent::ExecutorLost { executor_id, agent_id, status } => {
            scheduler.executor_lost(driver, executor_id, agent_id, status).await
        }
        SchedulerEvent::Refused(refusal) => scheduler.refused(driver, refusal).await,
        SchedulerEvent::InDoubt(in_doubt) => scheduler.in_doubt(driver, in_doubt).await,
        SchedulerEvent::Error(message) => scheduler.error(driver, message).await,
    }
}
