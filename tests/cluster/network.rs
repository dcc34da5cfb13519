//! Master, agents and framework on hosts of their own, whose links are cut and slowed: what the framework hears, what is
//! offered, and what really runs.

mod cluster;
mod directed;
mod hosts;

use std::{thread, time::Duration};

use divvy::{
    proto::v1::{TaskState, task_status::Reason},
    transport::clock::Clock,
};

use self::{
    cluster::{Cluster, FRAMEWORK, MASTER},
    directed::Heard,
};
use crate::part::until;

const RUNNING: TaskState = TaskState::TaskRunning;
const FINISHED: TaskState = TaskState::TaskFinished;
const UNREACHABLE: TaskState = TaskState::TaskUnreachable;

const EACH: &str = "cpus:1;mem:64";

/// How long a fault lasts is part of the case; nothing is waited for.
fn last(time: Duration) {
    thread::sleep(time);
}

/// Waits until the callback has heard this last of a task.
fn until_state(cluster: &Cluster, task: &str, state: TaskState) {
    until(&format!("{task} to be {state}"), || match cluster.framework.states(task) {
        states if states.last() == Some(&state) => Ok(()),
        states => Err(states),
    });
}

fn assert_never_given_up(cluster: &Cluster) {
    let lost = cluster.framework.heard().into_iter().find(|heard| matches!(heard, Heard::AgentLost(_)));
    assert!(lost.is_none(), "{lost:?}");
    let state = cluster.state();
    assert_eq!((&state["unreachable_slaves"], &state["deactivated_slaves"]), (&0.into(), &0.into()), "{state}");
}

#[test]
fn a_partition_shorter_than_the_timeout_changes_nothing() {
    let cluster = Cluster::start(&["a"], "cpus:4;mem:512", Duration::from_secs(15));
    let tasks = ["silent", "unplugged", "long"];
    cluster.framework.launch(tasks.map(|task| cluster.waiting(task, "a", EACH)));
    tasks.iter().for_each(|task| until_state(&cluster, task, RUNNING));
    cluster.network.cut(MASTER, "a");
    cluster.let_go("silent");
    last(Duration::from_secs(3));
    assert_eq!(cluster.framework.states("silent"), [RUNNING], "its end is on the other side");
    cluster.network.mend(MASTER, "a");
    until_state(&cluster, "silent", FINISHED);
    cluster.network.unplug("a");
    cluster.let_go("unplugged");
    last(Duration::from_secs(3));
    cluster.network.plug_in("a");
    until_state(&cluster, "unplugged", FINISHED);
    assert_eq!(cluster.framework.states("long"), [RUNNING]);
    assert_never_given_up(&cluster);
    cluster.let_go("long");
    until_state(&cluster, "long", FINISHED);
    for task in tasks {
        assert_eq!(cluster.framework.states(task), [RUNNING, FINISHED], "{task}");
        assert_eq!(cluster.noted(task), "start\nend\n", "{task}");
    }
}

#[test]
fn a_partition_longer_than_the_timeout_makes_tasks_unreachable_and_healing_tells_what_became_of_them() {
    let cluster = Cluster::start(&["a", "b"], "cpus:4;mem:512;ports:[31000-31001]", Duration::from_secs(5));
    let fixed = |port: u32| format!("{EACH};ports:[{port}-{port}]");
    cluster
        .framework
        .launch([cluster.waiting("stays", "a", &fixed(31_000)), cluster.waiting("ends", "a", &fixed(31_001))]);
    ["stays", "ends"].iter().for_each(|task| until_state(&cluster, task, RUNNING));
    cluster.network.cut(MASTER, "a");
    given_up(&cluster, &["stays", "ends"]);
    let cut_off = cluster.framework.mark();
    // A copy for the same port elsewhere is the framework's own affair.
    cluster.framework.launch([cluster.waiting("copy", "b", &fixed(31_000))]);
    until_state(&cluster, "copy", RUNNING);
    cluster.let_go("ends");
    last(Duration::from_secs(2));
    assert!(cluster.framework.offers_since(cut_off, "a").is_empty(), "nothing of an unreachable agent is offered");
    assert!(!cluster.framework.offers_since(cut_off, "b").is_empty(), "others are offered");
    cluster.network.mend(MASTER, "a");
    until_state(&cluster, "stays", RUNNING);
    until_state(&cluster, "ends", FINISHED);
    let stays = cluster.framework.statuses("stays");
    assert_eq!(stays[2].reason(), Reason::AgentReregistered, "{stays:?}");
    until("the agent to be offered again", || match cluster.framework.offers_since(cut_off, "a") {
        offers if offers.is_empty() => Err(cluster.state()),
        _ => Ok(()),
    });
    let early = cluster.framework.offers_since(cut_off, "a");
    assert!(early.iter().all(|offer| !offer.ports().contains(31_000)), "the port is in use: {early:?}");
    let held = cluster.framework.mark();
    cluster.let_go("stays");
    until_state(&cluster, "stays", FINISHED);
    until("its port to be offered", || match cluster.framework.offers_since(held, "a") {
        offers if offers.iter().any(|offer| offer.ports().contains(31_000)) => Ok(()),
        offers => Err(offers),
    });
    assert_eq!(cluster.framework.states("stays"), [RUNNING, UNREACHABLE, RUNNING, FINISHED]);
    assert_eq!(cluster.framework.states("ends"), [RUNNING, UNREACHABLE, FINISHED]);
    ["stays", "ends"].iter().for_each(|task| assert_eq!(cluster.noted(task), "start\nend\n", "{task}"));
}

/// Waits until these tasks are unreachable, and looks at all that goes with it.
fn given_up(cluster: &Cluster, tasks: &[&str]) {
    let clock = Clock::system();
    let began = clock.now();
    for task in tasks {
        until_state(cluster, task, UNREACHABLE);
        let statuses = cluster.framework.statuses(task);
        let told = statuses.last().expect("just seen");
        assert_eq!(told.reason(), Reason::AgentRemoved, "{told:?}");
        assert!(told.unreachable_time.is_some() && told.uuid.is_none(), "{told:?}");
    }
    let passed = Duration::from_nanos(clock.now().mono_ns - began.mono_ns);
    eprintln!("{tasks:?} unreachable after {:.1} s", passed.as_secs_f64());
    until("the loss of the agent to be heard", || {
        let heard = cluster.framework.heard();
        let agent = cluster.framework.statuses(tasks[0]).pop().and_then(|status| status.agent_id);
        let lost = |heard: &Heard| matches!(heard, Heard::AgentLost(lost) if Some(lost) == agent.as_ref());
        if heard.iter().any(lost) { Ok(()) } else { Err(heard) }
    });
    let state = cluster.state();
    assert_eq!(state["unreachable_slaves"], 1, "{state}");
    let listed = state["frameworks"][0]["unreachable_tasks"].as_array().map_or(0, Vec::len);
    assert_eq!(listed, tasks.len(), "{state}");
}

/// A link that carries one way only is as good as none: the agent is given up, and is back when the link is.
fn one_way(from: &'static str, to: &'static str) {
    let cluster = Cluster::start(&["a"], "cpus:4;mem:512", Duration::from_secs(5));
    cluster.framework.launch([cluster.waiting("stays", "a", EACH), cluster.waiting("ends", "a", EACH)]);
    ["stays", "ends"].iter().for_each(|task| until_state(&cluster, task, RUNNING));
    cluster.network.cut_one_way(from, to);
    given_up(&cluster, &["stays", "ends"]);
    cluster.let_go("ends");
    cluster.network.mend_one_way(from, to);
    until_state(&cluster, "ends", FINISHED);
    until_state(&cluster, "stays", RUNNING);
    cluster.let_go("stays");
    until_state(&cluster, "stays", FINISHED);
    assert_eq!(cluster.framework.states("stays"), [RUNNING, UNREACHABLE, RUNNING, FINISHED]);
    assert_eq!(cluster.framework.states("ends"), [RUNNING, UNREACHABLE, FINISHED]);
    ["stays", "ends"].iter().for_each(|task| assert_eq!(cluster.noted(task), "start\nend\n", "{task}"));
}

#[test]
fn an_agent_that_hears_but_is_not_heard_is_given_up_and_comes_back() {
    one_way("a", MASTER);
}

#[test]
fn an_agent_that_is_heard_but_does_not_hear_is_given_up_and_comes_back() {
    one_way(MASTER, "a");
}

#[test]
fn an_agent_on_a_slow_link_is_behind_and_not_given_up() {
    const TASKS: usize = 30;
    let cluster = Cluster::start(&["a"], "cpus:64;mem:4096", Duration::from_secs(5));
    // 30 launches of 16 KiB each take three timeouts on this link.
    cluster.network.slow("a", 256);
    let tasks: Vec<String> = (0..TASKS).map(|number| format!("t{number}")).collect();
    let wanted = tasks.iter().map(|task| {
        let mut wanted = cluster.waiting(task, "a", EACH);
        wanted.ballast = 16 << 10;
        wanted
    });
    cluster.framework.launch(wanted);
    tasks.iter().for_each(|task| until_state(&cluster, task, RUNNING));
    assert_never_given_up(&cluster);
    tasks.iter().for_each(|task| cluster.let_go(task));
    tasks.iter().for_each(|task| until_state(&cluster, task, FINISHED));
    assert_never_given_up(&cluster);
    for task in &tasks {
        assert_eq!(cluster.framework.states(task), [RUNNING, FINISHED], "{task}");
        assert_eq!(cluster.noted(task), "start\nend\n", "{task}");
    }
}

#[test]
fn a_master_cut_off_from_everybody_is_found_again_by_all() {
    let cluster = Cluster::start(&["a", "b"], "cpus:4;mem:512", Duration::from_secs(5));
    let tasks = ["a-stays", "a-ends", "b-stays"];
    let hosts = ["a", "a", "b"];
    cluster.framework.launch(tasks.iter().zip(hosts).map(|(task, host)| cluster.waiting(task, host, EACH)));
    tasks.iter().for_each(|task| until_state(&cluster, task, RUNNING));
    cluster.network.unplug(MASTER);
    cluster.let_go("a-ends");
    until("both agents to be unreachable", || match &cluster.state()["unreachable_slaves"] {
        count if *count == 2 => Ok(()),
        count => Err(count.to_string()),
    });
    cluster.network.plug_in(MASTER);
    until_state(&cluster, "a-ends", FINISHED);
    until("both agents to be back", || match &cluster.state()["activated_slaves"] {
        count if *count == 2 => Ok(()),
        count => Err(count.to_string()),
    });
    ["a-stays", "b-stays"].iter().for_each(|task| {
        until_state(&cluster, task, RUNNING);
        cluster.let_go(task);
        until_state(&cluster, task, FINISHED);
    });
    for task in tasks {
        let ends = cluster.framework.states(task).into_iter().filter(|state| state.is_terminal());
        assert_eq!(ends.collect::<Vec<_>>(), [FINISHED], "{task}: {:?}", cluster.framework.states(task));
        assert_eq!(cluster.noted(task), "start\nend\n", "{task}");
    }
}

#[test]
fn a_framework_cut_off_hears_all_that_happened_when_it_is_back() {
    let cluster = Cluster::start(&["a"], "cpus:4;mem:512", Duration::from_secs(5));
    let tasks = ["ends", "stays"];
    cluster.framework.launch(tasks.map(|task| cluster.waiting(task, "a", EACH)));
    tasks.iter().for_each(|task| until_state(&cluster, task, RUNNING));
    cluster.network.cut(MASTER, FRAMEWORK);
    cluster.let_go("ends");
    // The master gives a connection up that takes nothing for ten seconds.
    until("the master to notice", || match &cluster.state()["frameworks"][0]["connected"] {
        connected if *connected == false => Ok(()),
        connected => Err(connected.to_string()),
    });
    cluster.network.mend(MASTER, FRAMEWORK);
    until_state(&cluster, "ends", FINISHED);
    let heard = cluster.framework.heard();
    assert!(heard.iter().any(|heard| matches!(heard, Heard::Reregistered)), "{heard:?}");
    cluster.framework.launch([cluster.waiting("new", "a", EACH)]);
    until_state(&cluster, "new", RUNNING);
    ["stays", "new"].iter().for_each(|task| {
        cluster.let_go(task);
        until_state(&cluster, task, FINISHED);
    });
    for task in ["ends", "stays", "new"] {
        assert_eq!(cluster.framework.states(task), [RUNNING, FINISHED], "{task}");
        assert_eq!(cluster.noted(task), "start\nend\n", "{task}");
    }
    assert_never_given_up(&cluster);
}
