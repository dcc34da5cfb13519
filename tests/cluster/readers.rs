//! A real master from which many clients read a large document at once.

use std::{fs, thread};

use divvy::{
    proto::{
        ext,
        internal::{
            AgentFrame, AgentMessage, AgentTask, Register, agent_message, agent_session_client::AgentSessionClient,
        },
        v1::{self, TaskState},
    },
    transport::connect::Address,
    types::Resources,
};
use prost::Message as _;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::part::{Site, get, until};

const AGENTS: usize = 20;
/// Tasks of each.
const TASKS: usize = 1_000;
const READERS: usize = 50;
const FRAMEWORK: &str = "old-0000";

/// Registers an agent with many running tasks; it sends nothing more.
async fn attach(address: &str, number: usize) -> mpsc::Sender<AgentFrame> {
    let address: Address = address.parse().expect("an address");
    let channel = address.endpoint().expect("an endpoint").connect().await.expect("connects");
    let (sender, receiver) = mpsc::channel(1);
    sender.send(AgentFrame { messages: vec![registration(number)] }).await.expect("sent");
    let mut client = AgentSessionClient::new(channel);
    let mut orders = client.attach(ReceiverStream::new(receiver)).await.expect("attached").into_inner();
    tokio::spawn(async move { while let Ok(Some(_)) = orders.message().await {} });
    sender
}

fn registration(number: usize) -> AgentMessage {
    let resources = Resources::cpus_mem(2_000.0, 100_000.0).to_proto();
    let info = v1::AgentInfo { hostname: format!("agent-{number}"), resources, ..v1::AgentInfo::default() };
    let framework = v1::FrameworkInfo {
        name: "f".to_owned(),
        user: "root".to_owned(),
        id: Some(v1::FrameworkId { value: FRAMEWORK.to_owned() }),
        ..v1::FrameworkInfo::default()
    };
    let register = Register {
        versions: Some(ext::VersionRange { min: 1, max: 1 }),
        divvy_version: "0.1.0".to_owned(),
        info: Some(info),
        tasks: (0..TASKS).map(|task| running(number, task)).collect(),
        frameworks: vec![framework],
        ..Register::default()
    };
    AgentMessage { kind: Some(agent_message::Kind::Register(Box::new(register))) }
}

fn running(agent: usize, number: usize) -> AgentTask {
    let info = v1::TaskInfo {
        name: "a name as people give them to tasks".to_owned(),
        task_id: v1::TaskId { value: format!("task-{agent}-{number}") },
        resources: Resources::cpus_mem(1.0, 32.0).to_proto(),
        ..v1::TaskInfo::default()
    };
    let mut task = AgentTask {
        framework_id: FRAMEWORK.to_owned(),
        container_id: format!("container-{agent}-{number}"),
        task_info: info.encode_to_vec().into(),
        ..AgentTask::default()
    };
    task.set_state(TaskState::TaskRunning);
    task
}

/// A figure of the process, in KiB.
fn memory_kib(pid: u32, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find(|line| line.starts_with(name)).expect("a line");
    line.split_whitespace().nth(1).and_then(|text| text.parse().ok()).expect("a number")
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_readers_of_the_whole_state_at_once_cost_the_master_less_than_one_document() {
    let site = Site::new();
    let master = site.master();
    let mut agents = Vec::new();
    for number in 0..AGENTS {
        agents.push(attach(&master.address, number).await);
    }
    until("every agent to be registered", || {
        let metrics = get(&master.address, "/metrics");
        let all = format!("divvy_master_tasks{{state=\"TASK_RUNNING\"}} {}\n", AGENTS * TASKS);
        if metrics.contains(&all) { Ok(()) } else { Err(metrics) }
    });
    let document = get(&master.address, "/state");
    let (before, pid) = (memory_kib(master.pid(), "VmRSS:"), master.pid());
    // The peak is counted anew from here.
    fs::write(format!("/proc/{pid}/clear_refs"), "5").expect("a child of ours");
    let readers: Vec<_> = (0..READERS)
        .map(|_| {
            let address = master.address.clone();
            thread::spawn(move || get(&address, "/state").len())
        })
        .collect();
    for reader in readers {
        let read = reader.join().expect("a whole document");
        assert!(read + 1_000 > document.len(), "{read} bytes of about {}", document.len());
    }
    let grown_kib = memory_kib(pid, "VmHWM:").saturating_sub(before);
    println!(
        "{READERS} readers of {} KiB each: the master's peak is {grown_kib} KiB above {before}",
        document.len() >> 10
    );
    assert!(grown_kib < 32 << 10, "{grown_kib} KiB more");
    let body = document.split_once("\r\n\r\n").expect("a body").1;
    let state: serde_json::Value = serde_json::from_str(body).expect("a document");
    let tasks = state["frameworks"][0]["tasks"].as_array().map(Vec::len);
    assert_eq!(tasks, Some(AGENTS * TASKS));
}
