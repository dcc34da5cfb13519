//! The link to the master: when to attach, how to register, which masters to accept, and when to leave a silent one.
//!
//! The stream is the session. The first attempt falls at random within a given time. After a refusal or a failure the
//! attempts spread over 2 s, 4 s and so on up to a minute, and another master is tried. The agent reopens a session
//! that broke after registration at once, with the same master first.

pub(in crate::agent::core) mod partition;
#[cfg(test)]
mod registration_tests;

use std::time::Duration;

use rand::Rng as _;
use rand::rngs::StdRng;

use crate::agent::core::tasks::Task;
use crate::agent::core::{Agent, Effect, Level, SessionId, StopReason, persist};
use crate::proto::ext::VersionRange;
use crate::proto::internal::agent_record::Kind;
use crate::proto::internal::{
    AgentMessage, AgentTask, Identity, MasterMessage, Pong, Refused, Register, Registered, agent_message,
    master_message,
};
use crate::proto::v1::{AgentId, AgentInfo};
use crate::types::Now;

/// The versions of the protocol between agent and master that this agent supports.
const VERSIONS: VersionRange = VersionRange { min: 1, max: 2 };
/// The first version in which the agent reports orphans.
const ORPHANS_SINCE: u32 = 2;
/// The next attempt after a session broke falls within this time.
const SPREAD_BROKEN: Duration = Duration::from_millis(200);
const SPREAD_REFUSED: Duration = Duration::from_secs(2);
const SPREAD_WIDEST: Duration = Duration::from_mins(1);
/// How many hints to another leader are followed in a row before the list of masters is used again.
const HINTS: u32 = 3;
/// How long a master may take to answer a registration.
const ANSWER: Duration = Duration::from_secs(30);
/// Without messages for this long a master counts as lost, unless it sets another time.
const SILENCE: Duration = Duration::from_secs(75);

/// The link to the master.
#[derive(Debug)]
pub(in crate::agent::core) struct MasterLink {
    state: State,
    /// The latest session's number.
    latest: u64,
    /// Selects the master that is tried first.
    turn: u64,
    /// The leader that the last master named, if that hint is followed.
    leader: Option<String>,
    /// Hints followed in a row.
    followed: u32,
    /// The time within which the attempt after the next failure falls.
    spread: Duration,
}

#[derive(Debug)]
enum State {
    /// Before the first attempt, or after the last.
    Off,
    Waiting {
        attach_at: u64,
    },
    Attaching(SessionId),
    Registering {
        session: SessionId,
        until: u64,
    },
    Registered {
        session: SessionId,
        /// The version of the protocol that the master chose.
        version: u32,
        silence: Duration,
        until: u64,
    },
}

impl MasterLink {
    pub(in crate::agent::core) fn off() -> Self {
        Self { state: State::Off, latest: 0, turn: 0, leader: None, followed: 0, spread: SPREAD_REFUSED }
    }

    pub(in crate::agent::core) fn deadline(&self) -> Option<u64> {
        match self.state {
            State::Off | State::Attaching(_) => None,
            State::Waiting { attach_at } => Some(attach_at),
            State::Registering { until, .. } | State::Registered { until, .. } => Some(until),
        }
    }

    /// Whether this is the current session.
    fn is_current(&self, session: SessionId) -> bool {
        match self.state {
            State::Off | State::Waiting { .. } => false,
            State::Attaching(present)
            | State::Registering { session: present, .. }
            | State::Registered { session: present, .. } => present == session,
        }
    }

    fn wait(&mut self, now: Now, spread: Duration, rng: &mut StdRng) {
        let nanos = u64::try_from(spread.as_nanos()).unwrap_or(u64::MAX);
        let attach_at = now.mono_after(Duration::from_nanos(rng.random_range(0..=nanos)));
        self.state = State::Waiting { attach_at };
    }

    /// Records the hint of a session's end, if any. Returns whether to follow it at once: only the first in a row, as
    /// masters may send the agent in circles.
    fn follow_hint(&mut self, leader: Option<String>) -> bool {
        self.leader = leader.filter(|_| self.followed < HINTS);
        self.followed = if self.leader.is_some() { self.followed + 1 } else { 0 };
        self.followed == 1
    }

    /// Schedules the next attempt after a growing time, with another master first.
    fn back_off(&mut self, now: Now, rng: &mut StdRng) {
        self.turn += u64::from(self.leader.is_none());
        let spread = self.spread;
        self.spread = (spread * 2).min(SPREAD_WIDEST);
        self.wait(now, spread, rng);
    }
}

impl Agent {
    /// The session on which this agent is registered, if any.
    pub(in crate::agent::core) fn session(&self) -> Option<SessionId> {
        match self.link.state {
            State::Off | State::Waiting { .. } | State::Attaching(_) | State::Registering { .. } => None,
            State::Registered { session, .. } => Some(session),
        }
    }

    /// The session on which orphans are reported, if there is one.
    pub(in crate::agent::core) fn orphan_session(&self) -> Option<SessionId> {
        match self.link.state {
            State::Off | State::Waiting { .. } | State::Attaching(_) | State::Registering { .. } => None,
            State::Registered { session, version, .. } => (version >= ORPHANS_SINCE).then_some(session),
        }
    }

    /// Schedules the first attempt: the agent knows what it runs.
    pub(in crate::agent::core) fn begin_attaching(&mut self, now: Now) {
        self.link.wait(now, self.config.spread_first, &mut self.rng);
    }

    pub(in crate::agent::core) fn link_stopped(&mut self) {
        self.link.state = State::Off;
    }

    pub(in crate::agent::core) fn attached(&mut self, now: Now, session: SessionId, out: &mut Vec<Effect>) {
        if !matches!(self.link.state, State::Attaching(present) if present == session) {
            return;
        }
        self.drop_idle_frameworks(out);
        self.link.state = State::Registering { session, until: now.mono_after(ANSWER) };
        let register = agent_message::Kind::Register(Box::new(self.full_state()));
        out.push(Effect::Send { session, message: AgentMessage { kind: Some(register) } });
    }

    pub(in crate::agent::core) fn detached(
        &mut self,
        now: Now,
        session: SessionId,
        leader: Option<String>,
        out: &mut Vec<Effect>,
    ) {
        if !self.link.is_current(session) {
            return;
        }
        let follows_hint = self.link.follow_hint(leader);
        if self.session().is_some() {
            self.link.wait(now, SPREAD_BROKEN, &mut self.rng);
            self.begin_cut_off(now, out);
        } else if follows_hint {
            self.link.wait(now, SPREAD_BROKEN, &mut self.rng);
        } else {
            self.link.back_off(now, &mut self.rng);
        }
    }

    pub(in crate::agent::core) fn link_due(&mut self, now: Now, out: &mut Vec<Effect>) {
        if self.link.deadline().is_none_or(|at| at > now.mono_ns) {
            return;
        }
        match self.link.state {
            State::Off | State::Attaching(_) => {}
            State::Waiting { .. } => {
                self.link.latest += 1;
                let session = SessionId(self.link.latest);
                self.link.state = State::Attaching(session);
                out.push(Effect::Attach { session, turn: self.link.turn, leader: self.link.leader.take() });
            }
            State::Registering { session, .. } | State::Registered { session, .. } => {
                out.push(Effect::Detach { session });
                self.detached(now, session, None, out);
            }
        }
    }

    pub(in crate::agent::core) fn received(
        &mut self,
        now: Now,
        session: SessionId,
        message: MasterMessage,
        out: &mut Vec<Effect>,
    ) {
        let Some(kind) = message.kind.filter(|_| self.link.is_current(session)) else { return };
        let registering = matches!(self.link.state, State::Registering { .. });
        self.record_liveness(now);
        match kind {
            master_message::Kind::Registered(it) if registering => self.registered(now, session, *it, out),
            master_message::Kind::Refused(refused) => self.refused(now, session, refused, out),
            master_message::Kind::Gone(_) => self.leave(now, StopReason::Gone, out),
            // Also while the master's registry delays the registration: that does not count as silence.
            master_message::Kind::Ping(_) => out.push(pong(session)),
            // Before the registration no other message is valid.
            _ if registering => {}
            master_message::Kind::RunTask(run) => self.run_task(now, run, out),
            master_message::Kind::KillTask(kill) => self.kill_task(now, kill, out),
            master_message::Kind::Acknowledge(acknowledge) => self.acknowledge(now, acknowledge, out),
            master_message::Kind::UpdateFramework(update) => self.update_framework(update.info, out),
            master_message::Kind::ShutdownFramework(shut) => self.shut_down_framework(now, shut.framework_id, out),
            // Command tasks have no executor for these bytes. A second answer to one registration has nothing new.
            master_message::Kind::Message(_) | master_message::Kind::Registered(_) => {}
        }
    }

    /// Restarts the silence timer: any message shows that the master is alive.
    fn record_liveness(&mut self, now: Now) {
        if let State::Registered { silence, until, .. } = &mut self.link.state {
            *until = now.mono_after(*silence);
        }
    }

    fn registered(&mut self, now: Now, session: SessionId, registered: Registered, out: &mut Vec<Effect>) {
        if registered.epoch < self.epoch {
            out.push(Effect::Detach { session });
            return self.link.back_off(now, &mut self.rng);
        }
        self.remember_master(&registered, out);
        let timeout = Duration::from_millis(registered.ping_timeout_ms);
        let silence = if timeout.is_zero() { SILENCE } else { timeout };
        self.link.spread = SPREAD_REFUSED;
        self.link.followed = 0;
        self.link.state =
            State::Registered { session, version: registered.version, silence, until: now.mono_after(silence) };
        self.end_cut_off(out);
        for framework in registered.removed_frameworks {
            self.shut_down_framework(now, framework, out);
        }
        self.send_all_first(now, out);
        self.report_missing(now, registered.missing, out);
        // A launch that is lost from now on is lost for another reason.
        self.loss = None;
        if self.host_restarted() {
            self.logged_boot.clone_from(&self.boot_id);
            out.push(persist([self.identity()], Level::Process));
        }
    }

    /// Whether the host restarted since a master last received this agent's state.
    pub(in crate::agent::core) fn host_restarted(&self) -> bool {
        self.logged_boot != self.boot_id
    }

    /// Records the agent's id and the master's epoch if they are new, synced against power cuts.
    fn remember_master(&mut self, registered: &Registered, out: &mut Vec<Effect>) {
        let mut facts = vec![];
        if registered.agent_id != self.id {
            if self.id.is_empty() {
                self.logged_boot.clone_from(&self.boot_id);
            }
            self.id.clone_from(&registered.agent_id);
            facts.push(self.identity());
        }
        if registered.epoch > self.epoch {
            self.epoch = registered.epoch;
            facts.push(Kind::Epoch(self.epoch));
        }
        if !facts.is_empty() {
            out.push(persist(facts, Level::Host));
        }
    }

    pub(in crate::agent::core) fn identity(&self) -> Kind {
        Kind::Identity(Identity {
            agent_id: self.id.clone(),
            boot_id: self.logged_boot.clone(),
            installation: self.installation.clone(),
            work_dir: self.work_dir.clone(),
        })
    }

    fn refused(&mut self, now: Now, session: SessionId, refused: Refused, out: &mut Vec<Effect>) {
        out.push(Effect::Detach { session });
        if self.session().is_some() {
            self.begin_cut_off(now, out);
        }
        if refused.permanent {
            self.link_stopped();
            out.push(Effect::Stop { reason: StopReason::Refused(refused.text) });
        } else {
            self.link.back_off(now, &mut self.rng);
        }
    }

    fn full_state(&self) -> Register {
        let id = self.id().map(|id| AgentId { value: id.to_owned() });
        let tasks = self.tasks.iter().filter(|(_, task)| !task.orphaned);
        Register {
            versions: Some(VERSIONS),
            divvy_version: self.config.divvy_version.clone(),
            info: Some(AgentInfo { id, ..self.config.info.clone() }),
            epoch: self.epoch,
            boot_id: self.boot_id.clone(),
            installation: self.installation.clone(),
            instance: self.instance.clone(),
            tasks: tasks.map(|(id, task)| described(id.as_str(), task)).collect(),
            orphans: self.orphans(),
            frameworks: self
                .frameworks
                .values()
                .map(crate::agent::core::tasks::frameworks::Framework::decoded)
                .collect(),
        }
    }
}

pub(in crate::agent::core) fn described(container: &str, task: &Task) -> AgentTask {
    AgentTask {
        framework_id: task.framework.value.clone(),
        container_id: container.to_owned(),
        task_info: task.info.clone(),
        state: task.latest as i32,
        unacknowledged: task.pending.front().map(|first| first.state as i32),
    }
}

fn pong(session: SessionId) -> Effect {
    Effect::Send { session, message: AgentMessage { kind: Some(agent_message::Kind::Pong(Pong {})) } }
}
