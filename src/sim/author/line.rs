//! A framework's stream to the simulated master, in the place of the one over gRPC.
//!
//! What becomes of the frames in between, the links of the world decide. Whoever lets go of the events ends the stream; so
//! does the end of the calls.

use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures::{Stream, StreamExt as _};

use super::surroundings::{Ask, Owner, Surroundings};
use crate::{
    framework::environment::{CallFrames, EventFrames, Gone},
    proto::ext,
    sim::links::Frame,
};

/// A connection, let go of when it is dropped.
struct Held {
    surroundings: Surroundings,
    attempt: u64,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.surroundings.close_line(self.attempt);
    }
}

/// Done when the master has the stream, or could not be reached.
pub(super) async fn attach(surroundings: Surroundings, mut calls: CallFrames) -> Result<EventFrames, Gone> {
    let attempt = surroundings.open_line();
    let held = Held { surroundings: surroundings.clone(), attempt };
    loop {
        match poll_fn(|cx| surroundings.poll_line(attempt, cx)).await {
            Frame::Opened => break,
            Frame::Closed => return Err(Gone { reason: "connection refused".to_owned(), leader: None }),
            Frame::Events(_) | Frame::Calls(_) | Frame::Orders(_) | Frame::Reports(_) => {}
        }
    }
    let says = surroundings.clone();
    let talk = async move {
        while let Some(calls) = calls.next().await {
            says.ask(Ask::Send { attempt, calls });
        }
        says.close_line(attempt);
    };
    surroundings.spawn_as(Owner::Driver, Box::pin(talk));
    Ok(Box::pin(Heard { held, over: false }))
}

/// What the master says.
struct Heard {
    held: Held,
    over: bool,
}

impl Stream for Heard {
    type Item = Result<ext::Events, Gone>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        while !self.over {
            match ready!(self.held.surroundings.poll_line(self.held.attempt, cx)) {
                Frame::Events(events) => return Poll::Ready(Some(Ok(events))),
                Frame::Closed => self.over = true,
                Frame::Opened | Frame::Calls(_) | Frame::Orders(_) | Frame::Reports(_) => {}
            }
        }
        Poll::Ready(None)
    }
}
