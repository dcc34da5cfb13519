//! Simulated agents and one framework that reconnect whenever their master restarts.

use std::{
    collections::BTreeSet,
    fmt,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use divvy::{
    proto::{
        ext::{self, scheduler_session_client::SchedulerSessionClient},
        internal::{
            AgentFrame, AgentMessage, AgentTask, Pong, Register, agent_message,
            agent_session_client::AgentSessionClient, master_message,
        },
        v1::{self, TaskState, scheduler},
    },
    transport::{MAX_MESSAGE_BYTES, connect::Address},
    types::Resources,
};
use prost::Message as _;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;

use crate::{
    Outcome, TASKS, bare,
    measure::{Samples, child::Served, machine, now_ns, timed},
};

const FRAMEWORK: &str = "framework-0000";
/// Between two attempts to reach a master that serves.
const RETRY: Duration = Duration::from_millis(20);
const RESTARTS: usize = 5;
/// The longest wait before the bench fails.
const LIMIT: Duration = Duration::from_mins(1);

/// What has happened since the master was started.
#[derive(Debug)]
struct Progress {
    agents: usize,
    /// Which master serves, counted from 1; 0 while none does. No peer connects then, so that only the reconnection is
    /// measured.
    serves: watch::Sender<usize>,
    registered: AtomicUsize,
    offered: Mutex<BTreeSet<String>>,
    /// Attempts with this master that ended.
    failed: AtomicUsize,
    last_failure: Mutex<String>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Progress {
    fn new(agents: usize) -> Self {
        Self {
            agents,
            serves: watch::Sender::new(0),
            registered: AtomicUsize::new(0),
            offered: Mutex::default(),
            failed: AtomicUsize::new(0),
            last_failure: Mutex::default(),
        }
    }

    fn reset(&self) {
        self.serves.send_replace(0);
        self.registered.store(0, Relaxed);
        lock(&self.offered).clear();
        self.failed.store(0, Relaxed);
    }

    async fn until_one_serves(&self) -> usize {
        // The sender is in this very value.
        self.serves.subscribe().wait_for(|serves| *serves > 0).await.map_or(0, |serves| *serves)
    }

    fn ended(&self, with: usize, outcome: Outcome<()>) {
        if *self.serves.borrow() == with {
            self.failed.fetch_add(1, Relaxed);
            *lock(&self.last_failure) = outcome.map_or_else(|error| format!("{error:?}"), |()| "ended".to_owned());
        }
    }

    /// Waits until the count reaches the number of agents; the error contains the progress.
    async fn until_all(&self, what: &str, count: impl Fn(&Self) -> usize) -> Outcome<()> {
        let start = now_ns();
        while count(self) < self.agents {
            if u128::from(now_ns() - start) > LIMIT.as_nanos() {
                return Err(format!("not {what} within {LIMIT:?}: {self}").into());
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Ok(())
    }

    async fn until_registered(&self) -> Outcome<()> {
        self.until_all("every agent is registered", |progress| progress.registered.load(Relaxed)).await
    }

    async fn until_offered(&self) -> Outcome<()> {
        self.until_all("every agent was offered", |progress| lock(&progress.offered).len()).await
    }
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (registered, failed) = (self.registered.load(Relaxed), self.failed.load(Relaxed));
        let (offered, agents) = (lock(&self.offered).len(), self.agents);
        write!(f, "{registered} of {agents} agents registered, {offered} offered, {failed} attempts failed")?;
        if failed > 0 { write!(f, ", the last: {}", lock(&self.last_failure)) } else { Ok(()) }
    }
}

/// Kills and starts a master a few times and prints how long all peers took to reconnect.
pub(crate) async fn restart(agents: usize) -> Outcome<()> {
    let folder = tempfile::tempdir()?;
    let progress = Arc::new(Progress::new(agents));
    let role = |address: SocketAddr| format!("{address} {}", folder.path().display());
    let mut master = Served::start(&role(SocketAddr::from(([127, 0, 0, 1], 0))))?;
    let address = master.address;
    for number in 0..agents {
        tokio::spawn(agent(address, number, progress.clone()));
    }
    tokio::spawn(framework(address, progress.clone()));
    progress.serves.send_replace(1);
    progress.until_registered().await?;
    progress.until_offered().await?;
    println!("\nsockets: {agents} agents x {TASKS} tasks, the master's process killed and started again");
    let (mut known, mut offered, mut plain) = (Samples::default(), Samples::default(), Samples::default());
    let bytes = registration(0, "old-S0").encoded_len();
    for master_number in 2..RESTARTS + 2 {
        let other = Served::start("bare")?;
        let start = now_ns();
        bare::exchange(other.address, agents, bytes).await?;
        plain.push(Duration::from_nanos(now_ns() - start));
        progress.reset();
        drop((other, master));
        let (started, outcome) = timed(|| Served::start(&role(address)));
        master = outcome?;
        let start = now_ns();
        progress.serves.send_replace(master_number);
        progress.until_registered().await?;
        known.push(started + Duration::from_nanos(now_ns() - start));
        progress.until_offered().await?;
        offered.push(started + Duration::from_nanos(now_ns() - start));
        println!("  started after {started:.2?}; {progress}");
    }
    println!("  start -> every agent registered    {known}");
    println!("  start -> every agent offered       {offered}");
    println!("  as many bare connections, {bytes} bytes each  {plain}");
    println!("  {}", machine());
    drop(master);
    Ok(())
}

/// Attaches an agent to each master in turn; it keeps the id that the first master assigned.
async fn agent(address: SocketAddr, number: usize, progress: Arc<Progress>) {
    let mut id = String::new();
    loop {
        let with = progress.until_one_serves().await;
        progress.ended(with, attach_agent(address, number, &mut id, &progress).await);
        tokio::time::sleep(RETRY).await;
    }
}

async fn attach_agent(address: SocketAddr, number: usize, id: &mut String, progress: &Progress) -> Outcome<()> {
    let channel = address.to_string().parse::<Address>()?.endpoint()?.connect().await?;
    let mut client = AgentSessionClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES);
    let (sender, receiver) = mpsc::channel(16);
    sender.send(registration(number, id)).await?;
    let mut incoming = client.attach(ReceiverStream::new(receiver)).await?.into_inner();
    while let Some(frame) = incoming.message().await? {
        for message in frame.messages {
            if let Some(master_message::Kind::Registered(registered)) = message.kind {
                *id = registered.agent_id;
                progress.registered.fetch_add(1, Relaxed);
            } else if let Some(master_message::Kind::Ping(_)) = message.kind {
                let pong = AgentMessage { kind: Some(agent_message::Kind::Pong(Pong {})) };
                sender.send(AgentFrame { messages: vec![pong] }).await?;
            }
        }
    }
    Ok(())
}

async fn framework(address: SocketAddr, progress: Arc<Progress>) {
    loop {
        let with = progress.until_one_serves().await;
        progress.ended(with, attach_framework(address, &progress).await);
        tokio::time::sleep(RETRY).await;
    }
}

async fn attach_framework(address: SocketAddr, progress: &Progress) -> Outcome<()> {
    let channel = address.to_string().parse::<Address>()?.endpoint()?.connect().await?;
    let mut client = SchedulerSessionClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES);
    let (sender, receiver) = mpsc::channel(16);
    sender.send(subscription()).await?;
    let mut incoming = client.attach(ReceiverStream::new(receiver)).await?.into_inner();
    while let Some(frame) = incoming.message().await? {
        let offers = frame.events.into_iter().filter_map(|event| event.offers).flat_map(|offers| offers.offers);
        lock(&progress.offered).extend(offers.map(|offer| offer.agent_id.value));
    }
    Ok(())
}

fn framework_info() -> v1::FrameworkInfo {
    v1::FrameworkInfo {
        id: Some(v1::FrameworkId { value: FRAMEWORK.to_owned() }),
        name: FRAMEWORK.to_owned(),
        user: "root".to_owned(),
        failover_timeout: Some(600.0),
        roles: vec!["*".to_owned()],
        capabilities: vec![v1::framework_info::Capability {
            r#type: Some(v1::framework_info::capability::Type::MultiRole.into()),
        }],
        ..v1::FrameworkInfo::default()
    }
}

fn subscription() -> ext::Calls {
    let subscribe = scheduler::call::Subscribe { framework_info: framework_info(), ..<_>::default() };
    let mut call = scheduler::Call {
        framework_id: Some(v1::FrameworkId { value: FRAMEWORK.to_owned() }),
        subscribe: Some(Box::new(subscribe)),
        ..scheduler::Call::default()
    };
    call.set_type(scheduler::call::Type::Subscribe);
    ext::Calls { versions: Some(ext::VersionRange { min: 1, max: 1 }), seq: 1, calls: vec![call] }
}

/// The agent's first frame: its registration with its running tasks.
fn registration(number: usize, id: &str) -> AgentFrame {
    let info = v1::AgentInfo {
        id: (!id.is_empty()).then(|| v1::AgentId { value: id.to_owned() }),
        hostname: format!("agent{number}.example"),
        port: Some(5051),
        resources: Resources::cpus_mem(20.0, 10_240.0).to_proto(),
        ..v1::AgentInfo::default()
    };
    let task = |at: usize| {
        let info = v1::TaskInfo::shell("task", "exec /usr/bin/program --option value")
            .with_resources(&Resources::cpus_mem(0.1, 5.0))
            .with_id(format!("task-{number}-{at}"))
            .with_agent(id);
        AgentTask {
            framework_id: FRAMEWORK.to_owned(),
            container_id: format!("{number:08}-0000-8000-8000-{at:012}"),
            task_info: info.encode_to_vec().into(),
            state: TaskState::TaskRunning.into(),
            unacknowledged: None,
        }
    };
    let register = Register {
        versions: Some(ext::VersionRange { min: 1, max: 1 }),
        divvy_version: "0.1.0".to_owned(),
        info: Some(info),
        tasks: (0..TASKS).map(task).collect(),
        frameworks: vec![framework_info()],
        ..Register::default()
    };
    AgentFrame { messages: vec![AgentMessage { kind: Some(agent_message::Kind::Register(Box::new(register))) }] }
}
