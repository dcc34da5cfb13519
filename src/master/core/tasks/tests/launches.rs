//! ACCEPT with LAUNCH: which tasks run, which statuses are sent, which resources are freed.

use super::world::{MASTER, World, launch, resources};
use crate::{
    master::core::{Accept, Call, Event, Operation, Order, offer_id},
    proto::v1::{TaskState, task_status::Reason},
};

#[test]
fn a_launch_reaches_the_agent_after_the_info_of_its_framework() {
    let mut world = World::new();
    let (framework, _) = world.framework("f");
    let (agent, _) = world.agent("cpus:4;mem:1024");
    let offer = world.offers(framework)[0].clone();
    world.launch(framework, &offer, &[("a", "cpus:1;mem:32"), ("b", "cpus:1;mem:32")]);
    let orders = world.orders(agent);
    assert!(matches!(orders[0], Order::UpdateFramework { .. }), "{orders:?}");
    assert_eq!(world.runs(agent).iter().map(|task| task.0.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(orders.len(), 3, "the info is sent once");
}

#[test]
fn each_task_is_checked_by_itself() {
    let mut world = World::new();
    let (framework, _) = world.framework("f");
    let (agent, _) = world.agent("cpus:4;mem:1024");
    let offer = world.offers(framework)[0].clone();
    let mut wrong = launch("wrong", &offer.agent, "cpus:1;mem:32");
    wrong.invalid = Some("TaskID 'wrong' is wrong".to_owned());
    let tasks = vec![
        launch("ok", &offer.agent, "cpus:3;mem:32"),
        launch("ok", &offer.agent, "cpus:1;mem:32"),
        wrong,
        launch("elsewhere", "m-S77", "cpus:1;mem:32"),
        launch("greedy", &offer.agent, "cpus:2;mem:32"),
        launch("last", &offer.agent, "cpus:1;mem:32"),
    ];
    world.accept(framework, vec![offer_id(MASTER, offer.key)], tasks);
    let ran: Vec<String> = world.runs(agent).into_iter().map(|task| task.0).collect();
    assert_eq!(ran, ["ok", "last"]);
    let sent = world.statuses(framework);
    assert!(sent.iter().all(|one| one.state() == TaskState::TaskError && one.reason() == Reason::TaskInvalid));
    assert!(sent.iter().all(|one| one.uuid.is_none()), "statuses of the master are not acknowledged");
    let texts: Vec<String> = sent.into_iter().map(|one| one.message.unwrap_or_default()).collect();
    assert_eq!(texts.len(), 4);
    assert!(texts[0].contains("duplicate ID: ok"), "{}", texts[0]);
    assert!(texts[1].contains("'wrong'"), "{}", texts[1]);
    assert!(texts[2].contains("m-S77") && texts[2].contains(&*offer.agent), "{}", texts[2]);
    assert!(texts[3].contains("more resources cpus:2; mem:32 than available"), "{}", texts[3]);
}

#[test]
fn offers_of_one_agent_are_used_together() {
    let mut world = World::new();
    let (framework, id) = world.framework("f");
    let (agent, _) = world.agent("cpus:4;mem:1024");
    let first = world.offers(framework)[0].clone();
    world.launch(framework, &first, &[("a", "cpus:2;mem:512"), ("b", "cpus:2;mem:512")]);
    let tasks = world.runs(agent);
    world.update(agent, &id, &tasks[0], TaskState::TaskFinished);
    let one = world.offers(framework)[0].clone();
    world.update(agent, &id, &tasks[1], TaskState::TaskFinished);
    world.wait(std::time::Duration::from_millis(1_100));
    let two = world.offers(framework)[0].clone();
    let ids = vec![offer_id(MASTER, one.key), offer_id(MASTER, two.key)];
    world.accept(framework, ids, vec![launch("big", &one.agent, "cpus:4;mem:1024")]);
    assert_eq!(world.runs(agent).len(), 1);
}

#[test]
fn offers_that_do_not_go_together_drop_every_task_and_go_back() {
    let mut world = World::new();
    let (framework, _) = world.framework("f");
    let _ = world.agent("cpus:4;mem:1024");
    let one = world.offers(framework)[0].clone();
    let _ = world.agent("cpus:2;mem:512");
    let two = world.offers(framework)[0].clone();
    let ids = vec![offer_id(MASTER, one.key), offer_id(MASTER, two.key)];
    world.accept(framework, ids, vec![launch("t", &one.agent, "cpus:1;mem:32")]);
    assert_eq!(world.states(framework), [("t".into(), TaskState::TaskDropped)]);
    assert_eq!(world.statuses(framework)[0].reason(), Reason::InvalidOffers);
    assert_eq!(world.offers(framework).len(), 2, "no filter: both are offered again");
}

#[test]
fn an_offer_is_used_once() {
    let mut world = World::new();
    let (framework, _) = world.framework("f");
    let (agent, _) = world.agent("cpus:4;mem:1024");
    let offer = world.offers(framework)[0].clone();
    world.launch(framework, &offer, &[("a", "cpus:1;mem:32")]);
    world.launch(framework, &offer, &[("b", "cpus:1;mem:32")]);
    assert!(world.runs(agent).is_empty());
    assert_eq!(world.states(framework), [("b".into(), TaskState::TaskDropped)]);
    world.launch(framework, &offer, &[("a", "cpus:1;mem:32")]);
    assert!(world.states(framework).is_empty(), "a runs: DROPPED would end it for the framework");
}

#[test]
fn an_accept_with_no_task_declines() {
    let mut world = World::new();
    let (framework, _) = world.framework("f");
    let _ = world.agent("cpus:4;mem:1024");
    let offer = world.offers(framework)[0].clone();
    world.launch(framework, &offer, &[]);
    world.wait(std::time::Duration::from_secs(4));
    assert!(world.offers(framework).is_empty());
}

#[test]
fn an_unsupported_operation_fails_with_a_status_for_each_task() {
    let mut world = World::new();
    let (framework, _) = world.framework("f");
    let _ = world.agent("cpus:4;mem:1024");
    let offer = world.offers(framework)[0].clone();
    let reserve = Operation::Unsupported {
        name: "reserve".into(),
        id: Some("op".into()),
        text: "not served".into(),
        tasks: vec![],
    };
    let accept = Accept { offers: vec![offer_id(MASTER, offer.key)], operations: vec![reserve], refuse: None };
    world.call(framework, Call::Accept(Box::new(accept)));
    assert_eq!(world.refusals(framework)[0].0, "accept.operations[0].reserve");
    let failed = |event: &Event| matches!(event, Event::OperationFailed { id, .. } if id == "op");
    assert!(world.events(framework).iter().any(failed));
}

#[test]
fn of_an_accept_each_operation_stands_for_itself_and_its_tasks_are_answered_for_by_statuses() {
    let mut world = World::new();
    let (framework, _) = world.framework("f");
    let (agent, agent_id) = world.agent("cpus:4;mem:1024");
    let offer = world.offers(framework)[0].clone();
    let task = |id: &str| launch(id, &agent_id, "cpus:1;mem:32");
    let unsupported =
        |name: &str, tasks| Operation::Unsupported { name: name.into(), id: None, text: "not served".into(), tasks };
    let operations = vec![
        Operation::Launch(vec![task("t1")]),
        unsupported("launch_group", vec![task("t2")]),
        unsupported("reserve", vec![]),
    ];
    let accept = Accept { offers: vec![offer_id(MASTER, offer.key)], operations, refuse: None };
    world.call(framework, Call::Accept(Box::new(accept.clone())));
    assert_eq!(world.runs(agent).len(), 1);
    assert_eq!(world.states(framework), [("t2".into(), TaskState::TaskError)]);
    let refused = |world: &World| {
        let sent = world.events(framework).into_iter().find_map(|event| match event {
            Event::Refused { field, partially_applied, .. } => Some((field, partially_applied)),
            _ => None,
        });
        sent.expect("refused")
    };
    assert_eq!(refused(&world), ("accept.operations[1].launch_group".into(), true), "the first that was wrong");
    world.call(framework, Call::Accept(Box::new(accept)));
    assert_eq!(refused(&world), ("accept.offer_ids".into(), true));
    assert_eq!(world.states(framework), [("t2".into(), TaskState::TaskDropped)], "of t1, which runs, nothing is said");
}

#[test]
fn two_uses_of_a_tenth_add_up_exactly() {
    let mut world = World::new();
    let (framework, _) = world.framework("f");
    let (agent, _) = world.agent("cpus:0.3;mem:96");
    let offer = world.offers(framework)[0].clone();
    let third = "cpus:0.1;mem:32";
    world.launch(framework, &offer, &[("a", third), ("b", third), ("c", third)]);
    assert_eq!(world.runs(agent).len(), 3);
    let record = &world.harness.core.snapshot().agents[0];
    assert_eq!(
        (record.amounts.free.clone(), record.amounts.used.clone()),
        (resources(""), resources("cpus:0.3;mem:96"))
    );
}
