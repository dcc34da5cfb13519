//! The state machine of a supervisor: its containers, what it records, and what it sends to the agent.
//!
//! Each input yields effects, in the order in which they are to be carried out. A `Record` precedes whatever depends on
//! it, so what the agent receives, or what was started, is on disk. Requests are idempotent by container id, since an
//! agent that reconnects repeats them. A supervisor without an agent and without running containers ends after a
//! timeout; unacknowledged exits stay on disk for the next agent. No clock, no files, no processes in here.

use std::{collections::BTreeMap, ops::RangeInclusive, time::Duration};

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

use super::{VERSIONS, runtime::ContainerSpec};
use crate::proto::{
    ext::VersionRange,
    internal::{
        Exited, Forget, Signal, Start, StartFailed, Started, SupervisorEvent, SupervisorRecord, SupervisorRequest,
        SupervisorWelcome, exited, supervisor_event, supervisor_record, supervisor_request,
    },
};

/// `EINVAL`: the request itself is wrong.
const INVALID: i32 = 22;
/// `ESHUTDOWN`: no more starts here.
const SHUT_DOWN: i32 = 108;
/// `SIGKILL`.
const KILL: i32 = 9;
/// What can be sent to a process, the real-time signals included.
const SIGNALS: RangeInclusive<i32> = 1..=64;

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Input {
    /// An agent connected; it has not sent anything yet.
    Attached,
    /// The agent sent a request.
    Requested(SupervisorRequest),
    /// The agent's connection was closed.
    Detached,
    /// A requested start succeeded.
    Spawned(Started),
    /// A requested start failed.
    SpawnFailed(StartFailed),
    /// A first process ended, and no process of its container is left.
    Ended(Exited),
    /// No other input arrived within [`Core::idle_timeout`].
    IdleTimeout,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Effect {
    /// Write to the journal.
    Record(SupervisorRecord),
    /// Send an event to the agent.
    Send(SupervisorEvent),
    /// Start the process; answered by `Spawned` or `SpawnFailed`.
    Spawn(Box<ContainerSpec>),
    /// Send a signal to a container that runs.
    Signal(Signal),
    /// No container is left: the journal may be emptied.
    Empty,
    /// Close the agent's connection.
    Disconnect,
    /// End the supervisor.
    End,
}

#[derive(Clone, Debug, PartialEq)]
enum Container {
    /// With the signals to send once it runs.
    Starting {
        parent: Option<String>,
        marker: String,
        signals: Vec<Signal>,
    },
    Running {
        parent: Option<String>,
        marker: String,
        started: Started,
    },
    Ended(Exited),
}

/// The state of the connection to the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AgentSession {
    None,
    /// Connected, but the agent has not sent its `Hello`.
    New,
    Open,
    /// The agent sends no more requests but still receives events, until all containers have ended.
    Draining,
}

/// When a supervisor ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    /// It outlives the agent, until it is retired and empty.
    Own,
    /// When the agent disconnects, it kills all containers and ends.
    Agents,
    /// It serves the records of a supervisor that died, without new starts.
    Replay,
}

/// The state of a supervisor.
#[derive(Debug)]
pub(crate) struct Core {
    /// Sent in the `Welcome`: the serving process, the program it runs, and the folder that it claimed.
    pid: u32,
    build: String,
    folder: String,
    versions: VersionRange,
    life: Life,
    /// How long it stays without an agent and without a running container; `None`: for ever.
    idle: Option<Duration>,
    retired: bool,
    ended: bool,
    session: AgentSession,
    containers: BTreeMap<String, Container>,
    /// The prefix of all markers, and the random source of the rest.
    marker_start: String,
    markers: StdRng,
}

impl Core {
    /// A supervisor without containers, served by the process `pid` of the program `build`.
    pub(crate) fn new(pid: u32, build: String, life: Life) -> Self {
        Self {
            pid,
            build,
            folder: String::new(),
            versions: VERSIONS,
            life,
            idle: None,
            retired: life == Life::Replay,
            ended: false,
            session: AgentSession::None,
            containers: BTreeMap::new(),
            marker_start: String::new(),
            markers: StdRng::seed_from_u64(0),
        }
    }

    /// Sets the prefix of all markers.
    pub(super) fn with_marker_start(self, marker_start: String) -> Self {
        Self { marker_start, ..self }
    }

    /// Sets the random source of the markers.
    pub(super) fn with_marker_rng(self, markers: StdRng) -> Self {
        Self { markers, ..self }
    }

    /// Sets the name of the folder that it claimed.
    pub(super) fn with_folder(self, folder: String) -> Self {
        Self { folder, ..self }
    }

    /// Sets the supported versions of the protocol.
    pub(crate) fn with_versions(self, versions: VersionRange) -> Self {
        Self { versions, ..self }
    }

    /// Sets how long it stays without an agent and without a running container.
    pub(super) fn with_idle_timeout(self, idle: Duration) -> Self {
        Self { idle: Some(idle), ..self }
    }

    /// How long to wait for the next input before [`Input::IdleTimeout`]; `None`: for ever.
    pub(super) fn idle_timeout(&self) -> Option<Duration> {
        let over = |container: &Container| matches!(container, Container::Ended(_));
        let idle = self.life == Life::Own && self.session == AgentSession::None && self.containers.values().all(over);
        self.idle.filter(|_| idle)
    }

    /// Restores the state from the journal of a dead supervisor. A container that was running gets an exit `lost` at
    /// `wall_ns`, which is recorded; the caller has killed its processes.
    pub(crate) fn recover(
        pid: u32,
        records: &[SupervisorRecord],
        lost: &str,
        wall_ns: i64,
        out: &mut Vec<Effect>,
    ) -> Self {
        let mut core = Self::new(pid, String::new(), Life::Replay);
        for record in records {
            core.replay(record);
        }
        for (container_id, container) in &mut core.containers {
            if !matches!(container, Container::Ended(_)) {
                let status = Some(exited::Status::Lost(lost.to_owned()));
                let exited = Exited { container_id: container_id.clone(), status, wall_ns, core_dumped: false };
                out.push(record(supervisor_record::Kind::Exited(exited.clone())));
                *container = Container::Ended(exited);
            }
        }
        core
    }

    fn replay(&mut self, record: &SupervisorRecord) {
        match record.kind.as_ref() {
            Some(supervisor_record::Kind::Starting(id)) => {
                let starting = Container::Starting { parent: None, marker: record.marker.clone(), signals: Vec::new() };
                self.containers.insert(id.clone(), starting);
            }
            Some(supervisor_record::Kind::Started(started)) => {
                let (marker, started) = (record.marker.clone(), started.clone());
                let running = Container::Running { parent: None, marker, started: started.clone() };
                self.containers.insert(started.container_id.clone(), running);
            }
            Some(supervisor_record::Kind::Exited(exited)) => {
                self.containers.insert(exited.container_id.clone(), Container::Ended(exited.clone()));
            }
            Some(supervisor_record::Kind::Forgotten(id)) => {
                self.containers.remove(id);
            }
            None => {}
        }
    }

    /// The records that restore this state: the content of a compacted journal.
    pub(crate) fn snapshot(&self) -> Vec<SupervisorRecord> {
        let kinds = self.containers.iter().map(|(id, container)| match container {
            Container::Starting { marker, .. } => (supervisor_record::Kind::Starting(id.clone()), marker.clone()),
            Container::Running { started, marker, .. } => {
                (supervisor_record::Kind::Started(started.clone()), marker.clone())
            }
            Container::Ended(exited) => (supervisor_record::Kind::Exited(exited.clone()), String::new()),
        });
        kinds.map(|(kind, marker)| SupervisorRecord { kind: Some(kind), marker }).collect()
    }

    /// Whether no container is left: the agent has acknowledged all exits.
    pub(crate) fn is_empty(&self) -> bool {
        self.containers.is_empty()
    }

    /// Whether events are still sent although the agent sends no more requests.
    pub(crate) fn is_draining(&self) -> bool {
        self.session == AgentSession::Draining
    }

    /// Handles one input.
    pub(crate) fn handle(&mut self, input: Input, out: &mut Vec<Effect>) {
        match input {
            Input::Attached => self.session = AgentSession::New,
            Input::Requested(request) => self.handle_request(request, out),
            Input::Detached => self.detached(out),
            Input::Spawned(started) => self.spawned(started, out),
            Input::SpawnFailed(failed) => self.spawn_failed(failed, out),
            Input::Ended(exited) => self.ended(exited, out),
            Input::IdleTimeout => self.idle_timed_out(),
        }
        self.end_if_done(out);
    }

    fn handle_request(&mut self, request: SupervisorRequest, out: &mut Vec<Effect>) {
        match (request.kind, self.session) {
            (Some(supervisor_request::Kind::Hello(hello)), _) => self.on_hello(hello.versions.unwrap_or_default(), out),
            (_, AgentSession::None | AgentSession::New | AgentSession::Draining) => out.push(Effect::Disconnect),
            (Some(supervisor_request::Kind::Start(start)), AgentSession::Open) => self.start(start, out),
            (Some(supervisor_request::Kind::Signal(signal)), AgentSession::Open) => self.signal(signal, out),
            (Some(supervisor_request::Kind::Forget(forget)), AgentSession::Open) => self.forget(&forget, out),
            (Some(supervisor_request::Kind::Retire(_)), AgentSession::Open) => self.retired = true,
            // A kind of a later version; after the handshake an agent sends none that matters.
            (None, AgentSession::Open) => {}
        }
    }

    fn on_hello(&mut self, theirs: VersionRange, out: &mut Vec<Effect>) {
        let version = theirs.max.min(self.versions.max);
        let mut welcome = SupervisorWelcome { pid: self.pid, ..SupervisorWelcome::default() };
        if version < theirs.min.max(self.versions.min) {
            out.extend([event(supervisor_event::Kind::Welcome(welcome)), Effect::Disconnect]);
            return;
        }
        welcome.version = version;
        let names_more = version >= 2;
        if names_more {
            welcome.retired = self.retired;
            welcome.build.clone_from(&self.build);
        }
        if version >= 3 {
            welcome.folder.clone_from(&self.folder);
        }
        for (id, container) in &self.containers {
            match container {
                Container::Starting { .. } if names_more => welcome.starting.push(id.clone()),
                Container::Starting { .. } => {}
                Container::Running { started, .. } => welcome.running.push(started.clone()),
                Container::Ended(exited) => welcome.exited.push(exited.clone()),
            }
        }
        self.session = AgentSession::Open;
        out.push(event(supervisor_event::Kind::Welcome(welcome)));
    }

    fn detached(&mut self, out: &mut Vec<Effect>) {
        match self.life {
            Life::Own => self.session = AgentSession::None,
            Life::Agents | Life::Replay => {
                self.session = AgentSession::Draining;
                self.retired = true;
                let all: Vec<String> = self.containers.keys().cloned().collect();
                for container_id in all {
                    self.signal(Signal { container_id, signal: KILL, tree: true }, out);
                }
            }
        }
    }

    fn idle_timed_out(&mut self) {
        if self.idle_timeout().is_some() {
            self.session = AgentSession::Draining;
            self.retired = true;
        }
    }

    fn start(&mut self, start: Start, out: &mut Vec<Effect>) {
        match self.containers.get(&start.container_id) {
            Some(Container::Starting { .. }) => return,
            Some(Container::Running { started, .. }) => {
                return self.send(supervisor_event::Kind::Started(started.clone()), out);
            }
            Some(Container::Ended(exited)) => return self.send(supervisor_event::Kind::Exited(exited.clone()), out),
            None => {}
        }
        let refusal = if self.retired {
            Some(("start in a supervisor that is retired".to_owned(), SHUT_DOWN))
        } else {
            invalid(&start).map(|what| (format!("take a start request {what}"), INVALID))
        };
        if let Some((step, errno)) = refusal {
            let failed = StartFailed { container_id: start.container_id, step, errno };
            return self.send(supervisor_event::Kind::StartFailed(failed), out);
        }
        let marker = format!("{}{:032x}", self.marker_start, self.markers.random::<u128>());
        let (parent, signals) = (start.parent_id.clone(), Vec::new());
        let starting = Container::Starting { parent, marker: marker.clone(), signals };
        self.containers.insert(start.container_id.clone(), starting);
        out.push(marked(supervisor_record::Kind::Starting(start.container_id.clone()), marker.clone()));
        out.push(Effect::Spawn(Box::new(ContainerSpec { start, marker })));
    }

    fn signal(&mut self, signal: Signal, out: &mut Vec<Effect>) {
        match self.containers.get_mut(&signal.container_id) {
            Some(Container::Starting { signals, .. }) => {
                // Each existing signal at most once, so that the list is bounded.
                if SIGNALS.contains(&signal.signal) && !signals.contains(&signal) {
                    signals.push(signal);
                }
            }
            Some(Container::Running { .. }) => out.push(Effect::Signal(signal)),
            Some(Container::Ended(_)) | None => {}
        }
    }

    fn forget(&mut self, forget: &Forget, out: &mut Vec<Effect>) {
        if matches!(self.containers.get(&forget.container_id), Some(Container::Ended(_))) {
            self.drop_container(&forget.container_id, out);
        }
    }

    fn spawned(&mut self, started: Started, out: &mut Vec<Effect>) {
        let Some(Container::Starting { parent, marker, signals }) = self.containers.remove(&started.container_id)
        else {
            return;
        };
        let orphaned = parent.as_ref().is_some_and(|parent| !self.is_alive(parent));
        let running = Container::Running { parent, marker: marker.clone(), started: started.clone() };
        self.containers.insert(started.container_id.clone(), running);
        out.push(marked(supervisor_record::Kind::Started(started.clone()), marker));
        out.extend(signals.into_iter().map(Effect::Signal));
        if orphaned {
            out.push(Effect::Signal(Signal { container_id: started.container_id.clone(), signal: KILL, tree: true }));
        }
        self.send(supervisor_event::Kind::Started(started), out);
    }

    fn spawn_failed(&mut self, failed: StartFailed, out: &mut Vec<Effect>) {
        self.drop_container(&failed.container_id, out);
        self.send(supervisor_event::Kind::StartFailed(failed), out);
    }

    /// Records an exit, and kills the containers nested in the one that ended.
    fn ended(&mut self, exited: Exited, out: &mut Vec<Effect>) {
        let id = exited.container_id.clone();
        self.containers.insert(id.clone(), Container::Ended(exited.clone()));
        out.push(record(supervisor_record::Kind::Exited(exited.clone())));
        for (nested, container) in &self.containers {
            if matches!(container, Container::Running { parent: Some(parent), .. } if *parent == id) {
                out.push(Effect::Signal(Signal { container_id: nested.clone(), signal: KILL, tree: true }));
            }
        }
        self.send(supervisor_event::Kind::Exited(exited), out);
    }

    fn is_alive(&self, container_id: &str) -> bool {
        matches!(self.containers.get(container_id), Some(Container::Starting { .. } | Container::Running { .. }))
    }

    fn drop_container(&mut self, container_id: &str, out: &mut Vec<Effect>) {
        if self.containers.remove(container_id).is_some() {
            out.push(record(supervisor_record::Kind::Forgotten(container_id.to_owned())));
            if self.containers.is_empty() {
                out.push(Effect::Empty);
            }
        }
    }

    /// Sends an event; an agent that is not connected receives its content in the next `Welcome`.
    fn send(&self, kind: supervisor_event::Kind, out: &mut Vec<Effect>) {
        if matches!(self.session, AgentSession::Open | AgentSession::Draining) {
            out.push(event(kind));
        }
    }

    fn end_if_done(&mut self, out: &mut Vec<Effect>) {
        let is_over = |container: &Container| match container {
            Container::Starting { .. } | Container::Running { .. } => false,
            // No agent will send `Forget` for it: it stays on record for the next one.
            Container::Ended(_) => self.session == AgentSession::Draining,
        };
        let done = self.retired && self.containers.values().all(is_over);
        if done && !self.ended {
            self.ended = true;
            out.push(Effect::End);
        }
    }
}

/// Why a start request is invalid, if it is.
fn invalid(start: &Start) -> Option<String> {
    if !crate::agent::core::ContainerId::is_legal(&start.container_id) {
        return Some(format!("with the container id {:?}", start.container_id));
    }
    if start.program.is_empty() {
        return Some("without a program".to_owned());
    }
    if !start.working_directory.starts_with('/') {
        return Some(format!("with the working directory {:?}, which is not absolute", start.working_directory));
    }
    let bad = start.environment.iter().find(|it| it.name.is_empty() || it.name.contains(['=', '\0']));
    bad.map(|variable| format!("with the environment variable {:?}", variable.name))
}

fn record(kind: supervisor_record::Kind) -> Effect {
    marked(kind, String::new())
}

/// The record of a container whose processes bear `marker`.
fn marked(kind: supervisor_record::Kind, marker: String) -> Effect {
    Effect::Record(SupervisorRecord { kind: Some(kind), marker })
}

fn event(kind: supervisor_event::Kind) -> Effect {
    Effect::Send(SupervisorEvent { kind: Some(kind) })
}

#[cfg(test)]
#[path = "core_tests.rs"]
mod tests;
