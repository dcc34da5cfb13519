//! Peers that send malformed or oversized messages to a real master. It still answers others, and its memory is
//! bounded.

use std::{
    convert::Infallible,
    fs,
    pin::Pin,
    time::{Duration, Instant},
};

use axum::body::HttpBody as _;
use bytes::Bytes;
use divvy::{
    proto::{
        ext::{Calls, Events, VersionRange, scheduler_session_client::SchedulerSessionClient},
        internal::{
            AgentFrame, AgentMessage, Register, agent_message, agent_session_client::AgentSessionClient, master_message,
        },
        v1::{AgentInfo, FrameworkInfo, scheduler},
    },
    types::{Resources, limits},
};
use futures::{StreamExt as _, stream, stream::FuturesUnordered};
use tonic::{Code, Status, transport::Channel};
use tower::{Service as _, ServiceExt as _};

use super::part::{LIMIT, Part, Site, get};

/// The most that one connection may add to a master's memory, whatever it sends.
const MAX_GROWTH_BYTES: u64 = 64 << 20;

/// Resident memory of a process, in bytes.
fn resident(part: &Part) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", part.pid())).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line for it");
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().expect("a number") << 10
}

/// The longest turn of the master's core since its start.
async fn longest_turn(master: &str) -> Duration {
    let master = master.to_owned();
    let metrics = tokio::task::spawn_blocking(move || get(&master, "/metrics")).await.expect("no panic");
    let mut values = metrics.lines().filter_map(|line| line.strip_prefix("divvy_master_longest_turn_seconds "));
    Duration::from_secs_f64(values.next().expect("the metric").parse().expect("seconds"))
}

/// A master under attack, and its memory before it.
struct WatchedMaster {
    master: Part,
    before: u64,
    _site: Site,
}

impl WatchedMaster {
    async fn start() -> (Self, Channel) {
        let site = Site::new();
        let master = site.master();
        assert!(get(&master.address, "/health").starts_with("HTTP/1.1 200"));
        let endpoint =
            tonic::transport::Endpoint::from_shared(format!("http://{}", master.address)).expect("an address");
        let channel = endpoint.connect().await.expect("the master listens");
        let before = resident(&master);
        (Self { master, before, _site: site }, channel)
    }

    /// Asserts that the master answers others and that its memory grew by less than a connection may take.
    async fn assert_unharmed(&self, by: &str) {
        let address = self.master.address.clone();
        let begun = clock();
        let health = tokio::task::spawn_blocking(move || get(&address, "/health")).await.expect("no panic");
        let waited = begun.elapsed();
        assert!(health.starts_with("HTTP/1.1 200"), "{by}: {health}");
        let grown = resident(&self.master).saturating_sub(self.before);
        let turn = longest_turn(&self.master.address).await;
        eprintln!("{by}: {} MiB more resident, longest turn {turn:?}, /health after {waited:?}", grown >> 20);
        assert!(grown < MAX_GROWTH_BYTES, "{by}: {} MiB more", grown >> 20);
    }
}

#[expect(clippy::disallowed_methods, reason = "printed, and nothing is decided by it")]
fn clock() -> Instant {
    Instant::now()
}

/// Opens a stream with this body and returns the status with which the master ends it.
async fn attach(channel: &Channel, pieces: impl futures::Stream<Item = Bytes> + Send + 'static) -> Status {
    let body = axum::body::Body::from_stream(pieces.map(Ok::<_, Infallible>));
    let request = axum::http::Request::post("/divvy.ext.SchedulerSession/Attach")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(tonic::body::Body::new(body))
        .expect("a request");
    let mut channel = channel.clone();
    let answer = channel.ready().await.expect("connected").call(request).await.expect("an answer");
    let mut body = answer.into_body();
    while let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        match frame {
            Ok(frame) => {
                if let Some(status) = frame.trailers_ref().and_then(Status::from_header_map) {
                    return status;
                }
            }
            Err(status) => return status,
        }
    }
    Status::unknown("it ended without a status")
}

fn header(length: usize) -> Bytes {
    let mut header = vec![0];
    header.extend(u32::try_from(length).expect("a length").to_be_bytes());
    header.into()
}

/// A message of that length without its last byte.
fn truncated_message(length: usize) -> impl futures::Stream<Item = Bytes> + Send + 'static {
    const PIECE: usize = 64 << 10;
    let pieces = (length - 1) / PIECE;
    let zeros = Bytes::from(vec![0; PIECE]);
    stream::iter([header(length)]).chain(stream::iter((0..pieces).map(move |_| zeros.clone()))).chain(stream::pending())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_messages_on_many_streams_take_no_more_than_a_connection_may() {
    let (watched, channel) = WatchedMaster::start().await;
    let open = |length| {
        let channel = channel.clone();
        tokio::spawn(async move { attach(&channel, truncated_message(length)).await })
    };
    let mut streams: FuturesUnordered<_> = (0..64).map(|_| open(limits::MESSAGE_BYTES)).collect();
    // The master holds what fits until its peer ends the stream, and ends all other streams at once.
    for _ in 0..64 - limits::CONNECTION_BYTES / limits::MESSAGE_BYTES {
        let ended = tokio::time::timeout(LIMIT, streams.next()).await.expect("more than a connection may hold");
        let status = ended.expect("a stream").expect("no panic");
        assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    }
    watched.assert_unharmed("64 streams, each with half a message of 4 MiB").await;
    let status = tokio::time::timeout(LIMIT, open(63 << 20)).await.expect("refused at once").expect("no panic");
    assert!(matches!(status.code(), Code::OutOfRange | Code::ResourceExhausted), "{status:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frame_that_is_invalid_or_too_large_ends_its_stream_with_the_reason() {
    let (watched, channel) = WatchedMaster::start().await;
    let one = |message: Vec<u8>| {
        let pieces = [header(message.len()), message.into()];
        let channel = channel.clone();
        async move {
            let sent = attach(&channel, stream::iter(pieces).chain(stream::pending()));
            tokio::time::timeout(LIMIT, sent).await.expect("it ends")
        }
    };
    let garbage = one(b"GET / HTTP/1.1".to_vec()).await;
    assert_eq!(garbage.code(), Code::InvalidArgument, "{garbage:?}");
    assert!(garbage.message().starts_with("a message is refused: "), "{garbage:?}");
    // Two million calls of two bytes each.
    let many = one([0x1a, 0].repeat(2_000_000)).await;
    assert_eq!(many.code(), Code::InvalidArgument);
    assert!(many.message().starts_with("a message is refused: calls: would take more than"), "{many:?}");
    let wrong_type = one(vec![0x10, 1, 0x18, 1]).await;
    assert_eq!(wrong_type.code(), Code::InvalidArgument, "{wrong_type:?}");
    watched.assert_unharmed("frames that are no messages").await;
}

/// The last event of a subscription that is refused, and how the stream ended.
async fn subscribe(channel: &Channel, framework_info: FrameworkInfo) -> (String, Status) {
    let subscribe = scheduler::call::Subscribe { framework_info, ..scheduler::call::Subscribe::default() };
    let call = scheduler::Call {
        r#type: Some(scheduler::call::Type::Subscribe.into()),
        subscribe: Some(Box::new(subscribe)),
        ..scheduler::Call::default()
    };
    let frame = Calls { versions: Some(VersionRange { min: 1, max: 1 }), seq: 1, calls: vec![call] };
    let mut client = SchedulerSessionClient::new(channel.clone());
    let frames = stream::iter([frame]).chain(stream::pending());
    let mut events = match client.attach(frames).await {
        Ok(events) => events.into_inner(),
        Err(status) => return (String::new(), status),
    };
    let mut last = String::new();
    loop {
        match tokio::time::timeout(LIMIT, events.message()).await.expect("it answers") {
            Ok(Some(Events { events, refused, .. })) => {
                let errors = events.into_iter().filter_map(|event| event.error).map(|error| error.message);
                let refused = refused.into_iter().map(|one| format!("{}: {}", one.field, one.text));
                last = errors.chain(refused).last().unwrap_or(last);
            }
            Ok(None) => return (last, Status::ok("")),
            Err(status) => return (last, status),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invalid_roles_of_a_framework_are_refused_with_a_short_error() {
    let (watched, channel) = WatchedMaster::start().await;
    let (last, end) = subscribe(&channel, FrameworkInfo::new("deep").with_role("a/".repeat(32_767) + "a")).await;
    assert!(last.contains("roles[0]") && last.len() < 400, "{last}");
    assert!(!end.message().is_empty(), "{end:?}");
    watched.assert_unharmed("a role of 64 KiB, 32,768 parts deep").await;
    let mut flat = FrameworkInfo::new("flat").with_role("r");
    flat.roles = (0..60_000).map(|number| format!("r{number}")).collect();
    let (last, _) = subscribe(&channel, flat).await;
    assert!(last.contains("has 60000 roles"), "{last}");
    watched.assert_unharmed("60,000 flat roles").await;
    let mut flat = FrameworkInfo::new("flat").with_role("r");
    flat.roles = (0..200_000).map(|number| format!("r{number}")).collect();
    let (_, end) = subscribe(&channel, flat).await;
    assert!(end.message().contains("a message has at most 65536"), "{end:?}");
    watched.assert_unharmed("200,000 flat roles").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(deprecated, reason = "the old format has the role in the item itself")]
async fn the_roles_of_an_agents_reservations_are_refused_like_those_of_frameworks() {
    let (watched, channel) = WatchedMaster::start().await;
    let mut resources = "cpus:4;mem:64".parse::<Resources>().expect("resources").to_proto();
    resources[0].role = Some("a/".repeat(16_384) + "a");
    let info = AgentInfo { hostname: "h".to_owned(), resources, ..AgentInfo::default() };
    let versions = Some(VersionRange { min: 1, max: 2 });
    let register = Register { versions, info: Some(info), ..Register::default() };
    let kind = Some(agent_message::Kind::Register(Box::new(register)));
    let frames = stream::iter([AgentFrame { messages: vec![AgentMessage { kind }] }]).chain(stream::pending());
    let mut client = AgentSessionClient::new(channel.clone());
    let mut orders = client.attach(frames).await.expect("a stream").into_inner();
    let frame = tokio::time::timeout(LIMIT, orders.message()).await.expect("it answers").expect("a frame");
    let refused = frame.into_iter().flat_map(|frame| frame.messages).find_map(|message| match message.kind {
        Some(master_message::Kind::Refused(refused)) => Some(refused.text),
        _ => None,
    });
    let text = refused.expect("refused");
    assert!(text.contains("register.info.resources[0].role") && text.len() < 400, "{text}");
    watched.assert_unharmed("a reservation of 32 KiB").await;
}
