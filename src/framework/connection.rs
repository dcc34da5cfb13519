//! One stream to one master over gRPC: connects, packs queued calls into frames, hands frames on.
//!
//! It decides nothing. When told to close it sends what is queued first, then waits a moment for the master to close its
//! side, so that a last call is not cut off.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use futures::{StreamExt as _, future::AbortHandle, future::Abortable};
use prost::Message as _;
use tokio::sync::{mpsc, watch};
use tonic::transport::Channel;

use super::{
    core::{Input, VERSION},
    environment::Environment,
};
use crate::{
    proto::{
        ext::{Calls, VersionRange, scheduler_session_client::SchedulerSessionClient},
        v1::scheduler::Call,
    },
    transport::{
        MAX_MESSAGE_BYTES,
        batch::Batches,
        connect::{Address, InvalidAddress, in_words},
    },
};

/// Key of the gRPC metadata in which a master that does not lead names the one that does, as `host:port`.
pub const LEADER_METADATA: &str = "divvy-leader";

/// Calls that wait for the socket.
const QUEUE: usize = 4096;
/// How long the master may take to close its side.
const CLOSE_WAIT: Duration = Duration::from_secs(2);

/// A call and its number on the stream.
pub(super) type Numbered = (u64, Box<Call>);

/// A stream that is coming about, stands, or is closing.
#[derive(Debug)]
pub(super) struct Connection {
    session: u64,
    calls: Option<mpsc::Sender<Numbered>>,
    closing: watch::Sender<bool>,
    abort: AbortHandle,
}

/// Why there is no stream any more, and where else to go.
type Ended = (String, Option<String>);

impl Connection {
    /// Connects to `master` after a wait. What happens is told to `inputs`.
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
            let (reason, leader) = run(&*env, session, &master, after, queue, closed, &inputs).await;
            // Nobody listens any more when the driver has ended.
            let _ = inputs.send(Input::Disconnected { session, reason, leader }).await;
        };
        environment.spawn(Box::pin(async move {
            // Aborted means that another connection took its place.
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
                    // The master did not take it in time; the driver is on its way already.
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
    master: &str,
    after: Duration,
    queue: mpsc::Receiver<Numbered>,
    mut closing: watch::Receiver<bool>,
    inputs: &mpsc::Sender<Input>,
) -> Ended {
    let connected = async {
        environment.sleep(after).await;
        connect(master).await
    };
    let channel = tokio::select! {
        connected = connected => connected,
        () = closed(&mut closing) => return closed_by_us(),
    };
    let channel = match channel {
        Ok(channel) => channel,
        Err(reason) => return (reason, None),
    };
    let closed = async {
        closed(&mut closing).await;
        environment.sleep(CLOSE_WAIT).await;
    };
    tokio::select! {
        ended = attach(session, channel, queue, inputs) => ended,
        () = closed => closed_by_us(),
    }
}

fn closed_by_us() -> Ended {
    ("closed".to_owned(), None)
}

async fn closed(closing: &mut watch::Receiver<bool>) {
    if closing.wait_for(|closing| *closing).await.is_err() {
        // The connection was let go without being closed: only the master ends it now.
        std::future::pending::<()>().await;
    }
}

async fn connect(master: &str) -> Result<Channel, String> {
    let address: Address = master.parse().map_err(|error: InvalidAddress| error.to_string())?;
    let endpoint = address.endpoint().map_err(|error| error.to_string())?;
    endpoint.connect().await.map_err(|error| format!("no master at {address}: {}", in_words(&error)))
}

async fn attach(
    session: u64,
    channel: Channel,
    queue: mpsc::Receiver<Numbered>,
    inputs: &mpsc::Sender<Input>,
) -> Ended {
    if inputs.send(Input::Connected { session }).await.is_err() {
        return closed_by_us();
    }
    let mut client = SchedulerSessionClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES);
    let mut events = match client.attach(frames(queue)).await {
        Ok(response) => response.into_inner(),
        Err(status) => return ended(&status),
    };
    loop {
        let events = match events.message().await {
            Ok(Some(events)) => Box::new(events),
            Ok(None) => return ("the master closed the stream".to_owned(), None),
            Err(status) => return ended(&status),
        };
        if inputs.send(Input::Received { session, events }).await.is_err() {
            return closed_by_us();
        }
    }
}

/// All that is queued, in as few frames as it takes.
fn frames(queue: mpsc::Receiver<Numbered>) -> impl futures::Stream<Item = Calls> + Send + 'static {
    let mut versions = Some(VersionRange { min: VERSION, max: VERSION });
    Batches::new(queue, |(_, call): &Numbered| call.encoded_len()).map(move |batch| {
        let seq = batch.first().map_or(0, |(seq, _)| *seq);
        let calls = batch.into_iter().map(|(_, call)| *call).collect();
        Calls { versions: versions.take(), seq, calls }
    })
}

fn ended(status: &tonic::Status) -> Ended {
    let leader = status.metadata().get(LEADER_METADATA).and_then(|leader| leader.to_str().ok());
    (format!("{}: {}", status.code(), status.message()), leader.map(str::to_owned))
}
