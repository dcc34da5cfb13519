//! Statuses on their way to the scheduler. Each is recorded before it is sent, in order per task, one in flight at a
//! time. The agent resends it until it is acknowledged: after 10 s, then at doubled intervals up to 10 minutes.
//!
//! While the agent is not registered it sends no status. Registration resends the first one of every task.

use std::time::Duration;

use prost::Message as _;
use prost::bytes::Bytes;
use rand::RngCore as _;

use crate::agent::core::time::timers::Timer;
use crate::agent::core::{Agent, ContainerId, Effect, Level, SessionId, persist, persist_records, record};
use crate::proto::ext::ProcessEnd;
use crate::proto::internal::agent_record::Kind;
use crate::proto::internal::{
    Acknowledge, AgentMessage, MissingTask, RunTask, StatusAcknowledged, StatusMade, Update, agent_message,
};
use crate::proto::v1::task_status::{Reason, Source};
use crate::proto::v1::{self, FrameworkId, TaskId, TaskInfo, TaskState, TaskStatus};
use crate::types::Now;

use crate::agent::core::containers::Phase;
use crate::agent::core::tasks::Task;

/// The first wait for an acknowledgement.
const RETRY_FIRST: Duration = Duration::from_secs(10);
/// The longest wait between two attempts.
const RETRY_LONGEST: Duration = Duration::from_mins(10);

/// A status that is not acknowledged.
#[derive(Debug)]
pub(in crate::agent::core) struct Pending {
    pub(in crate::agent::core) uuid: Bytes,
    pub(in crate::agent::core) state: TaskState,
    /// The encoded `TaskStatus`.
    pub(in crate::agent::core) status: Bytes,
}

impl Pending {
    pub(in crate::agent::core) fn new(status: &TaskStatus, state: TaskState) -> Self {
        let uuid = status.uuid.clone().unwrap_or_default();
        Self { uuid, state, status: Bytes::from(status.encode_to_vec()) }
    }

    pub(in crate::agent::core) fn decoded(&self) -> TaskStatus {
        TaskStatus::decode(self.status.clone()).expect("encoded by us from a message")
    }
}

/// When the status in flight is sent again.
#[derive(Clone, Copy, Debug)]
pub(in crate::agent::core) struct Retry {
    /// `None` while the agent is not registered.
    pub(in crate::agent::core) at: Option<u64>,
    wait: Duration,
}

/// A new state of a task, to be reported.
#[derive(Debug)]
pub(in crate::agent::core) struct Report {
    pub(in crate::agent::core) state: TaskState,
    pub(in crate::agent::core) source: Source,
    pub(in crate::agent::core) reason: Option<Reason>,
    pub(in crate::agent::core) message: Option<String>,
    pub(in crate::agent::core) pid: Option<u32>,
    /// How its process ended, on the last status if that was observed.
    pub(in crate::agent::core) process_end: Option<ProcessEnd>,
    /// When it happened, if not now.
    pub(in crate::agent::core) wall_ns: Option<i64>,
}

impl Report {
    /// The task's process exists.
    pub(in crate::agent::core) fn running(pid: u32) -> Self {
        Self { message: None, pid: Some(pid), ..Self::by_executor(TaskState::TaskRunning, String::new()) }
    }

    /// A state that the task's own process caused.
    pub(in crate::agent::core) fn by_executor(state: TaskState, message: String) -> Self {
        Self {
            state,
            source: Source::Executor,
            reason: None,
            message: Some(message),
            pid: None,
            process_end: None,
            wall_ns: None,
        }
    }

    /// A state that the agent found or caused.
    pub(in crate::agent::core) fn by_agent(state: TaskState, reason: Reason, message: String) -> Self {
        Self { source: Source::Agent, reason: Some(reason), ..Self::by_executor(state, message) }
    }

    fn status(self, now: Now, uuid: Bytes, agent_id: &str, id: &ContainerId, task_id: TaskId) -> TaskStatus {
        let when = Now { wall_ns: self.wall_ns.unwrap_or(now.wall_ns), ..now };
        let container = v1::ContainerId { value: id.to_string(), parent: None };
        let container_status =
            v1::ContainerStatus { container_id: Some(container), executor_pid: self.pid, ..Default::default() };
        TaskStatus {
            executor_id: Some(v1::ExecutorId { value: task_id.value.clone() }),
            task_id,
            state: self.state as i32,
            message: self.message,
            source: Some(self.source as i32),
            reason: self.reason.map(|reason| reason as i32),
            agent_id: Some(v1::AgentId { value: agent_id.to_owned() }),
            timestamp: Some(when.wall_secs()),
            uuid: Some(uuid),
            container_status: Some(Box::new(container_status)),
            process_end: self.process_end,
            ..Default::default()
        }
    }
}

impl Agent {
    /// Records a status and sends it if no other is in flight. `also` is part of the same write.
    pub(in crate::agent::core) fn report(
        &mut self,
        now: Now,
        id: &ContainerId,
        report: Report,
        also: Option<Kind>,
        out: &mut Vec<Effect>,
    ) {
        let uuid = self.fresh_uuid();
        let Some(task) = self.tasks.get_mut(id) else { return };
        let state = report.state;
        let status = report.status(now, uuid, &self.id, id, task.name.clone());
        task.latest = state;
        task.pending.push_back(Pending::new(&status, state));
        let first = task.pending.len() == 1;
        let made = StatusMade { container_id: id.to_string(), status: Some(status) };
        let records = std::iter::once(Kind::Status(Box::new(made))).chain(also).map(record).collect();
        out.push(persist_records(records));
        if first {
            self.send_first(now, id, RETRY_FIRST, out);
        }
    }

    /// The scheduler acknowledged a status: sends the next one, or removes the task after its last one.
    pub(in crate::agent::core) fn acknowledge(&mut self, now: Now, acknowledge: Acknowledge, out: &mut Vec<Effect>) {
        let framework = FrameworkId { value: acknowledge.framework_id };
        let task_id = TaskId { value: acknowledge.task_id };
        let in_flight = |task: &Task| task.pending.front().is_some_and(|first| first.uuid == acknowledge.uuid);
        let containers = self.containers_of(&framework, Some(&task_id));
        let Some(id) = containers.into_iter().find(|id| self.tasks.get(id).is_some_and(in_flight)) else { return };
        let acknowledged =
            Kind::Acknowledged(StatusAcknowledged { container_id: id.to_string(), uuid: acknowledge.uuid.clone() });
        let Some(task) = self.tasks.get_mut(&id) else { return };
        task.pending.pop_front();
        let has_ended = self.containers.get(&id).is_some_and(super::Container::has_ended);
        if has_ended && task.pending.is_empty() {
            return self.forget(now, &id, Some(acknowledged), out);
        }
        let retry_at = task.retry.take().and_then(|retry| retry.at);
        self.timers.disarm(retry_at, Timer::Retry(id.clone()));
        out.push(persist([acknowledged], Level::Process));
        self.send_first(now, &id, RETRY_FIRST, out);
    }

    /// Resends the first unacknowledged status of every task, after registration.
    pub(in crate::agent::core) fn send_all_first(&mut self, now: Now, out: &mut Vec<Effect>) {
        let waiting = self.tasks.iter().filter(|(_, task)| !task.pending.is_empty());
        let waiting: Vec<ContainerId> = waiting.map(|(id, _)| id.clone()).collect();
        for id in waiting {
            self.send_first(now, &id, RETRY_FIRST, out);
        }
    }

    pub(in crate::agent::core) fn retry_due(&mut self, now: Now, id: &ContainerId, out: &mut Vec<Effect>) {
        let Some(retry) = self.tasks.get_mut(id).and_then(|task| task.retry.as_mut()) else { return };
        retry.at = None;
        let wait = (retry.wait * 2).min(RETRY_LONGEST);
        self.send_first(now, id, wait, out);
    }

    /// Reports tasks that the master launched here and that the agent does not have.
    pub(in crate::agent::core) fn report_missing(
        &mut self,
        now: Now,
        missing: Vec<MissingTask>,
        out: &mut Vec<Effect>,
    ) {
        for MissingTask { framework_id, task_id, container_id, state } in missing {
            let Some(id) = ContainerId::parse(&container_id).filter(|id| !self.tasks.contains_key(id)) else {
                continue;
            };
            let state = TaskState::try_from(state).ok().filter(|state| state.is_terminal());
            let info = TaskInfo { task_id: TaskId { value: task_id }, ..TaskInfo::default() };
            let task_info = Bytes::from(info.encode_to_vec());
            self.accept(
                now,
                &id,
                RunTask { framework_id, container_id, task_info },
                &info,
                (None, Phase::Ended(None)),
                out,
            );
            let report = self.missing_report(state.unwrap_or(TaskState::TaskLost));
            self.end(now, &id, report, out);
        }
    }

    /// The status of a task that the agent does not have. It was dropped on its way, or may have run if records are
    /// missing.
    fn missing_report(&self, state: TaskState) -> Report {
        let loss = self.loss.as_deref().or_else(|| self.host_restarted().then_some("the host restarted"));
        let (state, text) = match (loss, state) {
            (Some(loss), TaskState::TaskDropped) => (TaskState::TaskGone, unknown_here(loss)),
            (Some(loss), state) => (state, unknown_here(loss)),
            (None, TaskState::TaskDropped) => (state, "the task never reached the agent".to_owned()),
            (None, state) => (state, "the agent does not have the task".to_owned()),
        };
        Report::by_agent(state, Reason::Reconciliation, text)
    }

    /// The containers of a framework, or of one of its tasks, in order.
    pub(in crate::agent::core) fn containers_of(
        &self,
        framework: &FrameworkId,
        task: Option<&TaskId>,
    ) -> Vec<ContainerId> {
        let from = (framework.clone(), task.cloned().unwrap_or_default(), ContainerId::first());
        let same = |(of, name, _): &&(FrameworkId, TaskId, ContainerId)| {
            of == framework && task.is_none_or(|wanted| name == wanted)
        };
        self.names.range(from..).take_while(same).map(|(.., id)| id.clone()).collect()
    }

    fn send_first(&mut self, now: Now, id: &ContainerId, wait: Duration, out: &mut Vec<Effect>) {
        let session = self.session();
        let Some(task) = self.tasks.get_mut(id) else { return };
        let Some(first) = task.pending.front() else { return };
        let before = task.retry.and_then(|retry| retry.at);
        let at = session.map(|_| now.mono_after(wait));
        task.retry = Some(Retry { at, wait });
        match at {
            Some(at) => self.timers.arm(before, at, Timer::Retry(id.clone())),
            None => self.timers.disarm(before, Timer::Retry(id.clone())),
        }
        if let Some(session) = session {
            out.push(update(session, id, task, first));
        }
    }

    fn fresh_uuid(&mut self) -> Bytes {
        let mut random = [0; 16];
        self.rng.fill_bytes(&mut random);
        Bytes::copy_from_slice(uuid::Builder::from_random_bytes(random).as_uuid().as_bytes())
    }
}

fn unknown_here(loss: &str) -> String {
    format!("{loss}; the agent knows nothing of the task")
}

fn update(session: SessionId, id: &ContainerId, task: &Task, first: &Pending) -> Effect {
    let update = Update {
        framework_id: task.framework.value.clone(),
        container_id: id.to_string(),
        status: Some(first.decoded()),
        latest_state: task.latest as i32,
    };
    Effect::Send { session, message: AgentMessage { kind: Some(agent_message::Kind::Update(Box::new(update))) } }
}
