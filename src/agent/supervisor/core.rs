//! What a supervisor decides: which containers there are, what is recorded, what the agent is told.
//!
//! Inputs go in, effects come out, in the order in which they are to be done: a `Record` comes before whatever follows
//! from it, so what the agent hears, or what was started, is on disk. Everything is idempotent by container id, since an
//! agent that was away asks again. One that no agent comes to ends when it has nothing to look after; what was not taken
//! over stays on disk for the next agent. No clock, no files, no processes in here.

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
    /// An agent connected; it has not said anything yet.
    Attached,
    /// The agent asked for something.
    Requested(SupervisorRequest),
    /// The agent is gone.
    Detached,
    /// A start that was asked for worked.
    Spawned(Started),
    /// A start that was asked for did not work.
    SpawnFailed(StartFailed),
    /// A first process ended, and nothing is left of its container.
    Ended(Exited),
    /// Nothing else happened for as long as [`Core::patience`] says.
    Waited,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Effect {
    /// Write to the journal.
    Record(SupervisorRecord),
    /// Tell the agent.
    Send(SupervisorEvent),
    /// Start the process; answered by `Spawned` or `SpawnFailed`.
    Spawn(Box<ContainerSpec>),
    /// Send a signal to a container that runs.
    Signal(Signal),
    /// Nothing is left to remember: the journal may be emptied.
    Empty,
    /// Cut the agent off.
    Disconnect,
    /// The supervisor is done.
    End,
}

#[derive(Clone, Debug, PartialEq)]
enum Container {
    /// With the signals that arrived meanwhile.
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

/// Where the conversation with the agent stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Session {
    None,
    /// Connected, but not yet greeted.
    New,
    Open,
    /// The agent has said its last but still listens, and all is coming to an end.
    Over,
}

/// How a supervisor lives and dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    /// It goes on without the agent, until it is retired and empty.
    Own,
    /// When the agent goes, it kills all that runs and ends.
    Agents,
    /// It takes over the records of a supervisor that died: no starts.
    Replay,
}

/// The state of a supervisor.
#[derive(Debug)]
pub(crate) struct Core {
    /// Sealed into the welcome: the process that serves, the program it runs, and the folder it took.
    pid: u32,
    build: String,
    folder: String,
    versions: VersionRange,
    life: Life,
    /// How long it stays when there is nothing to look after and nobody comes; `None`: for ever.
    idle: Option<Duration>,
    retired: bool,
    ended: bool,
    session: Session,
    containers: BTreeMap<String, Container>,
    /// What the containers' markers begin with, and the source of the rest.
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
            session: Session::None,
            containers: BTreeMap::new(),
            marker_start: String::new(),
            markers: StdRng::seed_from_u64(0),
        }
    }

    /// The same, whose markers all begin so.
    pub(super) fn marking(self, marker_start: String) -> Self {
        Self { marker_start, ..self }
    }

    /// The same, whose markers cannot be guessed.
    pub(super) fn drawing_from(self, markers: StdRng) -> Self {
        Self { markers, ..self }
    }

    /// The same, which took the folder of this name.
    pub(super) fn serving(self, folder: String) -> Self {
        Self { folder, ..self }
    }

    /// The same, speaking these versions of the protocol.
    pub(crate) fn speaking(self, versions: VersionRange) -> Self {
        Self { versions, ..self }
    }

    /// The same, which ends when it was without an agent and without a running container for so long.
    pub(super) fn ending_idle_after(self, idle: Duration) -> Self {
        Self { idle: Some(idle), ..self }
    }

    /// How long to wait for the next input before [`Input::Waited`] is due; `None`: for ever.
    pub(super) fn patience(&self) -> Option<Duration> {
        let over = |container: &Container| matches!(container, Container::Ended(_));
        let idle = self.life == Life::Own && self.session == Session::None && self.containers.values().all(over);
        self.idle.filter(|_| idle)
    }

    /// What the journal of a dead supervisor says. What was running when it ended is given an exit `lost`, at `wall_ns`,
    /// to be recorded; the caller has killed what was left of it.
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

    /// What still has to be on record, oldest state first: the content of a journal written anew.
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

    /// Whether the agent has taken over all there was to tell.
    pub(crate) fn is_empty(&self) -> bool {
        self.containers.is_empty()
    }

    /// Whether there is something to say also after the agent has said its last.
    pub(crate) fn is_draining(&self) -> bool {
        self.session == Session::Over
    }

    /// Takes one input.
    pub(crate) fn handle(&mut self, input: Input, out: &mut Vec<Effect>) {
        match input {
            Input::Attached => self.session = Session::New,
            Input::Requested(request) => self.requested(request, out),
            Input::Detached => self.detached(out),
            Input::Spawned(started) => self.spawned(started, out),
            Input::SpawnFailed(failed) => self.spawn_failed(failed, out),
            Input::Ended(exited) => self.ended(exited, out),
            Input::Waited => self.waited(),
        }
        self.end_if_done(out);
    }

    fn requested(&mut self, request: SupervisorRequest, out: &mut Vec<Effect>) {
        match (request.kind, self.session) {
            (Some(supervisor_request::Kind::Hello(hello)), _) => self.greeted(hello.versions.unwrap_or_default(), out),
            (_, Session::None | Session::New | Session::Over) => out.push(Effect::Disconnect),
            (Some(supervisor_request::Kind::Start(start)), Session::Open) => self.start(start, out),
            (Some(supervisor_request::Kind::Signal(signal)), Session::Open) => self.signal(signal, out),
            (Some(supervisor_request::Kind::Forget(forget)), Session::Open) => self.forget(&forget, out),
            (Some(supervisor_request::Kind::Retire(_)), Session::Open) => self.retired = true,
            // A kind that a later version added; the handshake promised to send none that matters.
            (None, Session::Open) => {}
        }
    }

    fn greeted(&mut self, theirs: VersionRange, out: &mut Vec<Effect>) {
        let version = theirs.max.min(self.versions.max);
        let mut welcome = SupervisorWelcome { pid: self.pid, ..SupervisorWelcome::default() };
        if version < theirs.min.max(self.versions.min) {
            out.extend([send(supervisor_event::Kind::Welcome(welcome)), Effect::Disconnect]);
            return;
        }
        welcome.version = version;
        let says_more = version >= 2;
        if says_more {
            welcome.retired = self.retired;
            welcome.build.clone_from(&self.build);
        }
        if version >= 3 {
            welcome.folder.clone_from(&self.folder);
        }
        for (id, container) in &self.containers {
            match container {
                Container::Starting { .. } if says_more => welcome.starting.push(id.clone()),
                Container::Starting { .. } => {}
                Container::Running { started, .. } => welcome.running.push(started.clone()),
                Container::Ended(exited) => welcome.exited.push(exited.clone()),
            }
        }
        self.session = Session::Open;
        out.push(send(supervisor_event::Kind::Welcome(welcome)));
    }

    fn detached(&mut self, out: &mut Vec<Effect>) {
        match self.life {
            Life::Own => self.session = Session::None,
            Life::Agents | Life::Replay => {
                self.session = Session::Over;
                self.retired = true;
                let all: Vec<String> = self.containers.keys().cloned().collect();
                for container_id in all {
                    self.signal(Signal { container_id, signal: KILL, tree: true }, out);
                }
            }
        }
    }

    fn waited(&mut self) {
        if self.patience().is_some() {
            self.session = Session::Over;
            self.retired = true;
        }
    }

    fn start(&mut self, start: Start, out: &mut Vec<Effect>) {
        match self.containers.get(&start.container_id) {
            Some(Container::Starting { .. }) => return,
            Some(Container::Running { started, .. }) => {
                return self.tell(supervisor_event::Kind::Started(started.clone()), out);
            }
            Some(Container::Ended(exited)) => return self.tell(supervisor_event::Kind::Exited(exited.clone()), out),
            None => {}
        }
        let refusal = if self.retired {
            Some(("start in a supervisor that is retired".to_owned(), SHUT_DOWN))
        } else {
            invalid(&start).map(|what| (format!("take a start request {what}"), INVALID))
        };
        if let Some((step, errno)) = refusal {
            let failed = StartFailed { container_id: start.container_id, step, errno };
            return self.tell(supervisor_event::Kind::StartFailed(failed), out);
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
                // Each that there is at most once, so that what is kept is bounded.
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
        self.tell(supervisor_event::Kind::Started(started), out);
    }

    fn spawn_failed(&mut self, failed: StartFailed, out: &mut Vec<Effect>) {
        self.drop_container(&failed.container_id, out);
        self.tell(supervisor_event::Kind::StartFailed(failed), out);
    }

    /// A container nested in one that ended ends too.
    fn ended(&mut self, exited: Exited, out: &mut Vec<Effect>) {
        let id = exited.container_id.clone();
        self.containers.insert(id.clone(), Container::Ended(exited.clone()));
        out.push(record(supervisor_record::Kind::Exited(exited.clone())));
        for (nested, container) in &self.containers {
            if matches!(container, Container::Running { parent: Some(parent), .. } if *parent == id) {
                out.push(Effect::Signal(Signal { container_id: nested.clone(), signal: KILL, tree: true }));
            }
        }
        self.tell(supervisor_event::Kind::Exited(exited), out);
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

    /// An agent that is not attached hears of it in the next welcome.
    fn tell(&self, kind: supervisor_event::Kind, out: &mut Vec<Effect>) {
        if matches!(self.session, Session::Open | Session::Over) {
            out.push(send(kind));
        }
    }

    fn end_if_done(&mut self, out: &mut Vec<Effect>) {
        let is_over = |container: &Container| match container {
            Container::Starting { .. } | Container::Running { .. } => false,
            // Nobody is going to forget it: it stays on record for the next agent.
            Container::Ended(_) => self.session == Session::Over,
        };
        let done = self.retired && self.containers.values().all(is_over);
        if done && !self.ended {
            self.ended = true;
            out.push(Effect::End);
        }
    }
}

/// What is wrong with a request, if anything.
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

fn send(kind: supervisor_event::Kind) -> Effect {
    Effect::Send(SupervisorEvent { kind: Some(kind) })
}

#[cfg(test)]
#[path = "core_tests.rs"]
mod tests;
