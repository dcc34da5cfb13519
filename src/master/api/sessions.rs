//! The two streams: one per framework, one per agent. The stream is the session.

use std::{
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::{Arc, atomic::Ordering},
};

use futures::{FutureExt as _, Stream, StreamExt as _, stream};
use tonic::{Request, Response, Status, Streaming};

use super::{Api, intake, outgo};
use crate::{
    master::{
        core::{Event, Input, Order, SessionId},
        dispatch::AnyOutbox,
        service::{Mail, Stopped, TOGETHER, permits},
    },
    proto::{
        ext::{self, scheduler_session_server::SchedulerSession},
        internal::{self, agent_session_server::AgentSession},
    },
    transport::{
        clock::Clock,
        outbox::{Message, Outbox, RecordNumber},
        serve::Peer,
    },
};

/// The version of the scheduler stream this master speaks.
pub(super) const VERSION: u32 = 1;

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
        let reading = self.clone().read_calls(session, request.into_inner());
        tokio::spawn(self.clone().serve_session(session, outbox, reading));
        Ok(Response::new(frames))
    }
}

#[tonic::async_trait]
impl AgentSession for Api {
    type AttachStream = Frames<internal::MasterFrame>;

    async fn attach(
        &self,
        request: Request<Streaming<internal::AgentFrame>>,
    ) -> Result<Response<Self::AttachStream>, Status> {
        let peer = request.extensions().get::<Peer>().map(|peer| peer.address.ip().to_string()).unwrap_or_default();
        let session = self.next_session();
        let outbox: Outbox<Order> = self.core.outbox(session);
        self.open(session, AnyOutbox::Agent(outbox.clone())).await?;
        let frames = frames(&outbox, outgo::agent_frame);
        let reading = self.clone().read_reports(session, request.into_inner(), peer);
        tokio::spawn(self.clone().serve_session(session, outbox, reading));
        Ok(Response::new(frames))
    }
}

/// All that waits, each batch as a frame; after the last, what the peer is to blame for, if that ended the session.
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

    /// Reads until the stream ends, however it does, or the peer's queue has ended; then the session is over for the core,
    /// also when reading panicked. What waits for the peer still leaves while it takes it.
    async fn serve_session<M>(self, session: SessionId, outbox: Outbox<M>, reading: impl Future<Output = ()> + Send)
    where
        M: Message + Send,
    {
        tokio::select! {
            outcome = AssertUnwindSafe(reading).catch_unwind() => if outcome.is_err() {
                tracing::error!(session = session.0, "a connection's task panicked: its session ends; please report it");
            },
            reason = outbox.ended() => if reason.is_failure() {
                tracing::warn!(session = session.0, "the session ends: {reason}");
            },
        }
        outbox.close(Clock::system().now(), RecordNumber::default());
        let inputs = vec![Input::Detached { session }];
        // A core that has ended has no sessions left to end.
        drop(self.core.send(Mail::Inputs { inputs, permits: None }).await);
        outbox.ended().await;
    }

    /// Feeds the framework's calls to the core until the stream ends.
    async fn read_calls(self, session: SessionId, stream: Streaming<ext::Calls>) {
        self.feed(stream, |frame: ext::Calls| {
            let unspoken = frame.versions.and_then(intake::unspoken);
            let calls = if unspoken.is_some() { Vec::new() } else { frame.calls };
            let first = frame.seq;
            let calls = calls.into_iter().zip(0..).map(move |(call, offset)| {
                let seq = first.saturating_add(offset);
                Input::Called { session, seq, call: intake::call(call) }
            });
            unspoken.map(|call| Input::Called { session, seq: 0, call }).into_iter().chain(calls)
        })
        .await;
    }

    async fn read_reports(self, session: SessionId, stream: Streaming<internal::AgentFrame>, peer: String) {
        let peer: Arc<str> = peer.into();
        self.feed(stream, |frame: internal::AgentFrame| {
            let peer = peer.clone();
            let reports = frame.messages.into_iter().map(move |message| intake::report(message, &peer));
            reports.map(move |report| Input::Reported { session, report })
        })
        .await;
    }

    /// Digests frame after frame; each input takes a permit that it gives back when the core has taken it.
    async fn feed<F, I: Iterator<Item = Input>>(&self, mut stream: Streaming<F>, digest: impl Fn(F) -> I) {
        let permits = permits();
        while let Some(Ok(frame)) = stream.next().await {
            let mut digested = digest(frame).peekable();
            while digested.peek().is_some() {
                let Ok(mut room) = permits.clone().acquire_many_owned(TOGETHER).await else { return };
                let inputs: Vec<Input> = digested.by_ref().take(TOGETHER as usize).collect();
                let permits = room.split(inputs.len());
                let sent: Result<(), Stopped> = self.core.send(Mail::Inputs { inputs, permits }).await;
                if sent.is_err() {
                    return;
                }
            }
        }
    }
}
