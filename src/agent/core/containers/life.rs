//! The states of a container between its provisioning and its end, as its supervisor reports them.

use super::{Container, Phase, Process, wording};
use crate::agent::core::tasks::statuses::Report;
use crate::agent::core::{Agent, ContainerId, Effect, Level, SupervisorId, persist};
use crate::proto::ext::{ProcessEnd, process_end::How};
use crate::proto::internal::agent_record::Kind;
use crate::proto::internal::{Exited, Forget, StartFailed, Started, SupervisorRequest, exited, supervisor_request};
use crate::proto::v1::TaskState;
use crate::proto::v1::task_status::Reason;
use crate::types::Now;

impl Agent {
    /// Begins to provision a container, unless it is nested in one that does not run yet.
    pub(in crate::agent::core) fn provision_when_parent_runs(&mut self, id: &ContainerId, out: &mut Vec<Effect>) {
        let parent = self.containers.get(id).and_then(|container| container.parent.as_ref());
        let is_held = parent.is_none_or(|parent| self.containers.get(parent).is_some_and(Container::is_running));
        if is_held {
            self.provision(id, out);
        }
    }

    /// Sends the start of a provisioned container to its parent's supervisor, or to the latest one.
    pub(in crate::agent::core) fn start(&mut self, id: &ContainerId, out: &mut Vec<Effect>) {
        let parent = self.containers.get(id).and_then(|container| container.parent.as_ref());
        let supervisor = match parent {
            Some(parent) => self.containers.get(parent).and_then(Container::supervisor),
            None => self.supervisors.latest(),
        };
        let Some(supervisor) = supervisor.filter(|supervisor| !self.supervisors.is_silent(*supervisor)) else { return };
        let Some(container) = self.containers.get_mut(id) else { return };
        if let Phase::Provisioned(start) = &mut container.phase {
            let request = supervisor_request::Kind::Start(std::mem::take(&mut **start));
            container.phase = Phase::Starting(supervisor);
            self.supervisors.recipients.record(supervisor, out);
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
        let Some((id, container)) = self.known(&started.container_id) else {
            return self.kill_unrecorded(now, supervisor, started.container_id, out);
        };
        let never_reported = |state| state == TaskState::TaskStaging;
        let first = match &container.phase {
            Phase::Starting(_) => true,
            Phase::Unresolved(seen) => {
                let seen = seen.is_some();
                !seen && self.tasks.get(&id).is_none_or(|task| never_reported(task.latest))
            }
            Phase::Running(..) => return self.resend_sigterm(now, &id, out),
            Phase::Accepted(_) | Phase::Provisioning(..) | Phase::Provisioned(_) | Phase::Ended(_) => {
                return self.kill_unrecorded(now, supervisor, started.container_id, out);
            }
        };
        let is_orphan = self.tasks.get(&id).is_some_and(|task| task.orphaned);
        let Some(container) = self.containers.get_mut(&id) else { return };
        let reported = first && container.kill.is_none() && !is_orphan;
        container.phase = Phase::Running(supervisor, Process::from(&started));
        if reported {
            let report = Report::running(started.pid);
            self.report(now, &id, report, Some(Kind::Started(started)), out);
        } else if first {
            out.push(persist([Kind::Started(started)], Level::Process));
        }
        self.watch_completion(now, &id);
        self.resume_kill(now, &id, out);
        for child in self.containers.children(&id) {
            self.provision(&child, out);
        }
    }

    pub(in crate::agent::core) fn start_failed(
        &mut self,
        now: Now,
        supervisor: SupervisorId,
        failed: &StartFailed,
        out: &mut Vec<Effect>,
    ) {
        self.unrecorded_ended(now, supervisor, &failed.container_id, out);
        let Some((id, container)) = self.known(&failed.container_id) else { return };
        if container.has_ended() {
            return;
        }
        let text = wording::start_failure(failed);
        let report = match &container.kill {
            Some(kill) => kill.before_start(&container.limits),
            None => Report::by_agent(TaskState::TaskFailed, Reason::ContainerLaunchFailed, text),
        };
        container.phase = Phase::Ended(None);
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
        self.unrecorded_ended(now, supervisor, &exited.container_id, out);
        let others_may_have_it = self.supervisors.others_may_have_more(supervisor);
        let Some((id, container)) = self.known(&exited.container_id) else {
            return forget_container(supervisor, exited.container_id.clone(), out);
        };
        let is_lost = matches!(exited.status, Some(exited::Status::Lost(_)));
        match &mut container.phase {
            Phase::Ended(keeper) => {
                // Two supervisors name it, one of them a copy. The end is recorded, and one needs to keep it.
                if *keeper.get_or_insert(supervisor) != supervisor {
                    forget_container(supervisor, exited.container_id.clone(), out);
                }
                return;
            }
            // A copy of its supervisor's folder names it too, with an outdated state.
            Phase::Running(other, _) | Phase::Starting(other) if is_lost && *other != supervisor => {
                return forget_container(supervisor, exited.container_id.clone(), out);
            }
            Phase::Unresolved(_) if is_lost && others_may_have_it => {
                self.supervisors.unconfirmed_ends.push((supervisor, exited.clone()));
                return;
            }
            Phase::Accepted(_)
            | Phase::Provisioning(..)
            | Phase::Provisioned(_)
            | Phase::Starting(_)
            | Phase::Running(..)
            | Phase::Unresolved(_) => {}
        }
        container.phase = Phase::Ended(Some(supervisor));
        let report = self.exit_report(&id, exited);
        self.end(now, &id, report, out);
    }

    /// Applies the ends that dead supervisors reported, once all have greeted and none runs these containers.
    pub(in crate::agent::core) fn apply_unconfirmed_ends(&mut self, now: Now, out: &mut Vec<Effect>) {
        if !self.supervisors.may_have_more() {
            for (supervisor, exited) in std::mem::take(&mut self.supervisors.unconfirmed_ends) {
                self.exited(now, supervisor, &exited, out);
            }
        }
    }

    fn exit_report(&self, id: &ContainerId, exited: &Exited) -> Report {
        let text = wording::exit(exited);
        let container = self.containers.get(id);
        let kill = container.and_then(|container| container.kill.as_ref().map(|kill| (kill, &container.limits)));
        let report = match (kill, &exited.status) {
            (Some((kill, limits)), _) => kill.after_exit(&text, limits),
            (None, Some(exited::Status::Code(0))) => Report::by_executor(TaskState::TaskFinished, text),
            (None, Some(exited::Status::Code(_) | exited::Status::Signal(_))) => {
                Report::by_executor(TaskState::TaskFailed, text)
            }
            (None, Some(exited::Status::Lost(_)) | None) => self
                .lost_with_previous_run(id, |_| text.clone())
                .filter(|_| !self.supervisors.all_answered())
                .unwrap_or_else(|| Report::by_agent(TaskState::TaskFailed, Reason::ExecutorTerminated, text)),
        };
        let process_end = exited.status.as_ref().and_then(process_end);
        Report { wall_ns: (exited.wall_ns > 0).then_some(exited.wall_ns), process_end, ..report }
    }

    pub(in crate::agent::core) fn known(&mut self, container: &str) -> Option<(ContainerId, &mut Container)> {
        let id = ContainerId::parse(container)?;
        self.containers.get_mut(&id).map(|container| (id, container))
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
