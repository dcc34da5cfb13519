//! The supervisors: who they are, what their greetings say, and what becomes of tasks whose supervisor is gone.
//!
//! Until every supervisor found at the start has greeted or is known to be lost, the agent does not know what it runs.
//! New tasks go to the latest supervisor; earlier ones are retired and end when they are empty.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::agent::core::tasks::kills::{SIGKILL, signal};
use crate::agent::core::tasks::statuses::Report;
use crate::agent::core::tasks::{Phase, Task};
use crate::agent::core::{Agent, ContainerId, Effect, FoundSupervisor, SupervisorId};
use crate::proto::internal::{
    Retire, SupervisorEvent, SupervisorRequest, SupervisorWelcome, supervisor_event, supervisor_request,
};
use crate::proto::v1::TaskState;
use crate::proto::v1::task_status::Reason;
use crate::types::Now;

/// How long registration waits for the ends of containers that nobody knows.
const SWEEP: Duration = Duration::from_secs(10);
/// How long a launch waits for a supervisor while none can be started.
const WITHOUT: Duration = Duration::from_secs(10);
/// Why a container of a dead supervisor is gone, when nobody saw the death.
const DIED: &str = "its supervisor died";
/// Why a container is gone whose supervisor lives.
const UNKNOWN_THERE: &str = "its supervisor does not have it any more";

/// The supervisors of an agent.
#[derive(Debug)]
pub(in crate::agent::core) struct Supervisors {
    known: BTreeMap<SupervisorId, Standing>,
    /// Those found at the start that have not greeted.
    awaited: BTreeSet<SupervisorId>,
    /// Containers of theirs that nobody knows and that are being ended.
    strangers: BTreeSet<(SupervisorId, String)>,
    /// Until when registration waits for the strangers' ends, while it does.
    sweep_until: Option<u64>,
    /// Since when none can be started, on the monotonic clock.
    missing_since: Option<u64>,
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
    pub(in crate::agent::core) fn awaiting(found: impl IntoIterator<Item = FoundSupervisor>) -> Self {
        let standing = |died| if died { Standing::Dead(DIED.to_owned()) } else { Standing::Found };
        let known: BTreeMap<_, _> = found.into_iter().map(|it| (it.id, standing(it.died))).collect();
        let awaited = known.keys().copied().collect();
        Self { known, awaited, strangers: BTreeSet::new(), sweep_until: None, missing_since: None, settled: false }
    }

    /// When to go on without having heard of the strangers' ends.
    pub(in crate::agent::core) fn deadline(&self) -> Option<u64> {
        self.sweep_until.filter(|_| !self.settled)
    }

    /// Whether all that were found at the start were heard.
    pub(in crate::agent::core) fn settled(&self) -> bool {
        self.settled
    }

    /// The containers that nobody knows and that have not ended yet.
    pub(in crate::agent::core) fn strangers(&self) -> impl Iterator<Item = &str> {
        self.strangers.iter().map(|(_, container)| container.as_str())
    }

    /// Takes out those strangers of a supervisor that it does not name; gives those that were told of.
    fn strangers_left(&mut self, supervisor: SupervisorId, named: &BTreeSet<String>) -> Vec<String> {
        let gone = |(of, id): &(SupervisorId, String)| *of == supervisor && !named.contains(id);
        self.strangers.extract_if(.., |stranger| gone(stranger)).map(|(_, id)| id).collect()
    }

    /// Whether it takes requests.
    pub(in crate::agent::core) fn has(&self, supervisor: SupervisorId) -> bool {
        self.known.contains_key(&supervisor)
    }

    /// Where new tasks go.
    pub(in crate::agent::core) fn latest(&self) -> Option<SupervisorId> {
        let working = |(id, standing): (&SupervisorId, &Standing)| (*standing == Standing::Working).then_some(*id);
        self.known.iter().rev().find_map(working)
    }

    fn greeted(&mut self, supervisor: SupervisorId) {
        let standing = self.known.entry(supervisor).or_insert(Standing::Found);
        if *standing == Standing::Found {
            *standing = Standing::Working;
            self.missing_since = None;
        }
        self.awaited.remove(&supervisor);
    }

    /// It says itself that it was retired, by an earlier agent.
    fn has_retired(&mut self, supervisor: SupervisorId) {
        if let Some(standing @ Standing::Working) = self.known.get_mut(&supervisor) {
            *standing = Standing::Retired;
        }
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
    pub(in crate::agent::core) fn supervised(
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
            supervisor_event::Kind::StartFailed(failed) => self.start_failed(now, supervisor, &failed, out),
            supervisor_event::Kind::Exited(exited) => self.exited(now, supervisor, &exited, out),
        }
    }

    /// A supervisor says all it has. What the agent had given it and it does not have is lost.
    fn welcomed(&mut self, now: Now, supervisor: SupervisorId, welcome: SupervisorWelcome, out: &mut Vec<Effect>) {
        self.supervisors.greeted(supervisor);
        let running = welcome.running.iter().map(|started| started.container_id.as_str());
        let exited = welcome.exited.iter().map(|exited| exited.container_id.as_str());
        let starting = welcome.starting.iter().map(String::as_str);
        let named: BTreeSet<String> = running.chain(exited).chain(starting).map(str::to_owned).collect();
        if welcome.retired {
            self.supervisors.has_retired(supervisor);
        }
        for container_id in welcome.starting {
            self.is_starting(now, supervisor, container_id, out);
        }
        for started in welcome.running {
            self.started(now, supervisor, started, out);
        }
        for exited in welcome.exited {
            self.exited(now, supervisor, &exited, out);
        }
        self.lose(now, supervisor, &named, out);
        self.strangers_gone(supervisor, &named, out);
        self.retire_earlier(out);
        self.settle(now, out);
        self.start_ready(out);
    }

    /// An agent that was away asked for this start, and how it comes out is still to be told.
    fn is_starting(&mut self, now: Now, supervisor: SupervisorId, container_id: String, out: &mut Vec<Effect>) {
        match self.known(&container_id).map(|(_, task)| &mut task.phase) {
            Some(phase @ Phase::Unresolved(None)) => *phase = Phase::Starting(supervisor),
            Some(Phase::Starting(_)) => {}
            Some(
                Phase::Unresolved(Some(_))
                | Phase::Preparing(_)
                | Phase::Ready(_)
                | Phase::Running(..)
                | Phase::Ended(_),
            )
            | None => self.end_stranger(now, supervisor, container_id, out),
        }
    }

    pub(in crate::agent::core) fn supervisor_lost(&mut self, supervisor: SupervisorId, text: String) {
        self.supervisors.known.insert(supervisor, Standing::Dead(text));
    }

    /// A supervisor could not be started, as `text` says. What waits for one has waited long enough when that goes on:
    /// its framework may do better elsewhere.
    pub(in crate::agent::core) fn no_supervisor(&mut self, now: Now, text: &str, out: &mut Vec<Effect>) {
        if self.supervisors.latest().is_some() {
            return;
        }
        let since = *self.supervisors.missing_since.get_or_insert(now.mono_ns);
        if now.since(since) < WITHOUT {
            return;
        }
        for id in self.ready() {
            let framework = self.tasks.get(&id).map(|task| task.framework.clone()).unwrap_or_default();
            let state = self.lost_state(&framework, TaskState::TaskDropped);
            let text = format!("the agent has no supervisor to start it, and cannot start one: {text}");
            self.end(now, &id, Report::by_agent(state, Reason::ContainerLaunchFailed, text), out);
        }
    }

    pub(in crate::agent::core) fn supervisor_ended(
        &mut self,
        now: Now,
        supervisor: SupervisorId,
        out: &mut Vec<Effect>,
    ) {
        self.lose(now, supervisor, &BTreeSet::new(), out);
        self.strangers_gone(supervisor, &BTreeSet::new(), out);
        self.supervisors.known.remove(&supervisor);
        self.supervisors.awaited.remove(&supervisor);
        self.settle(now, out);
    }

    /// When all were heard and what nobody knows has ended: what is still unresolved has ended unseen. Then the agent may
    /// register.
    pub(in crate::agent::core) fn settle(&mut self, now: Now, out: &mut Vec<Effect>) {
        let sweeps = self.supervisors.sweep_until.is_some() && !self.supervisors.strangers.is_empty();
        let open = !self.supervisors.awaited.is_empty() || sweeps;
        if self.supervisors.settled || open {
            return;
        }
        let unresolved =
            |(id, task): (&ContainerId, &Task)| matches!(task.phase, Phase::Unresolved(_)).then(|| id.clone());
        let unresolved: Vec<ContainerId> = self.tasks.iter().filter_map(unresolved).collect();
        for id in unresolved {
            self.end_unresolved(now, &id, out);
        }
        self.supervisors.settled = true;
        if self.id().is_some() {
            self.lost_touch(now, out);
        }
        self.begin_attaching(now);
    }

    fn end_unresolved(&mut self, now: Now, id: &ContainerId, out: &mut Vec<Effect>) {
        let Some(task) = self.tasks.get(id) else { return };
        let started = matches!(task.phase, Phase::Unresolved(Some(_))) || task.latest != TaskState::TaskStaging;
        let unknown = |loss: &str| format!("{loss}; what became of the task is not known");
        let lost = || self.lost_with_the_run_before(id, unknown);
        let report = match &task.kill {
            Some(kill) if !started => kill.before_start(task),
            Some(_) | None if let Some(lost) = lost() => lost,
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
                Some(kill) => kill.after_exit(&text, task),
                None => Report::by_agent(TaskState::TaskFailed, Reason::ExecutorTerminated, text.clone()),
            };
            self.end(now, &id, report, out);
        }
    }

    /// What there is to say, while the agent recovers, of a task that nobody saw end: that the host went down with it,
    /// or `text` of the reason why records may be missing.
    pub(in crate::agent::core) fn lost_with_the_run_before(
        &self,
        id: &ContainerId,
        text: impl FnOnce(&str) -> String,
    ) -> Option<Report> {
        let text = match &self.loss {
            _ if self.supervisors.settled => return None,
            Some(_) | None if self.host_restarted() => "the host restarted".to_owned(),
            Some(loss) => text(loss),
            None => return None,
        };
        let framework = self.tasks.get(id).map(|task| task.framework.clone()).unwrap_or_default();
        let state = self.lost_state(&framework, TaskState::TaskGone);
        Some(Report::by_agent(state, Reason::AgentRestarted, text))
    }

    fn strangers_gone(&mut self, supervisor: SupervisorId, named: &BTreeSet<String>, out: &mut Vec<Effect>) {
        for container_id in self.supervisors.strangers_left(supervisor, named) {
            self.orphan_gone(container_id, out);
        }
    }

    /// A container nobody knows: a leftover of a task that was forgotten or never written down. What it uses is not free
    /// before it has ended, and no record tells how much that is; so registration waits for its end, within reason.
    pub(in crate::agent::core) fn end_stranger(
        &mut self,
        now: Now,
        supervisor: SupervisorId,
        container_id: String,
        out: &mut Vec<Effect>,
    ) {
        signal(supervisor, &container_id, SIGKILL, out);
        self.supervisors.strangers.insert((supervisor, container_id));
        if !self.supervisors.settled {
            self.supervisors.sweep_until.get_or_insert_with(|| now.mono_after(SWEEP));
        }
    }

    pub(in crate::agent::core) fn stranger_ended(
        &mut self,
        now: Now,
        supervisor: SupervisorId,
        id: &str,
        out: &mut Vec<Effect>,
    ) {
        let stranger = (supervisor, id.to_owned());
        if self.supervisors.strangers.remove(&stranger) {
            self.orphan_gone(stranger.1, out);
            self.settle(now, out);
        }
    }

    /// A process that is stuck in the kernel does not keep the agent from its work for ever.
    pub(in crate::agent::core) fn sweep_due(&mut self, now: Now, out: &mut Vec<Effect>) {
        if self.supervisors.deadline().is_some_and(|at| at <= now.mono_ns) {
            self.supervisors.sweep_until = None;
            self.settle(now, out);
        }
    }

    /// The tasks that only wait for a supervisor.
    fn ready(&self) -> Vec<ContainerId> {
        let ready = self.tasks.iter().filter(|(_, task)| matches!(task.phase, Phase::Ready(_)));
        ready.map(|(id, _)| id.clone()).collect()
    }

    fn start_ready(&mut self, out: &mut Vec<Effect>) {
        for id in self.ready() {
            self.start(&id, out);
        }
    }

    fn retire_earlier(&mut self, out: &mut Vec<Effect>) {
        if let Some(latest) = self.supervisors.latest() {
            self.supervisors.retire(|supervisor| supervisor < latest, out);
        }
    }

    /// Supervisors outlive the agent for the sake of its tasks. Without tasks they have nothing to stay for.
    pub(in crate::agent::core) fn retire_if_idle(&mut self, out: &mut Vec<Effect>) {
        if self.supervisors.settled && self.tasks.is_empty() {
            self.retire_all(out);
        }
    }

    /// The agent leaves for good: nobody will want anything of its supervisors.
    pub(in crate::agent::core) fn retire_all(&mut self, out: &mut Vec<Effect>) {
        self.supervisors.retire(|_| true, out);
    }
}
