//! The life of a task: taken on and written down, given a sandbox, started, ended, forgotten.

pub(in crate::agent::core) mod frameworks;
pub(in crate::agent::core) mod kills;
#[cfg(test)]
mod orphan_tests;
mod orphans;
#[cfg(test)]
mod status_tests;
pub(in crate::agent::core) mod statuses;

use std::collections::VecDeque;
use std::time::Duration;

use prost::Message as _;
use prost::bytes::Bytes;

use crate::agent::core::containers::launch::Launch;
use crate::agent::core::containers::wording;
use crate::agent::core::tasks::kills::{GRACE, Kill};
use crate::agent::core::tasks::statuses::{Pending, Report, Retry};
use crate::agent::core::time::moments::Moment;
use crate::agent::core::time::timers::Timer;
use crate::agent::core::{Agent, ContainerId, Effect, Level, SupervisorId, persist, persist_records, record};
use crate::proto::ext::{ProcessEnd, process_end::How};
use crate::proto::internal::agent_record::Kind;
use crate::proto::internal::{
    Exited, Forget, RunTask, Start, StartFailed, Started, SupervisorRequest, TaskAccepted, exited, supervisor_request,
};
use crate::proto::v1::task_status::Reason;
use crate::proto::v1::{FrameworkId, TaskId, TaskInfo, TaskState};
use crate::types::Now;

/// One task that is not forgotten.
#[derive(Debug)]
pub(in crate::agent::core) struct Task {
    pub(in crate::agent::core) framework: FrameworkId,
    pub(in crate::agent::core) name: TaskId,
    /// The encoded `TaskInfo`.
    pub(in crate::agent::core) info: Bytes,
    pub(in crate::agent::core) accepted_at: Moment,
    /// From its own kill policy, where it has one.
    pub(in crate::agent::core) grace: Option<Duration>,
    /// The longest it may take.
    pub(in crate::agent::core) limit: Option<Duration>,
    pub(in crate::agent::core) overdue_at: Option<u64>,
    /// The longest it may run without a master, and when that is over while there is none.
    pub(in crate::agent::core) stop_after: Option<Duration>,
    pub(in crate::agent::core) stop_at: Option<u64>,
    pub(in crate::agent::core) phase: Phase,
    pub(in crate::agent::core) latest: TaskState,
    pub(in crate::agent::core) kill: Option<Kill>,
    /// Its framework is gone: it is killed and nobody is told.
    pub(in crate::agent::core) orphaned: bool,
    /// Whether a directory was or is being made for it.
    pub(in crate::agent::core) sandbox: bool,
    /// Statuses not yet acknowledged; the first is in flight.
    pub(in crate::agent::core) pending: VecDeque<Pending>,
    pub(in crate::agent::core) retry: Option<Retry>,
}

/// Where a task stands.
#[derive(Debug)]
pub(in crate::agent::core) enum Phase {
    /// Its sandbox is being made.
    Preparing(Box<Start>),
    /// It waits for a supervisor.
    Ready(Box<Start>),
    /// The supervisor was asked to start it.
    Starting(SupervisorId),
    Running(SupervisorId, Process),
    /// Taken from the log; no supervisor has said yet what became of it. The process, if it was seen to start.
    Unresolved(Option<Process>),
    /// Its last status is made. The supervisor keeps the exit until told to forget it.
    Ended(Option<SupervisorId>),
}

/// The first process of a container: the two together name it for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::agent::core) struct Process {
    pub(in crate::agent::core) pid: u32,
    /// In clock ticks since boot.
    pub(in crate::agent::core) start_time: u64,
}

impl From<&Started> for Process {
    fn from(started: &Started) -> Self {
        Self { pid: started.pid, start_time: started.start_time }
    }
}

impl Task {
    /// A task as its acceptance describes it.
    pub(in crate::agent::core) fn new(
        accepted: &TaskAccepted,
        accepted_at: Moment,
        info: &TaskInfo,
        phase: Phase,
    ) -> Self {
        let limit = info.max_completion_time.map(|limit| nanos(limit.nanoseconds));
        Self {
            framework: FrameworkId { value: accepted.framework_id.clone() },
            name: info.task_id.clone(),
            info: accepted.task_info.clone(),
            accepted_at,
            grace: info.kill_policy.and_then(|policy| policy.grace_period).map(|grace| nanos(grace.nanoseconds)),
            limit,
            overdue_at: None,
            stop_after: info.partition_policy.as_ref().and_then(|policy| policy.stop_after()),
            stop_at: None,
            phase,
            latest: TaskState::TaskStaging,
            kill: None,
            orphaned: false,
            sandbox: false,
            pending: VecDeque::new(),
            retry: None,
        }
    }

    pub(in crate::agent::core) fn has_ended(&self) -> bool {
        matches!(self.phase, Phase::Ended(_))
    }

    /// Between SIGTERM and SIGKILL when a kill does not say otherwise.
    pub(in crate::agent::core) fn own_grace(&self) -> Duration {
        self.grace.unwrap_or(GRACE)
    }

    /// The supervisor that has the container, if any has.
    pub(in crate::agent::core) fn supervisor(&self) -> Option<SupervisorId> {
        match &self.phase {
            Phase::Starting(supervisor) | Phase::Running(supervisor, _) => Some(*supervisor),
            Phase::Ended(supervisor) => *supervisor,
            Phase::Preparing(_) | Phase::Ready(_) | Phase::Unresolved(_) => None,
        }
    }

    pub(in crate::agent::core) fn check(&self, container: &ContainerId, settled: bool) {
        let unresolved = matches!(self.phase, Phase::Unresolved(_));
        assert!(!(unresolved && settled), "{container} is unresolved though all supervisors were heard");
        assert!(self.has_ended() || !self.latest.is_terminal(), "{container} lives on in {:?}", self.latest);
        let early = self.pending.iter().rev().skip(1).any(|pending| pending.state.is_terminal());
        assert!(!early, "{container} has a status after its terminal one");
        assert!(!self.has_ended() || !self.pending.is_empty(), "{container} has ended and been told of: forget it");
        assert!(!self.orphaned || self.pending.is_empty(), "{container} tells of an orphan");
    }
}

/// A duration of the wire; a negative one is none.
pub(in crate::agent::core) fn nanos(nanoseconds: i64) -> Duration {
    Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(0))
}

impl Agent {
    /// Takes on a task. A container that is known is taken on already; an id that is no container's is dropped, and
    /// the master hears of it at the next registration.
    pub(in crate::agent::core) fn run_task(&mut self, now: Now, run: RunTask, out: &mut Vec<Effect>) {
        let Some(id) = ContainerId::parse(&run.container_id) else { return };
        if self.tasks.contains_key(&id) || self.leaving.is_some() {
            return;
        }
        let Ok(info) = TaskInfo::decode(run.task_info.clone()) else { return };
        let framework = FrameworkId { value: run.framework_id.clone() };
        let launch = Launch {
            config: &self.config,
            agent: &self.id,
            framework: &framework,
            framework_user: self.frameworks.get(&framework).map(|framework| framework.user.as_str()),
            container: &id,
        };
        match launch.prepare(&info) {
            Ok(start) => {
                self.accept(now, &id, run, &info, Phase::Preparing(Box::new(start)), out);
                self.make_sandbox(&id, out);
            }
            Err(refusal) => {
                self.accept(now, &id, run, &info, Phase::Ended(None), out);
                let text = refusal.to_string();
                let report = Report::by_agent(TaskState::TaskFailed, Reason::ContainerLaunchFailed, text);
                self.end(now, &id, report, out);
            }
        }
    }

    /// Writes down that a task is this agent's from now on.
    pub(in crate::agent::core) fn accept(
        &mut self,
        now: Now,
        id: &ContainerId,
        run: RunTask,
        info: &TaskInfo,
        phase: Phase,
        out: &mut Vec<Effect>,
    ) {
        let RunTask { framework_id, container_id, task_info } = run;
        let accepted = TaskAccepted { framework_id, container_id, task_info, wall_ns: now.wall_ns };
        let at = self.moment(now);
        // Left by a power cut that took the launch from the log, or by a container whose id is used again.
        let sandbox = self.sandboxes.take_back(id);
        self.insert(id, Task { sandbox, ..Task::new(&accepted, at, info, phase) });
        self.watch_completion(now, id);
        out.push(persist_records(vec![at.record(Kind::Accepted(accepted))]));
    }

    /// A log may tell of one container twice, if a master used its id again; the later task is the one there is.
    pub(in crate::agent::core) fn insert(&mut self, id: &ContainerId, task: Task) {
        if let Some(earlier) = self.tasks.get(id) {
            self.names.remove(&(earlier.framework.clone(), earlier.name.clone(), id.clone()));
        }
        self.names.insert((task.framework.clone(), task.name.clone(), id.clone()));
        self.tasks.insert(id.clone(), task);
    }

    fn make_sandbox(&mut self, id: &ContainerId, out: &mut Vec<Effect>) {
        if let Some(task) = self.tasks.get_mut(id) {
            task.sandbox = true;
            out.push(Effect::MakeSandbox { container: id.clone() });
        }
    }

    pub(in crate::agent::core) fn sandbox_made(&mut self, id: &ContainerId, out: &mut Vec<Effect>) {
        let Some(task) = self.tasks.get_mut(id) else { return };
        if let Phase::Preparing(start) = &mut task.phase {
            task.phase = Phase::Ready(std::mem::take(start));
            self.start(id, out);
        }
    }

    pub(in crate::agent::core) fn sandbox_failed(
        &mut self,
        now: Now,
        id: &ContainerId,
        text: String,
        out: &mut Vec<Effect>,
    ) {
        if self.tasks.get(id).is_some_and(|task| matches!(task.phase, Phase::Preparing(_))) {
            let report = Report::by_agent(TaskState::TaskFailed, Reason::ContainerLaunchFailed, text);
            self.end(now, id, report, out);
        }
    }

    /// Has a task started if it is ready and there is a supervisor.
    pub(in crate::agent::core) fn start(&mut self, id: &ContainerId, out: &mut Vec<Effect>) {
        let Some(supervisor) = self.supervisors.latest() else { return };
        let Some(task) = self.tasks.get_mut(id) else { return };
        if let Phase::Ready(start) = &mut task.phase {
            let request = supervisor_request::Kind::Start(std::mem::take(&mut **start));
            task.phase = Phase::Starting(supervisor);
            out.push(Effect::Supervise { supervisor, request: SupervisorRequest { kind: Some(request) } });
        }
    }

    /// The container's first process exists.
    pub(in crate::agent::core) fn started(
        &mut self,
        now: Now,
        supervisor: SupervisorId,
        started: Started,
        out: &mut Vec<Effect>,
    ) {
        let Some((id, task)) = self.known(&started.container_id) else {
            return self.end_stranger(now, supervisor, started.container_id, out);
        };
        let first = match &task.phase {
            Phase::Starting(_) => true,
            Phase::Unresolved(seen) => seen.is_none() && task.latest == TaskState::TaskStaging,
            Phase::Running(..) => return self.term_again(&id, out),
            Phase::Preparing(_) | Phase::Ready(_) | Phase::Ended(_) => {
                return self.end_stranger(now, supervisor, started.container_id, out);
            }
        };
        let told = first && task.kill.is_none() && !task.orphaned;
        task.phase = Phase::Running(supervisor, Process::from(&started));
        if told {
            let report = Report::running(started.pid);
            self.report(now, &id, report, Some(Kind::Started(started)), out);
        } else if first {
            out.push(persist([Kind::Started(started)], Level::Process));
        }
        self.watch_completion(now, &id);
        self.resume_kill(now, &id, out);
    }

    pub(in crate::agent::core) fn start_failed(
        &mut self,
        now: Now,
        supervisor: SupervisorId,
        failed: &StartFailed,
        out: &mut Vec<Effect>,
    ) {
        self.stranger_ended(now, supervisor, &failed.container_id, out);
        let Some((id, task)) = self.known(&failed.container_id) else { return };
        if task.has_ended() {
            return;
        }
        let text = wording::start_failure(failed);
        let report = match &task.kill {
            Some(kill) => kill.before_start(task),
            None => Report::by_agent(TaskState::TaskFailed, Reason::ContainerLaunchFailed, text),
        };
        task.phase = Phase::Ended(None);
        self.end(now, &id, report, out);
    }

    /// All processes of the container have ended.
    pub(in crate::agent::core) fn exited(
        &mut self,
        now: Now,
        supervisor: SupervisorId,
        exited: &Exited,
        out: &mut Vec<Effect>,
    ) {
        self.stranger_ended(now, supervisor, &exited.container_id, out);
        let Some((id, task)) = self.known(&exited.container_id) else {
            return forget_container(supervisor, exited.container_id.clone(), out);
        };
        if let Phase::Ended(keeper) = &mut task.phase {
            *keeper = Some(supervisor);
            return;
        }
        task.phase = Phase::Ended(Some(supervisor));
        let report = self.exit_report(&id, exited);
        self.end(now, &id, report, out);
    }

    fn exit_report(&self, id: &ContainerId, exited: &Exited) -> Report {
        let text = wording::exit(exited);
        let task = self.tasks.get(id);
        let kill = task.and_then(|task| task.kill.as_ref().map(|kill| (kill, task)));
        let report = match (kill, &exited.status) {
            (Some((kill, task)), _) => kill.after_exit(&text, task),
            (None, Some(exited::Status::Code(0))) => Report::by_executor(TaskState::TaskFinished, text),
            (None, Some(exited::Status::Code(_) | exited::Status::Signal(_))) => {
                Report::by_executor(TaskState::TaskFailed, text)
            }
            (None, Some(exited::Status::Lost(_)) | None) => self
                .lost_with_the_run_before(id, |_| text.clone())
                .unwrap_or_else(|| Report::by_agent(TaskState::TaskFailed, Reason::ExecutorTerminated, text)),
        };
        let process_end = exited.status.as_ref().and_then(process_end);
        Report { wall_ns: (exited.wall_ns > 0).then_some(exited.wall_ns), process_end, ..report }
    }

    /// Makes a task's last status; one whose framework is gone is forgotten at once.
    pub(in crate::agent::core) fn end(&mut self, now: Now, id: &ContainerId, report: Report, out: &mut Vec<Effect>) {
        let Some(task) = self.tasks.get_mut(id) else { return };
        let kill_at = task.kill.as_mut().and_then(|kill| kill.hard_at.take());
        self.timers.disarm(kill_at, Timer::Kill(id.clone()));
        self.timers.disarm(task.overdue_at.take(), Timer::Overdue(id.clone()));
        self.timers.disarm(task.stop_at.take(), Timer::CutOff(id.clone()));
        task.phase = Phase::Ended(task.supervisor());
        if task.orphaned {
            self.forget(now, id, None, out);
        } else {
            self.report(now, id, report, None, out);
        }
    }

    /// Drops all that is known of an ended task but its sandbox. `first` is written in the same breath.
    pub(in crate::agent::core) fn forget(
        &mut self,
        now: Now,
        id: &ContainerId,
        first: Option<Kind>,
        out: &mut Vec<Effect>,
    ) {
        let Some(task) = self.tasks.remove(id) else { return };
        self.timers.disarm(task.retry.and_then(|retry| retry.at), Timer::Retry(id.clone()));
        let records = first.into_iter().chain([Kind::Forgotten(id.to_string())]).map(record).collect();
        out.push(persist_records(records));
        let keeper = task.supervisor().filter(|supervisor| self.supervisors.has(*supervisor));
        if let Some(supervisor) = keeper {
            forget_container(supervisor, id.to_string(), out);
        }
        self.names.remove(&(task.framework, task.name, id.clone()));
        if task.orphaned {
            self.orphan_gone(id.to_string(), out);
        }
        if task.sandbox {
            self.sandboxes.retire(now, id.clone(), Duration::ZERO, out);
        }
    }

    pub(in crate::agent::core) fn known(&mut self, container: &str) -> Option<(ContainerId, &mut Task)> {
        let id = ContainerId::parse(container)?;
        self.tasks.get_mut(&id).map(|task| (id, task))
    }
}

fn process_end(status: &exited::Status) -> Option<ProcessEnd> {
    let how = match status {
        exited::Status::Code(code) => How::ExitCode(*code),
        exited::Status::Signal(number) => How::Signal(*number),
        exited::Status::Lost(_) => return None,
    };
    Some(ProcessEnd { how: Some(how) })
}

pub(in crate::agent::core) fn forget_container(supervisor: SupervisorId, container_id: String, out: &mut Vec<Effect>) {
    let request = supervisor_request::Kind::Forget(Forget { container_id });
    out.push(Effect::Supervise { supervisor, request: SupervisorRequest { kind: Some(request) } });
}
