//! Hostile and ordinary clients against the accept loop, over real sockets with short limits.

use std::pin::Pin;

use axum::{Extension, routing::get};
use futures::Stream;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    task::JoinHandle,
    time::timeout,
};
use tonic::{Request, Response, Status, Streaming};

use super::*;
use crate::{
    proto::ext::{
        Chunk, ReadRequest,
        sandbox_client::SandboxClient,
        sandbox_server::{Sandbox, SandboxServer},
    },
    transport::connect::{self, Address},
};

const TEST_TIMEOUT: Duration = Duration::from_secs(10);

struct Running {
    address: SocketAddr,
    stop: CancellationToken,
    serving: JoinHandle<()>,
}

/// Limits short enough for tests. Limits that a case does not test must not be reached.
fn limits() -> Limits {
    Limits {
        first_byte: Duration::from_millis(200),
        header: Duration::from_millis(300),
        stall: Duration::from_millis(300),
        write_stall: Duration::from_millis(300),
        keep_alive: Duration::from_millis(200),
        keep_alive_timeout: Duration::from_millis(200),
        drain: Duration::from_millis(200),
        ..Limits::default()
    }
}

async fn start(limits: Limits) -> Running {
    let grpc = tonic::service::Routes::new(SandboxServer::new(Echo)).into_axum_router();
    let app = Router::new()
        .route("/health", get(|Extension(peer): Extension<Peer>| async move { peer.address.ip().to_string() }))
        .route("/body", axum::routing::post(|body: String| async move { body.len().to_string() }))
        .route("/large", get(|| async { vec![b'x'; 64 << 20] }))
        .route("/slow", get(|| async { std::future::pending::<()>().await }))
        .merge(grpc);
    let listener = Listener::bind(SocketAddr::from(([127, 0, 0, 1], 0)), false).await.expect("a free port");
    let (address, stop) = (listener.address(), CancellationToken::new());
    let serving = tokio::spawn(serve(listener, app, limits, stop.clone()));
    Running { address, stop, serving }
}

/// Sends `bytes` and reads until the server closes the connection; panics if it never does.
async fn exchange(address: SocketAddr, bytes: &[u8]) -> String {
    let mut client = TcpStream::connect(address).await.expect("the server listens");
    client.write_all(bytes).await.expect("the server reads");
    read_to_close(&mut client).await
}

async fn read_to_close(client: &mut TcpStream) -> String {
    let mut back = Vec::new();
    let read = timeout(TEST_TIMEOUT, client.read_to_end(&mut back)).await.expect("the server closes the connection");
    drop(read);
    String::from_utf8_lossy(&back).into_owned()
}

pub(super) struct Echo;

#[tonic::async_trait]
impl Sandbox for Echo {
    type ReadStream = Pin<Box<dyn Stream<Item = Result<Chunk, Status>> + Send>>;

    async fn read(&self, request: Request<ReadRequest>) -> Result<Response<Self::ReadStream>, Status> {
        let request = request.into_inner();
        let first = Chunk { offset: request.offset, data: request.path.into() };
        let rest: Self::ReadStream =
            if request.follow { Box::pin(futures::stream::pending()) } else { Box::pin(futures::stream::empty()) };
        Ok(Response::new(Box::pin(futures::StreamExt::chain(tokio_stream::once(Ok(first)), rest))))
    }
}

async fn read(address: SocketAddr, follow: bool) -> Streaming<Chunk> {
    let address = Address::new(address.ip().to_string(), address.port());
    let channel = connect::agent(&address).await.expect("the server listens");
    let request = ReadRequest { path: "stdout".to_owned(), follow, ..ReadRequest::default() };
    SandboxClient::new(channel).read(request).await.expect("the server answers").into_inner()
}

#[tokio::test]
async fn http1_and_grpc_share_a_port() {
    let server = start(limits()).await;
    let answer = exchange(server.address, b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("127.0.0.1"), "{answer}");
    let mut chunks = read(server.address, false).await;
    let chunk = chunks.message().await.expect("a stream").expect("a chunk");
    assert_eq!(chunk.data, "stdout");
    assert_eq!(chunks.message().await.expect("the end"), None);
}

#[tokio::test]
async fn a_silent_client_is_dropped() {
    let server = start(limits()).await;
    assert_eq!(exchange(server.address, b"").await, "");
}

#[tokio::test]
async fn a_client_that_stops_after_the_preface_is_dropped() {
    let server = start(limits()).await;
    exchange(server.address, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
}

#[tokio::test]
async fn a_client_that_dribbles_its_header_is_dropped() {
    let server = start(limits()).await;
    let (mut reading, mut writing) = TcpStream::connect(server.address).await.expect("a server").into_split();
    let dribble = tokio::spawn(async move {
        writing.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\n").await.ok();
        let mut pace = tokio::time::interval(Duration::from_millis(20));
        while writing.write_all(b"a").await.is_ok() {
            pace.tick().await;
        }
    });
    let mut back = Vec::new();
    drop(timeout(TEST_TIMEOUT, reading.read_to_end(&mut back)).await.expect("the server closes the connection"));
    assert!(!String::from_utf8_lossy(&back).contains("200 OK"));
    dribble.abort();
}

#[tokio::test]
async fn an_idle_kept_alive_connection_is_closed() {
    let server = start(limits()).await;
    let answer = exchange(server.address, b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
}

#[tokio::test]
async fn a_header_over_the_limit_is_refused() {
    let server = start(Limits { header_bytes: 8 << 10, ..limits() }).await;
    let head = format!("GET /health HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "a".repeat(20 << 10));
    let mut client = TcpStream::connect(server.address).await.expect("the server listens");
    // The server may close before all is written.
    client.write_all(head.as_bytes()).await.ok();
    let answer = read_to_close(&mut client).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused() {
    let server = start(Limits { body_bytes: 10, ..limits() }).await;
    let post = |body: &str| {
        format!("POST /body HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    };
    let answer = exchange(server.address, post("0123456789").as_bytes()).await;
    assert!(answer.ends_with("10"), "{answer}");
    let answer = exchange(server.address, post("0123456789!").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
}

#[tokio::test]
async fn a_client_that_stops_inside_its_body_is_answered_and_dropped() {
    let server = start(limits()).await;
    let answer = exchange(server.address, b"POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n01234").await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
}

#[tokio::test]
async fn a_client_that_does_not_read_is_dropped() {
    let server = start(Limits { connections: 1, header: TEST_TIMEOUT, ..limits() }).await;
    let mut stalled = TcpStream::connect(server.address).await.expect("the server listens");
    stalled.write_all(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("the server reads");
    // Its place is free again although it keeps its end open.
    let answer =
        timeout(TEST_TIMEOUT, exchange(server.address, b"GET /health HTTP/1.0\r\n\r\n")).await.expect("a free place");
    assert!(answer.starts_with("HTTP/1.0 200"), "{answer}");
    drop(stalled);
}

#[tokio::test]
async fn garbage_is_answered_and_does_not_harm_others() {
    let server = start(limits()).await;
    let answer = exchange(server.address, b"\x00\xff\x16\x03\x01 not http\r\n\r\n").await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400"), "{answer}");
    assert!(read(server.address, false).await.message().await.is_ok());
}

#[tokio::test]
async fn a_connection_over_the_cap_waits_for_one_to_end() {
    let server = start(Limits { connections: 1, ..limits() }).await;
    let silent = TcpStream::connect(server.address).await.expect("the server listens");
    let request = b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let answer = exchange(server.address, request).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "served once the silent one was dropped: {answer}");
    drop(silent);
}

#[tokio::test]
async fn an_open_stream_does_not_hold_up_the_end_for_ever() {
    let server = start(limits()).await;
    let mut chunks = read(server.address, true).await;
    assert!(chunks.message().await.expect("a stream").is_some());
    let mut slow = TcpStream::connect(server.address).await.expect("the server listens");
    slow.write_all(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("the server reads");
    server.stop.cancel();
    timeout(TEST_TIMEOUT, server.serving).await.expect("the server ends").expect("without a panic");
    assert!(!matches!(chunks.message().await, Ok(Some(_))), "the stream is cut");
    TcpStream::connect(server.address).await.expect_err("the port is free again");
}

#[tokio::test]
async fn a_stream_that_idles_outlives_the_keep_alive() {
    let server = start(limits()).await;
    let mut chunks = read(server.address, true).await;
    assert!(chunks.message().await.expect("a stream").is_some());
    let rounds = 2 * (limits().keep_alive + limits().keep_alive_timeout);
    assert!(timeout(rounds, chunks.message()).await.is_err(), "a client that answers pings stays");
}
