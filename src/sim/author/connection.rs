//! A framework's stream to the simulated master, in place of the gRPC stream.
//!
//! The links of the world carry the frames. The stream ends when its events are dropped, or when its calls end.

use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures::{Stream, StreamExt as _};

use super::environment::{AuthorEffect, AuthorEnvironment, Owner};
use crate::{
    framework::environment::{CallFrames, EventFrames, Gone},
    proto::ext,
    sim::links::Frame,
};

/// A connection, which closes when it is dropped.
struct Connection {
    environment: AuthorEnvironment,
    attempt: u64,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.environment.close_connection(self.attempt);
    }
}

/// Opens a stream; returns once the master has it, or could not be reached.
pub(super) async fn attach(environment: AuthorEnvironment, mut calls: CallFrames) -> Result<EventFrames, Gone> {
    let attempt = environment.open_connection();
    let connection = Connection { environment: environment.clone(), attempt };
    loop {
        match poll_fn(|cx| environment.poll_connection(attempt, cx)).await {
            Frame::Opened => break,
            Frame::Closed => return Err(Gone { reason: "connection refused".to_owned(), leader: None }),
            Frame::Events(_) | Frame::Calls(_) | Frame::Orders(_) | Frame::Reports(_) => {}
        }
    }
    let sender = environment.clone();
    let send_calls = async move {
        while let Some(calls) = calls.next().await {
            sender.push_effect(AuthorEffect::Send { attempt, calls });
        }
        sender.close_connection(attempt);
    };
    environment.spawn_as(Owner::Driver, Box::pin(send_calls));
    Ok(Box::pin(MasterEvents { connection, over: false }))
}

/// The events received from the master.
struct MasterEvents {
    connection: Connection,
    over: bool,
}

impl Stream for MasterEvents {
    type Item = Result<ext::Events, Gone>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        while !self.over {
            match ready!(self.connection.environment.poll_connection(self.connection.attempt, cx)) {
                Frame::Events(events) => return Poll::Ready(Some(Ok(events))),
                Frame::Closed => self.over = true,
                Frame::Opened | Frame::Calls(_) | Frame::Orders(_) | Frame::Reports(_) => {}
            }
        }
        Poll::Ready(None)
    }
}
