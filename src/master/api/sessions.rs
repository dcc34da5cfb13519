//! The two streams: one per framework, one per agent. The stream is the session.

use std::{
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use futures::{FutureExt as _, Stream, StreamExt as _};
use prost::Message as _;
use tonic::{Request, Response, Status, Streaming};

use super::{
    Api, intake, outgo,
    reading::{EndStatus, feed},
};
use crate::{
    master::{
        core::{Input, SessionId},
        outbox::{Outbox, STALL},
        service::{AnyOutbox, Mail},
    },
    proto::{
        ext::{self, scheduler_session_server::SchedulerSession},
        internal::{self, agent_session_server::AgentSession},
    },
    transport::{
        clock::Clock,
        serve::{Peer, inflow::Inflow},
    },
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
        let (api, end) = (self.clone(), EndStatus::default());
        let frames = end.after(frames);
        tokio::spawn(async move { api.read_calls(session, request, outbox, end).await });
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
        let (api, end) = (self.clone(), EndStatus::default());
        let frames = end.after(frames);
        tokio::spawn(async move { api.read_reports(session, request, outbox, peer, end).await });
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
        request: Request<Streaming<ext::Calls>>,
        outbox: Outbox<crate::master::core::Event>,
        end: EndStatus,
    ) {
        let inflow = inflow(&request);
        let reading = feed(&self.core, &inflow, request.into_inner(), |frame: ext::Calls| {
            let unspoken = frame.versions.and_then(intake::unspoken);
            let calls = if unspoken.is_some() { Vec::new() } else { frame.calls };
            let first = frame.seq;
            let calls = calls.into_iter().zip(0..).map(move |(call, offset)| {
                let (seq, bytes) = (first.saturating_add(offset), call.encoded_len());
                (Input::Called { session, seq, call: intake::call(call) }, bytes)
            });
            unspoken.map(|call| (Input::Called { session, seq: 0, call }, 0)).into_iter().chain(calls)
        });
        run_until_cut(reading, &outbox, &end).await;
        self.close(session, &outbox).await;
    }

    async fn read_reports(
        self,
        session: SessionId,
        request: Request<Streaming<internal::AgentFrame>>,
        outbox: Outbox<crate::master::core::Order>,
        peer: String,
        end: EndStatus,
    ) {
        let inflow = inflow(&request);
        let peer: Arc<str> = peer.into();
        let reading = feed(&self.core, &inflow, request.into_inner(), |frame: internal::AgentFrame| {
            let peer = peer.clone();
            frame.messages.into_iter().map(move |message| {
                let bytes = message.encoded_len();
                (Input::Reported { session, report: intake::report(message, &peer) }, bytes)
            })
        });
        run_until_cut(reading, &outbox, &end).await;
        self.close(session, &outbox).await;
    }

    async fn close<T>(&self, session: SessionId, outbox: &Outbox<T>) {
        outbox.close();
        let inputs = vec![Input::Detached { session }];
        // A core that has ended has no sessions left to end.
        drop(self.core.send(Mail::Inputs { inputs, permits: None }).await);
    }
}

/// What the connection of a request may hold; of one that came some other way, what a connection may.
fn inflow<T>(request: &Request<T>) -> Inflow {
    request.extensions().get::<Inflow>().cloned().unwrap_or_default()
}

/// Reads until the stream ends, the outbox is cut or was closed and emptied, or the peer takes nothing any more; `end` is
/// given the reason.
async fn run_until_cut<T>(reading: impl Future<Output = Result<(), Status>>, outbox: &Outbox<T>, end: &EndStatus) {
    let cut = outbox.cut();
    let stalled = async {
        let clock = Clock::system();
        let mut closing: Option<u64> = None;
        loop {
            let now = clock.now();
            if outbox.stalled(now) {
                return true;
            }
            if outbox.is_closed() && now.since(*closing.get_or_insert(now.mono_ns)) >= STALL {
                return false;
            }
            clock.sleep_until(now.mono_after(Duration::from_secs(1))).await;
        }
    };
    tokio::select! {
        ended = AssertUnwindSafe(reading).catch_unwind() => match ended {
            Ok(Ok(())) => end.set_left(),
            Ok(Err(status)) => end.set(status),
            Err(_panic) => {
                tracing::error!("reading a session panicked, and it ends; this is a bug in divvy");
                end.set(Status::internal("the master failed to read a message; this is a bug in divvy"));
            }
        },
        () = cut.cancelled() => end.set(Status::resource_exhausted("more waits for this stream than a master keeps")),
        unread = stalled => {
            if unread {
                end.set(Status::resource_exhausted(format!("nothing of this stream was read for {STALL:?}")));
            }
            cut.cancel();
        }
    }
}
