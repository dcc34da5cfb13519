//! A framework's process: the driver's core, its stream to the master, and its callbacks, which run one at a time.

use std::{collections::VecDeque, time::Duration};

use bytes::Bytes;
use rand::{Rng as _, rngs::StdRng};

use super::{
    chance::{millis, percent},
    client_link::ClientLink,
    fact::Fact,
    links::{End, Frame, LinkId},
    nodes::Client,
    plan::FrameworkPlan,
    queue::Event,
    scheduler::Store,
    world::World,
};
use crate::{
    framework::{
        SchedulerEvent, UnknownTasks,
        core::{Driver, Effect, Finished, Input, Options, Outcome, Request},
    },
    harness::Harness,
    proto::{
        ext,
        v1::{FrameworkInfo, framework_info::capability},
    },
};

/// A framework and the state that outlives its process.
#[derive(Debug)]
pub(super) struct FrameworkNode {
    pub(super) plan: FrameworkPlan,
    pub(super) role: String,
    /// The disk of its scheduler.
    pub(super) store: Store,
    pub(super) life: u64,
    pub(super) process: Option<Box<DriverProcess>>,
    /// Its driver has ended, or it was torn down.
    pub(super) over: bool,
}

/// One life of a framework.
#[derive(Debug)]
pub(super) struct DriverProcess {
    pub(super) harness: Harness<Driver>,
    pub(super) link: ClientLink,
    callbacks: VecDeque<(u64, SchedulerEvent)>,
    running: Option<SchedulerEvent>,
    seq: u64,
    pub(super) wake_ns: Option<u64>,
}

impl FrameworkNode {
    pub(super) fn new(index: usize, plan: FrameworkPlan) -> Self {
        let role = if index.is_multiple_of(2) { "*" } else { "dev" }.to_owned();
        Self { plan, role, store: Store::default(), life: 0, process: None, over: false }
    }

    /// The options of its driver. The instance is drawn from a copy of the generator of the jitter.
    fn options(&self, rng: &StdRng) -> Options {
        let mut framework = FrameworkInfo::new("simulated")
            .with_role(self.role.clone())
            .with_failover_timeout(self.plan.failover)
            .with_capability(capability::Type::TaskKillingState);
        if self.plan.partition_aware {
            framework = framework.with_capability(capability::Type::PartitionAware);
        }
        "simulated".clone_into(&mut framework.user);
        framework.id.clone_from(&self.store.framework_id);
        Options {
            framework,
            masters: vec!["master:5050".to_owned()],
            suppressed_roles: Vec::new(),
            explicit: self.plan.explicit,
            hold: Duration::from_secs(10),
            reconcile_every: Some(Duration::from_mins(15)),
            instance: Bytes::copy_from_slice(&rng.clone().random::<[u8; 16]>()),
            known_tasks: Vec::new(),
            partition_policies: Vec::new(),
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
            harness: Harness::new(Driver::new(node.options(&rng), rng)),
            link: ClientLink::default(),
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

    /// Makes a call of the scheduler; returns false if the framework crashed during it.
    pub(super) fn make_call(&mut self, index: usize, request: Request) -> bool {
        let Some(process) = &mut self.frameworks[index].process else { return false };
        process.seq += 1;
        let seq = process.seq;
        if let Request::Kill { task_id, .. } = &request {
            self.to_be_killed.insert(task_id.value.clone());
        }
        self.fact(Fact::Requested { framework: index, request: request.clone() });
        self.give_framework(index, Input::Called { seq, request });
        self.frameworks[index].process.is_some()
    }

    pub(super) fn give_framework(&mut self, index: usize, input: Input) {
        self.give_driver(Client::Framework(index), input);
    }

    /// The driver behind a client that is one.
    pub(super) fn driver(&self, client: Client) -> Option<&DriverProcess> {
        match client {
            Client::Framework(index) => self.frameworks[index].process.as_deref(),
            Client::Replaced(index) => self.replaced[index].as_deref(),
            Client::Agent(_) | Client::Author(_) => None,
        }
    }

    pub(super) fn driver_mut(&mut self, client: Client) -> Option<&mut DriverProcess> {
        match client {
            Client::Framework(index) => self.frameworks[index].process.as_deref_mut(),
            Client::Replaced(index) => self.replaced[index].as_deref_mut(),
            Client::Agent(_) | Client::Author(_) => None,
        }
    }

    /// The life of the client; a replaced instance has only one.
    pub(super) fn life_of(&self, client: Client) -> u64 {
        match client {
            Client::Agent(index) => self.agents[index].life,
            Client::Framework(index) => self.frameworks[index].life,
            Client::Author(index) => self.authors[index].life,
            Client::Replaced(_) => 0,
        }
    }

    pub(super) fn give_driver(&mut self, client: Client, input: Input) {
        let node = client.node();
        let now = self.time(node);
        let Some(process) = self.driver_mut(client) else { return };
        let mut out = Vec::new();
        process.harness.give(now, [input], &mut out);
        self.trace.effects("framework", &out);
        for effect in out {
            if self.crash_due(node) {
                return self.crash(node);
            }
            self.execute_driver_effect(client, effect);
        }
        self.schedule_wake(node);
    }

    fn execute_driver_effect(&mut self, client: Client, effect: Effect) {
        let life = self.life_of(client);
        let Some(process) = self.driver_mut(client) else { return };
        match effect {
            Effect::Connect { session, after, .. } => {
                let old = process.link.start_attempt(session);
                let travel_ns = self.links.travel_ns(&mut self.chance.network);
                let at_ns = self.now_ns + u64::try_from(after.as_nanos()).unwrap_or(u64::MAX) + travel_ns;
                self.queue.at(at_ns, Event::Reach { client, life, attempt: session });
                self.close_client_link(old);
            }
            Effect::Disconnect { session } => {
                let link = process.link.abandon_attempt(session);
                self.close_client_link(link);
            }
            Effect::Send { session, seq, call } => {
                let Some(link) = process.link.link_of_attempt(session) else { return };
                let frame = ext::Calls { versions: None, seq, calls: vec![*call] };
                self.send(link, End::Master, Frame::Calls(frame));
            }
            Effect::Deliver { callback, event } => {
                process.callbacks.push_back((callback, event));
                if let Client::Framework(index) = client
                    && process.running.is_none()
                    && process.callbacks.len() == 1
                {
                    self.begin_callback_soon(index);
                }
            }
            Effect::Finish(how) => match client {
                Client::Replaced(index) => self.replaced_finished(index, &how),
                Client::Framework(index) | Client::Agent(index) | Client::Author(index) => self.finished(index, &how),
            },
        }
    }

    fn finished(&mut self, index: usize, how: &Finished) {
        if !self.frameworks[index].plan.torn_down {
            let text = format!("the driver of framework {index} ended as {how:?} without a request");
            self.broken = Some(("quiescent", text));
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
        self.fact(Fact::CallbackStarted { framework: index, life, event: event.clone() });
        let takes = self.callback_takes();
        let ok = !(self.misbehaviour().callback_errors && percent(&mut self.chance.workload, 15));
        self.after(takes, Event::CallbackEnds { framework: index, life, callback, ok });
        self.run_callback(index, event);
    }

    fn callback_takes(&mut self) -> Duration {
        let hangs = self.misbehaviour().callback_hangs && percent(&mut self.chance.workload, 5);
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
            self.store_status(index, &event);
        }
        self.fact(Fact::CallbackReturned { framework: index, life, event: event.clone(), ok });
        let bad = if self.chance.workload.random() { Outcome::Err } else { Outcome::Panicked };
        let outcome = if ok { Outcome::Ok } else { bad };
        if ok {
            self.acknowledge_explicitly(index, &event);
        }
        self.give_framework(index, Input::Returned { callback, outcome });
        if self.frameworks[index].process.as_ref().is_some_and(|process| !process.callbacks.is_empty()) {
            self.begin_callback_soon(index);
        }
    }

    /// The driver receives a frame from the master.
    pub(super) fn driver_received(&mut self, client: Client, link: LinkId, frame: Frame) {
        let Some(process) = self.driver(client) else { return };
        let Some(session) = process.link.attempt_of_link(link) else { return };
        match frame {
            Frame::Opened => self.give_driver(client, Input::Connected { session }),
            Frame::Events(events) => {
                self.give_driver(client, Input::Received { session, events: Box::new(events) });
            }
            Frame::Closed => self.driver_link_lost(client, link),
            Frame::Calls(_) | Frame::Orders(_) | Frame::Reports(_) => {}
        }
    }

    pub(super) fn driver_link_lost(&mut self, client: Client, link: LinkId) {
        let Some(session) = self.driver_mut(client).and_then(|process| process.link.remove_link(link)) else { return };
        self.close_client_link(Some(link));
        let reason = "the stream ended".to_owned();
        self.give_driver(client, Input::Disconnected { session, reason, leader: None });
    }

    pub(super) fn driver_unreached(&mut self, client: Client, life: u64, attempt: u64) {
        if self.life_of(client) != life {
            return;
        }
        let Some(process) = self.driver_mut(client) else { return };
        if process.link.fail_attempt(attempt) {
            let reason = "connection refused".to_owned();
            self.give_driver(client, Input::Disconnected { session: attempt, reason, leader: None });
        }
    }
}
