//! The supervisor's core, with the agents, the spawners, the processes and the journal around it.
//!
//! A script's agents come and go, speak whatever version they like and ask for anything; the supervisor's own threads
//! answer as they do, each start once, in any order. Now and then it dies: whoever takes any prefix of its journal over
//! has to know all that is in it.

mod words;

use std::collections::{BTreeMap, BTreeSet};

use super::script::Script;
use crate::{
    agent::supervisor::core::{Core, Effect, Input, Life},
    proto::{
        ext::VersionRange,
        internal::{
            Exited, Forget, Retire, Start, StartFailed, Started, SupervisorEvent, SupervisorHello, SupervisorRecord,
            SupervisorRequest, SupervisorWelcome, exited, supervisor_event::Kind as Told,
            supervisor_record::Kind as Recorded, supervisor_request::Kind as Asked,
        },
    },
};

const BUILD: &str = "8:1";
/// Written anew beyond so many records.
const LONGEST_JOURNAL: usize = 64;
/// An agent that speaks all there is.
const ALL: VersionRange = VersionRange { min: 1, max: 3 };

/// A record as a journal may hold it.
pub(super) fn record(script: &mut Script<'_>) -> SupervisorRecord {
    words::record(script)
}

/// Plays a script on a core.
pub(super) fn run(bytes: &[u8]) {
    play(bytes);
}

/// The same, and what came of it.
pub(super) fn play(bytes: &[u8]) -> BTreeSet<&'static str> {
    let mut script = Script::new(bytes);
    let life = [Life::Own, Life::Own, Life::Agents][script.below(3)];
    let mut play = Play::begin(Core::new(1, BUILD.to_owned(), life), Vec::new());
    play.one_agent = life == Life::Agents;
    while script.goes_on() {
        play.step(&mut script);
    }
    play.dies(&mut script);
    play.reached
}

/// These requests of one agent, to a supervisor that starts nothing else and whose processes all end.
pub(super) fn asked(requests: Vec<SupervisorRequest>) {
    let mut play = Play::begin(fresh(), Vec::new());
    play.greet(ALL);
    for request in requests {
        play.handle(Input::Requested(request));
    }
    for id in std::mem::take(&mut play.starting) {
        play.spawned(id);
    }
    play.forget_all();
}

/// An heir of these records: it settles every container once, whoever asks, and is done when all is forgotten.
pub(super) fn inherited(records: &[SupervisorRecord]) {
    let mut out = Vec::new();
    let core = Core::recover(2, records, "its supervisor died", 3, &mut out);
    let mut play = Play::begin(core, records.to_vec());
    play.heed(out);
    play.forget_all();
}

#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own about who is there")]
struct Play {
    core: Core,
    /// Whether there is no agent after the first.
    one_agent: bool,
    /// An agent is connected, and can say something.
    attached: bool,
    /// It can be told something.
    hears: bool,
    greeted: bool,
    /// What was recorded since the journal was last empty.
    journal: Vec<SupervisorRecord>,
    /// Starts that the spawners have not answered.
    starting: BTreeSet<String>,
    running: BTreeSet<String>,
    /// Exits of which an agent knows.
    told: BTreeMap<String, Exited>,
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
            hears: false,
            greeted: false,
            starting: BTreeSet::new(),
            running: BTreeSet::new(),
            told: BTreeMap::new(),
            processes: 1,
            ended: false,
            reached: BTreeSet::new(),
        }
    }

    fn step(&mut self, script: &mut Script<'_>) {
        if self.ended {
            return self.dies(script);
        }
        match script.below(12) {
            0 => self.attach(),
            1 => self.greet(VersionRange { min: words::version(script), max: words::version(script) }),
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
                self.ends(id, words::status(script));
            }
            5 if script.one_in(4) => self.dies(script),
            _ => {
                let request = words::request(script);
                if self.attached {
                    self.handle(Input::Requested(request));
                }
            }
        }
    }

    /// One agent at a time gets through the door.
    fn attach(&mut self) {
        if !(self.attached || self.one_agent && self.core.is_draining()) {
            (self.attached, self.hears, self.greeted) = (true, true, false);
            self.handle(Input::Attached);
        }
    }

    fn greet(&mut self, versions: VersionRange) {
        if !self.hears {
            self.detach();
        }
        self.attach();
        if self.attached {
            self.ask(Asked::Hello(SupervisorHello { versions: Some(versions), token: String::new() }));
        }
    }

    /// What is said after it is for nobody, unless the supervisor goes with its agent.
    fn detach(&mut self) {
        if std::mem::take(&mut self.attached) {
            self.handle(Input::Detached);
            self.hears &= self.core.is_draining();
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

    /// The process is gone; of its journal there is a prefix, or all of it when only the process ended.
    fn dies(&mut self, script: &mut Script<'_>) {
        let whole = script.one_in(2);
        let kept = if whole { self.journal.len() } else { script.below(self.journal.len() + 1) };
        let records: Vec<SupervisorRecord> = self.journal.drain(..kept).collect();
        let mut out = Vec::new();
        let core = Core::recover(2, &records, "its supervisor died", 9, &mut out);
        let told = std::mem::take(&mut self.told);
        let reached = std::mem::take(&mut self.reached);
        *self = Self { reached, ..Self::begin(core, records) };
        self.heed(out);
        self.greet(ALL);
        for (id, exited) in told.iter().filter(|_| whole) {
            assert_eq!(self.told.get(id), Some(exited), "an exit that was told stays what it was");
        }
        self.forget_all();
        self.reached.insert("an heir was asked to forget all it knew");
        *self = Self { reached: std::mem::take(&mut self.reached), ..Self::begin(fresh(), Vec::new()) };
    }

    /// Everything that runs ends, the agent takes all exits over, and nothing is left.
    fn forget_all(&mut self) {
        self.greet(ALL);
        // One by one: the end of a container sends signals to those nested in it.
        while let Some(id) = self.running.pop_first() {
            self.ends(id, exited::Status::Code(0));
        }
        for container_id in std::mem::take(&mut self.told).into_keys() {
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
        self.heed(out);
    }

    fn heed(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Record(record) => self.record(record),
                Effect::Empty => self.journal.clear(),
                Effect::Spawn(spec) => self.spawn(&spec.start),
                Effect::Signal(signal) => {
                    assert!(self.running.contains(&signal.container_id), "{signal:?} has somebody to go to");
                    self.reached.insert("a process was sent a signal");
                }
                Effect::Send(event) => self.hear(event),
                Effect::Disconnect => {
                    assert!(self.attached, "there is an agent to cut off");
                    self.hears = false;
                }
                Effect::End => assert!(!std::mem::replace(&mut self.ended, true), "it ends once"),
            }
        }
        self.check();
    }

    fn record(&mut self, record: SupervisorRecord) {
        if let Some(Recorded::Forgotten(id)) = &record.kind {
            self.told.remove(id);
        }
        self.journal.push(record);
    }

    /// What is on record and what the core knows are the same.
    fn check(&mut self) {
        if self.journal.len() > LONGEST_JOURNAL {
            self.journal = self.core.snapshot();
        }
        let mut out = Vec::new();
        let again = Core::recover(2, &self.journal, "", 0, &mut out);
        let settled = |record: &SupervisorRecord| match &record.kind {
            Some(Recorded::Exited(exited)) => Some(exited.container_id.clone()),
            Some(Recorded::Starting(_) | Recorded::Started(_) | Recorded::Forgotten(_)) | None => None,
        };
        let known: Vec<String> = self.core.snapshot().iter().filter_map(id_of).collect();
        let recorded: Vec<String> = again.snapshot().iter().filter_map(settled).collect();
        assert_eq!(recorded, known, "the journal tells of every container and of no other");
    }

    fn spawn(&mut self, start: &Start) {
        let id = &start.container_id;
        let last = self.journal.last().and_then(|record| record.kind.clone());
        assert_eq!(last, Some(Recorded::Starting(id.clone())), "a start is on record before it is made");
        assert!(!self.ended && !self.running.contains(id), "{id} is started once");
        assert!(self.starting.insert(id.clone()), "{id} is started once");
    }

    fn hear(&mut self, event: SupervisorEvent) {
        if !self.hears {
            return;
        }
        match event.kind.expect("something is said") {
            Told::Welcome(welcome) => self.welcomed(welcome),
            Told::Started(started) => {
                let record = Recorded::Started(started);
                assert!(self.greeted && self.journal.iter().any(|it| it.kind.as_ref() == Some(&record)), "{record:?}");
            }
            Told::StartFailed(_) => assert!(self.greeted, "the greeting comes first"),
            Told::Exited(exited) => {
                assert!(self.greeted, "the greeting comes first");
                self.reached.insert("an agent heard of an exit");
                self.exited(exited);
            }
        }
    }

    fn welcomed(&mut self, welcome: SupervisorWelcome) {
        let SupervisorWelcome { version, running, exited, starting, retired, build, .. } = welcome;
        self.greeted = version > 0;
        assert!(version >= 2 || starting.is_empty() && !retired && build.is_empty(), "version 1 has no words for it");
        if self.greeted {
            let told = running.len() + exited.len() + starting.len();
            let known = self.core.snapshot().len();
            assert!(told == known || version == 1 && told + self.starting.len() == known, "all of it is told");
        }
        if !exited.is_empty() {
            self.reached.insert("an agent that came back heard of an exit");
        }
        for one in exited {
            self.exited(one);
        }
    }

    fn exited(&mut self, exited: Exited) {
        let record = Recorded::Exited(exited.clone());
        assert!(self.journal.iter().any(|it| it.kind.as_ref() == Some(&record)), "it is on record: {record:?}");
        self.told.insert(exited.container_id.clone(), exited);
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
