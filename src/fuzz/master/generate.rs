//! Generates the calls of frameworks and operators in a script.

use crate::{
    fuzz::script::Script,
    master::{api::inside, core::Question},
    proto::v1::{self, quota::QuotaConfig, scheduler::call},
};

pub(super) fn question(script: &mut Script<'_>) -> Question {
    match script.below(8) {
        0 => Question::Alive,
        1 => Question::Snapshot,
        2 => Question::Teardown { framework: script.name("m-000", 3) },
        3 => Question::MarkGone { agent: script.name("m-S", 3) },
        4 => Question::Registry,
        5 => Question::Quotas { quotas: inside::quotas(&[quota(script)]), force: script.one_in(2) },
        _ => {
            let weight = (script.name("r", 3), [0.0, 1.0, 2.5, -1.0][script.below(4)]);
            Question::Weights { weights: vec![weight] }
        }
    }
}

fn quota(script: &mut Script<'_>) -> QuotaConfig {
    let role = ["*", "a", "a/b", "r"][script.below(4)].to_owned();
    let mut amounts = || {
        let value = [0.0, 0.5, 4.0, 1e300][script.below(4)];
        script.one_in(2).then(|| ("cpus".to_owned(), v1::value::Scalar { value })).into_iter().collect()
    };
    QuotaConfig { role, guarantees: amounts(), limits: amounts() }
}

pub(super) fn subscribe(script: &mut Script<'_>, id: Option<v1::FrameworkId>) -> call::Subscribe {
    let capability =
        |kind: v1::framework_info::capability::Type| v1::framework_info::Capability { r#type: Some(kind.into()) };
    let all = [
        v1::framework_info::capability::Type::MultiRole,
        v1::framework_info::capability::Type::PartitionAware,
        v1::framework_info::capability::Type::ReservationRefinement,
    ];
    let framework_info = v1::FrameworkInfo {
        id: id.filter(|_| script.one_in(2)),
        failover_timeout: Some([0.0, 1.0, 3600.0, f64::NAN][script.below(4)]),
        capabilities: all.into_iter().filter(|_| !script.one_in(3)).map(capability).collect(),
        ..subscriber(roles(script)).framework_info
    };
    call::Subscribe { framework_info, ..subscriber(Vec::new()) }
}

/// The subscription of a framework with these roles.
pub(super) fn subscriber(roles: Vec<String>) -> call::Subscribe {
    let multi_role = v1::framework_info::capability::Type::MultiRole;
    let framework_info = v1::FrameworkInfo {
        user: "root".to_owned(),
        roles,
        capabilities: vec![v1::framework_info::Capability { r#type: Some(multi_role.into()) }],
        ..v1::FrameworkInfo::new("f")
    };
    call::Subscribe { framework_info, suppressed_roles: Vec::new(), offer_constraints: None, instance: None }
}

/// An ACCEPT that launches these tasks, without offers yet.
pub(super) fn accept(task_infos: Vec<v1::TaskInfo>) -> call::Accept {
    let launch = v1::offer::operation::Launch { task_infos };
    let kind = v1::offer::operation::Type::Launch.into();
    let operation = v1::offer::Operation { r#type: Some(kind), launch: Some(launch), ..Default::default() };
    call::Accept { offer_ids: Vec::new(), operations: vec![operation], filters: None }
}

pub(super) fn task_info(script: &mut Script<'_>, agent_id: &v1::AgentId) -> v1::TaskInfo {
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

pub(super) fn roles(script: &mut Script<'_>) -> Vec<String> {
    let all = ["*", "a", "a/b", "r"];
    all.into_iter().filter(|_| script.one_in(2)).map(str::to_owned).collect()
}

pub(super) fn filters(script: &mut Script<'_>) -> Option<v1::Filters> {
    let seconds = [0.0, 0.5, 5.0, 1e9, -1.0, f64::NAN][script.below(6)];
    script.one_in(2).then_some(v1::Filters { refuse_seconds: Some(seconds) })
}

pub(super) fn state(script: &mut Script<'_>) -> v1::TaskState {
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

pub(super) fn uuid(script: &mut Script<'_>) -> bytes::Bytes {
    vec![u8::try_from(script.below(4)).unwrap_or(0); 16].into()
}
