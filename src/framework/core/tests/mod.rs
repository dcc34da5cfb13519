//! The core under test: one input in, the exact effects out.

mod calls;
mod doubt;
mod kills;
mod reconcile;
mod retries;
mod session;
mod statuses;
mod stop;
mod unknown;

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use rand::SeedableRng as _;

use super::*;
use crate::harness::Harness;
use crate::proto::{
    ext::{self, PartitionPolicy},
    v1::{
        self, AgentId, Offer, OfferId, TaskId, TaskInfo, TaskState, TaskStatus,
        scheduler::{Call, Event, call, event},
        task_status::Reason,
    },
};

/// A driver, its time, and its last effects. Dropping it checks the invariants.
struct Bench {
    harness: Harness<Driver>,
    now: Now,
    out: Vec<Effect>,
    session: u64,
    call: u64,
    /// Callbacks that have not returned.
    running: BTreeMap<u64, SchedulerEvent>,
}

fn options() -> Options {
    let capability = |kind| v1::framework_info::Capability { r#type: Some(kind as i32) };
    Options {
        framework: FrameworkInfo {
            user: "me".into(),
            name: "test".into(),
            roles: vec!["*".into()],
            capabilities: vec![capability(capability::Type::PartitionAware)],
            ..FrameworkInfo::default()
        },
        masters: vec!["a:1".into(), "b:2".into()],
        suppressed_roles: Vec::new(),
        explicit: false,
        hold: Duration::from_secs(10),
        reconcile_every: Some(Duration::from_mins(15)),
        instance: Bytes::from_static(b"run"),
        known_tasks: Vec::new(),
        partition_policies: Vec::new(),
        unknown_tasks: UnknownTasks::Adopt,
    }
}

impl Bench {
    fn with(options: Options) -> Self {
        let driver = Driver::new(options, StdRng::seed_from_u64(1));
        Self {
            harness: Harness::new(driver),
            now: Now { mono_ns: 0, wall_ns: 0 },
            out: Vec::new(),
            session: 0,
            call: 0,
            running: BTreeMap::new(),
        }
    }

    /// Subscribed, after the callback of `registered` returned.
    fn subscribed() -> Self {
        Self::subscribed_with(options())
    }

    fn subscribed_with(options: Options) -> Self {
        let mut bench = Self::with(options);
        bench.give(Input::Started);
        bench.connect();
        bench.receive([subscribed()]);
        bench.take_all();
        bench
    }

    fn give(&mut self, input: Input) -> Vec<Effect> {
        self.out.clear();
        self.harness.handle(self.now, input);
        self.harness.deliver(self.now, &mut self.out);
        self.harness.core.check();
        for effect in &self.out {
            match effect {
                Effect::Connect { session, .. } => self.session = *session,
                Effect::Deliver { callback, event } => drop(self.running.insert(*callback, event.clone())),
                Effect::Disconnect { .. } | Effect::Send { .. } | Effect::Finish(_) => {}
            }
        }
        self.out.clone()
    }

    fn connect(&mut self) -> Vec<Effect> {
        self.give(Input::Connected { session: self.session })
    }

    fn cut(&mut self) -> Vec<Effect> {
        self.give(Input::Disconnected { session: self.session, reason: "cut".into(), leader: None })
    }

    fn resubscribe(&mut self) -> Vec<Effect> {
        self.connect();
        self.receive([subscribed()])
    }

    fn receive(&mut self, events: impl IntoIterator<Item = Event>) -> Vec<Effect> {
        self.frame(ext::Events { events: events.into_iter().collect(), ..ext::Events::default() })
    }

    fn frame(&mut self, events: ext::Events) -> Vec<Effect> {
        self.give(Input::Received { session: self.session, events: Box::new(events) })
    }

    fn ask(&mut self, request: Request) -> Vec<Effect> {
        self.call += 1;
        self.give(Input::Called { seq: self.call, request })
    }

    fn launch(&mut self, offer: &str, tasks: &[&str]) -> Vec<Effect> {
        self.ask(Request::Accept { offer_ids: vec![offer_id(offer)], operations: vec![launch(tasks)], filters: None })
    }

    fn returned(&mut self, callback: u64, outcome: Outcome) -> Vec<Effect> {
        self.running.remove(&callback);
        self.give(Input::Returned { callback, outcome })
    }

    /// Lets every callback return `Ok`, the following ones included; returns their events.
    fn take_all(&mut self) -> Vec<SchedulerEvent> {
        let mut events = Vec::new();
        while let Some((callback, event)) = self.running.pop_first() {
            events.push(event);
            self.returned(callback, Outcome::Ok);
        }
        events
    }

    fn after(&mut self, wait: Duration) -> Vec<Effect> {
        self.now = self.now.advanced(wait);
        self.give(Input::Tick)
    }
}

fn subscribed() -> Event {
    let subscribed = event::Subscribed {
        framework_id: v1::FrameworkId { value: "F1".into() },
        heartbeat_interval_seconds: Some(15.0),
        master_info: None,
    };
    Event { r#type: Some(event::Type::Subscribed as i32), subscribed: Some(Box::new(subscribed)), ..Event::default() }
}

fn heartbeat() -> Event {
    Event { r#type: Some(event::Type::Heartbeat as i32), ..Event::default() }
}

fn offers(ids: &[&str]) -> Event {
    let offer = |id: &&str| Offer { id: offer_id(id), agent_id: agent_id(), ..Offer::default() };
    let offers = event::Offers { offers: ids.iter().map(offer).collect() };
    Event { r#type: Some(event::Type::Offers as i32), offers: Some(offers), ..Event::default() }
}

fn rescind(id: &str) -> Event {
    let rescind = Some(event::Rescind { offer_id: offer_id(id) });
    Event { r#type: Some(event::Type::Rescind as i32), rescind, ..Event::default() }
}

fn error(message: &str) -> Event {
    let error = Some(event::Error { message: message.into() });
    Event { r#type: Some(event::Type::Error as i32), error, ..Event::default() }
}

fn update(status: TaskStatus) -> Event {
    let update = Some(Box::new(event::Update { status }));
    Event { r#type: Some(event::Type::Update as i32), update, ..Event::default() }
}

/// As an agent sends it; `uuid` identifies the status.
fn status(task: &str, state: TaskState, uuid: u8) -> TaskStatus {
    let uuid = Some(Bytes::from(vec![uuid; 16]));
    let (task_id, agent_id) = (task_id(task), Some(agent_id()));
    TaskStatus { task_id, agent_id, state: state as i32, uuid, ..TaskStatus::default() }
}

/// As the master answers a reconciliation.
fn answer(task: &str, state: TaskState) -> TaskStatus {
    TaskStatus { uuid: None, reason: Some(Reason::Reconciliation as i32), ..status(task, state, 0) }
}

fn launch(tasks: &[&str]) -> v1::offer::Operation {
    let task = |task: &&str| TaskInfo { task_id: task_id(task), ..TaskInfo::default() };
    let launch = v1::offer::operation::Launch { task_infos: tasks.iter().map(task).collect() };
    let kind = Some(v1::offer::operation::Type::Launch as i32);
    v1::offer::Operation { r#type: kind, launch: Some(launch), ..v1::offer::Operation::default() }
}

fn task_id(value: &str) -> TaskId {
    TaskId { value: value.into() }
}

fn offer_id(value: &str) -> OfferId {
    OfferId { value: value.into() }
}

fn agent_id() -> AgentId {
    AgentId { value: "S1".into() }
}

/// The kinds of the calls sent, in order.
fn sent(effects: &[Effect]) -> Vec<call::Type> {
    calls(effects).map(Call::r#type).collect()
}

fn calls(effects: &[Effect]) -> impl Iterator<Item = &Call> {
    effects.iter().filter_map(|effect| if let Effect::Send { call, .. } = effect { Some(&**call) } else { None })
}

/// The one status delivered.
#[track_caller]
fn delivered_status(effects: &[Effect]) -> (u64, TaskStatus) {
    match effects {
        [Effect::Deliver { callback, event: SchedulerEvent::StatusUpdate(status) }] => (*callback, *status.clone()),
        other => panic!("expected one status, found {other:?}"),
    }
}

/// The acknowledgements sent: task and uuid.
fn acknowledged(effects: &[Effect]) -> Vec<(String, Bytes)> {
    let acks = calls(effects).filter_map(|call| call.acknowledge.clone());
    acks.map(|ack| (ack.task_id.value, ack.uuid)).collect()
}

fn ack(task: &str, uuid: u8) -> (String, Bytes) {
    (task.to_owned(), Bytes::from(vec![uuid; 16]))
}

/// The tasks that each reconciliation sent asks about.
fn asked(effects: &[Effect]) -> Vec<Vec<String>> {
    let names = |reconcile: &call::Reconcile| reconcile.tasks.iter().map(|task| task.task_id.value.clone()).collect();
    calls(effects).filter_map(|call| call.reconcile.as_ref()).map(names).collect()
}
