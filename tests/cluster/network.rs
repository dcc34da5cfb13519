//! Master, agents and framework on hosts of their own, whose links are cut and slowed. The tests compare what the
//! framework receives, what is offered, and what runs.

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
    directed::{Callback, Wanted},
};
use crate::part::until;

const RUNNING: TaskState = TaskState::TaskRunning;
const FINISHED: TaskState = TaskState::TaskFinished;
const UNREACHABLE: TaskState = TaskState::TaskUnreachable;

const EACH: &str = "cpus:1;mem:64";

/// Lets a fault last; this sleep waits for no condition.
fn hold_for(time: Duration) {
    thread::sleep(time);
}

/// Waits until this is the last state that the callback received of a task.
fn until_state(cluster: &Cluster, task: &str, state: TaskState) {
    until(&format!("{task} to be {state}"), || match cluster.framework.states(task) {
        states if states.last() == Some(&state) => Ok(()),
        states => Err(states),
    });
}

fn until_all(cluster: &Cluster, tasks: &[&str], state: TaskState) {
    for task in tasks {
        until_state(cluster, task, state);
    }
}

/// Lets tasks end and waits until the callback has received every end.
fn end_all(cluster: &Cluster, tasks: &[&str]) {
    for task in tasks {
        cluster.end_task(task);
    }
    until_all(cluster, tasks, FINISHED);
}

/// Asserts that, by their own files, the tasks ran to their end and did so once.
fn assert_ran_once(cluster: &Cluster, tasks: &[&str]) {
    for task in tasks {
        assert_eq!(cluster.noted(task), "start\nend\n", "{task}");
    }
}

/// The same, and asserts that the callback received no other state.
fn assert_ran_once_undisturbed(cluster: &Cluster, tasks: &[&str]) {
    assert_ran_once(cluster, tasks);
    for task in tasks {
        assert_eq!(cluster.framework.states(task), [RUNNING, FINISHED], "{task}");
    }
}

fn assert_never_unreachable(cluster: &Cluster) {
    let lost = cluster.framework.callbacks().into_iter().find(|one| matches!(one, Callback::AgentLost(_)));
    assert!(lost.is_none(), "{lost:?}");
    let state = cluster.state();
    assert_eq!((&state["unreachable_slaves"], &state["deactivated_slaves"]), (&0.into(), &0.into()), "{state}");
}

#[test]
fn a_partition_shorter_than_the_timeout_changes_nothing() {
    let cluster = Cluster::start(&["a"], "cpus:4;mem:512", Duration::from_secs(15));
    let tasks = ["silent", "unplugged", "long"];
    cluster.framework.launch(tasks.map(|task| cluster.waiting(task, "a", EACH)));
    until_all(&cluster, &tasks, RUNNING);
    cluster.network.cut(MASTER, "a");
    cluster.end_task("silent");
    hold_for(Duration::from_secs(3));
    assert_eq!(cluster.framework.states("silent"), [RUNNING], "its end cannot reach the master");
    cluster.network.mend(MASTER, "a");
    until_state(&cluster, "silent", FINISHED);
    cluster.network.unplug("a");
    cluster.end_task("unplugged");
    hold_for(Duration::from_secs(3));
    cluster.network.plug_in("a");
    until_state(&cluster, "unplugged", FINISHED);
    assert_eq!(cluster.framework.states("long"), [RUNNING]);
    assert_never_unreachable(&cluster);
    cluster.end_task("long");
    until_state(&cluster, "long", FINISHED);
    assert_ran_once_undisturbed(&cluster, &tasks);
}

#[test]
fn a_partition_longer_than_the_timeout_makes_tasks_unreachable_and_their_states_are_reported_once_it_heals() {
    let cluster = Cluster::start(&["a", "b"], "cpus:4;mem:512;ports:[31000-31001]", Duration::from_secs(5));
    let fixed = |port: u32| format!("{EACH};ports:[{port}-{port}]");
    cluster
        .framework
        .launch([cluster.waiting("stays", "a", &fixed(31_000)), cluster.waiting("ends", "a", &fixed(31_001))]);
    until_all(&cluster, &["stays", "ends"], RUNNING);
    cluster.network.cut(MASTER, "a");
    assert_unreachable(&cluster, &["stays", "ends"]);
    let cut_off = cluster.framework.mark();
    // A copy on another agent may use the same port.
    cluster.framework.launch([cluster.waiting("copy", "b", &fixed(31_000))]);
    until_state(&cluster, "copy", RUNNING);
    cluster.end_task("ends");
    hold_for(Duration::from_secs(2));
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
    cluster.end_task("stays");
    until_state(&cluster, "stays", FINISHED);
    until("its port to be offered", || match cluster.framework.offers_since(held, "a") {
        offers if offers.iter().any(|offer| offer.ports().contains(31_000)) => Ok(()),
        offers => Err(offers),
    });
    assert_eq!(cluster.framework.states("stays"), [RUNNING, UNREACHABLE, RUNNING, FINISHED]);
    assert_eq!(cluster.framework.states("ends"), [RUNNING, UNREACHABLE, FINISHED]);
    assert_ran_once(&cluster, &["stays", "ends"]);
}

/// Waits until these tasks are unreachable, and checks the status, the lost agent and `/state`.
fn assert_unreachable(cluster: &Cluster, tasks: &[&str]) {
    let clock = Clock::system();
    let began = clock.now();
    for task in tasks {
        until_state(cluster, task, UNREACHABLE);
        let statuses = cluster.framework.statuses(task);
        let status = statuses.last().expect("just seen");
        assert_eq!(status.reason(), Reason::AgentRemoved, "{status:?}");
        assert!(status.unreachable_time.is_some() && status.uuid.is_none(), "{status:?}");
    }
    let passed = Duration::from_nanos(clock.now().mono_ns - began.mono_ns);
    eprintln!("{tasks:?} unreachable after {:.1} s", passed.as_secs_f64());
    until("the loss of the agent to be reported", || {
        let callbacks = cluster.framework.callbacks();
        let agent = cluster.framework.statuses(tasks[0]).pop().and_then(|status| status.agent_id);
        let lost = |one: &Callback| matches!(one, Callback::AgentLost(lost) if Some(lost) == agent.as_ref());
        if callbacks.iter().any(lost) { Ok(()) } else { Err(callbacks) }
    });
    let state = cluster.state();
    assert_eq!(state["unreachable_slaves"], 1, "{state}");
    let listed = state["frameworks"][0]["unreachable_tasks"].as_array().map_or(0, Vec::len);
    assert_eq!(listed, tasks.len(), "{state}");
}

/// Cuts one direction of a link: the agent is marked unreachable, and re-registers when the link is mended.
fn check_one_way_cut(from: &'static str, to: &'static str) {
    let cluster = Cluster::start(&["a"], "cpus:4;mem:512", Duration::from_secs(5));
    cluster.framework.launch([cluster.waiting("stays", "a", EACH), cluster.waiting("ends", "a", EACH)]);
    until_all(&cluster, &["stays", "ends"], RUNNING);
    cluster.network.cut_one_way(from, to);
    assert_unreachable(&cluster, &["stays", "ends"]);
    cluster.end_task("ends");
    cluster.network.mend_one_way(from, to);
    until_state(&cluster, "ends", FINISHED);
    until_state(&cluster, "stays", RUNNING);
    cluster.end_task("stays");
    until_state(&cluster, "stays", FINISHED);
    assert_eq!(cluster.framework.states("stays"), [RUNNING, UNREACHABLE, RUNNING, FINISHED]);
    assert_eq!(cluster.framework.states("ends"), [RUNNING, UNREACHABLE, FINISHED]);
    assert_ran_once(&cluster, &["stays", "ends"]);
}

#[test]
fn an_agent_that_receives_but_cannot_send_is_marked_unreachable_and_reregisters() {
    check_one_way_cut("a", MASTER);
}

#[test]
fn an_agent_that_sends_but_cannot_receive_is_marked_unreachable_and_reregisters() {
    check_one_way_cut(MASTER, "a");
}

#[test]
fn an_agent_on_a_slow_link_is_delayed_and_not_marked_unreachable() {
    let cluster = Cluster::start(&["a"], "cpus:64;mem:4096", Duration::from_secs(5));
    // 30 launches of 64 KiB each take three timeouts on this link.
    cluster.network.slow("a", 1_000);
    let names: Vec<String> = (0..30).map(|number| format!("t{number}")).collect();
    let tasks: Vec<&str> = names.iter().map(String::as_str).collect();
    let wanted = |task: &&str| Wanted { data_bytes: 64 << 10, ..cluster.waiting(task, "a", EACH) };
    let clock = Clock::system();
    let began = clock.now();
    cluster.framework.launch(tasks.iter().map(wanted));
    until_all(&cluster, &tasks, RUNNING);
    let passed = Duration::from_nanos(clock.now().mono_ns - began.mono_ns);
    eprintln!("30 tasks run after {:.1} s", passed.as_secs_f64());
    assert!(passed > Duration::from_secs(10), "the link is slow");
    assert_never_unreachable(&cluster);
    end_all(&cluster, &tasks);
    assert_never_unreachable(&cluster);
    assert_ran_once_undisturbed(&cluster, &tasks);
}

#[test]
fn every_agent_and_framework_reconnects_to_a_master_that_was_cut_off() {
    let cluster = Cluster::start(&["a", "b"], "cpus:4;mem:512", Duration::from_secs(5));
    let tasks = ["a-stays", "a-ends", "b-stays"];
    let hosts = ["a", "a", "b"];
    cluster.framework.launch(tasks.iter().zip(hosts).map(|(task, host)| cluster.waiting(task, host, EACH)));
    until_all(&cluster, &tasks, RUNNING);
    cluster.network.unplug(MASTER);
    cluster.end_task("a-ends");
    until("both agents to be unreachable", || match &cluster.state()["unreachable_slaves"] {
        count if *count == 2 => Ok(()),
        count => Err(count.to_string()),
    });
    cluster.network.plug_in(MASTER);
    until_state(&cluster, "a-ends", FINISHED);
    until("both agents to be registered again", || match &cluster.state()["activated_slaves"] {
        count if *count == 2 => Ok(()),
        count => Err(count.to_string()),
    });
    until_all(&cluster, &["a-stays", "b-stays"], RUNNING);
    end_all(&cluster, &["a-stays", "b-stays"]);
    assert_ran_once(&cluster, &tasks);
    for task in tasks {
        let ends = cluster.framework.states(task).into_iter().filter(|state| state.is_terminal());
        assert_eq!(ends.collect::<Vec<_>>(), [FINISHED], "{task}: {:?}", cluster.framework.states(task));
    }
}

#[test]
fn a_framework_that_was_cut_off_receives_every_missed_status_when_it_reconnects() {
    let cluster = Cluster::start(&["a"], "cpus:4;mem:512", Duration::from_secs(5));
    let tasks = ["ends", "stays"];
    cluster.framework.launch(tasks.map(|task| cluster.waiting(task, "a", EACH)));
    until_all(&cluster, &tasks, RUNNING);
    cluster.network.cut(MASTER, FRAMEWORK);
    cluster.end_task("ends");
    // The master closes a connection that has accepted nothing for ten seconds.
    until("the master to notice", || match &cluster.state()["frameworks"][0]["connected"] {
        connected if *connected == false => Ok(()),
        connected => Err(connected.to_string()),
    });
    cluster.network.mend(MASTER, FRAMEWORK);
    until_state(&cluster, "ends", FINISHED);
    let callbacks = cluster.framework.callbacks();
    assert!(callbacks.iter().any(|one| matches!(one, Callback::Reregistered)), "{callbacks:?}");
    cluster.framework.launch([cluster.waiting("new", "a", EACH)]);
    until_state(&cluster, "new", RUNNING);
    end_all(&cluster, &["stays", "new"]);
    assert_ran_once_undisturbed(&cluster, &["ends", "stays", "new"]);
    assert_never_unreachable(&cluster);
}

#[test]
fn a_framework_replaced_while_it_was_cut_off_receives_an_error_and_launches_nothing() {
    let cluster = Cluster::start(&["a"], "cpus:4;mem:512", Duration::from_secs(5));
    cluster.framework.launch([cluster.waiting("old", "a", EACH)]);
    until_all(&cluster, &["old"], RUNNING);
    cluster.network.cut(MASTER, FRAMEWORK);
    let second = cluster.start_second_instance();
    until("the second to know the task", || match second.states("old") {
        states if states.last() == Some(&RUNNING) => Ok(()),
        states => Err(states),
    });
    // The first instance accepts offers that the master no longer honours.
    cluster.framework.launch([cluster.waiting("late", "a", EACH)]);
    second.launch([cluster.waiting("new", "a", EACH)]);
    until("the second's task to run", || match second.states("new") {
        states if states.last() == Some(&RUNNING) => Ok(()),
        states => Err(states),
    });
    until("the first to be disconnected", || {
        let callbacks = cluster.framework.callbacks();
        if callbacks.iter().any(|one| matches!(one, Callback::Disconnected)) { Ok(()) } else { Err(callbacks.len()) }
    });
    cluster.network.mend(MASTER, FRAMEWORK);
    until("the first to receive the error", || match cluster.framework.ended() {
        Some(error) if error.contains("failed over") => Ok(()),
        error => Err((error, second.ended(), cluster.framework.callbacks().len())),
    });
    cluster.end_task("old");
    cluster.end_task("new");
    until("the second to receive the ends", || match (second.states("old"), second.states("new")) {
        (old, new) if old.last() == Some(&FINISHED) && new.last() == Some(&FINISHED) => Ok(()),
        other => Err(other),
    });
    assert_eq!(second.ended(), None, "the second stays");
    assert_eq!(cluster.noted("late"), "", "the first launched nothing");
    assert_ran_once(&cluster, &["old", "new"]);
}
