//! The trait that a framework implements.

use async_trait::async_trait;
use bytes::Bytes;

use super::{
    driver::SchedulerDriver,
    error::Result,
    event::{InDoubt, Refusal, SchedulerEvent},
};
use crate::proto::v1::{AgentId, ExecutorId, FrameworkId, MasterInfo, Offer, OfferId, TaskStatus};

/// The callbacks of a framework: offers, status updates and connection events.
///
/// Callbacks run one at a time and in order, status updates before offers. Only
/// [`resource_offers`](Self::resource_offers) is required. An `Err` or a panic in a callback is logged and counted, and
/// the driver continues; a status is then delivered again. A scheduler that takes time, timers and randomness from the
/// driver ([`now`](SchedulerDriver::now), [`sleep`](SchedulerDriver::sleep), [`rng`](SchedulerDriver::rng)) runs
/// unchanged in a simulation.
#[async_trait]
pub trait Scheduler: Send {
    /// The master offers resources.
    ///
    /// Accept them ([`apply`](SchedulerDriver::apply), [`launch_tasks`](SchedulerDriver::launch_tasks)) or decline
    /// them. The driver declines an offer that is still unanswered after the hold time.
    async fn resource_offers(&mut self, driver: &SchedulerDriver, offers: Vec<Offer>) -> Result<()>;

    /// The master registered the framework.
    ///
    /// Store the id to re-register as the same framework after a crash.
    async fn registered(
        &mut self,
        _driver: &SchedulerDriver,
        _framework_id: FrameworkId,
        _master: MasterInfo,
    ) -> Result<()> {
        Ok(())
    }

    /// The driver registered again, after a lost connection.
    ///
    /// Earlier offers are void; the driver reconciles the tasks.
    async fn reregistered(&mut self, _driver: &SchedulerDriver, _master: MasterInfo) -> Result<()> {
        Ok(())
    }

    /// The connection to the master was lost.
    ///
    /// Until there is one again, launched tasks are reported as dropped.
    async fn disconnected(&mut self, _driver: &SchedulerDriver) -> Result<()> {
        Ok(())
    }

    /// An offer is void. Only schedulers that keep offers beyond a callback need this.
    async fn offer_rescinded(&mut self, _driver: &SchedulerDriver, _offer_id: OfferId) -> Result<()> {
        Ok(())
    }

    /// A task changed its state.
    ///
    /// The driver acknowledges the status after `Ok`, unless acknowledgements are explicit.
    async fn status_update(&mut self, _driver: &SchedulerDriver, _status: TaskStatus) -> Result<()> {
        Ok(())
    }

    /// An unknown task changed its state.
    ///
    /// See [`UnknownTasks`](super::UnknownTasks). The status is acknowledged like any other.
    async fn unknown_task(&mut self, _driver: &SchedulerDriver, status: TaskStatus) -> Result<()> {
        tracing::warn!(
            task_id = %status.task_id,
            state = status.state().as_str_name(),
            "status of a task that this driver did not launch"
        );
        Ok(())
    }

    /// An executor sent a message. Delivery is not guaranteed.
    async fn framework_message(
        &mut self,
        _driver: &SchedulerDriver,
        _agent_id: AgentId,
        _executor_id: ExecutorId,
        _data: Bytes,
    ) -> Result<()> {
        Ok(())
    }

    /// An agent was lost. The states of its tasks follow as status updates.
    async fn agent_lost(&mut self, _driver: &SchedulerDriver, _agent_id: AgentId) -> Result<()> {
        Ok(())
    }

    /// An executor ended with this wait status.
    ///
    /// The states of its tasks follow as status updates.
    async fn executor_lost(
        &mut self,
        _driver: &SchedulerDriver,
        _executor_id: ExecutorId,
        _agent_id: AgentId,
        _status: i32,
    ) -> Result<()> {
        Ok(())
    }

    /// A call was refused; `refusal.seq` is the number that the call returned.
    async fn refused(&mut self, _driver: &SchedulerDriver, refusal: Refusal) -> Result<()> {
        tracing::warn!(seq = refusal.seq, field = refusal.field, "call refused: {}", refusal.text);
        Ok(())
    }

    /// The connection was lost during an accept.
    ///
    /// The states of the tasks follow as status updates.
    async fn in_doubt(&mut self, _driver: &SchedulerDriver, in_doubt: InDoubt) -> Result<()> {
        let InDoubt { seq, task_ids } = in_doubt;
        tracing::info!(
            seq,
            tasks = task_ids.len(),
            "the connection was lost during a launch; reconciling its tasks at the next registration"
        );
        Ok(())
    }

    /// The master ended the framework's session permanently; the driver has stopped.
    async fn error(&mut self, _driver: &SchedulerDriver, message: String) -> Result<()> {
        tracing::error!("the master ended the session: {message}");
        Ok(())
    }
}

/// Calls the callback of an event.
pub(crate) async fn call(scheduler: &mut dyn Scheduler, driver: &SchedulerDriver, event: SchedulerEvent) -> Result<()> {
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
