//! One connection, from its first byte to its last.

use std::{convert::Infallible, error::Error, time::Duration};

use axum::{Router, body::Body, extract::Request, response::Response};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tower::ServiceExt as _;

use super::{
    Limits, Peer, Server,
    inflow::{Inflow, Metered},
    opening::{self, Protocol},
    outflow::Lean,
    progress::{self, Progressing},
};
use crate::transport::{CONNECTION_WINDOW_BYTES, STREAM_WINDOW_BYTES};

/// hyper takes no smaller read buffer.
const MIN_HEADER_BYTES: usize = 8 << 10;

/// Serves a connection until the client closes it, violates a limit, or the server stops.
pub(super) async fn serve<S>(stream: S, peer: Peer, server: &Server)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let address = peer.address;
    let stream = Progressing::new(stream, server.limits.write_stall);
    let opened = server.stopping.run_until_cancelled(opening::open(stream, server.limits.first_byte)).await;
    let Some(Some((protocol, stream))) = opened else {
        tracing::debug!(%address, "connection dropped: no request in time");
        return;
    };
    let builder = builder(protocol, &server.limits);
    let (app, caller) = (server.app.clone(), peer.clone());
    // An HTTP/2 stream may be idle for hours; keep-alive detects a dead client.
    let body_stall = (protocol == Protocol::Http1).then_some(server.limits.stall);
    let inflow = Inflow::default();
    let service = service_fn(move |request| answer(request, &caller, &inflow, &app, body_stall));
    // On the heap: futures around this one hold room for it at each level.
    let mut serving = Box::pin(builder.serve_connection_with_upgrades(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = &mut serving => ended,
        () = server.stopping.cancelled() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = ended {
        log_end(&peer, &*error);
    }
}

fn answer(
    request: hyper::Request<Incoming>,
    peer: &Peer,
    inflow: &Inflow,
    app: &Router,
    body_stall: Option<Duration>,
) -> impl Future<Output = Result<Response, Infallible>> + use<> {
    let mut request: Request = request.map(|body| match body_stall {
        Some(stall) => progress::limited(body, stall),
        None => Body::new(Metered::new(body, inflow.clone())),
    });
    request.extensions_mut().insert(peer.clone());
    request.extensions_mut().insert(inflow.clone());
    let answering = app.clone().oneshot(request);
    async move { Ok(answering.await?.map(|body| Body::new(Lean::new(body)))) }
}

/// The protocol is known, so hyper's own detection, which waits without a limit, never runs.
fn builder(protocol: Protocol, limits: &Limits) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header)
        .max_buf_size(limits.header_bytes.max(MIN_HEADER_BYTES));
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(limits.keep_alive)
        .keep_alive_timeout(limits.keep_alive_timeout)
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX))
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES);
    match protocol {
        Protocol::Http1 => builder.http1_only(),
        Protocol::Http2 => builder.http2_only(),
    }
}

fn log_end(peer: &Peer, error: &(dyn Error + Send + Sync)) {
    let mut reason = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        reason = format!("{reason}: {inner}");
        source = inner.source();
    }
    tracing::debug!(address = %peer.address, reason, "connection ended early");
}
