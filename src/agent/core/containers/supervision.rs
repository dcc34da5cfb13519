//! The supervisors: who they are, what their greetings say, and what becomes of containers whose supervisor is gone.
//!
//! Until every supervisor found at the start has greeted, is known to be silent, or to be lost, the agent does not know
//! what it runs. New containers go to the latest supervisor; earlier ones are retired and end when they are empty. One
//! that is silent is not dead: what it has keeps its last known state, and new containers go to another.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::recipients::StartRecipients;
use super::{Container, Phase};
use crate::agent::core::containers::kills::{SIGKILL, signal};
use crate::agent::core::tasks::statuses::Report;
use crate::agent::core::{Agent, ContainerId, Effect, FoundSupervisor, Problem, SupervisorId};
use crate::proto::internal::{
    Exited, Retire, SupervisorEvent, SupervisorRequest, SupervisorWelcome, supervisor_event, supervisor_request,
};
use crate::proto::v1::TaskState;
use crate::proto::v1::task_status::Reason;
use crate::types::Now;

/// How long registration waits for the ends of containers that no record names or no supervisor has.
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
    /// Those found at the start that have not greeted and are not silent.
    awaited: BTreeSet<SupervisorId>,
    /// Those that live and do not answer: since when on the monotonic clock, and what was tried.
    silent: BTreeMap<SupervisorId, (u64, String)>,
    /// Those found at the start that have not greeted since.
    unheard: BTreeSet<SupervisorId>,
    /// Those that may have received starts.
    pub(in crate::agent::core) recipients: StartRecipients,
    /// Containers that the records of a dead one say were lost, while one that has not greeted may have them.
    pub(in crate::agent::core) unsure_ends: Vec<(SupervisorId, Exited)>,
    /// Containers of the run before whose processes are being looked for.
    pub(in crate::agent::core) searched: BTreeSet<ContainerId>,
    /// Containers of theirs that nobody knows and that are being ended.
    strangers: BTreeSet<(SupervisorId, String)>,
    /// Until when registration waits for the strangers' ends, while it does.
    sweep_until: Option<u64>,
    /// Since when none can be started, on the monotonic clock.
    missing_since: Option<u64>,
    is_settled: bool,
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
        let awaited: BTreeSet<_> = known.keys().copied().collect();
        Self {
            known,
            unheard: awaited.clone(),
            awaited,
            silent: BTreeMap::new(),
            recipients: StartRecipients::default(),
            unsure_ends: Vec::new(),
            searched: BTreeSet::new(),
            strangers: BTreeSet::new(),
            sweep_until: None,
            missing_since: None,
            is_settled: false,
        }
    }

    /// When to go on without knowing the ends of strangers and leftovers.
    pub(in crate::agent::core) fn deadline(&self) -> Option<u64> {
        self.sweep_until.filter(|_| !self.is_settled)
    }

    /// Whether the agent knows what it runs, but for what silent supervisors have.
    pub(in crate::agent::core) fn is_settled(&self) -> bool {
        self.is_settled
    }

    /// Whether it lives and does not answer.
    pub(in crate::agent::core) fn is_silent(&self, supervisor: SupervisorId) -> bool {
        self.silent.contains_key(&supervisor)
    }

    /// Whether a supervisor of the run before may have containers that no greeting has named.
    pub(in crate::agent::core) fn may_have_more(&self) -> bool {
        !self.unheard.is_empty()
    }

    /// The same of others than this one.
    pub(in crate::agent::core) fn others_may_have_more(&self, supervisor: SupervisorId) -> bool {
        self.unheard.iter().any(|unheard| *unheard != supervisor)
    }

    /// The silent ones, as they are reported.
    pub(in crate::agent::core) fn problems(&self) -> impl Iterator<Item = Problem> {
        let problem = |(supervisor, (since_ns, text)): (&SupervisorId, &(u64, String))| Problem::SilentSupervisor {
            supervisor: *supervisor,
            since_ns: *since_ns,
            text: text.clone(),
        };
        self.silent.iter().map(problem)
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
        let works = |id: &SupervisorId, standing: &Standing| *standing == Standing::Working && !self.is_silent(*id);
        let working = |(id, standing): (&SupervisorId, &Standing)| works(id, standing).then_some(*id);
        self.known.iter().rev().find_map(working)
    }

    fn greeted(&mut self, supervisor: SupervisorId) {
        let standing = self.known.entry(supervisor).or_insert(Standing::Found);
        if *standing == Standing::Found {
            *standing = Standing::Working;
            self.missing_since = None;
        }
        self.no_more_silent(supervisor);
    }

    /// It has greeted, or is gone.
    fn no_more_silent(&mut self, supervisor: SupervisorId) {
        self.awaited.remove(&supervisor);
        self.unheard.remove(&supervisor);
        self.silent.remove(&supervisor);
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
            ask_to_retire(*supervisor, out);
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

fn ask_to_retire(supervisor: SupervisorId, out: &mut Vec<Effect>) {
    let request = SupervisorRequest { kind: Some(supervisor_request::Kind::Retire(Retire {})) };
    out.push(Effect::Supervise { supervisor, request });
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
        if !matches!(kind, supervisor_event::Kind::Welcome(_)) {
            self.supervisor_answers(now, supervisor, out);
        }
        match kind {
            supervisor_event::Kind::Welcome(welcome) => self.welcomed(now, supervisor, welcome, out),
            supervisor_event::Kind::Started(started) => self.started(now, supervisor, started, out),
            supervisor_event::Kind::StartFailed(failed) => self.start_failed(now, supervisor, &failed, out),
            supervisor_event::Kind::Exited(exited) => self.exited(now, supervisor, &exited, out),
        }
    }

    /// One that was silent over a connection that stands says something: it has read, or is about to read, all it was sent,
    /// and kills that waited for it go on.
    fn supervisor_answers(&mut self, now: Now, supervisor: SupervisorId, out: &mut Vec<Effect>) {
        if !self.supervisors.silent.contains_key(&supervisor) || self.supervisors.unheard.contains(&supervisor) {
            return;
        }
        self.supervisors.silent.remove(&supervisor);
        let waits = |container: &Container| container.kill.as_ref().is_some_and(|kill| kill.waits);
        let its = |container: &Container| container.supervisor() == Some(supervisor) && waits(container);
        for id in self.containers.ids(|_, container| its(container)) {
            self.term_again(now, &id, out);
        }
    }

    /// A supervisor says all it has. What the agent had given it and it does not have is lost.
    fn welcomed(&mut self, now: Now, supervisor: SupervisorId, welcome: SupervisorWelcome, out: &mut Vec<Effect>) {
        self.supervisors.greeted(supervisor);
        self.supervisors.recipients.greeted(supervisor, &welcome);
        let running = welcome.running.iter().map(|started| started.container_id.as_str());
        let exited = welcome.exited.iter().map(|exited| exited.container_id.as_str());
        let starting = welcome.starting.iter().map(String::as_str);
        let named: BTreeSet<String> = running.chain(exited).chain(starting).map(str::to_owned).collect();
        if welcome.retired {
            self.supervisors.has_retired(supervisor);
        } else if self.supervisors.known.get(&supervisor) == Some(&Standing::Retired) {
            // It was silent or away, and may not have received the first.
            ask_to_retire(supervisor, out);
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
        match self.known(&container_id).map(|(_, container)| &mut container.phase) {
            Some(phase @ Phase::Unresolved(None)) => {
                *phase = Phase::Starting(supervisor);
                self.supervisors.recipients.record(supervisor, out);
            }
            Some(Phase::Starting(_)) => {}
            Some(
                Phase::Unresolved(Some(_))
                | Phase::Accepted(_)
                | Phase::Provisioning(..)
                | Phase::Provisioned(_)
                | Phase::Running(..)
                | Phase::Ended(_),
            )
            | None => self.end_stranger(now, supervisor, container_id, out),
        }
    }

    /// A supervisor lives and does not answer. What it has goes on; nothing is concluded from silence.
    pub(in crate::agent::core) fn supervisor_silent(
        &mut self,
        now: Now,
        supervisor: SupervisorId,
        text: String,
        out: &mut Vec<Effect>,
    ) {
        let Some(Standing::Found | Standing::Working | Standing::Retired) = self.supervisors.known.get(&supervisor)
        else {
            return;
        };
        self.supervisors.awaited.remove(&supervisor);
        self.supervisors.silent.entry(supervisor).or_insert((now.mono_ns, text));
        self.settle(now, out);
    }

    pub(in crate::agent::core) fn supervisor_lost(&mut self, supervisor: SupervisorId, text: String) {
        self.supervisors.known.insert(supervisor, Standing::Dead(text));
        self.supervisors.silent.remove(&supervisor);
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
            let state = self.lost_state_of(&id, TaskState::TaskDropped);
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
        self.supervisors.no_more_silent(supervisor);
        self.supervisors.recipients.ended(supervisor, out);
        self.settle(now, out);
    }

    /// When all that answer have greeted, and what is to end before has ended, the agent may register.
    pub(in crate::agent::core) fn settle(&mut self, now: Now, out: &mut Vec<Effect>) {
        if !self.supervisors.awaited.is_empty() {
            return;
        }
        self.apply_unsure_ends(now, out);
        self.look_for_leftovers(now, out);
        if self.supervisors.is_settled {
            return;
        }
        if !self.supervisors.searched.is_empty() {
            self.sweep_first(now);
        }
        let is_sweeping = !self.supervisors.strangers.is_empty() || !self.supervisors.searched.is_empty();
        if self.supervisors.sweep_until.is_some_and(|until| now.mono_ns < until) && is_sweeping {
            return;
        }
        self.supervisors.is_settled = true;
        if self.id().is_some() {
            self.lost_touch(now, out);
        }
        self.begin_attaching(now);
    }

    /// Ends the containers a supervisor was given, but for those named.
    fn lose(&mut self, now: Now, supervisor: SupervisorId, named: &BTreeSet<String>, out: &mut Vec<Effect>) {
        let text = self.supervisors.loss(supervisor);
        let is_there = |container: &Container| !container.has_ended() && container.supervisor() == Some(supervisor);
        let gone = |id: &ContainerId, container: &Container| is_there(container) && !named.contains(id.as_str());
        for id in self.containers.ids(gone) {
            let Some(container) = self.containers.get_mut(&id) else { continue };
            container.phase = Phase::Ended(None);
            let report = match &container.kill {
                Some(kill) => kill.after_exit(&text, &container.limits),
                None => Report::by_agent(TaskState::TaskFailed, Reason::ExecutorTerminated, text.clone()),
            };
            self.end(now, &id, report, out);
        }
    }

    /// What is reported of a task of the run before whose end no record tells: that the host went down with it, or `text`
    /// of the reason why records may be missing.
    pub(in crate::agent::core) fn lost_with_the_run_before(
        &self,
        id: &ContainerId,
        text: impl FnOnce(&str) -> String,
    ) -> Option<Report> {
        let text = match &self.loss {
            Some(_) | None if self.host_restarted() => "the host restarted".to_owned(),
            Some(loss) => text(loss),
            None => return None,
        };
        let state = self.lost_state_of(id, TaskState::TaskGone);
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
        if !self.supervisors.is_settled {
            self.sweep_first(now);
        }
    }

    /// Registration waits for the ends of what is being swept, within reason.
    fn sweep_first(&mut self, now: Now) {
        self.supervisors.sweep_until.get_or_insert_with(|| now.mono_after(SWEEP));
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
            self.settle(now, out);
        }
    }

    /// The containers that only wait for a supervisor.
    fn ready(&self) -> Vec<ContainerId> {
        self.containers.ids(|_, container| matches!(container.phase, Phase::Provisioned(_)))
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
        if self.supervisors.is_settled && self.tasks.is_empty() {
            self.retire_all(out);
        }
    }

    /// The agent leaves for good: nobody will want anything of its supervisors.
    pub(in crate::agent::core) fn retire_all(&mut self, out: &mut Vec<Effect>) {
        self.supervisors.retire(|_| true, out);
    }
}
