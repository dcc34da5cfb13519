//! Calls of schedulers, each with one thing wrong, and the field that is named.

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
