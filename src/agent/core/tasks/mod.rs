//! Tasks: accepted, recorded, reported, removed. Each runs in a container.

pub(in crate::agent::core) mod frameworks;
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
use crate::agent::core::containers::{Container, Limits, Phase, forget_container};
use crate::agent::core::tasks::statuses::{Pending, Report, Retry};
use crate::agent::core::time::timers::Timer;
use crate::agent::core::{Agent, ContainerId, Effect, persist_records, record};
use crate::proto::internal::agent_record::Kind;
use crate::proto::internal::{RunTask, TaskAccepted};
use crate::proto::v1::task_status::Reason;
use crate::proto::v1::{FrameworkId, TaskId, TaskInfo, TaskState};
use crate::types::Now;

/// One task that the agent has not removed yet. It is stored under the id of its launch, which is also the id of the
/// container that was made for it.
#[derive(Debug)]
pub(in crate::agent::core) struct Task {
    pub(in crate::agent::core) framework: FrameworkId,
    pub(in crate::agent::core) name: TaskId,
    /// The container it runs in.
    pub(in crate::agent::core) container: ContainerId,
    /// The encoded `TaskInfo`.
    pub(in crate::agent::core) info: Bytes,
    pub(in crate::agent::core) latest: TaskState,
    /// Its framework was removed: it is killed, and no status is sent.
    pub(in crate::agent::core) orphaned: bool,
    /// Statuses not yet acknowledged; the first is in flight.
    pub(in crate::agent::core) pending: VecDeque<Pending>,
    pub(in crate::agent::core) retry: Option<Retry>,
}

impl Task {
    /// A task as its acceptance describes it, in a container of its own.
    pub(in crate::agent::core) fn new(id: &ContainerId, accepted: &TaskAccepted, info: &TaskInfo) -> Self {
        Self {
            framework: FrameworkId { value: accepted.framework_id.clone() },
            name: info.task_id.clone(),
            container: id.clone(),
            info: accepted.task_info.clone(),
            latest: TaskState::TaskStaging,
            orphaned: false,
            pending: VecDeque::new(),
            retry: None,
        }
    }

    pub(in crate::agent::core) fn check(&self, container: &Container) {
        let id = &self.container;
        assert!(container.has_ended() || !self.latest.is_terminal(), "{id} goes on in {:?}", self.latest);
        let early = self.pending.iter().rev().skip(1).any(|pending| pending.state.is_terminal());
        assert!(!early, "{id} has a status after its terminal one");
        assert!(!container.has_ended() || !self.pending.is_empty(), "{id} has ended and was reported: forget it");
        assert!(!self.orphaned || self.pending.is_empty(), "{id} is an orphan with a status to send");
    }
}

impl Agent {
    /// Accepts a task. A launch with a known container id is a duplicate. One with an invalid id is dropped, and the
    /// master detects that at the next registration.
    pub(in crate::agent::core) fn run_task(&mut self, now: Now, run: RunTask, out: &mut Vec<Effect>) {
        self.launch(now, run, None, out);
    }

    /// The same in a container nested in `parent`, where one is given.
    pub(in crate::agent::core) fn launch(
        &mut self,
        now: Now,
        run: RunTask,
        parent: Option<&ContainerId>,
        out: &mut Vec<Effect>,
    ) {
        let Some(id) = ContainerId::parse(&run.container_id) else { return };
        // A supervisor still runs this id without a record, and it is being killed: an id is started once.
        let is_being_ended = self.supervisors.unrecorded().any(|unrecorded| unrecorded == id.as_str());
        if self.tasks.contains_key(&id) || is_being_ended || self.leaving.is_some() {
            return;
        }
        let Ok(info) = TaskInfo::decode(run.task_info.clone()) else { return };
        if self.space.is_full() {
            return self.refuse_for_space(now, &id, run, &info, out);
        }
        let framework = FrameworkId { value: run.framework_id.clone() };
        let launch = Launch {
            config: &self.config,
            agent: &self.id,
            framework: &framework,
            framework_user: self.frameworks.get(&framework).map(|framework| framework.user.as_str()),
            container: &id,
            parent,
        };
        let prepared = launch.prepare(&info).map_err(|refusal| refusal.to_string());
        let found = parent.map(|parent| (parent, self.containers.get(parent)));
        let prepared = match found {
            Some((parent, None | Some(Container { phase: Phase::Ended(_), .. }))) => {
                Err(format!("its parent container {parent} is not there"))
            }
            Some((parent, Some(Container { kill: Some(_), .. }))) => {
                Err(format!("its parent container {parent} is being killed"))
            }
            Some((_, Some(_))) | None => prepared,
        };
        match prepared {
            Ok(start) => {
                self.accept(now, &id, run, &info, (parent.cloned(), Phase::Accepted(Box::new(start))), out);
                self.provision_when_parent_runs(&id, out);
            }
            Err(text) => {
                self.accept(now, &id, run, &info, (None, Phase::Ended(None)), out);
                let report = Report::by_agent(TaskState::TaskFailed, Reason::ContainerLaunchFailed, text);
                self.end(now, &id, report, out);
            }
        }
    }

    /// Records a task as accepted, with its container as `(parent, phase)`.
    pub(in crate::agent::core) fn accept(
        &mut self,
        now: Now,
        id: &ContainerId,
        run: RunTask,
        info: &TaskInfo,
        (parent, phase): (Option<ContainerId>, Phase),
        out: &mut Vec<Effect>,
    ) {
        let RunTask { framework_id, container_id, task_info } = run;
        let parent_id = parent.as_ref().map(ToString::to_string);
        let accepted = TaskAccepted { framework_id, container_id, task_info, wall_ns: now.wall_ns, parent_id };
        let at = self.moment(now);
        // Left by a power cut that removed the launch from the log, or by a container whose id is used again.
        let sandbox = self.sandboxes.reclaim(id);
        let container = Container { sandbox, ..Container::new(parent, at, Limits::of(info), phase) };
        self.insert(id, Task::new(id, &accepted, info), container);
        self.watch_completion(now, id);
        out.push(persist_records(vec![at.record(Kind::Accepted(accepted))]));
    }

    /// Adds a task. A log may name one container twice if a master reused its id; the later task replaces the earlier.
    pub(in crate::agent::core) fn insert(&mut self, id: &ContainerId, task: Task, container: Container) {
        if let Some(earlier) = self.tasks.get(id) {
            self.names.remove(&(earlier.framework.clone(), earlier.name.clone(), id.clone()));
        }
        self.names.insert((task.framework.clone(), task.name.clone(), id.clone()));
        self.tasks.insert(id.clone(), task);
        self.containers.insert(id, container);
    }

    /// Ends a container and reports its task's last status; an orphan is removed at once.
    pub(in crate::agent::core) fn end(&mut self, now: Now, id: &ContainerId, report: Report, out: &mut Vec<Effect>) {
        let Some(container) = self.containers.get_mut(id) else { return };
        let kill_at = container.kill.as_mut().and_then(|kill| kill.sigkill_at.take());
        self.timers.disarm(kill_at, Timer::Kill(id.clone()));
        self.timers.disarm(container.overdue_at.take(), Timer::Overdue(id.clone()));
        self.timers.disarm(container.stop_at.take(), Timer::CutOff(id.clone()));
        container.phase = Phase::Ended(container.supervisor());
        self.kill_children(now, id, out);
        if self.tasks.get(id).is_some_and(|task| task.orphaned) {
            self.forget(now, id, None, out);
        } else {
            self.report(now, id, report, None, out);
        }
    }

    /// Removes an ended task and its container but not the sandbox. `first` is part of the same write.
    pub(in crate::agent::core) fn forget(
        &mut self,
        now: Now,
        id: &ContainerId,
        first: Option<Kind>,
        out: &mut Vec<Effect>,
    ) {
        let Some(task) = self.tasks.remove(id) else { return };
        let Some(container) = self.containers.remove(&task.container) else { return };
        self.timers.disarm(task.retry.and_then(|retry| retry.at), Timer::Retry(id.clone()));
        let records = first.into_iter().chain([Kind::Forgotten(id.to_string())]).map(record).collect();
        out.push(persist_records(records));
        let keeper = container.supervisor().filter(|supervisor| self.supervisors.is_known(*supervisor));
        if let Some(supervisor) = keeper {
            forget_container(supervisor, id.to_string(), out);
        }
        self.names.remove(&(task.framework, task.name, id.clone()));
        if task.orphaned {
            self.orphan_gone(id.to_string(), out);
        }
        if container.sandbox {
            self.sandboxes.retire(now, id.clone(), Duration::ZERO, out);
        }
    }
}
