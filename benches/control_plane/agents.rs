//! Simulated agents: each on a connection of its own. They send what a real agent would and start no process.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
};

use bytes::Bytes;
use divvy::{
    proto::{
        ext,
        internal::{
            self, AgentFrame, AgentMessage, MasterMessage, agent_message, agent_session_client::AgentSessionClient,
            master_message,
        },
        v1::{self, TaskState},
    },
    transport::connect::Address,
    types::Resources,
};
use prost::Message as _;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::{Outcome, measure::now_ns};

/// Frames and the messages in them, in both directions of a kind of link.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    pub(crate) frames_sent: AtomicUsize,
    pub(crate) messages_sent: AtomicUsize,
    pub(crate) frames_received: AtomicUsize,
    pub(crate) messages_received: AtomicUsize,
}

impl Traffic {
    pub(crate) fn sent(&self, messages: usize) {
        self.frames_sent.fetch_add(1, Relaxed);
        self.messages_sent.fetch_add(messages, Relaxed);
    }

    pub(crate) fn received(&self, messages: usize) {
        self.frames_received.fetch_add(1, Relaxed);
        self.messages_received.fetch_add(messages, Relaxed);
    }

    pub(crate) fn messages(&self) -> usize {
        self.messages_sent.load(Relaxed) + self.messages_received.load(Relaxed)
    }

    pub(crate) fn frames(&self) -> usize {
        self.frames_sent.load(Relaxed) + self.frames_received.load(Relaxed)
    }
}

/// State that all agents share with the scenario.
#[derive(Debug)]
pub(crate) struct Fleet {
    pub(crate) traffic: Traffic,
    pub(crate) registered: AtomicUsize,
    pub(crate) acknowledged: AtomicUsize,
    /// Per agent: when a task ended there and nothing was offered since; zero when none did.
    pub(crate) ended_ns: Vec<AtomicU64>,
    /// Whether a task ends as soon as its RUNNING is acknowledged.
    ends: bool,
}

/// Connects `count` agents with these resources.
pub(crate) fn connect(address: &str, count: usize, resources: &Resources, ends: bool) -> Outcome<Arc<Fleet>> {
    let address: Address = address.parse()?;
    let fleet = Arc::new(Fleet {
        traffic: Traffic::default(),
        registered: AtomicUsize::new(0),
        acknowledged: AtomicUsize::new(0),
        ended_ns: (0..count).map(|_| AtomicU64::new(0)).collect(),
        ends,
    });
    for number in 0..count {
        let agent = Agent { number, fleet: fleet.clone(), id: String::new(), uuids: 0, tasks: HashMap::new() };
        let (address, resources) = (address.clone(), resources.clone());
        tokio::spawn(async move {
            if let Err(error) = agent.run(&address, &resources).await {
                // The end of the master's process causes the same error at the end of the bench.
                drop(error);
            }
        });
    }
    Ok(fleet)
}

/// The hostname of an agent, by which the framework recognizes its offers.
pub(crate) fn hostname(number: usize) -> String {
    format!("agent-{number}")
}

struct Task {
    framework: String,
    container: String,
    state: TaskState,
}

struct Agent {
    number: usize,
    fleet: Arc<Fleet>,
    id: String,
    uuids: u64,
    tasks: HashMap<String, Task>,
}

impl Agent {
    async fn run(mut self, address: &Address, resources: &Resources) -> Outcome<()> {
        let channel = address.endpoint()?.connect().await?;
        let mut client =
            AgentSessionClient::new(channel).max_decoding_message_size(divvy::transport::MAX_MESSAGE_BYTES);
        let (sender, receiver) = mpsc::channel(64);
        sender.send(AgentFrame { messages: vec![self.registration(resources)] }).await?;
        let mut incoming = client.attach(ReceiverStream::new(receiver)).await?.into_inner();
        while let Some(frame) = incoming.message().await? {
            self.fleet.traffic.received(frame.messages.len());
            let messages: Vec<AgentMessage> =
                frame.messages.into_iter().filter_map(|message| self.answer(message)).collect();
            if !messages.is_empty() {
                self.fleet.traffic.sent(messages.len());
                sender.send(AgentFrame { messages }).await?;
            }
        }
        Ok(())
    }

    fn registration(&self, resources: &Resources) -> AgentMessage {
        let info = v1::AgentInfo {
            hostname: hostname(self.number),
            port: Some(5051),
            resources: resources.to_proto(),
            ..v1::AgentInfo::default()
        };
        let register = internal::Register {
            versions: Some(ext::VersionRange { min: 1, max: 1 }),
            divvy_version: "0.1.0".to_owned(),
            info: Some(info),
            ..internal::Register::default()
        };
        AgentMessage { kind: Some(agent_message::Kind::Register(Box::new(register))) }
    }

    fn answer(&mut self, message: MasterMessage) -> Option<AgentMessage> {
        match message.kind? {
            master_message::Kind::Registered(registered) => {
                self.id = registered.agent_id;
                self.fleet.registered.fetch_add(1, Relaxed);
                None
            }
            master_message::Kind::RunTask(run) => self.start(run),
            master_message::Kind::Acknowledge(acknowledge) => self.acknowledged(acknowledge),
            master_message::Kind::Ping(_) => {
                Some(AgentMessage { kind: Some(agent_message::Kind::Pong(internal::Pong {})) })
            }
            master_message::Kind::Refused(_)
            | master_message::Kind::KillTask(_)
            | master_message::Kind::UpdateFramework(_)
            | master_message::Kind::ShutdownFramework(_)
            | master_message::Kind::Message(_)
            | master_message::Kind::Gone(_) => None,
        }
    }

    fn start(&mut self, run: internal::RunTask) -> Option<AgentMessage> {
        let id = v1::TaskInfo::decode(run.task_info).ok()?.task_id.value;
        let task = Task { framework: run.framework_id, container: run.container_id, state: TaskState::TaskRunning };
        let update = self.update(&id, &task);
        self.tasks.insert(id, task);
        Some(update)
    }

    /// Ends a task whose RUNNING was acknowledged, if tasks end; removes one whose end was.
    fn acknowledged(&mut self, acknowledge: internal::Acknowledge) -> Option<AgentMessage> {
        self.fleet.acknowledged.fetch_add(1, Relaxed);
        if !self.fleet.ends {
            return None;
        }
        let mut task = self.tasks.remove(&acknowledge.task_id)?;
        if task.state == TaskState::TaskFinished {
            return None;
        }
        task.state = TaskState::TaskFinished;
        let update = self.update(&acknowledge.task_id, &task);
        self.tasks.insert(acknowledge.task_id, task);
        // If an earlier end has led to no offer yet, the time is measured from that end.
        let _earlier = self.fleet.ended_ns[self.number].compare_exchange(0, now_ns(), Relaxed, Relaxed);
        Some(update)
    }

    fn update(&mut self, task_id: &str, task: &Task) -> AgentMessage {
        self.uuids += 1;
        update(self.number, self.uuids, &self.id, task_id, task)
    }
}

/// A status update for the baseline to send.
pub(crate) fn sample_update(number: usize, count: usize) -> AgentMessage {
    let task = Task {
        framework: "5b1d6a0e-9f43-4c0e-a8f4-3b0f2f9d6c11-0000".to_owned(),
        container: "0b8c1c7e-2f0c-4d57-8f5e-5f3f6a0d9e21".to_owned(),
        state: TaskState::TaskRunning,
    };
    let agent = format!("5b1d6a0e-9f43-4c0e-a8f4-3b0f2f9d6c11-S{number}");
    update(number, count as u64, &agent, &format!("task-{count}"), &task)
}

fn update(number: usize, count: u64, agent: &str, task_id: &str, task: &Task) -> AgentMessage {
    let uuid = ((number as u128) << 64 | u128::from(count)).to_be_bytes();
    let container = v1::ContainerId { value: task.container.clone(), parent: None };
    let mut status = v1::TaskStatus {
        task_id: v1::TaskId { value: task_id.to_owned() },
        executor_id: Some(v1::ExecutorId { value: task_id.to_owned() }),
        agent_id: Some(v1::AgentId { value: agent.to_owned() }),
        timestamp: Some(1_700_000_000.0),
        uuid: Some(Bytes::copy_from_slice(&uuid)),
        container_status: Some(Box::new(v1::ContainerStatus {
            container_id: Some(container),
            executor_pid: Some(4_711),
            ..v1::ContainerStatus::default()
        })),
        ..v1::TaskStatus::default()
    };
    status.set_state(task.state);
    status.set_source(v1::task_status::Source::Executor);
    let update = internal::Update {
        framework_id: task.framework.clone(),
        container_id: task.container.clone(),
        status: Some(status),
        latest_state: task.state.into(),
    };
    AgentMessage { kind: Some(agent_message::Kind::Update(Box::new(update))) }
}
