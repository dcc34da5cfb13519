//! One stream to one master over gRPC.
//!
//! A master that does not lead ends the stream with a status whose metadata name the leader.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use futures::{Stream, StreamExt as _, TryStreamExt as _, stream};
use tonic::{Response, Streaming, transport::Channel};

use super::environment::{CallFrames, EventFrames, Gone};
use crate::{
    proto::ext::{Calls, Events, scheduler_session_client::SchedulerSessionClient},
    transport::{
        MAX_MESSAGE_BYTES,
        connect::{Address, InvalidAddress, in_words, leader_named},
    },
};

/// Connects, and returns the stream of the master's frames.
pub(super) async fn over_grpc(master: String, calls: CallFrames) -> Result<EventFrames, Gone> {
    let channel = connect(&master).await.map_err(|reason| Gone { reason, leader: None })?;
    let mut client = SchedulerSessionClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES);
    // A master may send its response headers only with its first frame, so the response is part of the stream.
    let answer = async move { client.attach(Outgoing(calls)).await.map_err(|status| gone(&status)) };
    let events = |answer: Response<Streaming<Events>>| answer.into_inner().map_err(|status| gone(&status));
    Ok(stream::once(answer).map_ok(events).try_flatten().boxed())
}

/// A named type for the calls: the compiler cannot prove that a request with a boxed stream is `Send`.
struct Outgoing(CallFrames);

impl Stream for Outgoing {
    type Item = Calls;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Calls>> {
        self.0.poll_next_unpin(cx)
    }
}

async fn connect(master: &str) -> Result<Channel, String> {
    let address: Address = master.parse().map_err(|error: InvalidAddress| error.to_string())?;
    let endpoint = address.endpoint().map_err(|error| error.to_string())?;
    endpoint.connect().await.map_err(|error| format!("no master at {address}: {}", in_words(&error)))
}

fn gone(status: &tonic::Status) -> Gone {
    Gone { reason: format!("{}: {}", status.code(), status.message()), leader: leader_named(status).map(str::to_owned) }
}
