//! Ending tasks: SIGTERM to the whole container, and after a grace SIGKILL.
//!
//! A kill is written down before the first signal, so that an agent that comes back goes on with it. A repeated kill
//! may only shorten the time that is left.

use std::time::Duration;

use crate::agent::core::tasks::statuses::Report;
use crate::agent::core::tasks::{Phase, Task, nanos};
use crate::agent::core::time::moments::Moment;
use crate::agent::core::time::timers::Timer;
use crate::agent::core::{Agent, ContainerId, Effect, StopReason, SupervisorId, persist_records};
use crate::proto::internal::agent_record::Kind;
use crate::proto::internal::{
    AgentMessage, AgentRecord, KillAsked, KillTask, Signal, SupervisorRequest, Unregister, agent_message,
    supervisor_request,
};
use crate::proto::v1::task_status::Reason;
use crate::proto::v1::{FrameworkId, TaskId, TaskState};
use crate::types::Now;

/// Between SIGTERM and SIGKILL when neither the kill nor the task says otherwise.
pub(in crate::agent::core) const GRACE: Duration = Duration::from_secs(3);
/// Between two SIGKILLs: a process that is stuck in the kernel dies of the one it finds when it comes out.
const AGAIN: Duration = Duration::from_secs(10);

const SIGTERM: i32 = 15;
pub(in crate::agent::core) const SIGKILL: i32 = 9;

/// A kill that was written down.
#[derive(Clone, Debug)]
pub(in crate::agent::core) struct Kill {
    pub(in crate::agent::core) grace: Duration,
    pub(in crate::agent::core) asked_at: Moment,
    /// Why the agent kills by itself; `None` when a scheduler asked.
    pub(in crate::agent::core) reason: Option<Reason>,
    /// When SIGKILL follows; `None` as long as there is no process to send SIGTERM to.
    pub(in crate::agent::core) hard_at: Option<u64>,
}

impl Kill {
    pub(in crate::agent::core) fn new(grace: Duration, asked_at: Moment, reason: Option<Reason>) -> Self {
        Self { grace, asked_at, reason, hard_at: None }
    }

    /// The record of it.
    pub(in crate::agent::core) fn asked(&self, id: &ContainerId) -> AgentRecord {
        let asked = KillAsked {
            container_id: id.to_string(),
            grace_ms: u64::try_from(self.grace.as_millis()).unwrap_or(u64::MAX),
            wall_ns: self.asked_at.wall_ns,
            reason: self.reason.map(|reason| reason as i32),
        };
        self.asked_at.record(Kind::Kill(asked))
    }

    /// The last status of a task that never ran.
    pub(in crate::agent::core) fn before_start(&self, task: &Task) -> Report {
        match self.reason {
            Some(Reason::AgentDisconnected) => cut_off(task, "it had not started"),
            Some(reason) => Report::by_agent(TaskState::TaskFailed, reason, "ended before it was started".to_owned()),
            None => Report::by_agent(
                TaskState::TaskKilled,
                Reason::TaskKilledDuringLaunch,
                "killed before it was started".to_owned(),
            ),
        }
    }

    /// The last status of a task that ended as `text` says.
    pub(in crate::agent::core) fn after_exit(&self, text: &str, task: &Task) -> Report {
        match self.reason {
            Some(Reason::AgentDisconnected) => cut_off(task, text),
            Some(reason) => {
                let limit = task.limit.map(|limit| format!("it took longer than max_completion_time, {limit:?}: "));
                let text = format!("ended by the agent: {}{text}", limit.unwrap_or_default());
                Report { reason: Some(reason), ..Report::by_executor(TaskState::TaskFailed, text) }
            }
            None => Report::by_executor(TaskState::TaskKilled, format!("killed: {text}")),
        }
    }
}

fn cut_off(task: &Task, text: &str) -> Report {
    let time = task.stop_after.unwrap_or_default();
    let text = format!("killed after {time:?} without a master, as its partition policy wants: {text}");
    Report::by_agent(TaskState::TaskKilled, Reason::AgentDisconnected, text)
}

impl Agent {
    /// A scheduler wants a task killed. A task that is not known needs no killing.
    pub(in crate::agent::core) fn kill_task(&mut self, now: Now, kill: KillTask, out: &mut Vec<Effect>) {
        let asked = kill.kill_policy.and_then(|policy| policy.grace_period).map(|grace| nanos(grace.nanoseconds));
        let framework = FrameworkId { value: kill.framework_id };
        let meant = |id: &ContainerId| kill.container_id.is_empty() || id.as_str() == kill.container_id;
        let mut containers = self.containers_of(&framework, Some(&TaskId { value: kill.task_id }));
        containers.retain(meant);
        for id in containers {
            let own = self.tasks.get(&id).and_then(|task| task.grace);
            self.kill(now, &id, asked.or(own).unwrap_or(GRACE), None, out);
        }
    }

    /// Ends everything; the agent ends when nothing is left.
    pub(in crate::agent::core) fn leave(&mut self, now: Now, reason: StopReason, out: &mut Vec<Effect>) {
        self.leaving = Some(reason);
        let mut frameworks: Vec<FrameworkId> = self.names.iter().map(|(framework, ..)| framework.clone()).collect();
        frameworks.dedup();
        for framework in frameworks {
            self.shut_down_framework(now, framework.value, out);
        }
    }

    pub(in crate::agent::core) fn leave_when_empty(&mut self, out: &mut Vec<Effect>) {
        if !self.tasks.is_empty() {
            return;
        }
        let Some(reason) = self.leaving.take() else { return };
        if let (Some(session), StopReason::ShutDown) = (self.session(), &reason) {
            let message = AgentMessage { kind: Some(agent_message::Kind::Unregister(Unregister {})) };
            out.push(Effect::Send { session, message });
        }
        self.retire_all(out);
        self.link_stopped();
        out.push(Effect::Stop { reason });
    }

    /// Kills a task, whatever its phase; what it says about it depends on `reason`.
    pub(in crate::agent::core) fn kill(
        &mut self,
        now: Now,
        id: &ContainerId,
        grace: Duration,
        reason: Option<Reason>,
        out: &mut Vec<Effect>,
    ) {
        let kill = Kill::new(grace, self.moment(now), reason);
        let Some(task) = self.tasks.get_mut(id) else { return };
        match (&task.phase, &mut task.kill) {
            (Phase::Ended(_), _) => {}
            (Phase::Preparing(_) | Phase::Ready(_), _) => {
                let report = kill.before_start(task);
                self.end(now, id, report, out);
            }
            (Phase::Starting(_) | Phase::Running(..) | Phase::Unresolved(_), Some(before)) => {
                let until = now.mono_after(grace);
                if before.hard_at.map_or(before.grace > grace, |hard_at| until < hard_at) {
                    *before = Kill { hard_at: before.hard_at, reason: before.reason, ..kill };
                    out.push(persist_records(vec![before.asked(id)]));
                    self.harden(id, until);
                }
            }
            (Phase::Starting(_) | Phase::Running(..) | Phase::Unresolved(_), none @ None) => {
                out.push(persist_records(vec![kill.asked(id)]));
                *none = Some(kill);
                self.report_killing(now, id, out);
                self.resume_kill(now, id, out);
            }
        }
    }

    fn report_killing(&mut self, now: Now, id: &ContainerId, out: &mut Vec<Effect>) {
        let Some(task) = self.tasks.get(id).filter(|task| !task.orphaned) else { return };
        if self.frameworks.get(&task.framework).is_some_and(|framework| framework.killing_state) {
            let report = Report::by_executor(TaskState::TaskKilling, "the task is being killed".to_owned());
            self.report(now, id, report, None, out);
        }
    }

    /// Sends SIGTERM to a container with a process and a kill that has not been signalled, and sets the end of its
    /// grace. The grace counts from the asking: an agent that was away gives no more than what is left.
    pub(in crate::agent::core) fn resume_kill(&mut self, now: Now, id: &ContainerId, out: &mut Vec<Effect>) {
        let asked_at = self.tasks.get(id).and_then(|task| task.kill.as_ref()).map(|kill| kill.asked_at);
        let passed = asked_at.map(|at| self.passed_since(now, at)).unwrap_or_default();
        let Some(task) = self.tasks.get_mut(id) else { return };
        let (Phase::Running(supervisor, _), Some(kill)) = (&task.phase, &mut task.kill) else { return };
        if kill.hard_at.is_some() {
            return;
        }
        let until = now.mono_after(kill.grace.saturating_sub(passed));
        kill.hard_at = Some(until);
        signal(*supervisor, id, SIGTERM, out);
        self.timers.arm(None, until, Timer::Kill(id.clone()));
    }

    /// The supervisor was away: it may not have got the signal.
    pub(in crate::agent::core) fn term_again(&mut self, id: &ContainerId, out: &mut Vec<Effect>) {
        let Some(task) = self.tasks.get(id).filter(|task| task.kill.is_some()) else { return };
        if let Phase::Running(supervisor, _) = &task.phase {
            signal(*supervisor, id, SIGTERM, out);
        }
    }

    /// Brings the end of a running grace forward.
    fn harden(&mut self, id: &ContainerId, until: u64) {
        let Some(kill) = self.tasks.get_mut(id).and_then(|task| task.kill.as_mut()) else { return };
        let Some(before) = kill.hard_at else { return };
        kill.hard_at = Some(until);
        self.timers.arm(Some(before), until, Timer::Kill(id.clone()));
    }

    pub(in crate::agent::core) fn kill_due(&mut self, now: Now, id: &ContainerId, out: &mut Vec<Effect>) {
        let Some(task) = self.tasks.get_mut(id) else { return };
        let (Phase::Running(supervisor, _), Some(kill)) = (&task.phase, &mut task.kill) else { return };
        signal(*supervisor, id, SIGKILL, out);
        let again = now.mono_after(AGAIN);
        kill.hard_at = Some(again);
        self.timers.arm(None, again, Timer::Kill(id.clone()));
    }

    /// Sees to it that a task does not take longer than it may.
    pub(in crate::agent::core) fn watch_completion(&mut self, now: Now, id: &ContainerId) {
        let Some(accepted_at) = self.tasks.get(id).map(|task| task.accepted_at) else { return };
        let passed = self.passed_since(now, accepted_at);
        let Some(task) = self.tasks.get_mut(id) else { return };
        let Some(limit) = task.limit.filter(|_| !task.has_ended() && task.overdue_at.is_none()) else { return };
        let at = now.mono_after(limit.saturating_sub(passed));
        task.overdue_at = Some(at);
        self.timers.arm(None, at, Timer::Overdue(id.clone()));
    }

    pub(in crate::agent::core) fn overdue(&mut self, now: Now, id: &ContainerId, out: &mut Vec<Effect>) {
        let Some(task) = self.tasks.get_mut(id) else { return };
        task.overdue_at = None;
        let (grace, killed) = (task.own_grace(), task.kill.is_some());
        if !killed {
            self.kill(now, id, grace, Some(Reason::MaxCompletionTimeReached), out);
        }
    }
}

pub(in crate::agent::core) fn signal(
    supervisor: SupervisorId,
    id: &(impl ToString + ?Sized),
    signal: i32,
    out: &mut Vec<Effect>,
) {
    let signal = supervisor_request::Kind::Signal(Signal { container_id: id.to_string(), signal, tree: true });
    out.push(Effect::Supervise { supervisor, request: SupervisorRequest { kind: Some(signal) } });
}
