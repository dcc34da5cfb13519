//! A master scripted by a test, one stream at a time.

use std::{collections::VecDeque, pin::Pin};

use futures::Stream;
use tokio::{net::TcpListener, sync::mpsc, task::AbortHandle};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Request, Response, Status, Streaming,
    metadata::MetadataValue,
    transport::{Server, server::TcpIncoming},
};

use super::LIMIT;
use crate::{
    framework::LEADER_METADATA,
    proto::{
        ext::{
            Calls, Events, Refused,
            scheduler_session_server::{SchedulerSession, SchedulerSessionServer},
        },
        v1::{
            AgentId, FrameworkId, Offer, TaskId, TaskState, TaskStatus,
            scheduler::{Call, Event, call, event},
        },
    },
    types::Resources,
};

/// A master on a port of its own, stopped when dropped.
pub(super) struct FakeMaster {
    address: String,
    sessions: mpsc::Receiver<FakeSession>,
    server: AbortHandle,
}

/// The master's end of one stream.
pub(super) struct FakeSession {
    calls: Streaming<Calls>,
    events: mpsc::Sender<Result<Events, Status>>,
    received: VecDeque<(u64, Call)>,
    expected: u64,
}

struct SessionAcceptor {
    sessions: mpsc::Sender<FakeSession>,
    leader: Option<String>,
}

#[tonic::async_trait]
impl SchedulerSession for SessionAcceptor {
    type AttachStream = Pin<Box<dyn Stream<Item = Result<Events, Status>> + Send>>;

    async fn attach(&self, request: Request<Streaming<Calls>>) -> Result<Response<Self::AttachStream>, Status> {
        if let Some(leader) = &self.leader {
            return Err(not_leading(leader));
        }
        let (events, from) = mpsc::channel(64);
        let session = FakeSession { calls: request.into_inner(), events, received: VecDeque::new(), expected: 1 };
        self.sessions.send(session).await.map_err(|_closed| Status::unavailable("the test is over"))?;
        Ok(Response::new(Box::pin(ReceiverStream::new(from))))
    }
}

/// The status with which a master that does not lead ends a stream.
fn not_leading(leader: &str) -> Status {
    let mut status = Status::failed_precondition("another master leads");
    let leader = MetadataValue::try_from(leader).expect("an address is plain text");
    status.metadata_mut().insert(LEADER_METADATA, leader);
    status
}

impl FakeMaster {
    pub(super) async fn start() -> Self {
        Self::with(None).await
    }

    /// One that does not lead and names this one as the leader.
    pub(super) async fn following(leader: &str) -> Self {
        Self::with(Some(leader.to_owned())).await
    }

    async fn with(leader: Option<String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound").to_string();
        let (to, sessions) = mpsc::channel(16);
        let service = SchedulerSessionServer::new(SessionAcceptor { sessions: to, leader });
        let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
        let server = Server::builder().add_service(service).serve_with_incoming(incoming);
        Self { address, sessions, server: tokio::spawn(server).abort_handle() }
    }

    pub(super) fn address(&self) -> String {
        self.address.clone()
    }

    /// True when no driver has attached since the last session.
    pub(super) async fn is_idle(&mut self) -> bool {
        // All tasks of the runtime get to run; an attempt made by now is visible.
        for _ in 0..1000 {
            tokio::task::yield_now().await;
        }
        self.sessions.try_recv().is_err()
    }

    pub(super) async fn session(&mut self) -> FakeSession {
        let next = tokio::time::timeout(LIMIT, self.sessions.recv()).await;
        next.expect("a driver attaches within the limit").expect("the server lives")
    }
}

impl Drop for FakeMaster {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl FakeSession {
    /// The next call; `None` when the driver closed its side or ended.
    pub(super) async fn try_call(&mut self) -> Option<(u64, Call)> {
        while self.received.is_empty() {
            let frame = tokio::time::timeout(LIMIT, self.calls.message()).await;
            let frame = frame.expect("a call comes within the limit").ok().flatten()?;
            assert_eq!(frame.seq, self.expected, "calls are numbered without gaps");
            assert_eq!(frame.versions.is_some(), frame.seq == 1, "only the first frame has the versions");
            self.expected += frame.calls.len() as u64;
            self.received.extend((frame.seq..).zip(frame.calls));
        }
        self.received.pop_front()
    }

    /// The next call but for the driver's own reconciliation.
    pub(super) async fn call(&mut self) -> (u64, Call) {
        loop {
            let (seq, call) = self.try_call().await.expect("a call of the driver");
            if call.reconcile.is_none() {
                return (seq, call);
            }
        }
    }

    pub(super) async fn expect(&mut self, kind: call::Type) -> Call {
        let (_, call) = self.call().await;
        assert_eq!(call.r#type(), kind);
        call
    }

    /// Takes SUBSCRIBE and answers it.
    pub(super) async fn subscribe(&mut self) -> call::Subscribe {
        let call = self.expect(call::Type::Subscribe).await;
        self.answer_subscribe().await;
        *call.subscribe.expect("SUBSCRIBE has a body")
    }

    /// Answers SUBSCRIBE.
    pub(super) async fn answer_subscribe(&self) {
        self.send([subscribed()]).await;
    }

    pub(super) async fn send(&self, events: impl IntoIterator<Item = Event>) {
        self.frame(Events { version: 1, events: events.into_iter().collect(), ..Events::default() }).await;
    }

    pub(super) async fn applied(&self, applied_seq: u64) {
        self.frame(Events { applied_seq, ..Events::default() }).await;
    }

    pub(super) async fn refuse(&self, seq: u64, field: &str, text: &str) {
        let refused = vec![Refused { seq, field: field.into(), text: text.into(), partially_applied: false }];
        self.frame(Events { applied_seq: seq, refused, ..Events::default() }).await;
    }

    /// True when the driver has closed its side without a further call.
    pub(super) async fn is_closed(&mut self) -> bool {
        loop {
            match self.try_call().await {
                Some((_, call)) if call.reconcile.is_some() => {}
                other => return other.is_none(),
            }
        }
    }

    /// Ends the stream because another master leads now.
    pub(super) async fn hand_over(self, leader: &FakeMaster) {
        // Sending fails when the driver has ended.
        let _ = self.events.send(Err(not_leading(&leader.address))).await;
    }

    async fn frame(&self, events: Events) {
        // Sending fails when the driver has ended.
        let _ = self.events.send(Ok(events)).await;
    }
}

pub(super) fn subscribed() -> Event {
    let framework_id = FrameworkId::from("F1");
    let subscribed = event::Subscribed { framework_id, heartbeat_interval_seconds: Some(15.0), master_info: None };
    Event { r#type: Some(event::Type::Subscribed as i32), subscribed: Some(Box::new(subscribed)), ..Event::default() }
}

pub(super) fn offer(id: &str) -> Event {
    let resources = Resources::cpus_mem(4.0, 1024.0).to_proto_as(Some("*"), true);
    let offer =
        Offer { id: id.into(), agent_id: AgentId::from("S1"), hostname: "h1".into(), resources, ..Offer::default() };
    let offers = Some(event::Offers { offers: vec![offer] });
    Event { r#type: Some(event::Type::Offers as i32), offers, ..Event::default() }
}

pub(super) fn status(task_id: &TaskId, state: TaskState, uuid: u128) -> Event {
    let status = TaskStatus::new(task_id.clone(), state).with_uuid(uuid::Uuid::from_u128(uuid));
    update(TaskStatus { agent_id: Some(AgentId::from("S1")), ..status })
}

pub(super) fn update(status: TaskStatus) -> Event {
    let update = Some(Box::new(event::Update { status }));
    Event { r#type: Some(event::Type::Update as i32), update, ..Event::default() }
}

pub(super) fn error(message: &str) -> Event {
    let error = Some(event::Error { message: message.into() });
    Event { r#type: Some(event::Type::Error as i32), error, ..Event::default() }
}

/// The ids of the tasks that a call launches.
pub(super) fn launched(call: &Call) -> Vec<TaskId> {
    let operations = call.accept.iter().flat_map(|accept| &accept.operations);
    let tasks = operations.filter_map(|operation| operation.launch.as_ref()).flat_map(|launch| &launch.task_infos);
    tasks.map(|task| task.task_id.clone()).collect()
}
