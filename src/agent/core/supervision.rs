//! The supervisors: who they are, what their greetings say, and what becomes of tasks whose supervisor is gone.
//!
//! Until every supervisor found at the start has greeted or is known to be lost, the agent does not know what it runs.
//! New tasks go to the latest supervisor; earlier ones are retired and end when they are empty.

use std::collections::{BTreeMap, BTreeSet};

use super::statuses::Report;
use super::tasks::{Phase, Task};
use super::{Agent, ContainerId, Effect, Level, SupervisorId, persist};
use crate::proto::internal::{
    Retire, SupervisorEvent, SupervisorRequest, SupervisorWelcome, supervisor_event, supervisor_request,
};
use crate::proto::v1::TaskState;
use crate::proto::v1::task_status::Reason;
use crate::types::Now;

/// The supervisors of an agent.
#[derive(Debug)]
pub(super) struct Supervisors {
    /// Those that have greeted, and whether each was told to retire.
    greeted: BTreeMap<SupervisorId, bool>,
    /// Those found at the start that have not.
    awaited: BTreeSet<SupervisorId>,
    settled: bool,
}

impl Supervisors {
    pub(super) fn awaiting(found: impl IntoIterator<Item = SupervisorId>) -> Self {
        Self { greeted: BTreeMap::new(), awaited: found.into_iter().collect(), settled: false }
    }

    /// Whether all that were found at the start were heard.
    pub(super) fn settled(&self) -> bool {
        self.settled
    }

    pub(super) fn has(&self, supervisor: SupervisorId) -> bool {
        self.greeted.contains_key(&supervisor)
    }

    /// Where new tasks go.
    pub(super) fn latest(&self) -> Option<SupervisorId> {
        self.greeted.last_key_value().map(|(supervisor, _)| *supervisor)
    }
}

impl Agent {
    pub(super) fn supervised(
        &mut self,
        now: Now,
        supervisor: SupervisorId,
        event: SupervisorEvent,
        out: &mut Vec<Effect>,
    ) {
        let Some(kind) = event.kind else { return };
        match kind {
            supervisor_event::Kind::Welcome(welcome) => self.welcomed(now, supervisor, welcome, out),
            supervisor_event::Kind::Started(started) => self.started(now, supervisor, started, out),
            supervisor_event::Kind::StartFailed(failed) => self.start_failed(now, &failed, out),
            supervisor_event::Kind::Exited(exited) => self.exited(now, supervisor, &exited, out),
        }
    }

    /// A supervisor says all it has. What the agent had given it and it does not have is lost.
    fn welcomed(&mut self, now: Now, supervisor: SupervisorId, welcome: SupervisorWelcome, out: &mut Vec<Effect>) {
        self.supervisors.greeted.entry(supervisor).or_insert(false);
        self.supervisors.awaited.remove(&supervisor);
        let running = welcome.running.iter().map(|started| started.container_id.as_str());
        let exited = welcome.exited.iter().map(|exited| exited.container_id.as_str());
        let named: BTreeSet<String> = running.chain(exited).map(str::to_owned).collect();
        for started in welcome.running {
            self.started(now, supervisor, started, out);
        }
        for exited in welcome.exited {
            self.exited(now, supervisor, &exited, out);
        }
        for id in self.live_on(supervisor) {
            if !named.contains(id.as_str()) {
                self.lost(now, &id, "its supervisor does not have it any more", out);
            }
        }
        self.retire_earlier(out);
        self.settle(now, out);
        self.start_ready(out);
    }

    pub(super) fn supervisor_lost(&mut self, now: Now, supervisor: SupervisorId, text: &str, out: &mut Vec<Effect>) {
        self.supervisors.greeted.remove(&supervisor);
        self.supervisors.awaited.remove(&supervisor);
        for id in self.live_on(supervisor) {
            self.lost(now, &id, text, out);
        }
        for task in self.tasks.values_mut() {
            if let Phase::Ended(keeper) = &mut task.phase {
                keeper.take_if(|keeper| *keeper == supervisor);
            }
        }
        self.settle(now, out);
    }

    /// When all were heard: what is still unresolved has ended unseen. Then the agent may register.
    pub(super) fn settle(&mut self, now: Now, out: &mut Vec<Effect>) {
        if self.supervisors.settled || !self.supervisors.awaited.is_empty() {
            return;
        }
        self.supervisors.settled = true;
        let unresolved =
            |(id, task): (&ContainerId, &Task)| matches!(task.phase, Phase::Unresolved(_)).then(|| id.clone());
        let unresolved: Vec<ContainerId> = self.tasks.iter().filter_map(unresolved).collect();
        for id in unresolved {
            self.end_unresolved(now, &id, out);
        }
        if std::mem::take(&mut self.restarted_host) && self.id().is_some() {
            out.push(persist([self.identity()], Level::Process));
        }
        self.begin_attaching(now);
    }

    fn end_unresolved(&mut self, now: Now, id: &ContainerId, out: &mut Vec<Effect>) {
        let Some(task) = self.tasks.get(id) else { return };
        let started = matches!(task.phase, Phase::Unresolved(Some(_))) || task.latest != TaskState::TaskStaging;
        let report = match &task.kill {
            Some(kill) if !started => kill.before_start(),
            Some(_) | None if self.restarted_host => {
                let state = self.lost_state(&task.framework, TaskState::TaskGone);
                Report::by_agent(state, Reason::AgentRestarted, "the host restarted".to_owned())
            }
            Some(_) | None if started => {
                let text = "the task's process ended unseen while the agent was away".to_owned();
                Report::by_agent(TaskState::TaskFailed, Reason::ExecutorTerminated, text)
            }
            Some(_) | None => {
                let state = self.lost_state(&task.framework, TaskState::TaskDropped);
                let text = "the launch was cut off by an agent restart".to_owned();
                Report::by_agent(state, Reason::AgentRestarted, text)
            }
        };
        self.end(now, id, report, out);
    }

    /// A container that its supervisor had and that is gone.
    fn lost(&mut self, now: Now, id: &ContainerId, text: &str, out: &mut Vec<Effect>) {
        let Some(task) = self.tasks.get_mut(id) else { return };
        let report = match &task.kill {
            Some(kill) => kill.after_exit(text, task.limit),
            None => Report::by_agent(TaskState::TaskFailed, Reason::ExecutorTerminated, text.to_owned()),
        };
        task.phase = Phase::Ended(None);
        self.end(now, id, report, out);
    }

    fn live_on(&self, supervisor: SupervisorId) -> Vec<ContainerId> {
        let there = |task: &Task| !task.has_ended() && task.supervisor() == Some(supervisor);
        self.tasks.iter().filter(|(_, task)| there(task)).map(|(id, _)| id.clone()).collect()
    }

    fn start_ready(&mut self, out: &mut Vec<Effect>) {
        let ready = self.tasks.iter().filter(|(_, task)| matches!(task.phase, Phase::Ready(_)));
        let ready: Vec<ContainerId> = ready.map(|(id, _)| id.clone()).collect();
        for id in ready {
            self.start(&id, out);
        }
    }

    fn retire_earlier(&mut self, out: &mut Vec<Effect>) {
        let Some(latest) = self.supervisors.latest() else { return };
        for (supervisor, retired) in self.supervisors.greeted.range_mut(..latest) {
            if !std::mem::replace(retired, true) {
                let request = SupervisorRequest { kind: Some(supervisor_request::Kind::Retire(Retire {})) };
                out.push(Effect::Supervise { supervisor: *supervisor, request });
            }
        }
    }
}
