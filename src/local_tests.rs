//! A whole cluster in this process, with real tasks.

use std::{collections::BTreeMap, time::Duration};

use futures::StreamExt;
use tokio::time::timeout;

use super::*;
use crate::{
    allocator::{self, TaskRequest},
    framework::{SchedulerDriver, SchedulerEvent},
    proto::v1::{FrameworkInfo, TaskState, TaskStatus},
};

/// How long a test waits for anything.
const LIMIT: Duration = Duration::from_mins(1);

/// Runs a request to its end and returns the final status of each task.
async fn outcomes(cluster: &LocalCluster, mut wanted: TaskRequest) -> BTreeMap<String, TaskStatus> {
    let count = wanted.count as usize;
    let builder = SchedulerDriver::builder(FrameworkInfo::new("test")).master(cluster.master());
    let (driver, mut events) = builder.stream().expect("a driver");
    driver.start().expect("it starts");
    let mut ends = BTreeMap::new();
    while ends.len() < count {
        let event = timeout(LIMIT, events.next()).await;
        match event.unwrap_or_else(|_| panic!("nothing for long; so far {ends:?}")).expect("the driver lives") {
            SchedulerEvent::ResourceOffers(offers) => {
                let plan = allocator::place(&offers, std::slice::from_ref(&wanted));
                wanted.count -= plan.placed();
                driver.apply(plan).await.expect("the plan is sound");
            }
            SchedulerEvent::StatusUpdate(status) if status.state().is_terminal() => {
                ends.insert(status.task_id.value.clone(), *status);
            }
            _ => {}
        }
    }
    driver.stop_teardown().await.expect("it runs");
    while events.next().await.is_some() {}
    driver.join().await.expect("a clean end");
    ends
}

fn two_agents() -> Builder {
    LocalCluster::builder().agents(2).resources("cpus:2;mem:256;ports:[31000-31009]")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_runs_tasks_and_leaves_nothing_behind() {
    let cluster = two_agents().start().await.expect("a cluster");
    let folder = cluster.path().to_owned();
    let request = TaskRequest::command("hello", "echo out; echo err >&2").cpus(0.5).mem_mib(32).count(6);
    let ends = outcomes(&cluster, request).await;
    for (id, status) in &ends {
        assert_eq!(status.state(), TaskState::TaskFinished, "{id}: {status:?}");
        let container = status.container_status.as_ref().and_then(|status| status.container_id.as_ref());
        let sandbox = cluster.sandbox(&container.expect("a container").value).expect("a sandbox");
        assert_eq!(std::fs::read_to_string(sandbox.join("stdout")).expect("a file"), "out\n");
        assert_eq!(std::fs::read_to_string(sandbox.join("stderr")).expect("a file"), "err\n");
    }
    cluster.stop().await;
    assert!(!folder.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_of_a_failed_command_has_its_exit_code() {
    let cluster = two_agents().start().await.expect("a cluster");
    let request = TaskRequest::command("fail", "exit 7").cpus(0.5).mem_mib(32);
    let ends = outcomes(&cluster, request).await;
    let status = ends.into_values().next().expect("one");
    assert_eq!(status.state(), TaskState::TaskFailed);
    assert!(status.message().contains("exited with status 7"), "{}", status.message());
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_end_with_the_cluster() {
    let cluster = two_agents().start().await.expect("a cluster");
    let marker = cluster.path().join("alive");
    let command = format!("echo $$ > {}; sleep 1000", marker.display());
    let wanted = TaskRequest::command("sleeper", command).cpus(0.5).mem_mib(32);
    let builder = SchedulerDriver::builder(FrameworkInfo::new("test")).master(cluster.master());
    let (driver, mut events) = builder.stream().expect("a driver");
    driver.start().expect("it starts");
    loop {
        match timeout(LIMIT, events.next()).await.expect("in time").expect("the driver lives") {
            SchedulerEvent::ResourceOffers(offers) => {
                let plan = allocator::place(&offers, std::slice::from_ref(&wanted));
                driver.apply(plan).await.expect("the plan is sound");
            }
            SchedulerEvent::StatusUpdate(status) if status.state() == TaskState::TaskRunning => break,
            _ => {}
        }
    }
    let pid = loop {
        match std::fs::read_to_string(&marker) {
            Ok(text) if text.ends_with('\n') => break text.trim().to_owned(),
            _ => tokio::task::yield_now().await,
        }
    };
    let process = PathBuf::from("/proc").join(pid);
    assert!(process.exists());
    cluster.stop().await;
    assert!(!process.exists(), "{} still runs", process.display());
    driver.abort().await.expect("it runs");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_joins_later_is_used() {
    let mut cluster = two_agents().agents(1).start().await.expect("a cluster");
    let request = TaskRequest::command("hello", "true").cpus(1.0).mem_mib(32).count(2).max_per_agent(1);
    let master = cluster.master();
    cluster.add_agent().await.expect("another");
    assert_eq!((cluster.agents(), cluster.master()), (2, master));
    assert_eq!(outcomes(&cluster, request).await.len(), 2);
    cluster.stop().await;
}

#[tokio::test]
async fn a_port_in_use_is_reported() {
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = taken.local_addr().expect("bound");
    let error = two_agents().listen(address).start().await.expect_err("it is taken").to_string();
    assert!(error.starts_with(&format!("cannot listen on {address}: the port is taken")), "{error}");
}

/// Not a test: a program with a cluster inside, and a task that runs for long.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "it is the body of a process that another test kills"]
async fn embeds_a_cluster() {
    let Ok(folder) = std::env::var("DIVVY_TEST_FOLDER") else { return };
    let cluster = LocalCluster::builder().resources("cpus:1;mem:64").start().await.expect("a cluster");
    std::fs::write(format!("{folder}/draft"), cluster.path().to_str().expect("text")).expect("written");
    let script = format!("exec 3>{folder}/alive; setsid sleep 1000 & mv {folder}/draft {folder}/path; exec sleep 1000");
    outcomes(&cluster, TaskRequest::command("long", script).cpus(0.5).mem_mib(32)).await;
}

#[test]
fn a_process_with_a_cluster_that_is_killed_leaves_no_tasks_and_no_folder() {
    for signal in [rustix::process::Signal::KILL, rustix::process::Signal::TERM] {
        let folder = tempfile::tempdir().expect("a folder");
        let alive = folder.path().join("alive");
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, &alive, rustix::fs::FileType::Fifo, mode, 0).expect("a pipe");
        let mut command = std::process::Command::new(std::env::current_exe().expect("this program"));
        command
            .args(["--ignored", "--exact", "local::tests::embeds_a_cluster"])
            .env("DIVVY_TEST_FOLDER", folder.path());
        let mut embedding = command.stdout(std::process::Stdio::null()).spawn().expect("it starts");
        let (sender, ended) = std::sync::mpsc::channel();
        let reader = std::thread::spawn(move || {
            let mut open = std::fs::File::open(alive).expect("it is there");
            sender.send(()).expect("listened to");
            // It ends when the last process that holds it open has.
            std::io::Read::read_to_end(&mut open, &mut Vec::new()).expect("read");
            sender.send(()).expect("listened to");
        });
        ended.recv_timeout(LIMIT).expect("the task runs");
        let path = folder.path().join("path");
        let wait_until = |what: &str, is_so: &dyn Fn() -> bool| {
            for _ in 0..6_000 {
                if is_so() {
                    return;
                }
                std::thread::sleep(Duration::from_millis(10));
            }
            panic!("{what}");
        };
        wait_until("the task says where the cluster is", &|| path.exists());
        let cluster = PathBuf::from(std::fs::read_to_string(path).expect("written"));
        assert!(cluster.exists());
        let pid = rustix::process::Pid::from_child(&embedding);
        rustix::process::kill_process(pid, signal).expect("it runs");
        embedding.wait().expect("it ends");
        ended.recv_timeout(LIMIT).expect("all that the task started ends");
        reader.join().expect("no panic");
        wait_until("the folder is removed", &|| !cluster.exists());
    }
}
