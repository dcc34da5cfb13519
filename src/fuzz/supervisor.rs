//! The supervisor's core, with the agents, the spawners, the processes and the journal around it.
//!
//! A script's agents connect and disconnect, speak any version and send any request. The supervisor's threads answer each
//! start once, in any order. Now and then the supervisor ends, and a replay of any prefix of its journal has to know all
//! that is in it.

mod generate;

use std::collections::{BTreeMap, BTreeSet};

use super::script::Script;
use crate::{
    agent::supervisor::core::{Core, Effect, Input, Life},
    proto::{
        ext::VersionRange,
        internal::{
            Exited, Forget, Retire, Start, StartFailed, Started, SupervisorEvent, SupervisorHello, SupervisorRecord,
            SupervisorRequest, SupervisorWelcome, exited, supervisor_event::Kind as Event,
            supervisor_record::Kind as Recorded, supervisor_request::Kind as Asked,
        },
    },
};

const BUILD: &str = "8:1";
/// A longer journal is compacted.
const LONGEST_JOURNAL: usize = 64;
/// All versions.
const ALL: VersionRange = VersionRange { min: 1, max: 3 };

/// A record as a journal may hold it.
pub(super) fn record(script: &mut Script<'_>) -> SupervisorRecord {
    generate::record(script)
}

/// Plays a script on a core.
pub(super) fn run(bytes: &[u8]) {
    play(bytes);
}

/// Plays a script on a core, and returns what it reached.
pub(super) fn play(bytes: &[u8]) -> BTreeSet<&'static str> {
    let mut script = Script::new(bytes);
    let life = [Life::Own, Life::Own, Life::Agents][script.below(3)];
    let mut play = Play::begin(Core::new(1, BUILD.to_owned(), life), Vec::new());
    play.one_agent = life == Life::Agents;
    while script.has_step() {
        play.step(&mut script);
    }
    play.end_and_replay(&mut script);
    play.reached
}

/// Sends these requests of one agent to a new supervisor, then ends all its processes.
pub(super) fn handle_requests(requests: Vec<SupervisorRequest>) {
    let mut play = Play::begin(fresh(), Vec::new());
    play.send_hello(ALL);
    for request in requests {
        play.handle(Input::Requested(request));
    }
    for id in std::mem::take(&mut play.starting) {
        play.spawned(id);
    }
    play.forget_all();
}

/// Replays these records: every container has one exit, and the replay ends when all are forgotten.
pub(super) fn replay(records: &[SupervisorRecord]) {
    let mut out = Vec::new();
    let core = Core::recover(2, records, "its supervisor died", 3, &mut out);
    let mut play = Play::begin(core, records.to_vec());
    play.execute(out);
    play.forget_all();
}

#[expect(clippy::struct_excessive_bools, reason = "each is a state of its own of the agent's connection")]
struct Play {
    core: Core,
    /// Whether only the first agent connects.
    one_agent: bool,
    /// An agent is connected, and can send requests.
    attached: bool,
    /// The agent can receive events.
    receives: bool,
    welcomed: bool,
    /// What was recorded since the journal was last empty.
    journal: Vec<SupervisorRecord>,
    /// Starts that the spawners have not answered.
    starting: BTreeSet<String>,
    running: BTreeSet<String>,
    /// Exits that an agent has received.
    exits: BTreeMap<String, Exited>,
    processes: u32,
    ended: bool,
    reached: BTreeSet<&'static str>,
}

impl Play {
    fn begin(core: Core, journal: Vec<SupervisorRecord>) -> Self {
        Self {
            core,
            journal,
            one_agent: false,
            attached: false,
            receives: false,
            welcomed: false,
            starting: BTreeSet::new(),
            running: BTreeSet::new(),
            exits: BTreeMap::new(),
            processes: 1,
            ended: false,
            reached: BTreeSet::new(),
        }
    }

    fn step(&mut self, script: &mut Script<'_>) {
        if self.ended {
            return self.end_and_replay(script);
        }
        match script.below(12) {
            0 => self.attach(),
            1 => self.send_hello(VersionRange { min: generate::version(script), max: generate::version(script) }),
            2 => self.detach(),
            3 => {
                let waiting: Vec<String> = self.starting.iter().cloned().collect();
                let Some(id) = script.pick(&waiting).cloned() else { return };
                self.starting.remove(&id);
                if script.one_in(4) {
                    let failed = StartFailed { container_id: id, step: "execute".to_owned(), errno: 2 };
                    self.handle(Input::SpawnFailed(failed));
                } else {
                    self.spawned(id);
                }
            }
            4 => {
                let running: Vec<String> = self.running.iter().cloned().collect();
                let Some(id) = script.pick(&running).cloned() else { return };
                self.ends(id, generate::status(script));
            }
            5 if script.one_in(4) => self.end_and_replay(script),
            _ => {
                let request = generate::request(script);
                if self.attached {
                    self.handle(Input::Requested(request));
                }
            }
        }
    }

    /// Connects an agent, one at a time.
    fn attach(&mut self) {
        if !(self.attached || self.one_agent && self.core.is_draining()) {
            (self.attached, self.receives, self.welcomed) = (true, true, false);
            self.handle(Input::Attached);
        }
    }

    fn send_hello(&mut self, versions: VersionRange) {
        if !self.receives {
            self.detach();
        }
        self.attach();
        if self.attached {
            self.ask(Asked::Hello(SupervisorHello { versions: Some(versions), token: String::new() }));
        }
    }

    /// Disconnects the agent; later events are dropped, unless the supervisor ends with its agent.
    fn detach(&mut self) {
        if std::mem::take(&mut self.attached) {
            self.handle(Input::Detached);
            self.receives &= self.core.is_draining();
        }
    }

    fn spawned(&mut self, container_id: String) {
        self.processes += 1;
        self.running.insert(container_id.clone());
        self.handle(Input::Spawned(Started { container_id, pid: self.processes, start_time: 1 }));
    }

    fn ends(&mut self, container_id: String, status: exited::Status) {
        self.running.remove(&container_id);
        self.handle(Input::Ended(Exited { container_id, status: Some(status), wall_ns: 5, core_dumped: false }));
    }

    /// Ends the process, and replays a prefix of its journal, or all of it when only the process ended.
    fn end_and_replay(&mut self, script: &mut Script<'_>) {
        let whole = script.one_in(2);
        let kept = if whole { self.journal.len() } else { script.below(self.journal.len() + 1) };
        let records: Vec<SupervisorRecord> = self.journal.drain(..kept).collect();
        let mut out = Vec::new();
        let core = Core::recover(2, &records, "its supervisor died", 9, &mut out);
        let exits = std::mem::take(&mut self.exits);
        let reached = std::mem::take(&mut self.reached);
        *self = Self { reached, ..Self::begin(core, records) };
        self.execute(out);
        self.send_hello(ALL);
        for (id, exited) in exits.iter().filter(|_| whole) {
            assert_eq!(self.exits.get(id), Some(exited), "an exit that was sent does not change");
        }
        self.forget_all();
        self.reached.insert("a replay was sent Forget for all its containers");
        *self = Self { reached: std::mem::take(&mut self.reached), ..Self::begin(fresh(), Vec::new()) };
    }

    /// Ends all processes, and sends Forget for all containers until nothing is left.
    fn forget_all(&mut self) {
        self.send_hello(ALL);
        // One by one: the end of a container sends signals to those nested in it.
        while let Some(id) = self.running.pop_first() {
            self.ends(id, exited::Status::Code(0));
        }
        for container_id in std::mem::take(&mut self.exits).into_keys() {
            self.ask(Asked::Forget(Forget { container_id }));
        }
        self.ask(Asked::Retire(Retire {}));
        assert!(self.core.is_empty(), "nothing is left: {:?}", self.core);
        assert!(self.ended, "a supervisor that is retired and empty ends");
    }

    fn ask(&mut self, kind: Asked) {
        self.handle(Input::Requested(SupervisorRequest { kind: Some(kind) }));
    }

    fn handle(&mut self, input: Input) {
        let mut out = Vec::new();
        self.core.handle(input, &mut out);
        self.execute(out);
    }

    fn execute(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Record(record) => self.record(record),
                Effect::Empty => self.journal.clear(),
                Effect::Spawn(spec) => self.spawn(&spec.start),
                Effect::Signal(signal) => {
                    assert!(self.running.contains(&signal.container_id), "{signal:?} has a running process");
                    self.reached.insert("a process was sent a signal");
                }
                Effect::Send(event) => self.receive(event),
                Effect::Disconnect => {
                    assert!(self.attached, "an agent is connected");
                    self.receives = false;
                }
                Effect::End => assert!(!std::mem::replace(&mut self.ended, true), "it ends once"),
            }
        }
        self.check();
    }

    fn record(&mut self, record: SupervisorRecord) {
        if let Some(Recorded::Forgotten(id)) = &record.kind {
            self.exits.remove(id);
        }
        self.journal.push(record);
    }

    /// Checks that the journal and the core know the same containers.
    fn check(&mut self) {
        if self.journal.len() > LONGEST_JOURNAL {
            self.journal = self.core.snapshot();
        }
        let mut out = Vec::new();
        let again = Core::recover(2, &self.journal, "", 0, &mut out);
        let exited = |record: &SupervisorRecord| match &record.kind {
            Some(Recorded::Exited(exited)) => Some(exited.container_id.clone()),
            Some(Recorded::Starting(_) | Recorded::Started(_) | Recorded::Forgotten(_)) | None => None,
        };
        let known: Vec<String> = self.core.snapshot().iter().filter_map(id_of).collect();
        let recorded: Vec<String> = again.snapshot().iter().filter_map(exited).collect();
        assert_eq!(recorded, known, "the journal has every container and no other");
    }

    fn spawn(&mut self, start: &Start) {
        let id = &start.container_id;
        let last = self.journal.last().and_then(|record| record.kind.clone());
        assert_eq!(last, Some(Recorded::Starting(id.clone())), "a start is on record before it is made");
        assert!(!self.ended && !self.running.contains(id), "{id} is started once");
        assert!(self.starting.insert(id.clone()), "{id} is started once");
    }

    fn receive(&mut self, event: SupervisorEvent) {
        if !self.receives {
            return;
        }
        match event.kind.expect("an event has a kind") {
            Event::Welcome(welcome) => self.welcomed(welcome),
            Event::Started(started) => {
                let record = Recorded::Started(started);
                assert!(self.welcomed && self.journal.iter().any(|it| it.kind.as_ref() == Some(&record)), "{record:?}");
            }
            Event::StartFailed(_) => assert!(self.welcomed, "the welcome comes first"),
            Event::Exited(exited) => {
                assert!(self.welcomed, "the welcome comes first");
                self.reached.insert("an agent received an exit");
                self.exited(exited);
            }
        }
    }

    fn welcomed(&mut self, welcome: SupervisorWelcome) {
        let SupervisorWelcome { version, running, exited, starting, retired, build, .. } = welcome;
        self.welcomed = version > 0;
        assert!(version >= 2 || starting.is_empty() && !retired && build.is_empty(), "version 1 has no field for it");
        if self.welcomed {
            let sent = running.len() + exited.len() + starting.len();
            let known = self.core.snapshot().len();
            assert!(sent == known || version == 1 && sent + self.starting.len() == known, "all containers are sent");
        }
        if !exited.is_empty() {
            self.reached.insert("an agent that reconnected received an exit");
        }
        for one in exited {
            self.exited(one);
        }
    }

    fn exited(&mut self, exited: Exited) {
        let record = Recorded::Exited(exited.clone());
        assert!(self.journal.iter().any(|it| it.kind.as_ref() == Some(&record)), "it is on record: {record:?}");
        self.exits.insert(exited.container_id.clone(), exited);
    }
}

fn fresh() -> Core {
    Core::new(1, BUILD.to_owned(), Life::Own)
}

fn id_of(record: &SupervisorRecord) -> Option<String> {
    match record.kind.as_ref()? {
        Recorded::Starting(id) | Recorded::Forgotten(id) => Some(id.clone()),
        Recorded::Started(started) => Some(started.container_id.clone()),
        Recorded::Exited(exited) => Some(exited.container_id.clone()),
    }
}
