//! A core with scripted agents and frameworks, under a clock that the test advances.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use prost::Message as _;
use rand::{SeedableRng as _, rngs::StdRng};

pub(in crate::master::core) use crate::master::scripted::facts;
use crate::{
    harness::Harness,
    master::{
        core::{
            Accept, AgentFacts, Answer, Call, Config, Effect, Event, FrameworkFacts, Input, Launch, Master, OfferMade,
            Operation, Order, Principal, Question, ReconcileTask, Register, Report, ReportedTask, RequestId, SessionId,
            Subscribe, Update, offer_id,
        },
        registry,
    },
    proto::{
        internal::registry_change::Kind,
        v1::{self, TaskState},
    },
    transport::outbox::RecordNumber,
    types::{Now, Resources},
};

pub(in crate::master::core) const MASTER: &str = "m";

pub(in crate::master::core) struct World {
    pub(in crate::master::core) harness: Harness<Master>,
    pub(in crate::master::core) now: Now,
    sessions: u64,
    seqs: BTreeMap<SessionId, u64>,
    /// Effects of the last step, in order.
    pub(in crate::master::core) effects: Vec<Effect>,
    /// Whether agents answer pings.
    pub(in crate::master::core) lively: bool,
    /// Whether the registry has stored everything when the clock moves.
    pub(in crate::master::core) stores: bool,
    /// Whether every step is followed by a check of the whole state; large worlds leave it to the core's own.
    pub(in crate::master::core) checked: bool,
    /// Offers of all steps that [`World::inbox`] has not returned yet.
    inbox: Vec<(SessionId, OfferMade)>,
    /// What the registry holds.
    pub(in crate::master::core) stored: registry::State,
}

impl World {
    pub(in crate::master::core) fn new() -> Self {
        Self::with(registry::State::default(), Config::default())
    }

    pub(in crate::master::core) fn with(facts: registry::State, config: Config) -> Self {
        let now = Now { mono_ns: 1_000_000_000_000, wall_ns: 1_700_000_000_000_000_000 };
        let stored = facts.clone();
        let master = Master::new(MASTER, 3, facts, config, StdRng::seed_from_u64(1), now);
        Self {
            harness: Harness::new(master),
            now,
            sessions: 0,
            seqs: BTreeMap::new(),
            effects: Vec::new(),
            lively: true,
            stores: true,
            checked: true,
            inbox: Vec::new(),
            stored,
        }
    }

    /// The master ends, and another starts with what it stored.
    pub(in crate::master::core) fn next(self) -> Self {
        Self::with(self.stored, Config::default())
    }

    pub(in crate::master::core) fn feed(&mut self, input: Input) {
        self.effects.clear();
        self.harness.handle(self.now, input);
        self.harness.end_batch(self.now);
        self.harness.deliver(self.now, &mut self.effects);
        if self.checked {
            self.harness.core.check();
        }
        for effect in &self.effects {
            match effect {
                Effect::SendEvent { session, event: Event::Offers(offers), .. } => {
                    self.inbox.extend(offers.iter().map(|offer| (*session, offer.clone())));
                }
                Effect::Persist { changes, .. } => changes.iter().for_each(|change| self.stored.apply(change)),
                _ => {}
            }
        }
    }

    /// Every offer made since the last call, with the session it went to.
    pub(in crate::master::core) fn inbox(&mut self) -> Vec<(SessionId, OfferMade)> {
        std::mem::take(&mut self.inbox)
    }

    /// Moves the clock, ticking at every deadline on the way; effects of all ticks are kept.
    pub(in crate::master::core) fn wait(&mut self, time: Duration) {
        let end = self.now.advanced(time);
        let mut all = Vec::new();
        while let Some(at) = self.harness.deadline().filter(|at| *at <= end.mono_ns) {
            let step = Duration::from_nanos(at.saturating_sub(self.now.mono_ns));
            self.now = self.now.advanced(step);
            if self.stores {
                self.harness.handle(self.now, Input::Synced { number: RecordNumber(u64::MAX) });
            }
            self.feed(Input::Ticked);
            let pinged = self.pinged();
            all.append(&mut self.effects);
            for session in pinged {
                self.feed(Input::Reported { session, report: Report::Ponged });
                all.append(&mut self.effects);
            }
        }
        self.now = end;
        self.effects = all;
    }

    fn pinged(&self) -> Vec<SessionId> {
        let pings = self.effects.iter().filter_map(|effect| match effect {
            Effect::SendOrder { session, order: Order::Ping, .. } if self.lively => Some(*session),
            _ => None,
        });
        pings.collect()
    }

    pub(in crate::master::core) fn attach(&mut self) -> SessionId {
        self.sessions += 1;
        let session = SessionId(self.sessions);
        self.feed(Input::Attached { session, principal: Principal::Anonymous });
        session
    }

    pub(in crate::master::core) fn detach(&mut self, session: SessionId) {
        self.feed(Input::Detached { session });
    }

    pub(in crate::master::core) fn call(&mut self, session: SessionId, call: Call) {
        let seq = self.seqs.entry(session).or_insert(0);
        *seq += 1;
        let seq = *seq;
        self.feed(Input::Called { session, seq, call });
    }

    /// Subscribes a framework; returns its session and its id.
    pub(in crate::master::core) fn framework(&mut self, name: &str) -> (SessionId, String) {
        self.subscribe(facts(name, "*"), None)
    }

    pub(in crate::master::core) fn subscribe(
        &mut self,
        facts: FrameworkFacts,
        id: Option<&str>,
    ) -> (SessionId, String) {
        self.subscribe_as("", facts, id)
    }

    /// The same, as this instance of the driver.
    pub(in crate::master::core) fn subscribe_as(
        &mut self,
        instance: &'static str,
        facts: FrameworkFacts,
        id: Option<&str>,
    ) -> (SessionId, String) {
        let session = self.attach();
        let mut info = v1::FrameworkInfo { name: facts.name.clone(), user: facts.user.clone(), ..Default::default() };
        info.id = id.map(|id| v1::FrameworkId { value: id.to_owned() });
        let instance = Bytes::from_static(instance.as_bytes());
        self.call(session, Call::Subscribe(Box::new(Subscribe { info, facts, suppressed: Vec::new(), instance })));
        let id = self.events(session).into_iter().find_map(|event| match event {
            Event::Subscribed { framework, .. } => Some(framework.to_string()),
            _ => None,
        });
        (session, id.unwrap_or_default())
    }

    /// Registers an agent with these resources; returns its session and its id.
    pub(in crate::master::core) fn agent(&mut self, resources: &str) -> (SessionId, String) {
        let session = self.register(register(None, resources));
        (session, self.registered(session).expect("registered").0)
    }

    pub(in crate::master::core) fn register(&mut self, register: Register) -> SessionId {
        let session = self.attach();
        self.feed(Input::Reported { session, report: Report::Register(Box::new(register)) });
        session
    }

    /// The id given, the missing tasks, the removed frameworks.
    pub(in crate::master::core) fn registered(&self, session: SessionId) -> Option<(String, Vec<String>, Vec<String>)> {
        self.orders(session).into_iter().find_map(|order| match order {
            Order::Registered(registered) => Some((
                registered.agent_id,
                registered.missing.into_iter().map(|task| task.task_id).collect(),
                registered.removed_frameworks,
            )),
            _ => None,
        })
    }

    pub(in crate::master::core) fn events(&self, session: SessionId) -> Vec<Event> {
        let to = self.effects.iter().filter_map(|effect| match effect {
            Effect::SendEvent { session: to, event, .. } if *to == session => Some(event.clone()),
            _ => None,
        });
        to.collect()
    }

    pub(in crate::master::core) fn orders(&self, session: SessionId) -> Vec<Order> {
        let to = self.effects.iter().filter_map(|effect| match effect {
            Effect::SendOrder { session: to, order, .. } if *to == session => Some(order.clone()),
            _ => None,
        });
        to.collect()
    }

    pub(in crate::master::core) fn offers(&self, session: SessionId) -> Vec<OfferMade> {
        let made = self.events(session).into_iter().filter_map(|event| match event {
            Event::Offers(offers) => Some(offers),
            _ => None,
        });
        made.flatten().collect()
    }

    pub(in crate::master::core) fn statuses(&self, session: SessionId) -> Vec<v1::TaskStatus> {
        let sent = self.events(session).into_iter().filter_map(|event| match event {
            Event::Updated { status } => Some((*status).clone()),
            _ => None,
        });
        sent.collect()
    }

    /// The tasks and states of the statuses sent.
    pub(in crate::master::core) fn states(&self, session: SessionId) -> Vec<(String, TaskState)> {
        let pair = |status: v1::TaskStatus| (status.task_id.value.clone(), status.state());
        self.statuses(session).into_iter().map(pair).collect()
    }

    pub(in crate::master::core) fn refusals(&self, session: SessionId) -> Vec<(String, String)> {
        let sent = self.events(session).into_iter().filter_map(|event| match event {
            Event::Refused { field, text, .. } => Some((field, text)),
            _ => None,
        });
        sent.collect()
    }

    pub(in crate::master::core) fn closed(&self, session: SessionId) -> bool {
        self.effects.iter().any(|effect| matches!(effect, Effect::Close { session: one, .. } if *one == session))
    }

    pub(in crate::master::core) fn decline(&mut self, session: SessionId, offer: &OfferMade, secs: u64) {
        let refuse = (secs > 0).then(|| Duration::from_secs(secs));
        self.call(session, Call::Decline { offers: vec![offer_id(MASTER, offer.key)], refuse });
    }

    /// Sends an operator's request; returns the answer.
    pub(in crate::master::core) fn ask(&mut self, question: Question) -> Answer {
        self.feed(Input::Asked { request: RequestId(1), principal: Principal::Anonymous, question });
        let answer = self.effects.iter().find_map(|effect| match effect {
            Effect::Reply { answer, .. } => Some(answer.clone()),
            _ => None,
        });
        answer.expect("every question has an answer")
    }

    /// What was handed to the registry in the last step.
    pub(in crate::master::core) fn persisted(&self) -> Vec<Kind> {
        let changes = self.effects.iter().filter_map(|effect| match effect {
            Effect::Persist { changes, .. } => Some(changes.clone()),
            _ => None,
        });
        changes.flatten().filter_map(|change| change.kind).collect()
    }

    /// What a master that starts now would find in its registry.
    pub(in crate::master::core) fn facts(&mut self) -> registry::State {
        match self.ask(Question::Registry) {
            Answer::Registry(state, _) => *state,
            other => panic!("the registry was asked for, and {other:?} came"),
        }
    }

    pub(in crate::master::core) fn reconcile(
        &mut self,
        session: SessionId,
        task: &str,
        agent: &str,
    ) -> Vec<v1::TaskStatus> {
        self.call(session, Call::Reconcile { tasks: vec![query(task, Some(agent))] });
        self.statuses(session)
    }

    pub(in crate::master::core) fn launch(&mut self, session: SessionId, offer: &OfferMade, tasks: &[(&str, &str)]) {
        let tasks = tasks.iter().map(|(id, resources)| launch(id, &offer.agent, resources)).collect();
        self.accept(session, vec![offer_id(MASTER, offer.key)], tasks);
    }

    pub(in crate::master::core) fn accept(&mut self, session: SessionId, offers: Vec<String>, tasks: Vec<Launch>) {
        let accept =
            Accept { offers, operations: vec![Operation::Launch(tasks)], refuse: Some(Duration::from_secs(5)) };
        self.call(session, Call::Accept(Box::new(accept)));
    }

    /// The containers of the tasks ordered to run on this session.
    pub(in crate::master::core) fn runs(&self, session: SessionId) -> Vec<(String, String)> {
        let runs = self.orders(session).into_iter().filter_map(|order| match order {
            Order::Run { container, info, .. } => {
                Some((v1::TaskInfo::decode(info).expect("valid").task_id.value, container.to_string()))
            }
            _ => None,
        });
        runs.collect()
    }

    pub(in crate::master::core) fn update(
        &mut self,
        agent: SessionId,
        framework: &str,
        task: &(String, String),
        state: TaskState,
    ) -> Bytes {
        let uuid = Bytes::copy_from_slice(&[u8::try_from(i32::from(state)).expect("small"); 16]);
        let mut status = v1::TaskStatus {
            task_id: v1::TaskId { value: task.0.clone() },
            uuid: Some(uuid.clone()),
            ..Default::default()
        };
        status.set_state(state);
        let update = Update {
            framework: framework.to_owned(),
            container: task.1.as_str().into(),
            state,
            latest: state,
            status: Arc::new(status),
        };
        self.feed(Input::Reported { session: agent, report: Report::Updated(Box::new(update)) });
        uuid
    }

    pub(in crate::master::core) fn acknowledge(&mut self, session: SessionId, agent: &str, task: &str, uuid: &Bytes) {
        let (agent, task, uuid) = (agent.to_owned(), task.to_owned(), uuid.clone());
        self.call(session, Call::Acknowledge { agent, task, uuid });
    }
}

pub(in crate::master::core) fn resources(text: &str) -> Resources {
    text.parse().expect("resources")
}

pub(in crate::master::core) fn register(id: Option<&str>, total: &str) -> Register {
    let facts = AgentFacts {
        hostname: "h".to_owned(),
        address: "127.0.0.1".to_owned(),
        port: 0,
        attributes: Vec::new(),
        domain: None,
        version: "0".to_owned(),
    };
    let info = v1::AgentInfo { hostname: "h".to_owned(), ..Default::default() };
    let total = resources(total);
    Register {
        version: 2,
        id: id.map(str::to_owned),
        installation: Bytes::new(),
        instance: Bytes::new(),
        facts,
        total,
        info,
        epoch: 0,
        tasks: Vec::new(),
        orphans: Vec::new(),
        frameworks: Vec::new(),
    }
}

pub(in crate::master::core) fn launch(id: &str, agent: &str, wanted: &str) -> Launch {
    let info = v1::TaskInfo {
        name: id.to_owned(),
        task_id: v1::TaskId { value: id.to_owned() },
        agent_id: v1::AgentId { value: agent.to_owned() },
        ..Default::default()
    };
    Launch {
        id: id.to_owned(),
        agent: agent.to_owned(),
        resources: resources(wanted),
        info: info.encode_to_vec().into(),
        partition: None,
        invalid: None,
    }
}

pub(in crate::master::core) fn query(task: &str, agent: Option<&str>) -> ReconcileTask {
    ReconcileTask { task: task.to_owned(), agent: agent.map(str::to_owned), lost_after: None }
}

pub(in crate::master::core) fn reported(
    framework: &str,
    task: &(String, String),
    wanted: &str,
    state: TaskState,
) -> ReportedTask {
    ReportedTask {
        framework: framework.to_owned(),
        id: task.0.clone(),
        container: task.1.as_str().into(),
        info: (*launch(&task.0, "a", wanted).info).into(),
        resources: resources(wanted),
        role: "*".into(),
        state,
        unacknowledged: None,
        partition: None,
    }
}

pub(in crate::master::core) fn known(id: &str, name: &str) -> Subscribe {
    let info = v1::FrameworkInfo { id: Some(v1::FrameworkId { value: id.to_owned() }), ..Default::default() };
    Subscribe { info, facts: facts(name, "*"), suppressed: Vec::new(), instance: Bytes::new() }
}
