//! One framework that launches as many tasks as fit on every offer until it has launched its demand.

use std::{collections::HashMap, sync::atomic::Ordering::Relaxed, time::Duration};

use divvy::{
    proto::{
        ext::{self, scheduler_session_client::SchedulerSessionClient},
        v1::{
            self, TaskInfo, TaskState,
            framework_info::capability::Type as Capability,
            scheduler::{self, call::Type as CallType, event::Type as EventType},
        },
    },
    transport::{MAX_MESSAGE_BYTES, connect::Address},
    types::Resources,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use crate::{
    Outcome,
    agents::{Fleet, Traffic},
    measure::{Samples, now_ns},
};

/// Tasks in one frame; more go into the next.
const TASKS_IN_FRAME: usize = 1_000;

/// The tasks to launch, and when the run is over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Demand {
    pub(crate) tasks: usize,
    /// The run is over when all tasks have reached this state.
    pub(crate) until: TaskState,
    /// At most so many at a time.
    pub(crate) at_once: usize,
}

/// What the framework measured.
#[derive(Default)]
pub(crate) struct Measured {
    pub(crate) traffic: Traffic,
    /// From SUBSCRIBE to the first offer.
    pub(crate) first_offer: Duration,
    /// From SUBSCRIBE to each RUNNING.
    pub(crate) running: Samples,
    /// From ACCEPT to RUNNING.
    pub(crate) launched: Samples,
    /// From a task's end at the agent to an offer of that agent.
    pub(crate) offered_again: Samples,
    pub(crate) took: Duration,
}

/// The framework's stream: while it is open, its tasks run.
#[derive(Debug)]
pub(crate) struct Attached {
    _calls: mpsc::Sender<ext::Calls>,
    _events: Streaming<ext::Events>,
}

/// What each task takes.
pub(crate) fn task_resources() -> Resources {
    Resources::cpus_mem(0.1, 32.0)
}

struct Framework<'a> {
    fleet: &'a Fleet,
    demand: Demand,
    id: Option<v1::FrameworkId>,
    wanted: Vec<v1::Resource>,
    each: Resources,
    launched: usize,
    ended: usize,
    reached: usize,
    acknowledged: usize,
    seq: u64,
    begun_ns: u64,
    offered: bool,
    launched_ns: HashMap<String, u64>,
    calls: Vec<scheduler::Call>,
    tasks_in_calls: usize,
    frames: mpsc::Sender<ext::Calls>,
    measured: Measured,
}

/// Runs until the demand is met.
pub(crate) async fn run(address: &str, fleet: &Fleet, demand: Demand) -> Outcome<(Measured, Attached)> {
    let channel = address.parse::<Address>()?.endpoint()?.connect().await?;
    let mut client = SchedulerSessionClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES);
    let (frames, receiver) = mpsc::channel(1_024);
    let each = task_resources();
    let mut framework = Framework {
        fleet,
        demand,
        id: None,
        wanted: each.to_proto_as(Some("*"), true),
        each,
        launched: 0,
        ended: 0,
        reached: 0,
        acknowledged: 0,
        seq: 1,
        begun_ns: now_ns(),
        offered: false,
        launched_ns: HashMap::new(),
        calls: Vec::new(),
        tasks_in_calls: 0,
        frames,
        measured: Measured::default(),
    };
    framework.calls.push(subscribe());
    framework.flush().await?;
    let mut incoming = client.attach(ReceiverStream::new(receiver)).await?.into_inner();
    while framework.reached < demand.tasks {
        let frame = incoming.message().await?.ok_or("the master ended the stream")?;
        framework.handle_events(frame).await?;
    }
    framework.measured.took = Duration::from_nanos(now_ns() - framework.begun_ns);
    framework.until_acknowledged().await;
    Ok((framework.measured, Attached { _calls: framework.frames, _events: incoming }))
}

fn subscribe() -> scheduler::Call {
    let capability = |kind: Capability| v1::framework_info::Capability { r#type: Some(kind.into()) };
    let info = v1::FrameworkInfo {
        user: "root".to_owned(),
        name: "bench".to_owned(),
        roles: vec!["*".to_owned()],
        failover_timeout: Some(0.0),
        capabilities: [Capability::MultiRole, Capability::PartitionAware, Capability::ReservationRefinement]
            .map(capability)
            .to_vec(),
        ..v1::FrameworkInfo::default()
    };
    let mut call = scheduler::Call::default();
    call.set_type(CallType::Subscribe);
    call.subscribe =
        Some(Box::new(scheduler::call::Subscribe { framework_info: info, ..scheduler::call::Subscribe::default() }));
    call
}

impl Framework<'_> {
    async fn handle_events(&mut self, frame: ext::Events) -> Outcome<()> {
        if let Some(refused) = frame.refused.first() {
            return Err(format!("refused: {}: {}", refused.field, refused.text).into());
        }
        self.measured.traffic.received(frame.events.len());
        for event in frame.events {
            match event.r#type() {
                EventType::Subscribed => self.id = event.subscribed.map(|subscribed| subscribed.framework_id),
                EventType::Offers => {
                    for offer in event.offers.unwrap_or_default().offers {
                        self.offer(offer).await?;
                    }
                }
                EventType::Update => {
                    if let Some(update) = event.update {
                        self.status(update.status)?;
                    }
                }
                EventType::Error => return Err(event.error.unwrap_or_default().message.into()),
                _ => {}
            }
        }
        self.flush().await
    }

    async fn offer(&mut self, offer: v1::Offer) -> Outcome<()> {
        let now = now_ns();
        if !std::mem::replace(&mut self.offered, true) {
            self.measured.first_offer = Duration::from_nanos(now - self.begun_ns);
        }
        let number: usize = offer.hostname.trim_start_matches("agent-").parse()?;
        let ended = self.fleet.ended_ns[number].swap(0, Relaxed);
        if ended > 0 {
            self.measured.offered_again.push(Duration::from_nanos(now.saturating_sub(ended)));
        }
        let resources = Resources::from_proto(&offer.resources)?;
        let fit = usize::try_from(resources.cpus().raw() / self.each.cpus().raw())?;
        let open = self.demand.at_once.saturating_sub(self.launched - self.ended);
        let count = fit.min(open).min(self.demand.tasks - self.launched);
        if count == 0 {
            self.calls.push(self.decline(offer.id));
            return Ok(());
        }
        let tasks: Vec<TaskInfo> = (0..count).map(|_| self.task(&offer.agent_id, now)).collect();
        let accept = self.accept(offer.id, tasks);
        self.calls.push(accept);
        self.tasks_in_calls += count;
        if self.tasks_in_calls >= TASKS_IN_FRAME { self.flush().await } else { Ok(()) }
    }

    fn task(&mut self, agent: &v1::AgentId, now: u64) -> TaskInfo {
        let id = format!("task-{}", self.launched);
        self.launched += 1;
        if self.demand.at_once == 1 {
            self.launched_ns.insert(id.clone(), now);
        }
        let mut task = TaskInfo::shell("bench", "true").with_id(id).with_agent(agent.value.clone());
        task.resources.clone_from(&self.wanted);
        task
    }

    fn call(&self, kind: CallType) -> scheduler::Call {
        let mut call = scheduler::Call { framework_id: self.id.clone(), ..scheduler::Call::default() };
        call.set_type(kind);
        call
    }

    fn decline(&self, offer: v1::OfferId) -> scheduler::Call {
        let mut call = self.call(CallType::Decline);
        let filters = v1::Filters { refuse_seconds: Some(3600.0) };
        call.decline = Some(scheduler::call::Decline { offer_ids: vec![offer], filters: Some(filters) });
        call
    }

    fn accept(&self, offer: v1::OfferId, tasks: Vec<TaskInfo>) -> scheduler::Call {
        let mut operation = v1::offer::Operation::default();
        operation.set_type(v1::offer::operation::Type::Launch);
        operation.launch = Some(v1::offer::operation::Launch { task_infos: tasks });
        let mut call = self.call(CallType::Accept);
        call.accept = Some(Box::new(scheduler::call::Accept {
            offer_ids: vec![offer],
            operations: vec![operation],
            filters: Some(v1::Filters { refuse_seconds: Some(0.0) }),
        }));
        call
    }

    fn status(&mut self, status: v1::TaskStatus) -> Outcome<()> {
        let state = status.state();
        match state {
            TaskState::TaskRunning => {
                let now = now_ns();
                self.measured.running.push(Duration::from_nanos(now - self.begun_ns));
                if let Some(at) = self.launched_ns.remove(&status.task_id.value) {
                    self.measured.launched.push(Duration::from_nanos(now - at));
                }
            }
            TaskState::TaskFinished => self.ended += 1,
            other => return Err(format!("{}: {}", other.as_str_name(), status.message.unwrap_or_default()).into()),
        }
        self.reached += usize::from(state == self.demand.until);
        if let Some(uuid) = status.uuid {
            let mut call = self.call(CallType::Acknowledge);
            let agent_id = status.agent_id.unwrap_or_default();
            call.acknowledge = Some(scheduler::call::Acknowledge { agent_id, task_id: status.task_id, uuid });
            self.calls.push(call);
            self.acknowledged += 1;
        }
        Ok(())
    }

    /// Waits until the agents have received the last acknowledgements, which are part of the cost of a task.
    async fn until_acknowledged(&self) {
        while self.fleet.acknowledged.load(Relaxed) < self.acknowledged {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn flush(&mut self) -> Outcome<()> {
        if self.calls.is_empty() {
            return Ok(());
        }
        let calls = std::mem::take(&mut self.calls);
        self.tasks_in_calls = 0;
        self.measured.traffic.sent(calls.len());
        let versions = (self.seq == 1).then_some(ext::VersionRange { min: 1, max: 1 });
        let frame = ext::Calls { versions, seq: self.seq, calls };
        self.seq += frame.calls.len() as u64;
        self.frames.send(frame).await?;
        Ok(())
    }
}
