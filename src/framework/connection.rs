//! One stream to one master: opens it, packs queued calls into frames, forwards received frames.
//!
//! It decides nothing. On close it sends the queued calls first, then waits up to [`CLOSE_WAIT`] for the master to
//! close its side, so that the last calls arrive.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use futures::{
    StreamExt as _,
    future::{AbortHandle, Abortable},
};
use prost::Message as _;
use tokio::sync::{mpsc, watch};

use super::{
    core::{Input, VERSION},
    environment::{CallFrames, Environment, Gone},
};
use crate::{
    proto::{
        ext::{Calls, VersionRange},
        v1::scheduler::Call,
    },
    transport::batch::{Batches, MAX_BATCH_MESSAGES},
};

/// Calls that wait for the socket.
const QUEUE: usize = 4096;
/// The most bytes of calls in a frame, unless one call alone has more. A frame of this size never has too many
/// elements.
const FRAME_BYTES: usize = 128 << 10;
/// How long the master may take to close its side.
const CLOSE_WAIT: Duration = Duration::from_secs(2);

/// A call and its number on the stream.
pub(super) type Numbered = (u64, Box<Call>);

/// A stream that is being opened, is open, or is closing.
#[derive(Debug)]
pub(super) struct Connection {
    session: u64,
    calls: Option<mpsc::Sender<Numbered>>,
    closing: watch::Sender<bool>,
    abort: AbortHandle,
}

impl Connection {
    /// Connects to `master` after a wait, and reports to `inputs`.
    pub(super) fn open(
        environment: &Arc<dyn Environment>,
        session: u64,
        master: String,
        after: Duration,
        inputs: mpsc::Sender<Input>,
    ) -> Self {
        let (calls, queue) = mpsc::channel(QUEUE);
        let (closing, closed) = watch::channel(false);
        let (abort, registration) = AbortHandle::new_pair();
        let env = Arc::clone(environment);
        let task = async move {
            let Gone { reason, leader } = run(&*env, session, master, after, queue, closed, &inputs).await;
            // The receiver is dropped when the driver has ended.
            let _ = inputs.send(Input::Disconnected { session, reason, leader }).await;
        };
        environment.spawn(Box::pin(async move {
            // Aborted means that another connection replaced it.
            let _ = Abortable::new(task, registration).await;
        }));
        Self { session, calls: Some(calls), closing, abort }
    }

    pub(super) fn session(&self) -> u64 {
        self.session
    }

    /// The queue of calls, unless it is closing.
    pub(super) fn calls(&self) -> Option<&mpsc::Sender<Numbered>> {
        self.calls.as_ref()
    }

    /// Sends what is queued and `rest`, then closes.
    pub(super) fn close(&mut self, environment: &dyn Environment, rest: VecDeque<Numbered>) {
        self.closing.send_replace(true);
        let Some(calls) = self.calls.take().filter(|_| !rest.is_empty()) else { return };
        environment.spawn(Box::pin(async move {
            for call in rest {
                if calls.send(call).await.is_err() {
                    // The master did not read it in time; the driver has ended already.
                    return;
                }
            }
        }));
    }

    pub(super) fn is_closing(&self) -> bool {
        self.calls.is_none()
    }

    /// Ends at once.
    pub(super) fn abort(&self) {
        self.abort.abort();
    }
}

async fn run(
    environment: &dyn Environment,
    session: u64,
    master: String,
    after: Duration,
    queue: mpsc::Receiver<Numbered>,
    mut closing: watch::Receiver<bool>,
    inputs: &mpsc::Sender<Input>,
) -> Gone {
    let attached = async {
        environment.sleep(after).await;
        environment.attach(master, frames(queue)).await
    };
    let attached = tokio::select! {
        biased;
        attached = attached => attached,
        () = closed(&mut closing) => return closed_by_us(),
    };
    let mut events = match attached {
        Ok(events) => events,
        Err(gone) => return gone,
    };
    let listening = async {
        if inputs.send(Input::Connected { session }).await.is_err() {
            return closed_by_us();
        }
        while let Some(events) = events.next().await {
            let events = match events {
                Ok(events) => Box::new(events),
                Err(gone) => return gone,
            };
            if inputs.send(Input::Received { session, events }).await.is_err() {
                return closed_by_us();
            }
        }
        Gone { reason: "the master closed the stream".to_owned(), leader: None }
    };
    let closed = async {
        closed(&mut closing).await;
        environment.sleep(CLOSE_WAIT).await;
    };
    tokio::select! {
        biased;
        gone = listening => gone,
        () = closed => closed_by_us(),
    }
}

fn closed_by_us() -> Gone {
    Gone { reason: "closed".to_owned(), leader: None }
}

async fn closed(closing: &mut watch::Receiver<bool>) {
    if closing.wait_for(|closing| *closing).await.is_err() {
        // The connection was dropped without being closed: only the master ends it now.
        std::future::pending::<()>().await;
    }
}

/// All that is queued, in as few frames as it takes.
fn frames(queue: mpsc::Receiver<Numbered>) -> CallFrames {
    let mut versions = Some(VersionRange { min: VERSION, max: VERSION });
    let batches =
        Batches::with_limits(queue, |(_, call): &Numbered| call.encoded_len(), MAX_BATCH_MESSAGES, FRAME_BYTES);
    let frames = batches.map(move |batch| {
        let seq = batch.first().map_or(0, |(seq, _)| *seq);
        let calls = batch.into_iter().map(|(_, call)| *call).collect();
        Calls { versions: versions.take(), seq, calls }
    });
    frames.boxed()
}
