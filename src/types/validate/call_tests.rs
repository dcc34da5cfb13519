//! Calls of schedulers with one error each, and the field that the error names.

use bytes::Bytes;

use super::*;
use call::Type;

fn bare(kind: Type) -> Call {
    Call { framework_id: Some("F".into()), r#type: Some(kind.into()), ..Call::default() }
}

fn error(call: &Call) -> String {
    scheduler_call(call).unwrap_err().to_string()
}

fn accepting(operation: Operation) -> Call {
    let accept = call::Accept { offer_ids: vec!["O1".into()], operations: vec![operation], filters: None };
    Call { accept: Some(Box::new(accept)), ..bare(Type::Accept) }
}

fn launching(task: TaskInfo) -> Call {
    let launch =
        operation::Launch { task_infos: vec![TaskInfo::shell("a", "true").with_id("1").with_agent("S"), task] };
    accepting(Operation { r#type: Some(operation::Type::Launch.into()), launch: Some(launch), ..Operation::default() })
}

fn subscribing(outer: Option<&str>, inner: Option<&str>) -> Call {
    let framework_info = FrameworkInfo { id: inner.map(FrameworkId::from), ..FrameworkInfo::new("f") };
    let subscribe = call::Subscribe { framework_info, ..call::Subscribe::default() };
    Call { framework_id: outer.map(FrameworkId::from), subscribe: Some(Box::new(subscribe)), ..bare(Type::Subscribe) }
}

fn acknowledging(uuid: &'static [u8]) -> Call {
    let acknowledge = call::Acknowledge { agent_id: "S".into(), task_id: "t".into(), uuid: Bytes::from_static(uuid) };
    Call { acknowledge: Some(acknowledge), ..bare(Type::Acknowledge) }
}

#[test]
fn a_call_has_a_known_type() {
    assert_eq!(error(&Call::default()), "type: is missing");
    assert_eq!(error(&bare(Type::Unknown)), "type: UNKNOWN is no call");
    assert!(error(&Call { r#type: Some(99), ..bare(Type::Revive) }).starts_with("type: "));
}

#[test]
fn all_but_the_first_call_name_their_framework() {
    for framework_id in [None, Some("".into())] {
        assert_eq!(error(&Call { framework_id, ..bare(Type::Teardown) }), "framework_id: is missing");
    }
    for kind in [Type::Teardown, Type::Revive, Type::Suppress] {
        assert_eq!(scheduler_call(&bare(kind)), Ok(()));
    }
}

#[test]
fn a_call_has_the_body_of_its_type() {
    let without_body = [Type::Unknown, Type::Teardown, Type::Revive, Type::Suppress];
    for number in 1..=17 {
        let kind = Type::try_from(number).unwrap();
        if !without_body.contains(&kind) {
            let field = kind.as_str_name().to_lowercase();
            assert_eq!(error(&bare(kind)), format!("{field}: is missing"));
        }
    }
}

#[test]
fn a_subscription_names_one_framework_or_none() {
    for (outer, inner) in [(None, None), (Some("F"), Some("F")), (None, Some("")), (Some(""), None)] {
        assert_eq!(scheduler_call(&subscribing(outer, inner)), Ok(()));
    }
    assert_eq!(error(&subscribing(None, Some("F"))), "subscribe.framework_info.id: `F` differs from framework_id ``");
    assert!(scheduler_call(&subscribing(Some("F"), None)).is_err());
    let update = call::UpdateFramework { framework_info: FrameworkInfo::new("f"), ..Default::default() };
    let update = Call { update_framework: Some(Box::new(update)), ..bare(Type::UpdateFramework) };
    assert!(error(&update).starts_with("update_framework.framework_info.id: "));
}

#[test]
fn a_launch_names_task_and_agent() {
    let valid = TaskInfo::shell("a", "true").with_id("2").with_agent("S");
    assert_eq!(scheduler_call(&launching(valid.clone())), Ok(()));
    let path = "accept.operations[0].launch.task_infos[1]";
    assert_eq!(error(&launching(valid.clone().with_id(""))), format!("{path}.task_id: is missing"));
    assert_eq!(error(&launching(valid.clone().with_agent(""))), format!("{path}.agent_id: is missing"));
    let nameless = TaskInfo { executor: Some(Box::default()), ..valid };
    assert_eq!(error(&launching(nameless)), format!("{path}.executor.executor_id: is missing"));
}

#[test]
fn an_operation_has_the_body_of_its_type() {
    for kind in [1, 2, 3, 4, 5, 6, 11, 12, 13, 14] {
        let name = operation::Type::try_from(kind).unwrap().as_str_name().to_lowercase();
        let call = accepting(Operation { r#type: Some(kind), ..Operation::default() });
        assert_eq!(error(&call), format!("accept.operations[0].{name}: is missing"));
    }
    assert_eq!(scheduler_call(&accepting(Operation::default())), Ok(()));
}

#[test]
fn an_offer_is_named() {
    let decline = call::Decline { offer_ids: vec!["O".into(), "".into()], filters: None };
    let decline = Call { decline: Some(decline), ..bare(Type::Decline) };
    assert_eq!(error(&decline), "decline.offer_ids[1]: is missing");
}

#[test]
fn an_acknowledgement_has_sixteen_bytes() {
    assert_eq!(scheduler_call(&acknowledging(&[0; 16])), Ok(()));
    assert_eq!(error(&acknowledging(b"")), "acknowledge.uuid: 0 bytes are no uuid; it has 16");
    assert_eq!(error(&acknowledging(&[0; 17])), "acknowledge.uuid: 17 bytes are no uuid; it has 16");
    let acknowledge = call::AcknowledgeOperationStatus {
        uuid: Bytes::from_static(&[0; 16]),
        operation_id: "op".into(),
        ..call::AcknowledgeOperationStatus::default()
    };
    let kind = Type::AcknowledgeOperationStatus;
    let call = Call { acknowledge_operation_status: Some(Box::new(acknowledge)), ..bare(kind) };
    assert_eq!(error(&call), "acknowledge_operation_status.agent_id: is missing");
}

#[test]
fn other_bodies_name_what_they_are_about() {
    let kill = Call { kill: Some(call::Kill::default()), ..bare(Type::Kill) };
    assert_eq!(error(&kill), "kill.task_id: is missing");
    let shutdown = call::Shutdown { executor_id: "e".into(), ..call::Shutdown::default() };
    let shutdown = Call { shutdown: Some(shutdown), ..bare(Type::Shutdown) };
    assert_eq!(error(&shutdown), "shutdown.agent_id: is missing");
    let tasks = vec![call::reconcile::Task::default()];
    let reconcile = Call { reconcile: Some(call::Reconcile { tasks }), ..bare(Type::Reconcile) };
    assert_eq!(error(&reconcile), "reconcile.tasks[0].task_id: is missing");
    let message = Call { message: Some(call::Message::default()), ..bare(Type::Message) };
    assert_eq!(error(&message), "message.agent_id: is missing");
}

#[test]
fn every_list_and_id_of_a_call_has_a_limit() {
    let decline = |offers| Call {
        decline: Some(call::Decline { offer_ids: vec!["O".into(); offers], filters: None }),
        ..bare(Type::Decline)
    };
    assert_eq!(scheduler_call(&decline(OFFERS_PER_CALL)), Ok(()));
    assert_eq!(error(&decline(OFFERS_PER_CALL + 1)), "decline.offer_ids: has 16385 offers; at most 16384 are accepted");
    let kill = |bytes| Call {
        kill: Some(call::Kill { task_id: "t".repeat(bytes).into(), ..call::Kill::default() }),
        ..bare(Type::Kill)
    };
    assert_eq!(scheduler_call(&kill(ID_BYTES)), Ok(()));
    assert_eq!(error(&kill(ID_BYTES + 1)), "kill.task_id: has 256 bytes; at most 255 are accepted");
    let revive =
        |roles| Call { revive: Some(call::Revive { roles: vec!["a".to_owned(); roles] }), ..bare(Type::Revive) };
    assert_eq!(scheduler_call(&revive(FRAMEWORK_ROLES)), Ok(()));
    assert_eq!(error(&revive(FRAMEWORK_ROLES + 1)), "revive.roles: has 1025 roles; at most 1024 are accepted");
    let task = || call::reconcile::Task { task_id: "t".into(), ..call::reconcile::Task::default() };
    let reconcile =
        |tasks| Call { reconcile: Some(call::Reconcile { tasks: vec![task(); tasks] }), ..bare(Type::Reconcile) };
    assert_eq!(scheduler_call(&reconcile(RECONCILE_TASKS)), Ok(()));
    assert!(error(&reconcile(RECONCILE_TASKS + 1)).starts_with("reconcile.tasks: has 16385 tasks; "));
    let message = |bytes| Call {
        message: Some(call::Message {
            agent_id: "S".into(),
            executor_id: "e".into(),
            data: Bytes::from(vec![0; bytes]),
        }),
        ..bare(Type::Message)
    };
    assert_eq!(scheduler_call(&message(DATA_BYTES)), Ok(()));
    assert!(error(&message(DATA_BYTES + 1)).starts_with("message.data: has 2097153 bytes; "));
}

#[test]
fn an_accept_has_so_many_operations_and_tasks_of_so_many_bytes() {
    let task = |id: String| TaskInfo::shell("a", "true").with_id(id).with_agent("S");
    let launching = |tasks: usize| {
        let launch = operation::Launch { task_infos: (0..tasks).map(|number| task(number.to_string())).collect() };
        accepting(Operation {
            r#type: Some(operation::Type::Launch.into()),
            launch: Some(launch),
            ..Operation::default()
        })
    };
    assert_eq!(scheduler_call(&launching(TASKS_PER_ACCEPT)), Ok(()));
    assert_eq!(error(&launching(TASKS_PER_ACCEPT + 1)), "accept.operations: has 4097 tasks; at most 4096 are accepted");
    let mut many = launching(1);
    let accept = many.accept.as_mut().unwrap();
    accept.operations = vec![accept.operations[0].clone(); OPERATIONS_PER_ACCEPT + 1];
    assert!(error(&many).starts_with("accept.operations: has 1025 operations; "));
    let mut large = launching(1);
    let operation = &mut large.accept.as_mut().unwrap().operations[0];
    operation.launch.as_mut().unwrap().task_infos[0].data = Some(Bytes::from(vec![0; limits::TASK_BYTES]));
    assert!(error(&large).starts_with("accept.operations[0].launch.task_infos[0]: has 10486"), "{}", error(&large));
}

#[test]
fn a_refusal_quotes_no_more_than_a_line() {
    let long = "i".repeat(60 << 20);
    let text = error(&subscribing(Some(&long), None));
    assert!(text.starts_with("subscribe.framework_info.id: ") && text.len() < 400, "{} bytes", text.len());
}
