//! The calls that a framework makes of the master.
//!
//! A call validates, queues and returns its number; it never waits for the master. Only a queue that is full, because
//! the socket takes nothing or the master settles nothing, makes it wait. What became of a call comes as a status, or as
//! a refusal with its number. Without a master a call is refused at once or kept, by its kind: the table is in
//! `core::standing` and in `docs/driver.md`.

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

/// Offers that a plan leaves over are refused for this long unless told otherwise.
const REFUSE: Duration = Duration::from_secs(5);

/// The number of a call, by which a refusal names it.
pub type CallSeq = u64;

impl SchedulerDriver {
    /// Launches tasks on offers of one agent; what they leave of the offers is refused as `filters` say.
    ///
    /// A task that names no agent gets that of the offers. A task that cannot be launched is answered by a status:
    /// `TASK_DROPPED`, or `TASK_LOST` to a framework that is not partition aware.
    ///
    /// # Errors
    /// A task that no master would take, [`DriverError::Disconnected`] (the tasks are told dropped all the same, so count
    /// them by their statuses), [`DriverError::Unheard`] (nothing is told), or a driver that has ended.
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

    /// Carries out operations on offers of one agent, in their order, each for itself; with none it declines them.
    ///
    /// # Errors
    /// An operation that no master would take, [`DriverError::Disconnected`] (tasks are told dropped, other operations
    /// refused), or a driver that has ended.
    pub async fn accept_offers(
        &self,
        offer_ids: &[OfferId],
        operations: Vec<Operation>,
        filters: Option<Filters>,
    ) -> Result<CallSeq, DriverError> {
        self.call(Request::Accept { offer_ids: offer_ids.to_vec(), operations, filters }).await
    }

    /// Refuses an offer; without `filters` for 5 s.
    ///
    /// # Errors
    /// [`DriverError::Disconnected`], which makes the offer void anyway, or a driver that has ended.
    pub async fn decline_offer(&self, offer_id: &OfferId, filters: Option<Filters>) -> Result<CallSeq, DriverError> {
        self.call(Request::Decline { offer_ids: vec![offer_id.clone()], filters }).await
    }

    /// Kills a task. Without a master the call waits for one, and it is sent again until the task is told to be killed or to
    /// have ended. The driver keeps it no longer than it lives itself.
    ///
    /// # Errors
    /// An empty id, [`DriverError::Full`], or a driver that has ended.
    pub async fn kill_task(&self, task_id: &TaskId) -> Result<CallSeq, DriverError> {
        self.call(Request::Kill { task_id: task_id.clone(), policy: None }).await
    }

    /// Kills a task by this policy instead of its own.
    ///
    /// # Errors
    /// As [`kill_task`](Self::kill_task).
    pub async fn kill_task_with(&self, task_id: &TaskId, policy: KillPolicy) -> Result<CallSeq, DriverError> {
        self.call(Request::Kill { task_id: task_id.clone(), policy: Some(policy) }).await
    }

    /// Asks for the state of tasks, with their agents where known; with no tasks, of all that the master knows. The
    /// answers are status updates. The driver does this by itself after every registration and now and then.
    ///
    /// Naming a task says that it is the framework's own, see [`UnknownTasks`](super::UnknownTasks). Without a master the
    /// question is asked at registration, and so is one whose answer was cut off.
    ///
    /// # Errors
    /// An empty id, [`DriverError::Full`], or a driver that has ended.
    pub async fn reconcile_tasks(
        &self,
        tasks: impl IntoIterator<Item = (TaskId, Option<AgentId>)>,
    ) -> Result<CallSeq, DriverError> {
        self.call(Request::Reconcile { tasks: tasks.into_iter().collect() }).await
    }

    /// Tells the master what the framework would use; told again after every registration.
    ///
    /// # Errors
    /// Resources that make no sense, or a driver that has ended.
    pub async fn request_resources(&self, requests: Vec<v1::Request>) -> Result<CallSeq, DriverError> {
        self.call(Request::Demand { requests }).await
    }

    /// Wants offers again for these roles, all if none is named, and takes every refusal back.
    ///
    /// # Errors
    /// A driver that has ended.
    pub async fn revive_offers(&self, roles: &[&str]) -> Result<CallSeq, DriverError> {
        self.call(Request::Revive { roles: owned(roles) }).await
    }

    /// Wants no offers for these roles, all if none is named, until they are revived.
    ///
    /// # Errors
    /// A driver that has ended.
    pub async fn suppress_offers(&self, roles: &[&str]) -> Result<CallSeq, DriverError> {
        self.call(Request::Suppress { roles: owned(roles) }).await
    }

    /// Sends bytes to an executor. They may get lost.
    ///
    /// # Errors
    /// An empty id, too many bytes, [`DriverError::Disconnected`], or a driver that has ended.
    pub async fn send_framework_message(
        &self,
        agent_id: &AgentId,
        executor_id: &ExecutorId,
        data: impl Into<Bytes>,
    ) -> Result<CallSeq, DriverError> {
        let (agent_id, executor_id) = (agent_id.clone(), executor_id.clone());
        self.call(Request::Message { agent_id, executor_id, data: data.into() }).await
    }

    /// Acknowledges a status, for drivers built with
    /// [`explicit_acknowledgements`](super::DriverBuilder::explicit_acknowledgements). A status without a uuid needs none.
    ///
    /// Without a master the call waits for one.
    ///
    /// # Errors
    /// A driver that acknowledges by itself or has ended, or [`DriverError::Full`]: the agent will repeat the status.
    pub async fn acknowledge(&self, status: &TaskStatus) -> Result<CallSeq, DriverError> {
        if !self.is_explicit() {
            let text = "this driver acknowledges by itself; build it with explicit_acknowledgements() to do it by hand";
            return Err(Invalid::new("acknowledge", text).into());
        }
        let (Some(uuid), Some(agent_id)) = (status.uuid.clone(), status.agent_id.clone()) else { return Ok(0) };
        self.call(Request::Acknowledge { task_id: status.task_id.clone(), agent_id, uuid }).await
    }

    /// Carries a plan out: launches on the offers it uses, declines the others for 5 s.
    ///
    /// The tasks get ids of the form `name.instance.attempt` that are never used again. All of the plan is carried out
    /// even when a part of it fails; without a master each task is told dropped.
    ///
    /// # Errors
    /// The first of: a task that no master would take, [`DriverError::Disconnected`], a driver that has ended.
    pub async fn apply(&self, plan: Plan) -> Result<()> {
        self.apply_refusing(plan, REFUSE).await
    }

    /// Carries a plan out and refuses what it leaves over for this long. A long time suits a framework with nothing left
    /// to launch, which then calls [`revive_offers`](Self::revive_offers) when it has.
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
