//! The streams of frameworks and agents: one stream is one session.

use std::{
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::{Arc, atomic::Ordering},
};

use futures::{FutureExt as _, Stream, StreamExt as _, stream};
use prost::Message as _;
use tonic::{Request, Response, Status, Streaming};

use super::{
    Api, intake, outgo,
    reading::{EndStatus, feed},
};
use crate::{
    master::{
        core::{Event, Input, Order, SessionId},
        dispatch::AnyOutbox,
        service::Mail,
    },
    proto::{
        ext::{self, scheduler_session_server::SchedulerSession},
        internal::{self, agent_session_server::AgentSession},
    },
    transport::{
        clock::Clock,
        outbox::{Message, Outbox, RecordNumber},
        serve::{Peer, inflow::Inflow},
    },
};

/// The version of the scheduler stream this master speaks.
pub(super) const VERSION: u32 = 1;

/// A session's reading side; resolves to the reason why it ended. Boxed because there is one per connection: futures
/// that contain it would reserve its size at each level.
type Reading = Pin<Box<dyn Future<Output = Result<(), Status>> + Send>>;
type Frames<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl SchedulerSession for Api {
    type AttachStream = Frames<ext::Events>;

    async fn attach(&self, request: Request<Streaming<ext::Calls>>) -> Result<Response<Self::AttachStream>, Status> {
        let session = self.next_session();
        let outbox: Outbox<Event> = self.core.outbox(session);
        self.open(session, AnyOutbox::Framework(outbox.clone())).await?;
        let facts = self.facts.clone();
        let mut first = true;
        let frames = frames(&outbox, move |events| {
            let version = if std::mem::take(&mut first) { VERSION } else { 0 };
            outgo::framework_frame(&facts, version, events)
        });
        let end = EndStatus::default();
        let frames = end.append_to(frames);
        let reading = self.clone().read_calls(session, inflow(&request), request.into_inner());
        tokio::spawn(self.clone().serve_session(session, outbox, reading, end));
        Ok(Response::new(Box::pin(frames)))
    }
}

#[tonic::async_trait]
impl AgentSession for Api {
    type AttachStream = Frames<internal::MasterFrame>;

    async fn attach(
        &self,
        request: Request<Streaming<internal::AgentFrame>>,
    ) -> Result<Response<Self::AttachStream>, Status> {
        let peer = request
            .extensions()
            .get::<Peer>()
            .map(|peer| peer.address.ip().to_canonical().to_string())
            .unwrap_or_default();
        let session = self.next_session();
        let outbox: Outbox<Order> = self.core.outbox(session);
        self.open(session, AnyOutbox::Agent(outbox.clone())).await?;
        let end = EndStatus::default();
        let frames = end.append_to(frames(&outbox, outgo::agent_frame));
        let reading = self.clone().read_reports(session, inflow(&request), request.into_inner(), peer);
        tokio::spawn(self.clone().serve_session(session, outbox, reading, end));
        Ok(Response::new(Box::pin(frames)))
    }
}

/// Renders each batch of the outbox as a frame; if the peer's slow reading ended the session, an error is the last
/// item.
fn frames<M, F>(outbox: &Outbox<M>, mut render: impl FnMut(Vec<M>) -> F + Send + 'static) -> Frames<F>
where
    M: Message + Send + 'static,
    F: Send + 'static,
{
    let ended = outbox.clone();
    let reason = stream::once(async move { ended.failure() });
    let reason = reason.filter_map(async |reason| reason);
    let reason = reason.map(|reason| Err(Status::resource_exhausted(reason.to_string())));
    Box::pin(outbox.batches().map(move |batch| Ok(render(batch))).chain(reason))
}

impl Api {
    fn next_session(&self) -> SessionId {
        SessionId(self.sessions.fetch_add(1, Ordering::Relaxed))
    }

    async fn open(&self, session: SessionId, outbox: AnyOutbox) -> Result<(), Status> {
        let sent = self.core.send(Mail::Opened { session, outbox }).await;
        sent.map_err(|error| Status::unavailable(error.to_string()))
    }

    /// Reads until the stream or the peer's queue ends, then detaches the session from the core, also when reading
    /// panics. `end` receives the reason. Queued messages are still sent while the peer reads them.
    async fn serve_session<M>(self, session: SessionId, outbox: Outbox<M>, reading: Reading, end: EndStatus)
    where
        M: Message + Send,
    {
        tokio::select! {
            ended = AssertUnwindSafe(reading).catch_unwind() => match ended {
                Ok(Ok(())) => end.set_closed_by_peer(),
                Ok(Err(status)) => end.set(status),
                Err(_panic) => {
                    tracing::error!(session = session.0, "reading a session panicked: closing it; this is a bug in divvy");
                    end.set(Status::internal("the master failed to read a message; this is a bug in divvy"));
                }
            },
            reason = outbox.ended() => if reason.is_failure() {
                tracing::warn!(session = session.0, "closing the session: {reason}");
            },
        }
        outbox.close(Clock::system().now(), RecordNumber::default());
        let inputs = vec![Input::Detached { session }];
        // A core that has ended has no sessions.
        drop(self.core.send(Mail::Inputs { inputs, permits: None }).await);
        outbox.ended().await;
    }

    /// Sends the framework's calls to the core until the stream ends.
    fn read_calls(self, session: SessionId, inflow: Inflow, stream: Streaming<ext::Calls>) -> Reading {
        let parse = move |frame: ext::Calls| {
            let version_mismatch = frame.versions.and_then(intake::version_mismatch);
            let calls = if version_mismatch.is_some() { Vec::new() } else { frame.calls };
            let first = frame.seq;
            let calls = calls.into_iter().zip(0..).map(move |(call, offset)| {
                let (seq, bytes) = (first.saturating_add(offset), call.encoded_len());
                (Input::Called { session, seq, call: intake::call(call) }, bytes)
            });
            version_mismatch.map(|call| (Input::Called { session, seq: 0, call }, 0)).into_iter().chain(calls)
        };
        Box::pin(feed(self.core, inflow, stream, parse))
    }

    fn read_reports(
        self,
        session: SessionId,
        inflow: Inflow,
        stream: Streaming<internal::AgentFrame>,
        peer: String,
    ) -> Reading {
        let peer: Arc<str> = peer.into();
        let parse = move |frame: internal::AgentFrame| {
            let peer = peer.clone();
            frame.messages.into_iter().map(move |message| {
                let bytes = message.encoded_len();
                (Input::Reported { session, report: intake::report(message, &peer) }, bytes)
            })
        };
        Box::pin(feed(self.core, inflow, stream, parse))
    }
}

/// The input limits of the request's connection, or a connection's default.
fn inflow<T>(request: &Request<T>) -> Inflow {
    request.extensions().get::<Inflow>().cloned().unwrap_or_default()
}
