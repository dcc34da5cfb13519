//! Ending containers: SIGTERM to the whole container, and after a grace SIGKILL. What is nested in one ends with it.
//!
//! A kill is written down before the first signal, so that an agent that comes back goes on with it. A repeated kill
//! may only shorten the time that is left. While a container's supervisor is silent its kill waits: the grace begins with
//! the signal that is sent when the supervisor answers again.

use std::time::Duration;

use crate::agent::core::containers::container::nanos;
use crate::agent::core::containers::{Limits, Phase};
use crate::agent::core::tasks::statuses::Report;
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
    /// Whether its signal waits for a supervisor that is silent.
    pub(in crate::agent::core) waits: bool,
}

impl Kill {
    pub(in crate::agent::core) fn new(grace: Duration, asked_at: Moment, reason: Option<Reason>) -> Self {
        Self { grace, asked_at, reason, hard_at: None, waits: false }
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
    pub(in crate::agent::core) fn before_start(&self, limits: &Limits) -> Report {
        match self.reason {
            Some(Reason::AgentDisconnected) => cut_off(limits, "it had not started"),
            Some(reason) => Report::by_agent(TaskState::TaskFailed, reason, "ended before it was started".to_owned()),
            None => Report::by_agent(
                TaskState::TaskKilled,
                Reason::TaskKilledDuringLaunch,
                "killed before it was started".to_owned(),
            ),
        }
    }

    /// The last status of a task that ended as `text` says.
    pub(in crate::agent::core) fn after_exit(&self, text: &str, limits: &Limits) -> Report {
        match self.reason {
            Some(Reason::AgentDisconnected) => cut_off(limits, text),
            Some(reason @ Reason::ExecutorTerminated) => {
                let text = format!("ended by the agent: its parent container ended: {text}");
                Report { reason: Some(reason), ..Report::by_executor(TaskState::TaskFailed, text) }
            }
            Some(reason) => {
                let limit = limits.completion;
                let limit = limit.map(|limit| format!("it took longer than max_completion_time, {limit:?}: "));
                let text = format!("ended by the agent: {}{text}", limit.unwrap_or_default());
                Report { reason: Some(reason), ..Report::by_executor(TaskState::TaskFailed, text) }
            }
            None => Report::by_executor(TaskState::TaskKilled, format!("killed: {text}")),
        }
    }
}

fn cut_off(limits: &Limits, text: &str) -> Report {
    let time = limits.without_master.unwrap_or_default();
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
            let own = self.containers.get(&id).and_then(|container| container.limits.grace);
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

    /// Kills a container with all that is nested in it, whatever its phase; what its task reports depends on `reason`.
    pub(in crate::agent::core) fn kill(
        &mut self,
        now: Now,
        id: &ContainerId,
        grace: Duration,
        reason: Option<Reason>,
        out: &mut Vec<Effect>,
    ) {
        for child in self.containers.children(id) {
            self.kill(now, &child, grace, reason, out);
        }
        let kill = Kill::new(grace, self.moment(now), reason);
        let Some(container) = self.containers.get_mut(id) else { return };
        match (&container.phase, &mut container.kill) {
            (Phase::Ended(_), _) => {}
            (Phase::Accepted(_) | Phase::Provisioned(_), _) => {
                let report = kill.before_start(&container.limits);
                self.end(now, id, report, out);
            }
            (Phase::Provisioning(..), before) => {
                before.get_or_insert(kill);
                self.cancel_provisioning(id, out);
            }
            (Phase::Starting(_) | Phase::Running(..) | Phase::Unresolved(_), Some(before)) => {
                let until = now.mono_after(grace);
                if before.hard_at.map_or(before.grace > grace, |hard_at| until < hard_at) {
                    *before = Kill { hard_at: before.hard_at, reason: before.reason, waits: before.waits, ..kill };
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

    /// A container has ended: what is nested in it and was not killed with it ends too.
    pub(in crate::agent::core) fn end_children(&mut self, now: Now, id: &ContainerId, out: &mut Vec<Effect>) {
        for child in self.containers.children(id) {
            if let Some(container) = self.containers.get(&child).filter(|child| child.kill.is_none()) {
                let grace = container.own_grace();
                self.kill(now, &child, grace, Some(Reason::ExecutorTerminated), out);
            }
        }
    }

    /// A crash may have come between the end of a container and the kills of what is nested in it.
    pub(in crate::agent::core) fn end_parentless(&mut self, now: Now, out: &mut Vec<Effect>) {
        let lost = |container: &super::Container| {
            !container.has_ended() && container.kill.is_none() && self.containers.has_lost_parent(container)
        };
        for id in self.containers.ids(|_, container| lost(container)) {
            let grace = self.containers.get(&id).map(super::Container::own_grace).unwrap_or_default();
            self.kill(now, &id, grace, Some(Reason::ExecutorTerminated), out);
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
        let asked_at = self.containers.get(id).and_then(|it| it.kill.as_ref()).map(|kill| kill.asked_at);
        let passed = asked_at.map(|at| self.passed_since(now, at)).unwrap_or_default();
        let Some(container) = self.containers.get_mut(id) else { return };
        let (Phase::Running(supervisor, _), Some(kill)) = (&container.phase, &mut container.kill) else { return };
        if kill.hard_at.is_some() || kill.waits {
            return;
        }
        if self.supervisors.is_silent(*supervisor) {
            kill.waits = true;
            return;
        }
        let until = now.mono_after(kill.grace.saturating_sub(passed));
        kill.hard_at = Some(until);
        signal(*supervisor, id, SIGTERM, out);
        self.timers.arm(None, until, Timer::Kill(id.clone()));
    }

    /// The supervisor was away or silent: it may not have received the signal, and a kill may have waited for it.
    pub(in crate::agent::core) fn term_again(&mut self, now: Now, id: &ContainerId, out: &mut Vec<Effect>) {
        let Some(container) = self.containers.get_mut(id) else { return };
        let (Phase::Running(supervisor, _), Some(kill)) = (&container.phase, &mut container.kill) else { return };
        signal(*supervisor, id, SIGTERM, out);
        if std::mem::take(&mut kill.waits) {
            let until = now.mono_after(kill.grace);
            let before = kill.hard_at.replace(until);
            self.timers.arm(before, until, Timer::Kill(id.clone()));
        }
    }

    /// Brings the end of a running grace forward.
    fn harden(&mut self, id: &ContainerId, until: u64) {
        let Some(kill) = self.containers.get_mut(id).and_then(|container| container.kill.as_mut()) else { return };
        let Some(before) = kill.hard_at else { return };
        kill.hard_at = Some(until);
        self.timers.arm(Some(before), until, Timer::Kill(id.clone()));
    }

    pub(in crate::agent::core) fn kill_due(&mut self, now: Now, id: &ContainerId, out: &mut Vec<Effect>) {
        let Some(container) = self.containers.get_mut(id) else { return };
        let (Phase::Running(supervisor, _), Some(kill)) = (&container.phase, &mut container.kill) else { return };
        kill.hard_at = None;
        if self.supervisors.is_silent(*supervisor) {
            kill.waits = true;
            return;
        }
        signal(*supervisor, id, SIGKILL, out);
        let again = now.mono_after(AGAIN);
        kill.hard_at = Some(again);
        self.timers.arm(None, again, Timer::Kill(id.clone()));
    }

    /// Sees to it that a container does not take longer than it may.
    pub(in crate::agent::core) fn watch_completion(&mut self, now: Now, id: &ContainerId) {
        let Some(accepted_at) = self.containers.get(id).map(|container| container.accepted_at) else { return };
        let passed = self.passed_since(now, accepted_at);
        let Some(container) = self.containers.get_mut(id) else { return };
        let is_open = !container.has_ended() && container.overdue_at.is_none();
        let Some(limit) = container.limits.completion.filter(|_| is_open) else { return };
        let at = now.mono_after(limit.saturating_sub(passed));
        container.overdue_at = Some(at);
        self.timers.arm(None, at, Timer::Overdue(id.clone()));
    }

    pub(in crate::agent::core) fn overdue(&mut self, now: Now, id: &ContainerId, out: &mut Vec<Effect>) {
        let Some(container) = self.containers.get_mut(id) else { return };
        container.overdue_at = None;
        let (grace, killed) = (container.own_grace(), container.kill.is_some());
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
