//! The two streams: one per framework, one per agent. The stream is the session.

use std::{
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use futures::{Stream, StreamExt as _};
use tonic::{Request, Response, Status, Streaming};

use super::{Api, intake, outgo};
use crate::{
    master::{
        core::{Input, SessionId},
        outbox::{Outbox, STALL},
        service::{AnyOutbox, Mail, Stopped, TOGETHER, permits},
    },
    proto::{
        ext::{self, scheduler_session_server::SchedulerSession},
        internal::{self, agent_session_server::AgentSession},
    },
    transport::{clock::Clock, serve::Peer},
};

/// Events and orders that go into one frame.
const FRAME: usize = 1_024;

/// The version of the scheduler stream this master speaks.
pub(super) const VERSION: u32 = 1;

type Frames<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl SchedulerSession for Api {
    type AttachStream = Frames<ext::Events>;

    async fn attach(&self, request: Request<Streaming<ext::Calls>>) -> Result<Response<Self::AttachStream>, Status> {
        let outbox = Outbox::new(Clock::system().now());
        let session = self.open(AnyOutbox::Framework(outbox.clone())).await?;
        let facts = self.facts.clone();
        let mut first = true;
        let frames = outbox.batches(FRAME, outgo::event_weight).map(move |events| {
            let version = if std::mem::take(&mut first) { VERSION } else { 0 };
            Ok(outgo::framework_frame(&facts, version, events))
        });
        let api = self.clone();
        tokio::spawn(async move { api.read_calls(session, request.into_inner(), outbox).await });
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
        let outbox = Outbox::new(Clock::system().now());
        let session = self.open(AnyOutbox::Agent(outbox.clone())).await?;
        let frames = outbox.batches(FRAME, outgo::order_weight).map(|orders| Ok(outgo::agent_frame(orders)));
        let api = self.clone();
        tokio::spawn(async move { api.read_reports(session, request.into_inner(), outbox, peer).await });
        Ok(Response::new(Box::pin(frames)))
    }
}

impl Api {
    async fn open(&self, outbox: AnyOutbox) -> Result<SessionId, Status> {
        let session = SessionId(self.sessions.fetch_add(1, Ordering::Relaxed));
        self.core
            .send(Mail::Opened { session, outbox })
            .await
            .map_err(|error| Status::unavailable(error.to_string()))?;
        Ok(session)
    }

    /// Feeds the framework's calls to the core until the stream ends, however it does.
    async fn read_calls(
        self,
        session: SessionId,
        stream: Streaming<ext::Calls>,
        outbox: Outbox<crate::master::core::Event>,
    ) {
        let cut = outbox.cut().clone();
        let reading = self.feed(stream, |frame: ext::Calls| {
            let unspoken = frame.versions.and_then(intake::unspoken);
            let calls = if unspoken.is_some() { Vec::new() } else { frame.calls };
            let first = frame.seq;
            let calls = calls.into_iter().zip(0..).map(move |(call, offset)| {
                let seq = first.saturating_add(offset);
                Input::Called { session, seq, call: intake::call(call) }
            });
            unspoken.map(|call| Input::Called { session, seq: 0, call }).into_iter().chain(calls)
        });
        run_until_cut(reading, &cut, &outbox).await;
        self.close(session, &outbox).await;
    }

    async fn read_reports(
        self,
        session: SessionId,
        stream: Streaming<internal::AgentFrame>,
        outbox: Outbox<crate::master::core::Order>,
        peer: String,
    ) {
        let cut = outbox.cut().clone();
        let peer: Arc<str> = peer.into();
        let reading = self.feed(stream, |frame: internal::AgentFrame| {
            let peer = peer.clone();
            let reports = frame.messages.into_iter().map(move |message| intake::report(message, &peer));
            reports.map(move |report| Input::Reported { session, report })
        });
        run_until_cut(reading, &cut, &outbox).await;
        self.close(session, &outbox).await;
    }

    async fn close<T>(&self, session: SessionId, outbox: &Outbox<T>) {
        outbox.close();
        let inputs = vec![Input::Detached { session }];
        // A core that has ended has no sessions left to end.
        drop(self.core.send(Mail::Inputs { inputs, permits: None }).await);
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

/// Reads until the stream ends, the outbox is cut or was closed and emptied, or the peer takes nothing any more.
async fn run_until_cut<T>(
    reading: impl Future<Output = ()>,
    cut: &tokio_util::sync::CancellationToken,
    outbox: &Outbox<T>,
) {
    let stalled = async {
        let clock = Clock::system();
        let mut closing: Option<u64> = None;
        loop {
            let now = clock.now();
            if outbox.stalled(now) {
                return;
            }
            if outbox.is_closed() && now.since(*closing.get_or_insert(now.mono_ns)) >= STALL {
                return;
            }
            clock.sleep_until(now.mono_after(Duration::from_secs(1))).await;
        }
    };
    tokio::select! {
        () = reading => {}
        () = cut.cancelled() => {}
        () = stalled => cut.cancel(),
    }
}
