//! Following a file over real connections that are lost.

use std::{
    net::SocketAddr,
    pin::Pin,
    sync::atomic::{AtomicU64, Ordering},
};

use futures::{Stream, StreamExt, stream};
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{Request, Response};

use super::*;
use crate::{
    proto::{
        ext::{
            Chunk,
            sandbox_server::{Sandbox, SandboxServer},
        },
        v1,
    },
    transport::serve::{self, Limits, Listener},
};

const TEXT: &[u8] = b"one two three";

/// Serves `TEXT` three bytes at a time and closes the first `breaks` streams after three bytes.
struct Breaking {
    breaks: AtomicU64,
    /// Whether it closes them without an error.
    clean: bool,
    refusal: Option<Code>,
}

#[tonic::async_trait]
impl Sandbox for Breaking {
    type ReadStream = Pin<Box<dyn Stream<Item = Result<Chunk, Status>> + Send>>;

    async fn read(&self, request: Request<ReadRequest>) -> Result<Response<Self::ReadStream>, Status> {
        if let Some(code) = self.refusal {
            return Err(Status::new(code, "no such container"));
        }
        let offset = request.into_inner().offset;
        let rest = TEXT.get(usize::try_from(offset).expect("small")..).unwrap_or_default();
        let pieces: Vec<_> = rest.chunks(3).map(<[u8]>::to_vec).collect();
        let chunks =
            pieces.into_iter().zip((offset..).step_by(3)).map(|(data, offset)| Ok(Chunk { offset, data: data.into() }));
        let breaks = self.breaks.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
        let cut = (breaks && !self.clean).then(|| Err(Status::unavailable("cut")));
        let taken = if breaks { 1 } else { usize::MAX };
        Ok(Response::new(Box::pin(stream::iter(chunks.collect::<Vec<_>>()).take(taken).chain(stream::iter(cut)))))
    }
}

async fn served(breaks: u64, refusal: Option<Code>) -> (File, DropGuard) {
    serve_breaking(Breaking { breaks: AtomicU64::new(breaks), clean: false, refusal }).await
}

async fn serve_breaking(breaking: Breaking) -> (File, DropGuard) {
    let listener = Listener::bind(SocketAddr::from(([127, 0, 0, 1], 0)), false).await.expect("a free port");
    let agent = Address::new("127.0.0.1", listener.address().port());
    let service = SandboxServer::new(breaking);
    let app = tonic::service::Routes::new(service).into_axum_router();
    let stop = CancellationToken::new();
    tokio::spawn(serve::serve(listener, app, Limits::default(), stop.clone()));
    let name = "w.0: stdout".to_owned();
    (File { name, agent, container_id: "c1".to_owned(), path: "stdout" }, stop.drop_guard())
}

/// A task that has ended.
fn ended() -> TaskEnd {
    TaskEnd::new(watch::channel(true).1, Duration::from_secs(10))
}

/// Finds the agent at this address, or not at all.
struct Found(Option<Address>);

impl Locator for Found {
    async fn locate(&self) -> Option<Address> {
        self.0.clone()
    }
}

/// The same file at an address where nothing listens.
async fn moved(file: &File) -> File {
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    File { agent: Address::new("127.0.0.1", free.local_addr().expect("bound").port()), ..file.clone() }
}

/// Collects what it receives, up to `enough` bytes.
struct Collector {
    text: Vec<u8>,
    enough: usize,
}

/// Collects what it receives, and ends the task once it has all of the text.
struct EndsTask {
    text: Vec<u8>,
    end: watch::Sender<bool>,
}

impl OutputSink for EndsTask {
    async fn write(&mut self, bytes: Bytes) -> bool {
        self.text.extend_from_slice(&bytes);
        self.end.send_replace(self.text.len() >= TEXT.len());
        true
    }
}

impl OutputSink for Collector {
    async fn write(&mut self, bytes: Bytes) -> bool {
        self.text.extend_from_slice(&bytes);
        self.text.len() < self.enough
    }
}

async fn read_all(file: &File) -> (Vec<u8>, Result<(), CutOff>) {
    let mut collector = Collector { text: Vec::new(), enough: usize::MAX };
    let outcome = follow(file.clone(), &Found(None), ended(), &mut collector).await;
    (collector.text, outcome)
}

#[tokio::test]
async fn reading_continues_where_a_lost_connection_stopped() {
    let (file, _serving) = served(3, None).await;
    let (text, outcome) = read_all(&file).await;
    assert_eq!(text, TEXT);
    assert!(outcome.is_ok());
}

#[tokio::test]
async fn an_end_of_the_stream_before_the_end_of_the_task_is_not_the_end_of_the_file() {
    for clean in [true, false] {
        let (file, _serving) = serve_breaking(Breaking { breaks: AtomicU64::new(3), clean, refusal: None }).await;
        let (end, ended) = watch::channel(false);
        let mut sink = EndsTask { text: Vec::new(), end };
        let outcome = follow(file, &Found(None), TaskEnd::new(ended, Duration::from_secs(10)), &mut sink).await;
        assert!(outcome.is_ok() && sink.text == TEXT, "{outcome:?}: {:?}", sink.text);
    }
}

#[tokio::test]
async fn an_agent_that_restarted_on_another_port_is_found() {
    let (file, _serving) = served(1, None).await;
    let before = moved(&file).await;
    let (end, ended) = watch::channel(false);
    let mut sink = EndsTask { text: Vec::new(), end };
    let (found, end) = (Found(Some(file.agent)), TaskEnd::new(ended, Duration::from_secs(10)));
    assert!(follow(before, &found, end, &mut sink).await.is_ok());
    assert_eq!(sink.text, TEXT);
}

#[tokio::test]
async fn missing_output_is_reported_once_the_task_has_ended() {
    let (file, _serving) = served(0, None).await;
    let file = moved(&file).await;
    let (end, ended) = watch::channel(false);
    // Its end can never be reported.
    drop(end);
    let mut collector = Collector { text: Vec::new(), enough: usize::MAX };
    let outcome = follow(file, &Found(None), TaskEnd::new(ended, Duration::ZERO), &mut collector).await;
    let error = outcome.expect_err("nothing serves there").to_string();
    assert!(error.starts_with("w.0: stdout: the output from byte 0 on is missing, 127.0.0.1:"), "{error}");
}

#[tokio::test]
async fn a_permanent_error_is_reported_at_once() {
    let (file, _serving) = served(0, Some(Code::InvalidArgument)).await;
    let (text, outcome) = read_all(&file).await;
    assert!(text.is_empty());
    let agent = &file.agent;
    let wanted =
        format!("w.0: stdout: the output from byte 0 on is missing, {agent} does not send it: no such container");
    assert_eq!(outcome.expect_err("refused").to_string(), wanted);
}

#[tokio::test]
async fn a_sink_that_stops_reading_ends_the_stream() {
    let (file, _serving) = served(0, None).await;
    let mut collector = Collector { text: Vec::new(), enough: 1 };
    assert!(follow(file, &Found(None), ended(), &mut collector).await.is_ok());
    assert_eq!(collector.text, b"one");
}

#[test]
fn an_agents_address_comes_from_its_offer() {
    let url = |ip: Option<&str>, port| v1::Url {
        scheme: "http".to_owned(),
        address: v1::Address { hostname: Some("node".to_owned()), ip: ip.map(str::to_owned), port },
        ..v1::Url::default()
    };
    let offer = |url| Offer { hostname: "other".to_owned(), url: Some(Box::new(url)), ..Offer::default() };
    assert_eq!(address(&offer(url(Some("10.0.0.1"), 5051))), Some(Address::new("10.0.0.1", 5051)));
    assert_eq!(address(&offer(url(None, 5051))), Some(Address::new("node", 5051)));
    assert_eq!(address(&offer(url(None, -1))), None);
    assert_eq!(address(&Offer::default()), None);
}
