//! The supervisors: who they are, what their greetings say, and what becomes of tasks whose supervisor is gone.
//!
//! Until every supervisor found at the start has greeted or is known to be lost, the agent does not know what it runs.
//! New tasks go to the latest supervisor; earlier ones are retired and end when they are empty.

use std::collections::{BTreeMap, BTreeSet};

use super::statuses::Report;
use super::tasks::{Phase, Task};
use super::{Agent, ContainerId, Effect, FoundSupervisor, Level, SupervisorId, persist};
use crate::proto::internal::{
    Retire, SupervisorEvent, SupervisorRequest, SupervisorWelcome, supervisor_event, supervisor_request,
};
use crate::proto::v1::TaskState;
use crate::proto::v1::task_status::Reason;
use crate::types::Now;

/// Why a container of a dead supervisor is gone, when nobody saw the death.
const DIED: &str = "its supervisor died";
/// Why a container is gone whose supervisor lives.
const UNKNOWN_THERE: &str = "its supervisor does not have it any more";

/// The supervisors of an agent.
#[derive(Debug)]
pub(super) struct Supervisors {
    known: BTreeMap<SupervisorId, Standing>,
    /// Those found at the start that have not greeted.
    awaited: BTreeSet<SupervisorId>,
    settled: bool,
}

/// What a supervisor is good for.
#[derive(Debug, PartialEq, Eq)]
enum Standing {
    /// It has not greeted yet.
    Found,
    /// It takes starts.
    Working,
    /// It was told to end when it is empty.
    Retired,
    /// It died, as the text says; its records are served still.
    Dead(String),
}

impl Supervisors {
    pub(super) fn awaiting(found: impl IntoIterator<Item = FoundSupervisor>) -> Self {
        let standing = |takes_starts| if takes_starts { Standing::Found } else { Standing::Dead(DIED.to_owned()) };
        let known: BTreeMap<_, _> = found.into_iter().map(|it| (it.id, standing(it.takes_starts))).collect();
        Self { awaited: known.keys().copied().collect(), known, settled: false }
    }

    /// Whether all that were found at the start were heard.
    pub(super) fn settled(&self) -> bool {
        self.settled
    }

    /// Whether it takes requests.
    pub(super) fn has(&self, supervisor: SupervisorId) -> bool {
        self.known.contains_key(&supervisor)
    }

    /// Where new tasks go.
    pub(super) fn latest(&self) -> Option<SupervisorId> {
        let working = |(id, standing): (&SupervisorId, &Standing)| (*standing == Standing::Working).then_some(*id);
        self.known.iter().rev().find_map(working)
    }

    fn greeted(&mut self, supervisor: SupervisorId) {
        let standing = self.known.entry(supervisor).or_insert(Standing::Found);
        if *standing == Standing::Found {
            *standing = Standing::Working;
        }
        self.awaited.remove(&supervisor);
    }

    fn retire(&mut self, which: impl Fn(SupervisorId) -> bool, out: &mut Vec<Effect>) {
        let working = |(id, standing): &(&SupervisorId, &mut Standing)| which(**id) && **standing == Standing::Working;
        for (supervisor, standing) in self.known.iter_mut().filter(working) {
            *standing = Standing::Retired;
            let request = SupervisorRequest { kind: Some(supervisor_request::Kind::Retire(Retire {})) };
            out.push(Effect::Supervise { supervisor: *supervisor, request });
        }
    }

    /// Why a container that a supervisor had is not there any more.
    fn loss(&self, supervisor: SupervisorId) -> String {
        match self.known.get(&supervisor) {
            Some(Standing::Dead(text)) => text.clone(),
            Some(Standing::Found | Standing::Working | Standing::Retired) | None => UNKNOWN_THERE.to_owned(),
        }
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
        self.supervisors.greeted(supervisor);
        let running = welcome.running.iter().map(|started| started.container_id.as_str());
        let exited = welcome.exited.iter().map(|exited| exited.container_id.as_str());
        let named: BTreeSet<String> = running.chain(exited).map(str::to_owned).collect();
        for started in welcome.running {
            self.started(now, supervisor, started, out);
        }
        for exited in welcome.exited {
            self.exited(now, supervisor, &exited, out);
        }
        self.lose(now, supervisor, &named, out);
        self.retire_earlier(out);
        self.settle(now, out);
        self.start_ready(out);
    }

    pub(super) fn supervisor_lost(&mut self, supervisor: SupervisorId, text: String) {
        self.supervisors.known.insert(supervisor, Standing::Dead(text));
    }

    pub(super) fn supervisor_ended(&mut self, now: Now, supervisor: SupervisorId, out: &mut Vec<Effect>) {
        self.lose(now, supervisor, &BTreeSet::new(), out);
        self.supervisors.known.remove(&supervisor);
        self.supervisors.awaited.remove(&supervisor);
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
            Some(_) | None if self.restarted_host => self.host_restarted(id),
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

    /// Ends the tasks a supervisor was given, but for those named.
    fn lose(&mut self, now: Now, supervisor: SupervisorId, named: &BTreeSet<String>, out: &mut Vec<Effect>) {
        let text = self.supervisors.loss(supervisor);
        let there = |task: &Task| !task.has_ended() && task.supervisor() == Some(supervisor);
        let gone = self.tasks.iter().filter(|(id, task)| there(task) && !named.contains(id.as_str()));
        for id in gone.map(|(id, _)| id.clone()).collect::<Vec<_>>() {
            let Some(task) = self.tasks.get_mut(&id) else { continue };
            task.phase = Phase::Ended(None);
            let report = match &task.kill {
                Some(kill) => kill.after_exit(&text, task.limit),
                None => Report::by_agent(TaskState::TaskFailed, Reason::ExecutorTerminated, text.clone()),
            };
            self.end(now, &id, report, out);
        }
    }

    /// What there is to say of a task that ran when the host went down.
    pub(super) fn host_restarted(&self, id: &ContainerId) -> Report {
        let framework = self.tasks.get(id).map(|task| task.framework.clone()).unwrap_or_default();
        let state = self.lost_state(&framework, TaskState::TaskGone);
        Report::by_agent(state, Reason::AgentRestarted, "the host restarted".to_owned())
    }

    fn start_ready(&mut self, out: &mut Vec<Effect>) {
        let ready = self.tasks.iter().filter(|(_, task)| matches!(task.phase, Phase::Ready(_)));
        let ready: Vec<ContainerId> = ready.map(|(id, _)| id.clone()).collect();
        for id in ready {
            self.start(&id, out);
        }
    }

    fn retire_earlier(&mut self, out: &mut Vec<Effect>) {
        if let Some(latest) = self.supervisors.latest() {
            self.supervisors.retire(|supervisor| supervisor < latest, out);
        }
    }

    /// The agent leaves for good: nobody will want anything of its supervisors.
    pub(super) fn retire_all(&mut self, out: &mut Vec<Effect>) {
        self.supervisors.retire(|_| true, out);
    }
}
