//! Peers that do not read, over real sockets: their unread messages are bounded, and they receive the reason.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::mpsc,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Streaming, transport::Endpoint};

use super::{Master, Options};
use crate::proto::{
    ext::{self, scheduler_session_client::SchedulerSessionClient},
    internal::{
        AgentFrame, AgentMessage, MasterFrame, Register, agent_message, agent_session_client::AgentSessionClient,
        master_message,
    },
    v1::{
        self,
        scheduler::{Call, call, call::Type},
    },
};

/// How long a test waits for anything.
const LIMIT: Duration = Duration::from_mins(1);
const MIB: usize = 1 << 20;

async fn start(options: Options) -> Master {
    let listen = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    Master::start(Options { listen, ..options }).await.expect("it starts")
}

/// A connection with small windows, so that unread messages stay in the master.
async fn connect(master: &Master) -> tonic::transport::Channel {
    let endpoint = Endpoint::from_shared(format!("http://{}", master.address())).expect("an address");
    let endpoint = endpoint.initial_stream_window_size(65_535).initial_connection_window_size(1 << 20);
    endpoint.connect().await.expect("the master serves")
}

/// A number of `/metrics`.
async fn metric(master: &Master, name: &str) -> usize {
    let mut client = TcpStream::connect(master.address()).await.expect("the master listens");
    let request = b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    client.write_all(request).await.expect("it reads");
    let mut text = String::new();
    client.read_to_string(&mut text).await.expect("it answers");
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("divvy_master_{name} ")));
    line.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {name} in {text}"))
}

struct Framework {
    calls: mpsc::Sender<ext::Calls>,
    events: Streaming<ext::Events>,
    seq: u64,
    id: v1::FrameworkId,
}

impl Framework {
    async fn subscribe(master: &Master) -> Self {
        let (calls, receiver) = mpsc::channel(1);
        let info = v1::FrameworkInfo { user: "u".to_owned(), name: "f".to_owned(), ..v1::FrameworkInfo::default() };
        let subscribe = call::Subscribe { framework_info: info, ..call::Subscribe::default() };
        let mut call = Call { subscribe: Some(Box::new(subscribe)), ..Call::default() };
        call.set_type(Type::Subscribe);
        let frame = ext::Calls { seq: 1, calls: vec![call], ..ext::Calls::default() };
        calls.send(frame).await.expect("there is room");
        let client = SchedulerSessionClient::new(connect(master).await);
        let mut client = client.max_decoding_message_size(64 << 20).max_encoding_message_size(64 << 20);
        let events = client.attach(ReceiverStream::new(receiver)).await.expect("it attaches").into_inner();
        let mut this = Self { calls, events, seq: 1, id: v1::FrameworkId::default() };
        while this.id.value.is_empty() {
            let frame = this.events.message().await.expect("a stream").expect("a frame");
            let subscribed = frame.events.into_iter().find_map(|event| event.subscribed);
            this.id = subscribed.map(|subscribed| subscribed.framework_id).unwrap_or_default();
        }
        this
    }

    /// Sends calls; false when the master has closed the stream.
    async fn send(&mut self, calls: Vec<Call>) -> bool {
        let frame = ext::Calls { seq: self.seq + 1, calls, ..ext::Calls::default() };
        self.seq += frame.calls.len() as u64;
        let sent = tokio::time::timeout(LIMIT, self.calls.send(frame)).await;
        sent.expect("the master reads its calls").is_ok()
    }

    /// A message to an executor of this agent.
    fn message(&self, agent: &str, bytes: usize) -> Call {
        let message = call::Message {
            agent_id: v1::AgentId { value: agent.to_owned() },
            executor_id: v1::ExecutorId { value: "e".to_owned() },
            data: vec![7; bytes].into(),
        };
        let mut call = Call { framework_id: Some(self.id.clone()), message: Some(message), ..Call::default() };
        call.set_type(Type::Message);
        call
    }

    /// A call that is refused.
    fn invalid_call(&self) -> Call {
        let mut call = Call { framework_id: Some(self.id.clone()), ..Call::default() };
        call.set_type(Type::Acknowledge);
        call
    }
}

/// Registers an agent that reads nothing after `Registered`.
async fn register(master: &Master) -> (String, mpsc::Sender<AgentFrame>, Streaming<MasterFrame>) {
    let (reports, receiver) = mpsc::channel(1);
    let info = v1::AgentInfo { hostname: "h".to_owned(), port: Some(5051), ..v1::AgentInfo::default() };
    let versions = Some(ext::VersionRange { min: 1, max: 1 });
    let register = Register { versions, info: Some(info), ..Register::default() };
    let message = AgentMessage { kind: Some(agent_message::Kind::Register(Box::new(register))) };
    reports.send(AgentFrame { messages: vec![message] }).await.expect("there is room");
    let client = AgentSessionClient::new(connect(master).await);
    let mut client = client.max_decoding_message_size(64 << 20);
    let mut orders = client.attach(ReceiverStream::new(receiver)).await.expect("it attaches").into_inner();
    let frame = orders.message().await.expect("a stream").expect("a frame");
    let id = frame.messages.into_iter().find_map(|message| match message.kind {
        Some(master_message::Kind::Registered(registered)) => Some(registered.agent_id),
        _ => None,
    });
    (id.expect("it is registered"), reports, orders)
}

#[tokio::test]
async fn messages_to_an_agent_that_reads_nothing_are_bounded_by_its_budget_and_the_dropped_ones_are_counted() {
    let master = start(Options::default()).await;
    let (agent, _reports, mut orders) = register(&master).await;
    let mut framework = Framework::subscribe(&master).await;
    let mut most = 0;
    for _ in 0..40 {
        let call = framework.message(&agent, MIB);
        assert!(framework.send(vec![call]).await, "the session of the framework stays open");
        most = most.max(metric(&master, "unread_bytes").await);
    }
    assert!(most <= 9 * MIB, "{most} bytes wait: half of the budget, and one message");
    let wait_for_drops = async {
        while metric(&master, "messages_dropped_total").await < 20 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LIMIT, wait_for_drops).await.expect("what has no room is dropped and counted");
    let frame = orders.message().await.expect("its session goes on").expect("a frame");
    assert!(matches!(frame.messages[0].kind, Some(master_message::Kind::Message(_))), "{frame:?}");
}

#[tokio::test]
async fn a_framework_that_only_sends_calls_loses_its_session_and_receives_the_reason() {
    let master = start(Options { session_budget_bytes: 64 << 10, ..Options::default() }).await;
    let mut framework = Framework::subscribe(&master).await;
    let sending = async {
        loop {
            let calls = (0..500).map(|_| framework.invalid_call()).collect();
            if !framework.send(calls).await {
                return std::future::pending().await;
            }
        }
    };
    let ended = async {
        while metric(&master, "sessions_ended_unread_total").await == 0 {
            tokio::task::yield_now().await;
        }
    };
    let ended = async {
        // The reason follows the messages in flight: sending may stall until those are read.
        tokio::select! {
            () = ended => {}
            () = sending => {}
        }
    };
    tokio::time::timeout(LIMIT, ended).await.expect("the session ends");
    let status = loop {
        match framework.events.message().await {
            Ok(frame) => assert!(frame.is_some(), "the stream ends with a reason"),
            Err(status) => break status,
        }
    };
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    assert!(status.message().contains("bytes of answers wait to be read, the limit is 65536"), "{status}");
    assert_eq!(metric(&master, "sessions_ended_unread_total").await, 1);
}
