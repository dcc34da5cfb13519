//! The master's core, and what its connections make of frames.
//!
//! A script's frameworks and agents say whatever they like through the functions the sockets use; they know the offers
//! that were made and the containers that were ordered, so that a script can go deep.

use std::collections::BTreeMap;

use prost::Message as _;

use super::script::Script;
use crate::{
    master::{
        api::intake,
        core::{Config, Effect, Event, Input, Master, Order, Question, RequestId, SessionId, offer_id},
        registry::State,
    },
    proto::{
        ext,
        internal::{self, agent_message::Kind},
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
    for call in frame.calls {
        drop(intake::call(call));
    }
}

/// A frame of an agent.
pub(super) fn messages(bytes: &[u8]) {
    let Ok(frame) = internal::AgentFrame::decode(bytes) else { return };
    for message in frame.messages {
        drop(intake::report(message, "peer"));
    }
}

/// Plays a script on a core.
pub(super) fn run(bytes: &[u8]) {
    let mut script = Script::new(bytes);
    let config = Config { completed_tasks: 5, completed_frameworks: 2, unreachable_agents: 2, ..Config::default() };
    let core = Master::new(ID, 7, State::default(), config, script.rng(), script.now);
    let mut play = Play { core, offers: Vec::new(), ordered: Vec::new(), seqs: BTreeMap::new() };
    while script.goes_on() {
        play.step(&mut script);
    }
    play.core.check();
}

struct Play {
    core: Master,
    /// Ids of all offers ever made, with their agents.
    offers: Vec<(String, String)>,
    /// What agents were told to run: framework, container, task.
    ordered: Vec<(String, String, v1::TaskInfo)>,
    seqs: BTreeMap<SessionId, u64>,
}

impl Play {
    fn step(&mut self, script: &mut Script<'_>) {
        script.wait();
        let session = SessionId(script.below(SESSIONS) as u64);
        let input = match script.below(16) {
            0 | 1 => Input::Attached { session },
            2 => Input::Detached { session },
            3 => Input::Ticked,
            4 => Input::Asked { request: RequestId(0), question: question(script) },
            5..=9 => Input::Reported { session, report: intake::report(self.message(script), "peer") },
            _ => {
                let seq = self.seqs.entry(session).or_default();
                *seq += 1;
                let seq = *seq;
                Input::Called { session, seq, call: intake::call(self.call(script)) }
            }
        };
        // The shell names a session once.
        if let Input::Attached { session } = &input {
            self.handle(script, Input::Detached { session: *session });
        }
        self.handle(script, input);
        if script.one_in(3) {
            let mut out = Vec::new();
            self.core.settle(script.now, &mut out);
            self.heed(out);
        }
    }

    fn handle(&mut self, script: &Script<'_>, input: Input) {
        let mut out = Vec::new();
        self.core.handle(script.now, input, &mut out);
        self.heed(out);
        self.core.check();
    }

    fn heed(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Tell { event: Event::Offers(offers), .. } => {
                    self.offers.extend(offers.iter().map(|offer| (offer_id(ID, offer.key), offer.agent.to_string())));
                }
                Effect::Order { order: Order::Run { framework, container, info }, .. } => {
                    let info = v1::TaskInfo::decode(info).expect("the master passes on what it has decoded");
                    self.ordered.push((framework.to_string(), container.to_string(), info));
                }
                Effect::Persist(_)
                | Effect::Tell { .. }
                | Effect::Order { .. }
                | Effect::Close { .. }
                | Effect::Reply { .. } => {}
            }
        }
    }

    fn message(&mut self, script: &mut Script<'_>) -> internal::AgentMessage {
        let kind = match script.below(6) {
            0 => return internal::AgentMessage::decode(script.raw()).unwrap_or_default(),
            1 | 2 => Kind::Register(Box::new(self.register(script))),
            3 => Kind::Pong(internal::Pong {}),
            4 if script.one_in(4) => Kind::Unregister(internal::Unregister {}),
            4 if script.one_in(2) => {
                let container_id = script.pick(&self.ordered).map(|(_, id, _)| id.clone()).unwrap_or_default();
                Kind::OrphanGone(internal::OrphanGone { container_id })
            }
            _ => Kind::Update(Box::new(self.update(script))),
        };
        internal::AgentMessage { kind: Some(kind) }
    }

    fn register(&mut self, script: &mut Script<'_>) -> internal::Register {
        let id = script.one_in(2).then(|| v1::AgentId { value: script.name("m-S", 3) });
        let text = ["cpus:4;mem:1024;ports:[1-9]", "cpus:1;mem:64", "cpus:2;mem:512;cpus(a):1", "gpus:1;cpus:1;mem:64"];
        let resources: crate::types::Resources =
            text[script.below(text.len())].parse().expect("resources in text form");
        let info =
            v1::AgentInfo { id, hostname: script.name("h", 3), resources: resources.to_proto(), ..Default::default() };
        let tasks: Vec<internal::AgentTask> = (0..script.below(4)).filter_map(|_| self.reported(script)).collect();
        let named = |task: &internal::AgentTask| v1::FrameworkInfo {
            id: Some(v1::FrameworkId { value: task.framework_id.clone() }),
            user: "root".to_owned(),
            ..v1::FrameworkInfo::new("f")
        };
        internal::Register {
            versions: Some(ext::VersionRange { min: 1, max: if script.one_in(8) { 1 } else { 2 } }),
            orphans: (0..script.below(2)).filter_map(|_| self.reported(script)).collect(),
            divvy_version: "0.1.0".to_owned(),
            info: Some(info),
            epoch: script.below(9) as u64,
            boot_id: "boot".to_owned(),
            frameworks: tasks.iter().map(named).collect(),
            tasks,
            installation: script.name("w", 3).into(),
            instance: script.name("i", 3).into(),
        }
    }

    fn reported(&mut self, script: &mut Script<'_>) -> Option<internal::AgentTask> {
        let (framework_id, container_id, task) = script.pick(&self.ordered)?.clone();
        let unacknowledged = script.one_in(2).then(|| state(script).into());
        let state = state(script).into();
        Some(internal::AgentTask {
            framework_id,
            container_id,
            task_info: task.encode_to_vec().into(),
            state,
            unacknowledged,
        })
    }

    fn update(&mut self, script: &mut Script<'_>) -> internal::Update {
        let (framework_id, container_id, task) = script.pick(&self.ordered).cloned().unwrap_or_default();
        let status = v1::TaskStatus {
            task_id: task.task_id,
            agent_id: Some(task.agent_id),
            state: state(script).into(),
            uuid: Some(uuid(script)),
            ..Default::default()
        };
        internal::Update { framework_id, container_id, status: Some(status), latest_state: state(script).into() }
    }

    fn call(&mut self, script: &mut Script<'_>) -> Call {
        let kind = script.below(14);
        if kind == 0 {
            return Call::decode(script.raw()).unwrap_or_default();
        }
        let mut made =
            Call { framework_id: Some(v1::FrameworkId { value: script.name("m-000", 3) }), ..Call::default() };
        let kind = match kind {
            1 | 2 => {
                made.subscribe = Some(Box::new(subscribe(script, made.framework_id.take())));
                call::Type::Subscribe
            }
            3 if script.one_in(3) => call::Type::Teardown,
            4..=6 => {
                made.accept = Some(Box::new(self.accept(script)));
                call::Type::Accept
            }
            7 => {
                made.decline = Some(call::Decline { offer_ids: self.offer_ids(script), filters: filters(script) });
                call::Type::Decline
            }
            8 => {
                made.revive = Some(call::Revive { roles: roles(script) });
                call::Type::Revive
            }
            9 => {
                made.suppress = Some(call::Suppress { roles: roles(script) });
                call::Type::Suppress
            }
            10 => {
                let (task_id, agent_id) = self.task(script);
                made.kill = Some(call::Kill { task_id, agent_id: Some(agent_id), kill_policy: None });
                call::Type::Kill
            }
            11 => {
                let (task_id, agent_id) = self.task(script);
                made.acknowledge = Some(call::Acknowledge { agent_id, task_id, uuid: uuid(script) });
                call::Type::Acknowledge
            }
            _ => {
                let tasks = (0..script.below(3)).map(|_| {
                    let (task_id, agent_id) = self.task(script);
                    call::reconcile::Task { task_id, agent_id: Some(agent_id), ..Default::default() }
                });
                made.reconcile = Some(call::Reconcile { tasks: tasks.collect() });
                call::Type::Reconcile
            }
        };
        made.r#type = Some(kind.into());
        made
    }

    fn offer_ids(&mut self, script: &mut Script<'_>) -> Vec<v1::OfferId> {
        let recent = self.offers.len().saturating_sub(8);
        let picked = (0..=script.below(3)).filter_map(|_| script.pick(&self.offers[recent..]));
        picked.map(|(id, _)| v1::OfferId { value: id.clone() }).collect()
    }

    fn accept(&mut self, script: &mut Script<'_>) -> call::Accept {
        let offer_ids = self.offer_ids(script);
        let agent = offer_ids.first().and_then(|id| self.offers.iter().find(|(offer, _)| *offer == id.value));
        let agent_id = v1::AgentId { value: agent.map(|(_, agent)| agent.clone()).unwrap_or_default() };
        let task_infos: Vec<v1::TaskInfo> = (0..script.below(4)).map(|_| task_info(script, &agent_id)).collect();
        let launch = v1::offer::operation::Launch { task_infos };
        let kind = v1::offer::operation::Type::Launch.into();
        let operation = v1::offer::Operation { r#type: Some(kind), launch: Some(launch), ..Default::default() };
        call::Accept { offer_ids, operations: vec![operation], filters: filters(script) }
    }

    fn task(&mut self, script: &mut Script<'_>) -> (v1::TaskId, v1::AgentId) {
        match script.pick(&self.ordered) {
            Some((_, _, task)) => (task.task_id.clone(), task.agent_id.clone()),
            None => (v1::TaskId { value: script.name("t", 6) }, v1::AgentId { value: script.name("m-S", 3) }),
        }
    }
}

fn question(script: &mut Script<'_>) -> Question {
    match script.below(4) {
        0 => Question::Alive,
        1 => Question::Snapshot,
        2 => Question::Teardown { framework: script.name("m-000", 3) },
        _ => {
            let weight = (script.name("r", 3), [0.0, 1.0, 2.5, -1.0][script.below(4)]);
            Question::Weights { weights: vec![weight] }
        }
    }
}

fn subscribe(script: &mut Script<'_>, id: Option<v1::FrameworkId>) -> call::Subscribe {
    let capability =
        |kind: v1::framework_info::capability::Type| v1::framework_info::Capability { r#type: Some(kind.into()) };
    let all = [
        v1::framework_info::capability::Type::MultiRole,
        v1::framework_info::capability::Type::PartitionAware,
        v1::framework_info::capability::Type::ReservationRefinement,
    ];
    let framework_info = v1::FrameworkInfo {
        user: "root".to_owned(),
        id: id.filter(|_| script.one_in(2)),
        roles: roles(script),
        failover_timeout: Some([0.0, 1.0, 3600.0, f64::NAN][script.below(4)]),
        capabilities: all.into_iter().filter(|_| !script.one_in(3)).map(capability).collect(),
        ..v1::FrameworkInfo::new("f")
    };
    call::Subscribe { framework_info, suppressed_roles: Vec::new(), offer_constraints: None, instance: None }
}

fn task_info(script: &mut Script<'_>, agent_id: &v1::AgentId) -> v1::TaskInfo {
    let resources: crate::types::Resources =
        ["cpus:1;mem:64", "cpus:0.1;mem:32;ports:[1-1]", "cpus:4;mem:1024", "cpus:99", "cpus(a):1"][script.below(5)]
            .parse()
            .expect("resources in text form");
    v1::TaskInfo {
        name: "t".to_owned(),
        task_id: v1::TaskId { value: script.name("t", 6) },
        agent_id: agent_id.clone(),
        resources: resources.to_proto_as(Some("*"), true),
        command: Some(Box::new(v1::CommandInfo { value: Some("true".to_owned()), ..Default::default() })),
        ..Default::default()
    }
}

fn roles(script: &mut Script<'_>) -> Vec<String> {
    let all = ["*", "a", "a/b", "r"];
    all.into_iter().filter(|_| script.one_in(2)).map(str::to_owned).collect()
}

fn filters(script: &mut Script<'_>) -> Option<v1::Filters> {
    let seconds = [0.0, 0.5, 5.0, 1e9, -1.0, f64::NAN][script.below(6)];
    script.one_in(2).then_some(v1::Filters { refuse_seconds: Some(seconds) })
}

fn state(script: &mut Script<'_>) -> v1::TaskState {
    use v1::TaskState as State;
    let all = [
        State::TaskRunning,
        State::TaskFinished,
        State::TaskFailed,
        State::TaskKilled,
        State::TaskLost,
        State::TaskStaging,
        State::TaskKilling,
    ];
    all[script.below(all.len())]
}

fn uuid(script: &mut Script<'_>) -> bytes::Bytes {
    vec![u8::try_from(script.below(4)).unwrap_or(0); 16].into()
}
