//! Kills of containers: SIGTERM to all processes, and SIGKILL after a grace period. Nested containers are killed too.
//!
//! A kill is recorded before the first signal, so that a restarted agent continues it. A repeated kill can only shorten
//! the grace period. While a container's supervisor is silent its kill waits. The grace period then begins with the
//! SIGTERM that is sent when the supervisor answers again.

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

/// The default grace period between SIGTERM and SIGKILL.
pub(in crate::agent::core) const GRACE: Duration = Duration::from_secs(3);
/// Between two SIGKILLs, for a process that is stuck in the kernel.
const AGAIN: Duration = Duration::from_secs(10);

const SIGTERM: i32 = 15;
pub(in crate::agent::core) const SIGKILL: i32 = 9;

/// A recorded kill.
#[derive(Clone, Debug)]
pub(in crate::agent::core) struct Kill {
    pub(in crate::agent::core) grace: Duration,
    pub(in crate::agent::core) requested_at: Moment,
    /// Why the agent kills; `None` when a scheduler requested it.
    pub(in crate::agent::core) reason: Option<Reason>,
    /// When SIGKILL is sent; `None` until SIGTERM was sent.
    pub(in crate::agent::core) sigkill_at: Option<u64>,
    /// Whether its signal waits for a silent supervisor.
    pub(in crate::agent::core) waits: bool,
}

impl Kill {
    pub(in crate::agent::core) fn new(grace: Duration, requested_at: Moment, reason: Option<Reason>) -> Self {
        Self { grace, requested_at, reason, sigkill_at: None, waits: false }
    }

    /// The log record of this kill.
    pub(in crate::agent::core) fn to_record(&self, id: &ContainerId) -> AgentRecord {
        let asked = KillAsked {
            container_id: id.to_string(),
            grace_ms: u64::try_from(self.grace.as_millis()).unwrap_or(u64::MAX),
            wall_ns: self.requested_at.wall_ns,
            reason: self.reason.map(|reason| reason as i32),
        };
        self.requested_at.record(Kind::Kill(asked))
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

    /// The last status of a task whose processes ended; `text` says how.
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
    let text = format!("killed after {time:?} without a master, as its partition policy requires: {text}");
    Report::by_agent(TaskState::TaskKilled, Reason::AgentDisconnected, text)
}

impl Agent {
    /// A scheduler requested a kill. One of an unknown task is ignored.
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

    /// Kills all tasks; the agent ends when the last has ended.
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

    /// Kills a container and those nested in it, in any phase. `reason` decides what their tasks report.
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
                if before.sigkill_at.map_or(before.grace > grace, |sigkill_at| until < sigkill_at) {
                    *before =
                        Kill { sigkill_at: before.sigkill_at, reason: before.reason, waits: before.waits, ..kill };
                    out.push(persist_records(vec![before.to_record(id)]));
                    self.shorten_grace(id, until);
                }
            }
            (Phase::Starting(_) | Phase::Running(..) | Phase::Unresolved(_), none @ None) => {
                out.push(persist_records(vec![kill.to_record(id)]));
                *none = Some(kill);
                self.report_killing(now, id, out);
                self.resume_kill(now, id, out);
            }
        }
    }

    /// A container has ended: kills those nested in it that are not being killed yet.
    pub(in crate::agent::core) fn kill_children(&mut self, now: Now, id: &ContainerId, out: &mut Vec<Effect>) {
        for child in self.containers.children(id) {
            if let Some(container) = self.containers.get(&child).filter(|child| child.kill.is_none()) {
                let grace = container.grace_or_default();
                self.kill(now, &child, grace, Some(Reason::ExecutorTerminated), out);
            }
        }
    }

    /// Kills containers whose parent has ended: a crash may have come before their kills were recorded.
    pub(in crate::agent::core) fn kill_parentless(&mut self, now: Now, out: &mut Vec<Effect>) {
        let lost = |container: &super::Container| {
            !container.has_ended() && container.kill.is_none() && self.containers.has_lost_parent(container)
        };
        for id in self.containers.ids(|_, container| lost(container)) {
            let grace = self.containers.get(&id).map(super::Container::grace_or_default).unwrap_or_default();
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

    /// Sends SIGTERM to a running container whose kill has sent none yet, and arms the timer for SIGKILL. The grace
    /// period counts from the request, also through a restart of the agent.
    pub(in crate::agent::core) fn resume_kill(&mut self, now: Now, id: &ContainerId, out: &mut Vec<Effect>) {
        let requested_at = self.containers.get(id).and_then(|it| it.kill.as_ref()).map(|kill| kill.requested_at);
        let passed = requested_at.map(|at| self.passed_since(now, at)).unwrap_or_default();
        let Some(container) = self.containers.get_mut(id) else { return };
        let (Phase::Running(supervisor, _), Some(kill)) = (&container.phase, &mut container.kill) else { return };
        if self.supervisors.is_silent(*supervisor) {
            kill.waits = true;
            return;
        }
        let until = now.mono_after(kill.grace.saturating_sub(passed));
        kill.sigkill_at = Some(until);
        signal(*supervisor, id, SIGTERM, out);
        self.timers.arm(None, until, Timer::Kill(id.clone()));
    }

    /// Sends SIGTERM again after its supervisor was disconnected or silent: the first may not have been received.
    pub(in crate::agent::core) fn resend_sigterm(&mut self, now: Now, id: &ContainerId, out: &mut Vec<Effect>) {
        let Some(container) = self.containers.get_mut(id) else { return };
        let (Phase::Running(supervisor, _), Some(kill)) = (&container.phase, &mut container.kill) else { return };
        signal(*supervisor, id, SIGTERM, out);
        if std::mem::take(&mut kill.waits) {
            let until = now.mono_after(kill.grace);
            let before = kill.sigkill_at.replace(until);
            self.timers.arm(before, until, Timer::Kill(id.clone()));
        }
    }

    /// Moves the SIGKILL of a running grace period to an earlier time.
    fn shorten_grace(&mut self, id: &ContainerId, until: u64) {
        let Some(kill) = self.containers.get_mut(id).and_then(|container| container.kill.as_mut()) else { return };
        let Some(before) = kill.sigkill_at else { return };
        kill.sigkill_at = Some(until);
        self.timers.arm(Some(before), until, Timer::Kill(id.clone()));
    }

    pub(in crate::agent::core) fn kill_due(&mut self, now: Now, id: &ContainerId, out: &mut Vec<Effect>) {
        let Some(container) = self.containers.get_mut(id) else { return };
        let (Phase::Running(supervisor, _), Some(kill)) = (&container.phase, &mut container.kill) else { return };
        kill.sigkill_at = None;
        if self.supervisors.is_silent(*supervisor) {
            kill.waits = true;
            return;
        }
        signal(*supervisor, id, SIGKILL, out);
        let again = now.mono_after(AGAIN);
        kill.sigkill_at = Some(again);
        self.timers.arm(None, again, Timer::Kill(id.clone()));
    }

    /// Arms the timer for the maximum completion time of a container.
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
        let (grace, killed) = (container.grace_or_default(), container.kill.is_some());
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
