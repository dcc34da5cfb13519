//! The driver's core and the master's frames.
//!
//! The script plays the master and the user's code: callbacks return in order, with success, an error or a panic.

use std::{
    collections::{BTreeSet, VecDeque},
    time::Duration,
};

use prost::Message as _;

use super::script::Script;
use crate::{
    framework::{
        SchedulerEvent, UnknownTasks,
        core::{Driver, Effect, Input, Options, Outcome, Request, Stop},
    },
    harness::Harness,
    proto::{
        ext,
        v1::{
            self,
            scheduler::{Call, Event, event},
        },
    },
};

/// A frame of a master, to a driver that is subscribed.
pub(super) fn frame(bytes: &[u8]) {
    let Ok(events) = ext::Events::decode(bytes) else { return };
    let mut script = Script::new(&[]);
    let mut play = Play::begin(&mut script);
    play.subscribe(&script);
    let session = play.session;
    play.handle(&script, Input::Received { session, events: Box::new(events) });
    play.finish(&script);
}

/// Plays a script on a core.
pub(super) fn run(bytes: &[u8]) {
    play(bytes);
}

/// Plays a script on a core, and returns what it reached.
pub(super) fn play(bytes: &[u8]) -> BTreeSet<&'static str> {
    let mut script = Script::new(bytes);
    let mut play = Play::begin(&mut script);
    while script.has_step() {
        play.step(&mut script);
    }
    play.finish(&script);
    play.reached
}

struct Play {
    harness: Harness<Driver>,
    session: u64,
    seq: u64,
    callbacks: VecDeque<u64>,
    delivered: u64,
    finished: bool,
    /// Launched tasks, and those whose end a callback received.
    launched: BTreeSet<String>,
    ended: BTreeSet<String>,
    reached: BTreeSet<&'static str>,
}

impl Play {
    fn begin(script: &mut Script<'_>) -> Self {
        let options = Options {
            framework: v1::FrameworkInfo::new("f"),
            masters: vec!["m1:5050".to_owned(), "m2:5050".to_owned()],
            suppressed_roles: Vec::new(),
            explicit: script.one_in(4),
            hold: Duration::from_secs(10),
            reconcile_every: Some(Duration::from_mins(15)),
            instance: bytes::Bytes::from_static(b"run"),
            known_tasks: vec![(v1::TaskId { value: "t3".to_owned() }, None)],
            partition_policies: Vec::new(),
            unknown_tasks: [UnknownTasks::Report, UnknownTasks::Adopt, UnknownTasks::Kill][script.below(3)],
        };
        let harness = Harness::new(Driver::new(options, script.rng()));
        let mut play = Self {
            harness,
            session: 0,
            seq: 0,
            callbacks: VecDeque::new(),
            delivered: 0,
            finished: false,
            launched: BTreeSet::new(),
            ended: BTreeSet::new(),
            reached: BTreeSet::new(),
        };
        play.handle(script, Input::Started);
        play
    }

    fn subscribe(&mut self, script: &Script<'_>) {
        self.handle(script, Input::Connected { session: self.session });
        let subscribed = event::Subscribed {
            framework_id: v1::FrameworkId { value: "f0".to_owned() },
            master_info: Some(v1::MasterInfo::default()),
            ..Default::default()
        };
        let event = Event {
            r#type: Some(event::Type::Subscribed.into()),
            subscribed: Some(Box::new(subscribed)),
            ..Event::default()
        };
        self.receive(script, event);
    }

    fn receive(&mut self, script: &Script<'_>, event: Event) {
        let events = ext::Events { version: 1, events: vec![event], ..ext::Events::default() };
        self.handle(script, Input::Received { session: self.session, events: Box::new(events) });
    }

    /// Returns all pending callbacks, then stops the driver.
    fn finish(&mut self, script: &Script<'_>) {
        for _ in 0..100 {
            let Some(callback) = self.callbacks.pop_front() else { break };
            self.handle(script, Input::Returned { callback, outcome: Outcome::Ok });
        }
        self.seq += 1;
        self.handle(script, Input::Called { seq: self.seq, request: Request::Stop(Stop::Abort) });
    }

    fn step(&mut self, script: &mut Script<'_>) {
        script.wait();
        let session = if script.one_in(8) { script.below(4) as u64 } else { self.session };
        match script.below(10) {
            0 => self.handle(script, Input::Tick),
            1 => {
                let leader = leader(script);
                self.handle(script, Input::Disconnected { session, reason: "cut".to_owned(), leader });
            }
            2 => self.subscribe(script),
            3 | 4 => {
                let Some(callback) = self.callbacks.pop_front() else { return };
                let outcome = [Outcome::Ok, Outcome::Err, Outcome::Panicked][script.below(3)];
                self.handle(script, Input::Returned { callback, outcome });
            }
            5 | 6 => {
                self.seq += 1;
                let request = request(script);
                self.handle(script, Input::Called { seq: self.seq, request });
            }
            7 => {
                let events = ext::Events::decode(script.raw()).unwrap_or_default();
                self.handle(script, Input::Received { session, events: Box::new(events) });
            }
            _ => {
                let event = event(script);
                self.receive(script, event);
            }
        }
    }

    fn handle(&mut self, script: &Script<'_>, input: Input) {
        self.harness.handle(script.now, input);
        for effect in self.harness.take() {
            assert!(!self.finished, "nothing follows the end: {effect:?}");
            match effect {
                Effect::Connect { session, .. } => self.session = session,
                Effect::Deliver { callback, event } => self.deliver(callback, event),
                Effect::Send { call, .. } => self.send(*call),
                Effect::Disconnect { .. } => {}
                Effect::Finish(_) => self.finished = true,
            }
        }
    }

    fn deliver(&mut self, callback: u64, event: SchedulerEvent) {
        assert!(callback > std::mem::replace(&mut self.delivered, callback), "a callback has a number of its own");
        self.callbacks.push_back(callback);
        if let SchedulerEvent::StatusUpdate(status) = event
            && status.state().is_terminal()
            && self.launched.contains(&status.task_id.value)
        {
            self.reached.insert("the end of a task that was launched was delivered");
            self.ended.insert(status.task_id.value);
        }
    }

    fn send(&mut self, call: Call) {
        let launches = call.accept.into_iter().flat_map(|accept| accept.operations).filter_map(|it| it.launch);
        for task in launches.flat_map(|launch| launch.task_infos) {
            self.reached.insert("a task was launched");
            self.launched.insert(task.task_id.value);
        }
        if call.acknowledge.is_some_and(|it| self.ended.contains(&it.task_id.value)) {
            self.reached.insert("the end of a task that was launched was acknowledged");
        }
    }
}

fn leader(script: &mut Script<'_>) -> Option<String> {
    [None, Some("m3:5050"), Some("no address"), Some("")][script.below(4)].map(str::to_owned)
}

fn request(script: &mut Script<'_>) -> Request {
    let task_id = v1::TaskId { value: script.name("t", 4) };
    let agent_id = v1::AgentId { value: script.name("S", 2) };
    let offer_ids = (0..script.below(3)).map(|_| v1::OfferId { value: script.name("O", 6) }).collect();
    match script.below(10) {
        0..=2 => {
            let task = v1::TaskInfo { name: "t".to_owned(), task_id, agent_id, ..Default::default() };
            let launch = v1::offer::operation::Launch { task_infos: vec![task] };
            let kind = Some(v1::offer::operation::Type::Launch.into());
            let operation = v1::offer::Operation { r#type: kind, launch: Some(launch), ..Default::default() };
            Request::Accept { offer_ids, operations: vec![operation], filters: None }
        }
        3 => Request::Decline { offer_ids, filters: None },
        4 => Request::Kill { task_id, policy: None },
        5 => Request::Reconcile { tasks: vec![(task_id, Some(agent_id))] },
        6 => Request::Revive { roles: vec![script.name("r", 2)] },
        7 => Request::Suppress { roles: vec![script.name("r", 2)] },
        8 => Request::Acknowledge { task_id, agent_id, uuid: script.raw().to_vec().into() },
        _ if script.one_in(8) => Request::Stop([Stop::Teardown, Stop::Failover, Stop::Abort][script.below(3)]),
        _ => Request::Reconcile { tasks: Vec::new() },
    }
}

fn event(script: &mut Script<'_>) -> Event {
    let mut made = Event::default();
    let kind = match script.below(6) {
        0..=2 => {
            let all = [
                v1::TaskState::TaskRunning,
                v1::TaskState::TaskFinished,
                v1::TaskState::TaskLost,
                v1::TaskState::TaskUnreachable,
            ];
            let status = v1::TaskStatus {
                task_id: v1::TaskId { value: script.name("t", 4) },
                agent_id: Some(v1::AgentId { value: script.name("S", 2) }),
                state: all[script.below(4)].into(),
                uuid: script.one_in(2).then(|| vec![u8::try_from(script.below(4)).unwrap_or(0); 16].into()),
                ..Default::default()
            };
            made.update = Some(Box::new(event::Update { status }));
            event::Type::Update
        }
        3 => {
            let offer = |script: &mut Script<'_>| v1::Offer {
                id: v1::OfferId { value: script.name("O", 6) },
                agent_id: v1::AgentId { value: script.name("S", 2) },
                ..Default::default()
            };
            made.offers = Some(event::Offers { offers: (0..script.below(4)).map(|_| offer(script)).collect() });
            event::Type::Offers
        }
        4 => {
            made.rescind = Some(event::Rescind { offer_id: v1::OfferId { value: script.name("O", 6) } });
            event::Type::Rescind
        }
        _ if script.one_in(8) => {
            made.error = Some(event::Error { message: "Framework failed over".to_owned() });
            event::Type::Error
        }
        _ => event::Type::Heartbeat,
    };
    made.r#type = Some(kind.into());
    made
}
