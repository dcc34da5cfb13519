//! Seeds: one message of every kind for the targets that take messages, and whole scripts.

use std::fs;

use bytes::BytesMut;
use prost::Message;

use super::{corpus, scripts};
use crate::{
    agent::supervisor::frame,
    master::registry::{Backup, conformance},
    proto::{
        ext,
        internal::{
            self, AgentMessage, MasterMessage, SupervisorEvent, SupervisorRequest, agent_message::Kind as Report,
            master_message::Kind as Order, supervisor_event::Kind as Reply, supervisor_request::Kind as Asked,
        },
        v1::{
            self,
            scheduler::{Call, Event, call, event},
        },
    },
};

type Seed = (&'static str, &'static str, Vec<u8>);

#[test]
fn the_messages_in_the_corpus_are_those_of_today() {
    for (target, name, bytes) in seeds() {
        let path = corpus().join(target).join(name);
        if std::env::var_os("DIVVY_WRITE_SEEDS").is_some() {
            fs::write(&path, &bytes).expect("writable");
        }
        let stored = fs::read(&path).unwrap_or_default();
        assert_eq!(stored, bytes, "{}: write it anew with DIVVY_WRITE_SEEDS=1", path.display());
    }
}

fn seeds() -> Vec<Seed> {
    let facts = conformance::facts();
    let changes = internal::RegistryBackup { changes: facts.clone(), ..Default::default() };
    let backup = Backup::new(facts.iter().collect(), 7, 1_700_000_000_000_000_000);
    let mut all = vec![
        ("frame-of-a-framework", "calls", ext::Calls { calls: calls(), ..Default::default() }.encode_to_vec()),
        ("frame-of-an-agent", "reports", internal::AgentFrame { messages: reports() }.encode_to_vec()),
        (
            "frame-to-a-framework",
            "events",
            ext::Events { version: 1, events: events(), ..Default::default() }.encode_to_vec(),
        ),
        ("frame-to-an-agent", "orders", internal::MasterFrame { messages: orders() }.encode_to_vec()),
        ("frame-to-a-supervisor", "requests", stream(&requests())),
        ("frame-of-a-supervisor", "events", stream(&replies())),
        ("store-registry-changes", "facts", changes.encode_to_vec()),
        ("store-backup", "facts", backup.encode()),
        ("core-agent", "a-task-ends-after-a-restart", scripts::a_task_ends_after_a_restart()),
    ];
    all.extend(operators());
    all
}

/// In pieces of five bytes.
fn stream(messages: &[impl Message]) -> Vec<u8> {
    let mut buffer = BytesMut::from(&[5_u8][..]);
    for message in messages {
        frame::put(message, &mut buffer).expect("short");
    }
    buffer.to_vec()
}

fn framework_id() -> v1::FrameworkId {
    v1::FrameworkId { value: "m-0000".to_owned() }
}

fn agent_id() -> v1::AgentId {
    v1::AgentId { value: "m-S0".to_owned() }
}

fn task_id(name: &str) -> v1::TaskId {
    v1::TaskId { value: name.to_owned() }
}

fn task(name: &str) -> v1::TaskInfo {
    let resources: crate::types::Resources = "cpus:0.1;mem:32;ports:[1-1]".parse().expect("resources in text form");
    let variable =
        v1::environment::Variable { name: "A".to_owned(), value: Some("b".to_owned()), ..Default::default() };
    let command = v1::CommandInfo {
        value: Some("true".to_owned()),
        environment: Some(v1::Environment { variables: vec![variable] }),
        ..Default::default()
    };
    let label = v1::Label { key: "k".to_owned(), value: Some("v".to_owned()) };
    v1::TaskInfo {
        name: "n".to_owned(),
        task_id: task_id(name),
        agent_id: agent_id(),
        resources: resources.to_proto_as(Some("*"), true),
        command: Some(Box::new(command)),
        labels: Some(v1::Labels { labels: vec![label] }),
        ..Default::default()
    }
}

fn status(name: &str, state: v1::TaskState) -> v1::TaskStatus {
    v1::TaskStatus {
        task_id: task_id(name),
        agent_id: Some(agent_id()),
        state: state.into(),
        uuid: Some(vec![7; 16].into()),
        message: Some("command exited with status 3".to_owned()),
        ..Default::default()
    }
}

fn calls() -> Vec<Call> {
    let launch = v1::offer::operation::Launch { task_infos: vec![task("t1")] };
    let operation = v1::offer::Operation {
        r#type: Some(v1::offer::operation::Type::Launch.into()),
        launch: Some(launch),
        ..Default::default()
    };
    let offer_ids = vec![v1::OfferId { value: "m-O1".to_owned() }];
    let filters = Some(v1::Filters { refuse_seconds: Some(5.0) });
    let accept = call::Accept { offer_ids: offer_ids.clone(), operations: vec![operation], filters };
    let made =
        |kind: call::Type| Call { framework_id: Some(framework_id()), r#type: Some(kind.into()), ..Default::default() };
    let known = call::reconcile::Task { task_id: task_id("t0"), agent_id: Some(agent_id()), ..Default::default() };
    let kill = call::Kill { task_id: task_id("t0"), agent_id: Some(agent_id()), kill_policy: None };
    let acknowledge = call::Acknowledge { agent_id: agent_id(), task_id: task_id("t0"), uuid: vec![7; 16].into() };
    vec![
        Call { accept: Some(Box::new(accept)), ..made(call::Type::Accept) },
        Call { decline: Some(call::Decline { offer_ids, filters }), ..made(call::Type::Decline) },
        Call { suppress: Some(call::Suppress { roles: vec!["*".to_owned()] }), ..made(call::Type::Suppress) },
        Call { revive: Some(call::Revive { roles: Vec::new() }), ..made(call::Type::Revive) },
        Call { kill: Some(kill), ..made(call::Type::Kill) },
        Call { acknowledge: Some(acknowledge), ..made(call::Type::Acknowledge) },
        Call { reconcile: Some(call::Reconcile { tasks: vec![known] }), ..made(call::Type::Reconcile) },
        made(call::Type::Teardown),
    ]
}

fn reports() -> Vec<AgentMessage> {
    let resources: crate::types::Resources = "cpus:4;mem:1024;ports:[1-9]".parse().expect("resources in text form");
    let info = v1::AgentInfo {
        id: Some(agent_id()),
        hostname: "h".to_owned(),
        resources: resources.to_proto(),
        ..Default::default()
    };
    let running = internal::AgentTask {
        framework_id: framework_id().value,
        container_id: "c".to_owned(),
        task_info: task("t2").encode_to_vec().into(),
        state: v1::TaskState::TaskRunning.into(),
        unacknowledged: None,
    };
    let register = internal::Register {
        versions: Some(ext::VersionRange { min: 1, max: 1 }),
        divvy_version: "0.1.0".to_owned(),
        info: Some(info),
        boot_id: "boot".to_owned(),
        frameworks: vec![v1::FrameworkInfo { id: Some(framework_id()), ..v1::FrameworkInfo::new("f") }],
        tasks: vec![running],
        ..Default::default()
    };
    let update = internal::Update {
        framework_id: framework_id().value,
        container_id: "c".to_owned(),
        status: Some(status("t2", v1::TaskState::TaskFinished)),
        latest_state: v1::TaskState::TaskFinished.into(),
    };
    let kinds = [
        Report::Register(Box::new(register)),
        Report::Update(Box::new(update)),
        Report::Pong(internal::Pong {}),
        Report::Unregister(internal::Unregister {}),
    ];
    kinds.map(|kind| AgentMessage { kind: Some(kind) }).to_vec()
}

fn events() -> Vec<Event> {
    let offer = v1::Offer { id: v1::OfferId { value: "O1".to_owned() }, agent_id: agent_id(), ..Default::default() };
    let made = |kind: event::Type| Event { r#type: Some(kind.into()), ..Default::default() };
    let update = event::Update { status: status("t3", v1::TaskState::TaskFailed) };
    let rescind = event::Rescind { offer_id: offer.id.clone() };
    let failure = event::Failure { agent_id: Some(agent_id()), ..Default::default() };
    vec![
        Event { offers: Some(event::Offers { offers: vec![offer] }), ..made(event::Type::Offers) },
        Event { update: Some(Box::new(update)), ..made(event::Type::Update) },
        Event { rescind: Some(rescind), ..made(event::Type::Rescind) },
        Event { failure: Some(Box::new(failure)), ..made(event::Type::Failure) },
        made(event::Type::Heartbeat),
        Event { error: Some(event::Error { message: "over".to_owned() }), ..made(event::Type::Error) },
    ]
}

fn orders() -> Vec<MasterMessage> {
    let framework_id = || framework_id().value;
    let run = internal::RunTask {
        framework_id: framework_id(),
        container_id: "c".to_owned(),
        task_info: task("t").encode_to_vec().into(),
    };
    let info = v1::FrameworkInfo { id: Some(self::framework_id()), ..v1::FrameworkInfo::new("f") };
    let kill = internal::KillTask { framework_id: framework_id(), task_id: "t".to_owned(), ..Default::default() };
    let acknowledge =
        internal::Acknowledge { framework_id: framework_id(), task_id: "t".to_owned(), uuid: vec![7; 16].into() };
    let kinds = [
        Order::UpdateFramework(Box::new(internal::UpdateFramework { info: Some(info) })),
        Order::RunTask(run),
        Order::KillTask(kill),
        Order::Acknowledge(acknowledge),
        Order::Ping(internal::Ping {}),
        Order::ShutdownFramework(internal::ShutdownFramework { framework_id: framework_id() }),
    ];
    kinds.map(|kind| MasterMessage { kind: Some(kind) }).to_vec()
}

fn requests() -> Vec<SupervisorRequest> {
    let container_id = || "c".to_owned();
    let start = internal::Start {
        container_id: container_id(),
        program: "true".to_owned(),
        working_directory: "/tmp".to_owned(),
        environment: vec![internal::EnvironmentVariable { name: "A".to_owned(), value: "b".to_owned() }],
        ..Default::default()
    };
    let versions = Some(ext::VersionRange { min: 1, max: 2 });
    let kinds = [
        Asked::Hello(internal::SupervisorHello { versions, ..Default::default() }),
        Asked::Start(start),
        Asked::Signal(internal::Signal { container_id: container_id(), signal: 15, tree: true }),
        Asked::Forget(internal::Forget { container_id: container_id() }),
        Asked::Retire(internal::Retire {}),
    ];
    kinds.map(|kind| SupervisorRequest { kind: Some(kind) }).to_vec()
}

fn replies() -> Vec<SupervisorEvent> {
    let started = |id: &str| internal::Started { container_id: id.to_owned(), pid: 7, start_time: 1 };
    let exited = |id: &str, status| internal::Exited {
        container_id: id.to_owned(),
        status: Some(status),
        wall_ns: 1,
        core_dumped: false,
    };
    let welcome = internal::SupervisorWelcome {
        version: 2,
        running: vec![started("c2")],
        exited: vec![exited("c3", internal::exited::Status::Lost("its supervisor died".to_owned()))],
        starting: vec!["c1".to_owned()],
        ..Default::default()
    };
    let failed = internal::StartFailed { container_id: "c1".to_owned(), step: "execute".to_owned(), errno: 2 };
    let kinds = [
        Reply::Started(started("c0")),
        Reply::StartFailed(failed),
        Reply::Exited(exited("c0", internal::exited::Status::Code(0))),
        Reply::Welcome(welcome),
        Reply::Exited(exited("c2", internal::exited::Status::Signal(9))),
    ];
    kinds.map(|kind| SupervisorEvent { kind: Some(kind) }).to_vec()
}

fn operators() -> Vec<Seed> {
    use v1::master::{Call, call, call::Type};
    let amount = |cpus| [("cpus".to_owned(), v1::value::Scalar { value: cpus })].into_iter().collect();
    let config = v1::quota::QuotaConfig { role: "a".to_owned(), guarantees: amount(1.0), limits: amount(2.0) };
    let quota = call::UpdateQuota { quota_configs: vec![config], ..Default::default() };
    let weight = v1::WeightInfo { role: Some("a".to_owned()), weight: 2.0 };
    let made = |kind: Type| Call { r#type: Some(kind.into()), ..Default::default() };
    let calls = [
        ("quota", Call { update_quota: Some(quota), ..made(Type::UpdateQuota) }),
        (
            "weights",
            Call {
                update_weights: Some(call::UpdateWeights { weight_infos: vec![weight] }),
                ..made(Type::UpdateWeights)
            },
        ),
        ("teardown", Call { teardown: Some(call::Teardown { framework_id: framework_id() }), ..made(Type::Teardown) }),
        (
            "gone",
            Call { mark_agent_gone: Some(call::MarkAgentGone { agent_id: agent_id() }), ..made(Type::MarkAgentGone) },
        ),
    ];
    calls.into_iter().map(|(name, call)| ("call-of-an-operator", name, call.encode_to_vec())).collect()
}
