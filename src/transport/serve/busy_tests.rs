//! Peers that read nothing for a while, in virtual time: a busy one stays connected, a dead one is dropped.

use axum::Router;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex, split},
    sync::watch,
    time::{Instant, sleep},
};
use tonic::{Code, Status, transport::Endpoint};

use super::{connection, *};
use crate::proto::ext::{Chunk, ReadRequest, sandbox_client::SandboxClient, sandbox_server::SandboxServer};

/// Bytes that the link between client and server buffers.
const WAY_BYTES: usize = 64 << 10;

/// Serves one connection whose client takes nothing while `is_busy`.
async fn connected(is_busy: watch::Receiver<bool>) -> SandboxClient<tonic::transport::Channel> {
    let ((client, near), (far, server)) = (duplex(WAY_BYTES), duplex(WAY_BYTES));
    tokio::spawn(carry(near, far, is_busy));
    let app: Router = tonic::service::Routes::new(SandboxServer::new(super::tests::Echo)).into_axum_router();
    let (stopping, stopped) = (CancellationToken::new(), CancellationToken::new());
    let serving = Server { app, limits: Limits::default(), stopping, stopped };
    let address = SocketAddr::from(([127, 0, 0, 1], 1));
    tokio::spawn(async move { connection::serve(server, Peer { address }, &serving).await });
    let mut client = Some(client);
    let connect = tower::service_fn(move |_| {
        let client = client.take().map(TokioIo::new).ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected));
        std::future::ready(client)
    });
    let channel = Endpoint::from_static("http://peer").connect_with_connector(connect).await.expect("it is served");
    SandboxClient::new(channel).max_decoding_message_size(64 << 20).max_encoding_message_size(64 << 20)
}

async fn carry(near: DuplexStream, far: DuplexStream, mut is_busy: watch::Receiver<bool>) {
    let ((mut near_read, mut near_write), (mut far_read, mut far_write)) = (split(near), split(far));
    let there = async {
        drop(tokio::io::copy(&mut near_read, &mut far_write).await);
    };
    let back = async {
        let mut piece = vec![0; 8 << 10];
        loop {
            if is_busy.wait_for(|busy| !busy).await.is_err() {
                return;
            }
            match far_read.read(&mut piece).await {
                Ok(0) | Err(_) => return,
                Ok(count) if near_write.write_all(&piece[..count]).await.is_err() => return,
                Ok(_) => {}
            }
        }
    };
    tokio::select! {
        () = there => {}
        () = back => {}
    }
}

/// Requests much data, then reads nothing for a while. Returns the result and how long it took.
async fn read_after(pause: Duration) -> (Result<Option<Chunk>, Status>, Duration) {
    let (busy, is_busy) = watch::channel(false);
    let mut client = connected(is_busy).await;
    let started = Instant::now();
    // The returned chunk holds the path.
    let request = ReadRequest { path: "x".repeat(1 << 20), ..ReadRequest::default() };
    let reading = tokio::spawn(async move {
        let mut chunks = client.read(request).await?.into_inner();
        chunks.message().await
    });
    busy.send_replace(true);
    sleep(pause).await;
    busy.send_replace(false);
    let outcome = reading.await.expect("it does not panic");
    (outcome, started.elapsed())
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_is_busy_for_a_minute_and_reads_nothing_gets_the_rest_afterwards() {
    let (chunk, took) = read_after(Duration::from_mins(1)).await;
    assert_eq!(chunk.expect("it is served").expect("a chunk").data.len(), 1 << 20);
    assert!(took >= Duration::from_mins(1), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_reads_nothing_for_longer_than_the_limit_is_cut() {
    let (chunk, _) = read_after(Duration::from_mins(2)).await;
    let status = chunk.expect_err("the connection ended");
    assert!(matches!(status.code(), Code::Unknown | Code::Unavailable | Code::Cancelled | Code::Internal), "{status}");
}
