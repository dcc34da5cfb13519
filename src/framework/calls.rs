//! The calls from a framework to the master.
//!
//! A call is validated, queued and returns its number. It waits only while the queue is full, because the socket or the
//! master does not keep up. The result of a call is a status, or a refusal with its number. Without a master a call is
//! refused at once or kept, by its kind: the table is in `core::admission` and in `docs/driver.md`.

use std::time::Duration;

use bytes::Bytes;

use super::{
    core::Request,
    driver::SchedulerDriver,
    error::{DriverError, Result},
};
use crate::{
    allocator::Plan,
    proto::v1::{
        self, AgentId, ExecutorId, Filters, KillPolicy, OfferId, TaskId, TaskInfo, TaskStatus, offer::Operation,
    },
    types::validate::Invalid,
};

/// The default time for which the offers that a plan does not use are refused.
const REFUSE: Duration = Duration::from_secs(5);

/// The number of a call; a refusal refers to it.
pub type CallSeq = u64;

impl SchedulerDriver {
    /// Launches tasks on offers of one agent.
    ///
    /// `filters` apply to the resources that the tasks do not use. A task without an agent id gets that of the offers.
    /// A task that cannot be launched is reported as `TASK_DROPPED` (`TASK_LOST` without partition awareness).
    ///
    /// # Errors
    /// A task is invalid, [`DriverError::Disconnected`] (the tasks are still reported as dropped, so count them by
    /// their statuses), [`DriverError::EventBacklogFull`] (nothing is reported), or the driver has ended.
    pub async fn launch_tasks(
        &self,
        offer_ids: &[OfferId],
        tasks: Vec<TaskInfo>,
        filters: Option<Filters>,
    ) -> Result<CallSeq, DriverError> {
        let launch = v1::offer::operation::Launch { task_infos: tasks };
        let kind = Some(v1::offer::operation::Type::Launch as i32);
        let operation = Operation { r#type: kind, launch: Some(launch), ..Operation::default() };
        self.accept_offers(offer_ids, vec![operation], filters).await
    }

    /// Accepts offers of one agent with operations; without operations, declines them.
    ///
    /// The master carries out the operations in order, each independently of the others.
    ///
    /// # Errors
    /// An operation is invalid, [`DriverError::Disconnected`] (tasks are reported as dropped, other operations as
    /// refused), or the driver has ended.
    pub async fn accept_offers(
        &self,
        offer_ids: &[OfferId],
        operations: Vec<Operation>,
        filters: Option<Filters>,
    ) -> Result<CallSeq, DriverError> {
        self.call(Request::Accept { offer_ids: offer_ids.to_vec(), operations, filters }).await
    }

    /// Declines an offer; without `filters`, for 5 s.
    ///
    /// # Errors
    /// [`DriverError::Disconnected`], which makes the offer void anyway, or the driver has ended.
    pub async fn decline_offer(&self, offer_id: &OfferId, filters: Option<Filters>) -> Result<CallSeq, DriverError> {
        self.call(Request::Decline { offer_ids: vec![offer_id.clone()], filters }).await
    }

    /// Kills a task.
    ///
    /// The driver resends the kill until the task is reported as being killed or ended, also to a later master. It
    /// drops the kill when it ends itself.
    ///
    /// # Errors
    /// The id is empty, [`DriverError::Full`], or the driver has ended.
    pub async fn kill_task(&self, task_id: &TaskId) -> Result<CallSeq, DriverError> {
        self.call(Request::Kill { task_id: task_id.clone(), policy: None }).await
    }

    /// Kills a task with this policy instead of its own.
    ///
    /// # Errors
    /// As [`kill_task`](Self::kill_task).
    pub async fn kill_task_with(&self, task_id: &TaskId, policy: KillPolicy) -> Result<CallSeq, DriverError> {
        self.call(Request::Kill { task_id: task_id.clone(), policy: Some(policy) }).await
    }

    /// Asks the master for the state of tasks; without tasks, of all.
    ///
    /// The answers are status updates. The driver also reconciles after every registration and periodically. A task
    /// named here counts as the framework's own, see [`UnknownTasks`](super::UnknownTasks). Without a master, or when
    /// the connection is lost before the answer, the driver sends the question at the next registration.
    ///
    /// # Errors
    /// An id is empty, [`DriverError::Full`], or the driver has ended.
    pub async fn reconcile_tasks(
        &self,
        tasks: impl IntoIterator<Item = (TaskId, Option<AgentId>)>,
    ) -> Result<CallSeq, DriverError> {
        self.call(Request::Reconcile { tasks: tasks.into_iter().collect() }).await
    }

    /// Requests resources from the master; sent again after every registration.
    ///
    /// # Errors
    /// Resources are invalid, or the driver has ended.
    pub async fn request_resources(&self, requests: Vec<v1::Request>) -> Result<CallSeq, DriverError> {
        self.call(Request::Demand { requests }).await
    }

    /// Requests offers again for these roles, and removes their filters.
    ///
    /// No role means all roles.
    ///
    /// # Errors
    /// The driver has ended.
    pub async fn revive_offers(&self, roles: &[&str]) -> Result<CallSeq, DriverError> {
        self.call(Request::Revive { roles: owned(roles) }).await
    }

    /// Stops offers for these roles until they are revived.
    ///
    /// No role means all roles.
    ///
    /// # Errors
    /// The driver has ended.
    pub async fn suppress_offers(&self, roles: &[&str]) -> Result<CallSeq, DriverError> {
        self.call(Request::Suppress { roles: owned(roles) }).await
    }

    /// Sends a message to an executor. Delivery is not guaranteed.
    ///
    /// # Errors
    /// An id is empty, the message is too large, [`DriverError::Disconnected`], or the driver has ended.
    pub async fn send_framework_message(
        &self,
        agent_id: &AgentId,
        executor_id: &ExecutorId,
        data: impl Into<Bytes>,
    ) -> Result<CallSeq, DriverError> {
        let (agent_id, executor_id) = (agent_id.clone(), executor_id.clone());
        self.call(Request::Message { agent_id, executor_id, data: data.into() }).await
    }

    /// Acknowledges a status.
    ///
    /// For drivers built with [`explicit_acknowledgements`](super::DriverBuilder::explicit_acknowledgements). A status
    /// without a uuid needs no acknowledgement. Without a master the acknowledgement is sent at the next registration.
    ///
    /// # Errors
    /// The driver acknowledges by itself or has ended, or [`DriverError::Full`]: the agent will resend the status.
    pub async fn acknowledge(&self, status: &TaskStatus) -> Result<CallSeq, DriverError> {
        if !self.is_explicit() {
            let text =
                "this driver acknowledges by itself; build it with explicit_acknowledgements() to do it yourself";
            return Err(Invalid::new("acknowledge", text).into());
        }
        let (Some(uuid), Some(agent_id)) = (status.uuid.clone(), status.agent_id.clone()) else { return Ok(0) };
        self.call(Request::Acknowledge { task_id: status.task_id.clone(), agent_id, uuid }).await
    }

    /// Carries out a plan: launches on the offers it uses, declines the others for 5 s.
    ///
    /// The tasks get unique ids of the form `name.instance.attempt`. The whole plan is carried out even if a part of it
    /// fails; without a master each task is reported as dropped.
    ///
    /// # Errors
    /// The first error: a task is invalid, [`DriverError::Disconnected`], or the driver has ended.
    pub async fn apply(&self, plan: Plan) -> Result<()> {
        self.apply_refusing(plan, REFUSE).await
    }

    /// Carries out a plan and refuses unused resources for this long.
    ///
    /// A long time suits a framework that has nothing left to launch; it calls
    /// [`revive_offers`](Self::revive_offers) when it has.
    ///
    /// # Errors
    /// As [`apply`](Self::apply).
    pub async fn apply_refusing(&self, plan: Plan, refuse: Duration) -> Result<()> {
        let filters = Filters::refuse_for(refuse);
        let mut outcome = Ok(());
        for launch in &plan.launches {
            let mut tasks = launch.tasks();
            for (task, placed) in tasks.iter_mut().zip(launch.instances()) {
                task.task_id = self.mint(placed.task, placed.instance);
            }
            let launched = self.launch_tasks(&launch.offer_ids, tasks, Some(filters)).await;
            outcome = if outcome.is_ok() { launched.map(drop) } else { outcome };
        }
        if !plan.unused.is_empty() {
            let declined = self.call(Request::Decline { offer_ids: plan.unused, filters: Some(filters) }).await;
            outcome = if outcome.is_ok() { declined.map(drop) } else { outcome };
        }
        Ok(outcome?)
    }
}

fn owned(roles: &[&str]) -> Vec<String> {
    roles.iter().map(|role| (*role).to_owned()).collect()
}
