//! The supervisors: their states, their greetings, and the ends of containers whose supervisor is gone.
//!
//! The agent does not know what it runs until each supervisor found at the start has greeted, is silent, or is lost.
//! New containers go to the latest supervisor; earlier ones are retired and end when they are empty. A silent
//! supervisor is not dead: its containers keep their last known state, and new containers go to another.

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

/// How long registration waits for the ends of unrecorded containers and leftovers.
const SWEEP: Duration = Duration::from_secs(10);
/// How long a launch waits for a supervisor while none can be started.
const WITHOUT: Duration = Duration::from_secs(10);
/// Why a container of a dead supervisor is gone, when its death was not observed.
const DIED: &str = "its supervisor died";
/// Why a container is gone whose supervisor is alive.
const UNKNOWN_THERE: &str = "its supervisor does not have it any more";

/// The supervisors of an agent.
#[derive(Debug)]
pub(in crate::agent::core) struct Supervisors {
    known: BTreeMap<SupervisorId, SupervisorState>,
    /// Those found at the start that have not greeted and are not silent.
    awaited: BTreeSet<SupervisorId>,
    /// Those alive that do not answer: since when on the monotonic clock, and what was tried.
    silent: BTreeMap<SupervisorId, (u64, String)>,
    /// Those found at the start that have not greeted since, silent ones included.
    unanswered: BTreeSet<SupervisorId>,
    /// Those that may have received starts.
    pub(in crate::agent::core) recipients: StartRecipients,
    /// Ends that a dead supervisor's records report, while another that has not greeted may have the container.
    pub(in crate::agent::core) unconfirmed_ends: Vec<(SupervisorId, Exited)>,
    /// Containers of the previous run whose processes are being looked for.
    pub(in crate::agent::core) searched: BTreeSet<ContainerId>,
    /// Their containers without a record, which are being killed.
    unrecorded: BTreeSet<(SupervisorId, String)>,
    /// Until when registration waits for the ends of unrecorded containers, while it does.
    sweep_until: Option<u64>,
    /// Since when none can be started, on the monotonic clock.
    missing_since: Option<u64>,
    /// Whether all have answered since the start, but for silent ones.
    all_answered: bool,
}

/// The state of one supervisor.
#[derive(Debug, PartialEq, Eq)]
enum SupervisorState {
    /// It has not greeted yet.
    Found,
    /// It accepts starts.
    Working,
    /// It was sent `Retire`: it ends when it is empty.
    Retired,
    /// It died, for the reason in the text; its records are still served.
    Dead(String),
}

impl Supervisors {
    pub(in crate::agent::core) fn awaiting(found: impl IntoIterator<Item = FoundSupervisor>) -> Self {
        let state = |died| if died { SupervisorState::Dead(DIED.to_owned()) } else { SupervisorState::Found };
        let known: BTreeMap<_, _> = found.into_iter().map(|it| (it.id, state(it.died))).collect();
        let awaited: BTreeSet<_> = known.keys().copied().collect();
        Self {
            known,
            unanswered: awaited.clone(),
            awaited,
            silent: BTreeMap::new(),
            recipients: StartRecipients::default(),
            unconfirmed_ends: Vec::new(),
            searched: BTreeSet::new(),
            unrecorded: BTreeSet::new(),
            sweep_until: None,
            missing_since: None,
            all_answered: false,
        }
    }

    /// When to register without the ends of unrecorded containers and leftovers.
    pub(in crate::agent::core) fn deadline(&self) -> Option<u64> {
        self.sweep_until.filter(|_| !self.all_answered)
    }

    /// Whether the agent knows what it runs, except for containers of silent supervisors.
    pub(in crate::agent::core) fn all_answered(&self) -> bool {
        self.all_answered
    }

    /// Whether it is alive and does not answer.
    pub(in crate::agent::core) fn is_silent(&self, supervisor: SupervisorId) -> bool {
        self.silent.contains_key(&supervisor)
    }

    /// Whether a supervisor of the previous run may have containers that no greeting has named.
    pub(in crate::agent::core) fn may_have_more(&self) -> bool {
        !self.unanswered.is_empty()
    }

    /// The same for all supervisors but this one.
    pub(in crate::agent::core) fn others_may_have_more(&self, supervisor: SupervisorId) -> bool {
        self.unanswered.iter().any(|unanswered| *unanswered != supervisor)
    }

    /// The silent supervisors, as problems.
    pub(in crate::agent::core) fn problems(&self) -> impl Iterator<Item = Problem> {
        let problem = |(supervisor, (since_ns, text)): (&SupervisorId, &(u64, String))| Problem::SilentSupervisor {
            supervisor: *supervisor,
            since_ns: *since_ns,
            text: text.clone(),
        };
        self.silent.iter().map(problem)
    }

    /// The containers that no record names and that have not ended yet.
    pub(in crate::agent::core) fn unrecorded(&self) -> impl Iterator<Item = &str> {
        self.unrecorded.iter().map(|(_, container)| container.as_str())
    }

    /// Takes out the unrecorded containers of a supervisor that it does not name any more, and returns them.
    fn take_unrecorded(&mut self, supervisor: SupervisorId, named: &BTreeSet<String>) -> Vec<String> {
        let gone = |(of, id): &(SupervisorId, String)| *of == supervisor && !named.contains(id);
        self.unrecorded.extract_if(.., |unrecorded| gone(unrecorded)).map(|(_, id)| id).collect()
    }

    /// Whether it accepts requests.
    pub(in crate::agent::core) fn is_known(&self, supervisor: SupervisorId) -> bool {
        self.known.contains_key(&supervisor)
    }

    /// The supervisor that new containers are sent to.
    pub(in crate::agent::core) fn latest(&self) -> Option<SupervisorId> {
        let works =
            |id: &SupervisorId, state: &SupervisorState| *state == SupervisorState::Working && !self.is_silent(*id);
        let working = |(id, state): (&SupervisorId, &SupervisorState)| works(id, state).then_some(*id);
        self.known.iter().rev().find_map(working)
    }

    fn greeted(&mut self, supervisor: SupervisorId) {
        let state = self.known.entry(supervisor).or_insert(SupervisorState::Found);
        if *state == SupervisorState::Found {
            *state = SupervisorState::Working;
            self.missing_since = None;
        }
        self.mark_answered(supervisor);
    }

    /// It has greeted, or has ended.
    fn mark_answered(&mut self, supervisor: SupervisorId) {
        self.awaited.remove(&supervisor);
        self.unanswered.remove(&supervisor);
        self.silent.remove(&supervisor);
    }

    /// Marks a supervisor that an earlier agent retired.
    fn mark_retired(&mut self, supervisor: SupervisorId) {
        if let Some(state @ SupervisorState::Working) = self.known.get_mut(&supervisor) {
            *state = SupervisorState::Retired;
        }
    }

    fn retire(&mut self, which: impl Fn(SupervisorId) -> bool, out: &mut Vec<Effect>) {
        let working =
            |(id, state): &(&SupervisorId, &mut SupervisorState)| which(**id) && **state == SupervisorState::Working;
        for (supervisor, state) in self.known.iter_mut().filter(working) {
            *state = SupervisorState::Retired;
            send_retire(*supervisor, out);
        }
    }

    /// Why a container that a supervisor had is gone.
    fn loss(&self, supervisor: SupervisorId) -> String {
        match self.known.get(&supervisor) {
            Some(SupervisorState::Dead(text)) => text.clone(),
            Some(SupervisorState::Found | SupervisorState::Working | SupervisorState::Retired) | None => {
                UNKNOWN_THERE.to_owned()
            }
        }
    }
}

fn send_retire(supervisor: SupervisorId, out: &mut Vec<Effect>) {
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

    /// A silent supervisor sent an event on its open connection. It has read, or is about to read, all requests, so
    /// kills that waited for it continue.
    fn supervisor_answers(&mut self, now: Now, supervisor: SupervisorId, out: &mut Vec<Effect>) {
        if !self.supervisors.silent.contains_key(&supervisor) || self.supervisors.unanswered.contains(&supervisor) {
            return;
        }
        self.supervisors.silent.remove(&supervisor);
        let waits = |container: &Container| container.kill.as_ref().is_some_and(|kill| kill.waits);
        let its = |container: &Container| container.supervisor() == Some(supervisor) && waits(container);
        for id in self.containers.ids(|_, container| its(container)) {
            self.resend_sigterm(now, &id, out);
        }
    }

    /// A supervisor lists all its containers. Those that the agent sent to it and that it does not list are lost.
    fn welcomed(&mut self, now: Now, supervisor: SupervisorId, welcome: SupervisorWelcome, out: &mut Vec<Effect>) {
        self.supervisors.greeted(supervisor);
        self.supervisors.recipients.greeted(supervisor, &welcome);
        let running = welcome.running.iter().map(|started| started.container_id.as_str());
        let exited = welcome.exited.iter().map(|exited| exited.container_id.as_str());
        let starting = welcome.starting.iter().map(String::as_str);
        let named: BTreeSet<String> = running.chain(exited).chain(starting).map(str::to_owned).collect();
        if welcome.retired {
            self.supervisors.mark_retired(supervisor);
        } else if self.supervisors.known.get(&supervisor) == Some(&SupervisorState::Retired) {
            // It was silent or disconnected, and may not have received the first request.
            send_retire(supervisor, out);
        }
        for container_id in welcome.starting {
            self.adopt_starting(now, supervisor, container_id, out);
        }
        for started in welcome.running {
            self.started(now, supervisor, started, out);
        }
        for exited in welcome.exited {
            self.exited(now, supervisor, &exited, out);
        }
        self.end_lost_containers(now, supervisor, &named, out);
        self.unrecorded_gone(supervisor, &named, out);
        self.retire_earlier(out);
        self.attach_once_answered(now, out);
        self.start_ready(out);
    }

    /// A previous run of the agent sent this start; its outcome is not reported yet.
    fn adopt_starting(&mut self, now: Now, supervisor: SupervisorId, container_id: String, out: &mut Vec<Effect>) {
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
            | None => self.kill_unrecorded(now, supervisor, container_id, out),
        }
    }

    /// A supervisor is alive and does not answer. Its containers keep their state: silence proves nothing.
    pub(in crate::agent::core) fn supervisor_silent(
        &mut self,
        now: Now,
        supervisor: SupervisorId,
        text: String,
        out: &mut Vec<Effect>,
    ) {
        let Some(SupervisorState::Found | SupervisorState::Working | SupervisorState::Retired) =
            self.supervisors.known.get(&supervisor)
        else {
            return;
        };
        self.supervisors.awaited.remove(&supervisor);
        self.supervisors.silent.entry(supervisor).or_insert((now.mono_ns, text));
        self.attach_once_answered(now, out);
    }

    pub(in crate::agent::core) fn supervisor_lost(&mut self, supervisor: SupervisorId, text: String) {
        self.supervisors.known.insert(supervisor, SupervisorState::Dead(text));
        self.supervisors.silent.remove(&supervisor);
    }

    /// A supervisor could not be started, as `text` says. After some time the launches that wait for one are dropped:
    /// their frameworks can place them elsewhere.
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
        self.end_lost_containers(now, supervisor, &BTreeSet::new(), out);
        self.unrecorded_gone(supervisor, &BTreeSet::new(), out);
        self.supervisors.known.remove(&supervisor);
        self.supervisors.mark_answered(supervisor);
        self.supervisors.recipients.ended(supervisor, out);
        self.attach_once_answered(now, out);
    }

    /// Begins to attach once all supervisors have answered and all leftovers have ended.
    pub(in crate::agent::core) fn attach_once_answered(&mut self, now: Now, out: &mut Vec<Effect>) {
        if !self.supervisors.awaited.is_empty() {
            return;
        }
        self.apply_unconfirmed_ends(now, out);
        self.look_for_leftovers(now, out);
        if self.supervisors.all_answered {
            return;
        }
        if !self.supervisors.searched.is_empty() {
            self.hold_registration(now);
        }
        let is_sweeping = !self.supervisors.unrecorded.is_empty() || !self.supervisors.searched.is_empty();
        if self.supervisors.sweep_until.is_some_and(|until| now.mono_ns < until) && is_sweeping {
            return;
        }
        self.supervisors.all_answered = true;
        if self.id().is_some() {
            self.begin_cut_off(now, out);
        }
        self.begin_attaching(now);
    }

    /// Ends the containers that a supervisor had and does not name any more.
    fn end_lost_containers(
        &mut self,
        now: Now,
        supervisor: SupervisorId,
        named: &BTreeSet<String>,
        out: &mut Vec<Effect>,
    ) {
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

    /// The last status of a task of the previous run whose end is in no record: the host restarted, or `text` of the
    /// reason why records may be missing.
    pub(in crate::agent::core) fn lost_with_previous_run(
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

    fn unrecorded_gone(&mut self, supervisor: SupervisorId, named: &BTreeSet<String>, out: &mut Vec<Effect>) {
        for container_id in self.supervisors.take_unrecorded(supervisor, named) {
            self.orphan_gone(container_id, out);
        }
    }

    /// Kills a container that no record names: its task was removed or never recorded. It uses an unknown amount of
    /// resources until it has ended, so registration waits for its end for a limited time.
    pub(in crate::agent::core) fn kill_unrecorded(
        &mut self,
        now: Now,
        supervisor: SupervisorId,
        container_id: String,
        out: &mut Vec<Effect>,
    ) {
        signal(supervisor, &container_id, SIGKILL, out);
        self.supervisors.unrecorded.insert((supervisor, container_id));
        if !self.supervisors.all_answered {
            self.hold_registration(now);
        }
    }

    /// Holds registration for a limited time until the containers being killed have ended.
    fn hold_registration(&mut self, now: Now) {
        self.supervisors.sweep_until.get_or_insert_with(|| now.mono_after(SWEEP));
    }

    pub(in crate::agent::core) fn unrecorded_ended(
        &mut self,
        now: Now,
        supervisor: SupervisorId,
        id: &str,
        out: &mut Vec<Effect>,
    ) {
        let unrecorded = (supervisor, id.to_owned());
        if self.supervisors.unrecorded.remove(&unrecorded) {
            self.orphan_gone(unrecorded.1, out);
            self.attach_once_answered(now, out);
        }
    }

    /// Registers without the remaining ends once the time limit is over.
    pub(in crate::agent::core) fn sweep_due(&mut self, now: Now, out: &mut Vec<Effect>) {
        if self.supervisors.deadline().is_some_and(|at| at <= now.mono_ns) {
            self.attach_once_answered(now, out);
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

    /// Retires all supervisors if there are no tasks: they outlive the agent only for its tasks.
    pub(in crate::agent::core) fn retire_if_idle(&mut self, out: &mut Vec<Effect>) {
        if self.supervisors.all_answered && self.tasks.is_empty() {
            self.retire_all(out);
        }
    }

    /// Retires all supervisors: the agent leaves the cluster for good.
    pub(in crate::agent::core) fn retire_all(&mut self, out: &mut Vec<Effect>) {
        self.supervisors.retire(|_| true, out);
    }
}
