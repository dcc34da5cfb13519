//! A framework's process: the driver's core, its stream to the master, and the callbacks, run one at a time.

use std::{collections::VecDeque, time::Duration};

use rand::Rng as _;

use super::{
    chance::{millis, percent},
    fact::Fact,
    links::{End, Frame, LinkId},
    nodes::{Client, Node},
    plan::Wishes,
    queue::Event,
    scheduler::Store,
    way::Way,
    world::World,
};
use crate::{
    framework::{
        SchedulerEvent, UnknownTasks,
        core::{Driver, Effect, Finished, Input, Options, Outcome, Request},
    },
    proto::{
        ext,
        v1::{FrameworkInfo, framework_info::capability},
    },
};

/// A framework and what outlives its process.
#[derive(Debug)]
pub(super) struct FrameworkNode {
    pub(super) wishes: Wishes,
    pub(super) role: String,
    /// What its scheduler keeps on disk.
    pub(super) store: Store,
    pub(super) life: u64,
    pub(super) process: Option<Box<DriverProcess>>,
    /// Its driver has ended, or it was torn down.
    pub(super) over: bool,
}

/// One life of a framework.
#[derive(Debug)]
pub(super) struct DriverProcess {
    pub(super) core: Driver,
    pub(super) way: Way,
    callbacks: VecDeque<(u64, SchedulerEvent)>,
    running: Option<SchedulerEvent>,
    seq: u64,
    pub(super) wake_ns: Option<u64>,
}

impl FrameworkNode {
    pub(super) fn new(index: usize, wishes: Wishes) -> Self {
        let role = if index.is_multiple_of(2) { "*" } else { "dev" }.to_owned();
        Self { wishes, role, store: Store::default(), life: 0, process: None, over: false }
    }

    fn options(&self) -> Options {
        let mut framework = FrameworkInfo::new("simulated")
            .with_role(self.role.clone())
            .with_failover_timeout(self.wishes.failover)
            .with_capability(capability::Type::TaskKillingState);
        if self.wishes.partition_aware {
            framework = framework.with_capability(capability::Type::PartitionAware);
        }
        "simulated".clone_into(&mut framework.user);
        framework.id.clone_from(&self.store.framework_id);
        Options {
            framework,
            masters: vec!["master:5050".to_owned()],
            suppressed_roles: Vec::new(),
            explicit: self.wishes.explicit,
            hold: Duration::from_secs(10),
            reconcile_every: Some(Duration::from_mins(15)),
            known_tasks: Vec::new(),
            unknown_tasks: UnknownTasks::Adopt,
        }
    }
}

impl World {
    pub(super) fn start_framework(&mut self, index: usize) {
        let rng = self.chance.for_core();
        let node = &mut self.frameworks[index];
        node.life += 1;
        let life = node.life;
        node.process = Some(Box::new(DriverProcess {
            core: Driver::new(node.options(), rng),
            way: Way::default(),
            callbacks: VecDeque::new(),
            running: None,
            seq: 0,
            wake_ns: None,
        }));
        self.fact(Fact::DriverStarted { framework: index, life });
        self.give_framework(index, Input::Started);
        self.after(Duration::from_secs(1), Event::Chores { framework: index, life });
    }

    pub(super) fn crash_framework(&mut self, index: usize) {
        self.frameworks[index].process = None;
        self.fact(Fact::DriverCrashed { framework: index });
        self.drop_links(Client::Framework(index), Duration::from_millis(500));
    }

    /// The scheduler makes a call; returns false when it crashed over it.
    pub(super) fn ask(&mut self, index: usize, request: Request) -> bool {
        let Some(process) = &mut self.frameworks[index].process else { return false };
        process.seq += 1;
        let seq = process.seq;
        self.fact(Fact::Asked { framework: index, request: request.clone() });
        self.give_framework(index, Input::Called { seq, request });
        self.frameworks[index].process.is_some()
    }

    pub(super) fn give_framework(&mut self, index: usize, input: Input) {
        let now = self.time(Node::Framework(index));
        let Some(process) = &mut self.frameworks[index].process else { return };
        let mut out = Vec::new();
        process.core.handle(now, input, &mut out);
        if process.core.deadline().is_some_and(|at| at <= now.mono_ns) {
            process.core.handle(now, Input::Tick, &mut out);
        }
        self.trace.effects("framework", &out);
        for effect in out {
            if self.blows(Node::Framework(index)) {
                return self.crash(Node::Framework(index));
            }
            self.leaves_framework(index, effect);
        }
        self.arm(Node::Framework(index));
    }

    fn leaves_framework(&mut self, index: usize, effect: Effect) {
        let life = self.frameworks[index].life;
        let Some(process) = &mut self.frameworks[index].process else { return };
        match effect {
            Effect::Connect { session, after, .. } => {
                let old = process.way.begin(session);
                let client = Client::Framework(index);
                let travel_ns = self.links.travel_ns(&mut self.chance.network);
                let at_ns = self.now_ns + u64::try_from(after.as_nanos()).unwrap_or(u64::MAX) + travel_ns;
                self.queue.at(at_ns, Event::Reach { client, life, attempt: session });
                self.client_lets_go(old);
            }
            Effect::Disconnect { session } => {
                let link = process.way.give_up(session);
                self.client_lets_go(link);
            }
            Effect::Send { session, seq, call } => {
                let Some(link) = process.way.link(session) else { return };
                let frame = ext::Calls { versions: None, seq, calls: vec![*call] };
                self.send(link, End::Master, Frame::Calls(frame));
            }
            Effect::Deliver { callback, event } => {
                process.callbacks.push_back((callback, event));
                if process.running.is_none() && process.callbacks.len() == 1 {
                    self.begin_callback_soon(index);
                }
            }
            Effect::Finish(how) => self.finished(index, &how),
        }
    }

    fn finished(&mut self, index: usize, how: &Finished) {
        if !self.frameworks[index].wishes.torn_down {
            let text = format!("the driver of framework {index} ended as {how:?}, which nobody asked for");
            self.broken = Some(("settled", text));
        }
        self.frameworks[index].over = true;
        self.crash_framework(index);
    }

    fn begin_callback_soon(&mut self, index: usize) {
        let life = self.frameworks[index].life;
        let after = millis(&mut self.chance.workload, 0, 2);
        self.after(after, Event::CallbackBegins { framework: index, life });
    }

    pub(super) fn callback_begins(&mut self, index: usize, life: u64) {
        if self.frameworks[index].life != life {
            return;
        }
        let Some(process) = &mut self.frameworks[index].process else { return };
        if process.running.is_some() {
            return;
        }
        let Some((callback, event)) = process.callbacks.pop_front() else { return };
        process.running = Some(event.clone());
        self.fact(Fact::Given { framework: index, life, event: event.clone() });
        let takes = self.callback_takes();
        let ok = !(self.oddities().callback_errors && percent(&mut self.chance.workload, 15));
        self.after(takes, Event::CallbackEnds { framework: index, life, callback, ok });
        self.react(index, event);
    }

    fn callback_takes(&mut self) -> Duration {
        let hangs = self.oddities().callback_hangs && percent(&mut self.chance.workload, 5);
        let rng = &mut self.chance.workload;
        if hangs { millis(rng, 1_000, 40_000) } else { millis(rng, 0, 5) }
    }

    pub(super) fn callback_ends(&mut self, index: usize, life: u64, callback: u64, ok: bool) {
        if self.frameworks[index].life != life {
            return;
        }
        let Some(process) = &mut self.frameworks[index].process else { return };
        let Some(event) = process.running.take() else { return };
        if ok {
            self.remember(index, &event);
        }
        self.fact(Fact::Returned { framework: index, life, event: event.clone(), ok });
        let bad = if self.chance.workload.random() { Outcome::Err } else { Outcome::Panicked };
        let outcome = if ok { Outcome::Ok } else { bad };
        if ok {
            self.acknowledge_by_hand(index, &event);
        }
        self.give_framework(index, Input::Returned { callback, outcome });
        if self.frameworks[index].process.as_ref().is_some_and(|process| !process.callbacks.is_empty()) {
            self.begin_callback_soon(index);
        }
    }

    /// A frame of the master's has got to the driver.
    pub(super) fn framework_received(&mut self, index: usize, link: LinkId, frame: Frame) {
        let Some(process) = &mut self.frameworks[index].process else { return };
        let Some(session) = process.way.attempt(link) else { return };
        match frame {
            Frame::Opened => self.give_framework(index, Input::Connected { session }),
            Frame::Events(events) => {
                self.give_framework(index, Input::Received { session, events: Box::new(events) });
            }
            Frame::Closed => self.framework_link_lost(index, link),
            Frame::Calls(_) | Frame::Orders(_) | Frame::Reports(_) => {}
        }
    }

    pub(super) fn framework_link_lost(&mut self, index: usize, link: LinkId) {
        let Some(process) = &mut self.frameworks[index].process else { return };
        let Some(session) = process.way.lose(link) else { return };
        self.client_lets_go(Some(link));
        let reason = "the stream ended".to_owned();
        self.give_framework(index, Input::Disconnected { session, reason, leader: None });
    }

    pub(super) fn framework_unreached(&mut self, index: usize, life: u64, attempt: u64) {
        let node = &mut self.frameworks[index];
        let Some(process) = node.process.as_mut().filter(|_| node.life == life) else { return };
        if process.way.fail(attempt) {
            let reason = "connection refused".to_owned();
            self.give_framework(index, Input::Disconnected { session: attempt, reason, leader: None });
        }
    }
}
