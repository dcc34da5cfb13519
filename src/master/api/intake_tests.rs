//! Invalid messages are refused with their field.

use super::*;
use crate::proto::v1::{
    FrameworkInfo,
    scheduler::{OfferConstraints, offer_constraints},
};

fn subscribing(subscribe: scheduler::call::Subscribe) -> scheduler::Call {
    scheduler::Call {
        r#type: Some(Type::Subscribe.into()),
        subscribe: Some(Box::new(subscribe)),
        ..scheduler::Call::default()
    }
}

fn refused(call: scheduler::Call) -> (String, String) {
    match self::call(call) {
        Call::Invalid { field, text } => (field, text),
        other => panic!("accepted as {other:?}"),
    }
}

#[test]
fn constraints_on_offers_are_refused_with_their_field() {
    let with = |constraints: OfferConstraints| {
        let framework_info = FrameworkInfo::new("f");
        subscribing(scheduler::call::Subscribe {
            framework_info,
            offer_constraints: Some(constraints),
            ..Default::default()
        })
    };
    assert!(matches!(call(with(OfferConstraints::default())), Call::Subscribe(_)), "an empty list is no constraint");
    let constraints =
        OfferConstraints { role_constraints: [("*".to_owned(), offer_constraints::RoleConstraints::default())].into() };
    assert_eq!(refused(with(constraints.clone())).0, "subscribe.offer_constraints");
    let update = scheduler::call::UpdateFramework {
        framework_info: FrameworkInfo::new("f").with_id("F"),
        offer_constraints: Some(constraints),
        ..Default::default()
    };
    let update = scheduler::Call {
        r#type: Some(Type::UpdateFramework.into()),
        framework_id: Some("F".into()),
        update_framework: Some(Box::new(update)),
        ..scheduler::Call::default()
    };
    assert_eq!(refused(update).0, "update_framework.offer_constraints");
}

#[test]
fn a_role_of_sixty_mebibytes_is_refused_with_a_short_quote() {
    let framework_info = FrameworkInfo::new("f").with_role("a/".repeat(30 << 20));
    let (field, text) =
        refused(subscribing(scheduler::call::Subscribe { framework_info, ..scheduler::call::Subscribe::default() }));
    assert_eq!(field, "subscribe.framework_info.roles[0]");
    assert!(text.len() < 250, "{} bytes", text.len());
}

fn registering(change: impl FnOnce(&mut internal::Register)) -> Result<(), String> {
    let resources = "cpus:4;mem:64".parse::<Resources>().expect("resources").to_proto();
    let info = v1::AgentInfo { hostname: "h".to_owned(), resources, ..v1::AgentInfo::default() };
    let versions = Some(ext::VersionRange { min: 1, max: 2 });
    let mut register = internal::Register { versions, info: Some(info), ..internal::Register::default() };
    change(&mut register);
    let message = internal::AgentMessage { kind: Some(Kind::Register(Box::new(register))) };
    match report(message, "127.0.0.1") {
        Report::Register(_) => Ok(()),
        Report::Invalid { text } => Err(text),
        other => panic!("accepted as {other:?}"),
    }
}

#[test]
#[expect(deprecated, reason = "the old format has the role in the item itself")]
fn a_registration_has_limits() {
    let resource = |register: &mut internal::Register, role: String| {
        register.info.as_mut().expect("an info").resources[0].role = Some(role);
    };
    assert_eq!(registering(|_| {}), Ok(()));
    assert_eq!(registering(|register| resource(register, "a/b".to_owned())), Ok(()));
    let deep = registering(|register| resource(register, "a/".repeat(16_384) + "a")).expect_err("too deep");
    assert!(deep.starts_with("register.info.resources[0].role: role `a/a/"), "{deep}");
    let frameworks = |count: usize| {
        let info = |number: usize| FrameworkInfo::new("f").with_id(number.to_string());
        registering(|register| register.frameworks = (0..count).map(info).collect())
    };
    assert_eq!(frameworks(AGENT_FRAMEWORKS), Ok(()));
    let many = frameworks(AGENT_FRAMEWORKS + 1).expect_err("too many");
    assert_eq!(many, "register.frameworks: has 10001 frameworks; at most 10000 are accepted");
    let task = internal::AgentTask { state: v1::TaskState::TaskFinished.into(), ..internal::AgentTask::default() };
    let tasks = registering(|register| register.tasks = vec![task; AGENT_TASKS + 1]).expect_err("too many");
    assert_eq!(tasks, "register.tasks: has 100001 tasks; at most 100000 are accepted");
}
