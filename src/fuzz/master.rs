//! The master's core, and the conversion of frames by its connections.
//!
//! A script's frameworks and agents send any message through the functions that the sockets use. They know the offers made
//! and the containers launched, so that a script reaches deep states. Now and then another master starts from a prefix of
//! the registry's changes.

mod generate;
mod script;

use std::collections::{BTreeMap, BTreeSet};

use prost::Message as _;

use super::script::Script;
use crate::{
    harness::Harness,
    master::{
        api::{inside, intake},
        core::{
            Answer, Config, Effect, Event, Input, Master, Order, Principal, Question, RequestId, SessionId, offer_id,
        },
        registry::State,
    },
    proto::{
        ext,
        internal::{self, RegistryChange, agent_message::Kind},
        v1::{
            self,
            scheduler::{Call, call},
        },
    },
};

const ID: &str = "m";
const SESSIONS: usize = 6;

/// A frame of a framework.
pub(super) fn calls(bytes: &[u8]) {
    let Ok(frame) = ext::Calls::decode(bytes) else { return };
    let mut script = Script::new(&[]);
    let mut play = Play::populated(&mut script);
    let (session, mut seq) = (SessionId(1), 10);
    for call in frame.calls {
        seq += 1;
        play.handle(&script, Input::Called { session, seq, call: intake::call(call) });
        play.end_batch(&script);
    }
    play.check_queries(&script);
}

/// A frame of an agent.
pub(super) fn messages(bytes: &[u8]) {
    let Ok(frame) = internal::AgentFrame::decode(bytes) else { return };
    let mut script = Script::new(&[]);
    let mut play = Play::populated(&mut script);
    for message in frame.messages {
        play.handle(&script, Input::Reported { session: SessionId(0), report: intake::report(message, "peer") });
        play.end_batch(&script);
    }
    play.check_queries(&script);
}

/// A call of an operator.
pub(super) fn operator(bytes: &[u8]) {
    let Ok(call) = v1::master::Call::decode(bytes) else { return };
    let mut script = Script::new(&[]);
    let mut play = Play::populated(&mut script);
    if let Some(question) = inside::asked(call) {
        play.handle(&script, Input::Asked { request: RequestId(0), principal: Principal::Anonymous, question });
        play.end_batch(&script);
    }
    play.check_queries(&script);
}

/// A master that starts with this state; no agent re-registers.
pub(super) fn begin_with(state: State) {
    let mut script = Script::new(&[]);
    let mut play = Play::begin(&mut script, state);
    for _ in 0..20 {
        let Some(at) = play.harness.deadline() else { break };
        script.now.mono_ns = script.now.mono_ns.max(at);
        play.handle(&script, Input::Ticked);
        play.end_batch(&script);
    }
    play.check_queries(&script);
}

/// Plays a script on a core.
pub(super) fn run(bytes: &[u8]) {
    play(bytes);
}

/// Plays a script on a core, and returns what it reached.
pub(super) fn play(bytes: &[u8]) -> BTreeSet<&'static str> {
    let mut script = Script::new(bytes);
    let empty = script.one_in(4);
    let mut play =
        if empty { Play::begin(&mut script, State::default()) } else { Play::populated(&mut Script::new(&[])) };
    while script.has_step() {
        play.step(&mut script);
    }
    play.check_queries(&script);
    play.reached
}

struct Play {
    harness: Harness<Master>,
    /// New at every start, as the epoch is.
    id: String,
    epoch: u64,
    /// All that was ever written to the registry.
    changes: Vec<RegistryChange>,
    /// Ids of all offers ever made, with their agents.
    offers: Vec<(String, String)>,
    /// Launches sent to agents: framework, container, task.
    launched: Vec<(String, String, v1::TaskInfo)>,
    /// Containers that an earlier master launched.
    launched_before: BTreeSet<String>,
    seqs: BTreeMap<SessionId, u64>,
    /// Sessions of registered agents and subscribed frameworks.
    agents: Vec<SessionId>,
    frameworks: Vec<(SessionId, String)>,
    reached: BTreeSet<&'static str>,
}

impl Play {
    fn begin(script: &mut Script<'_>, state: State) -> Self {
        Self {
            harness: core(script, ID, 7, state),
            id: ID.to_owned(),
            epoch: 7,
            changes: Vec::new(),
            offers: Vec::new(),
            launched: Vec::new(),
            launched_before: BTreeSet::new(),
            seqs: BTreeMap::new(),
            agents: Vec::new(),
            frameworks: Vec::new(),
            reached: BTreeSet::new(),
        }
    }

    /// An agent on session 0, a framework on session 1, a task that runs and offers.
    fn populated(script: &mut Script<'_>) -> Self {
        let mut play = Self::begin(script, State::default());
        let (agent, framework) = (SessionId(0), SessionId(1));
        play.handle(script, Input::Attached { session: agent, principal: Principal::Anonymous });
        play.handle(script, Input::Attached { session: framework, principal: Principal::Anonymous });
        let register = Kind::Register(Box::new(play.register(script)));
        let message = internal::AgentMessage { kind: Some(register) };
        play.handle(script, Input::Reported { session: agent, report: intake::report(message, "peer") });
        let subscribe = Call {
            r#type: Some(call::Type::Subscribe.into()),
            subscribe: Some(Box::new(generate::subscriber(vec!["*".to_owned()]))),
            ..Call::default()
        };
        play.handle(script, Input::Called { session: framework, seq: 1, call: intake::call(subscribe) });
        play.end_batch(script);
        let accept = Call {
            framework_id: play.frameworks.first().map(|(_, id)| v1::FrameworkId { value: id.clone() }),
            r#type: Some(call::Type::Accept.into()),
            accept: Some(Box::new(play.launch(script))),
            ..Call::default()
        };
        play.handle(script, Input::Called { session: framework, seq: 2, call: intake::call(accept) });
        play.seqs.insert(framework, 2);
        play.end_batch(script);
        play
    }

    fn launch(&self, script: &mut Script<'_>) -> call::Accept {
        let newest = self.offers.last().cloned().unwrap_or_default();
        let task_infos = vec![generate::task_info(script, &v1::AgentId { value: newest.1 })];
        call::Accept { offer_ids: vec![v1::OfferId { value: newest.0 }], ..generate::accept(task_infos) }
    }

    fn step(&mut self, script: &mut Script<'_>) {
        script.wait();
        let session = SessionId(script.below(SESSIONS) as u64);
        let input = match script.below(16) {
            0 | 1 => Input::Attached { session, principal: Principal::Anonymous },
            2 => Input::Detached { session },
            3 if script.one_in(8) => return self.restart(script),
            3 => Input::Ticked,
            4 => Input::Asked {
                request: RequestId(0),
                principal: Principal::Anonymous,
                question: generate::question(script),
            },
            5..=9 => {
                let session = if script.one_in(4) { session } else { *script.pick(&self.agents).unwrap_or(&session) };
                Input::Reported { session, report: intake::report(self.message(script), "peer") }
            }
            _ => {
                let known = script.pick(&self.frameworks).filter(|_| !script.one_in(4)).cloned();
                let (session, id) = known.map_or((session, None), |(session, id)| (session, Some(id)));
                let seq = self.seqs.entry(session).or_default();
                *seq += 1;
                let seq = *seq;
                Input::Called { session, seq, call: intake::call(self.call(script, id)) }
            }
        };
        // The shell uses a session id once.
        if let Input::Attached { session, .. } = &input {
            self.handle(script, Input::Detached { session: *session });
        }
        self.handle(script, input);
        if script.one_in(3) {
            self.end_batch(script);
        }
    }

    /// Another master starts with a prefix of the changes; it has no connections.
    fn restart(&mut self, script: &mut Script<'_>) {
        self.changes.truncate(self.changes.len() - script.below(self.changes.len().min(8) + 1));
        self.epoch += 1;
        self.id = format!("{ID}{}", self.epoch);
        self.harness = core(script, &self.id, self.epoch, self.changes.iter().collect());
        self.seqs.clear();
        self.agents.clear();
        self.frameworks.clear();
        self.launched_before.extend(self.launched.iter().map(|(_, container, _)| container.clone()));
        self.harness.core.check();
    }

    fn handle(&mut self, script: &Script<'_>, input: Input) {
        if let Input::Detached { session } = &input {
            self.agents.retain(|one| one != session);
            self.frameworks.retain(|(one, _)| one != session);
        }
        self.harness.handle(script.now, input);
        self.execute(script);
        self.harness.core.check();
    }

    fn end_batch(&mut self, script: &Script<'_>) {
        self.harness.end_batch(script.now);
        self.execute(script);
    }

    /// Answers all queries of the state.
    fn check_queries(&mut self, script: &Script<'_>) {
        self.harness.core.check();
        for question in [Question::Snapshot, Question::Departed, Question::Registry] {
            self.harness
                .handle(script.now, Input::Asked { request: RequestId(0), principal: Principal::Anonymous, question });
            self.execute(script);
        }
    }

    fn execute(&mut self, script: &Script<'_>) {
        let mut effects = Vec::new();
        self.harness.deliver(script.now, &mut effects);
        for effect in effects {
            match effect {
                Effect::Persist { changes, .. } => self.changes.extend(changes),
                Effect::SendEvent { session, event, .. } => self.event_sent(session, event),
                Effect::SendOrder { session, order, .. } => self.order_sent(session, order),
                Effect::Close { session, .. } => {
                    self.agents.retain(|one| *one != session);
                    self.frameworks.retain(|(one, _)| *one != session);
                }
                Effect::Reply { answer: Answer::Snapshot(snapshot), .. } => inside::look(&snapshot),
                Effect::Reply {
                    answer:
                        Answer::Alive | Answer::Departed(_) | Answer::Registry(..) | Answer::Done | Answer::Refused(_),
                    ..
                } => {}
            }
        }
    }

    fn event_sent(&mut self, session: SessionId, event: Event) {
        match event {
            Event::Subscribed { framework, .. } => self.frameworks.push((session, framework.to_string())),
            Event::Offers(offers) => {
                self.reached.insert("resources were offered");
                let offers = offers.iter().map(|offer| (offer_id(&self.id, offer.key), offer.agent.to_string()));
                self.offers.extend(offers);
            }
            Event::Updated { status } if status.state().is_terminal() && status.uuid.is_some() => {
                self.reached.insert("a task's end was sent");
                let task = self.launched.iter().find(|(_, _, info)| info.task_id == status.task_id);
                if task.is_some_and(|(_, container, _)| self.launched_before.contains(container)) {
                    self.reached.insert("a task's end was sent by another master than launched it");
                }
            }
            Event::Updated { .. }
            | Event::Rescinded { .. }
            | Event::Message { .. }
            | Event::Failures { .. }
            | Event::Error { .. }
            | Event::Heartbeat
            | Event::Applied { .. }
            | Event::Refused { .. }
            | Event::OperationFailed { .. } => {}
        }
    }

    fn order_sent(&mut self, session: SessionId, order: Order) {
        match order {
            Order::Registered(_) => self.agents.push(session),
            Order::Run { framework, container, info } => {
                let info = v1::TaskInfo::decode(info).expect("the master passes on what it has decoded");
                self.launched.push((framework.to_string(), container.to_string(), info));
                self.reached.insert("a task was launched");
            }
            Order::Acknowledge { .. } => {
                self.reached.insert("an acknowledgement was forwarded");
            }
            Order::Refused { .. }
            | Order::Kill { .. }
            | Order::UpdateFramework { .. }
            | Order::Shutdown { .. }
            | Order::Ping
            | Order::Message { .. }
            | Order::Gone => {}
        }
    }
}

fn core(script: &mut Script<'_>, id: &str, epoch: u64, state: State) -> Harness<Master> {
    let config = Config {
        completed_tasks: 5,
        completed_frameworks: 2,
        unreachable_agents: 2,
        work_per_turn: 3,
        ..Config::default()
    };
    Harness::new(Master::new(id, epoch, state, config, script.rng(), script.now))
}
