//! Ten thousand tasks through one agent: none twice, none lost, and nothing grows.

use std::{collections::BTreeMap, fs};

use divvy::proto::v1::TaskState;

use super::{
    part::{Site, supervisors_of, until},
    scheduler::{ended, start},
};

const TASKS: usize = 10_000;
const EARLY: usize = 2_000;

fn resident_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a line");
    line.split_whitespace().nth(1).and_then(|text| text.parse().ok()).expect("a number")
}

fn descriptors(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).expect("it runs").count()
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_true_tasks_end_once_each_and_nothing_grows() {
    let site = Site::new();
    let master = site.master();
    let agent = site.agent("agent", &master.address, "cpus:64;mem:65536");
    let commands = (0..TASKS).map(|number| (format!("t{number}"), "true".to_owned())).collect();
    // One task first, so that everything an agent opens once is open.
    let (first, received) = start(&master.address, "cpus:1;mem:32", vec![("first".to_owned(), "true".to_owned())]);
    until("the first task to end", || if ended(&received).0 == 1 { Ok(()) } else { Err(ended(&received)) });
    first.stop_teardown().await.expect("stops");
    first.join().await.expect("joins");
    let before = descriptors(agent.pid());
    let (driver, received) = start(&master.address, "cpus:1;mem:32", commands);
    let reached = |count: usize| {
        until(&format!("{count} tasks to end"), || match ended(&received) {
            (ended, _) if ended >= count => Ok(()),
            other => Err(other),
        });
    };
    let memory = || -> BTreeMap<&str, u64> {
        let supervisor = supervisors_of(&site.path().join("agent"))[0];
        let all = [("master", master.pid()), ("agent", agent.pid()), ("supervisor", supervisor)];
        all.into_iter().map(|(name, pid)| (name, resident_kib(pid))).collect()
    };
    reached(EARLY);
    let early = memory();
    reached(TASKS);
    let late = memory();
    for (task, statuses) in received.lock().expect("not poisoned").iter() {
        let terminal: Vec<TaskState> =
            statuses.iter().map(divvy::proto::v1::TaskStatus::state).filter(|state| state.is_terminal()).collect();
        assert_eq!(terminal, [TaskState::TaskFinished], "{task}");
    }
    eprintln!("resident KiB after {EARLY}: {early:?}, after {TASKS}: {late:?}");
    for (name, after) in &late {
        let limit = early[name] * 11 / 10;
        assert!(*after <= limit, "{name}: {after} KiB after {TASKS} tasks, {} KiB after {EARLY}", early[name]);
    }
    let sandboxes = || fs::read_dir(site.path().join("agent/runs")).map_or(0, Iterator::count);
    until("sandboxes to be collected down to the retention", || match sandboxes() {
        count if count <= 1_000 => Ok(()),
        count => Err(count),
    });
    driver.stop_teardown().await.expect("stops");
    driver.join().await.expect("joins");
    until("the agent's descriptors to be as before", || match descriptors(agent.pid()) {
        now if now <= before => Ok(()),
        now => Err((before, now)),
    });
}
