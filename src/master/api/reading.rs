//! The reading side of a session: frames become inputs of the core, no faster than the core handles them.
//!
//! One decoded frame of a connection is in memory at a time, and what the core has not handled is bounded in number and in
//! bytes, whatever the number of streams. However reading ends, the stream that answers ends with the reason.

use std::{
    sync::{Arc, OnceLock},
    task::{Poll, ready},
};

use futures::{Stream, StreamExt as _, stream};
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::PollSemaphore;
use tonic::{Status, Streaming};

use crate::{
    master::{
        core::Input,
        service::{Handle, Mail, TOGETHER},
    },
    transport::serve::inflow::{INPUT_BYTES, INPUTS, Inflow},
};

/// How a session ended: the last that its stream carries.
#[derive(Clone, Debug, Default)]
pub(super) struct EndStatus(Arc<OnceLock<Option<Status>>>);

impl EndStatus {
    /// Sets the reason; the first counts, since it is the cause of what comes after it.
    pub(super) fn set(&self, status: Status) {
        let _ = self.0.set(Some(status));
    }

    /// The peer ended its side, so it needs no reason.
    pub(super) fn set_left(&self) {
        let _ = self.0.set(None);
    }

    /// The same frames, and the reason behind the last.
    pub(super) fn after<T, S>(&self, frames: S) -> impl Stream<Item = Result<T, Status>> + use<T, S>
    where
        S: Stream<Item = Result<T, Status>>,
    {
        let reason = Arc::clone(&self.0);
        let closed = || Some(Status::aborted("the master ended this session; its last message says why"));
        let last = stream::once(async move { reason.get().cloned().unwrap_or_else(closed).map(Err) });
        frames.chain(last.filter_map(|last| async move { last }))
    }
}

/// Feeds frame after frame to the core. `digest` makes inputs of a frame, each with its weight in bytes.
///
/// # Errors
/// Why reading ended, unless the peer ended its side.
pub(super) async fn feed<F, I>(
    core: Handle,
    inflow: Inflow,
    mut stream: Streaming<F>,
    digest: impl Fn(F) -> I,
) -> Result<(), Status>
where
    I: Iterator<Item = (Input, usize)>,
{
    let mut turn = PollSemaphore::new(inflow.turn());
    while let Some((frame, _turn)) = next_frame(&mut stream, &mut turn).await? {
        let mut digested = digest(frame).peekable();
        while digested.peek().is_some() {
            let (inputs, permits) = take_together(&mut digested);
            let permits = inflow.inputs().acquire_many_owned(permits).await.ok();
            core.send(Mail::Inputs { inputs, permits })
                .await
                .map_err(|error| Status::unavailable(error.to_string()))?;
        }
    }
    Ok(())
}

/// The next frame, with the permit to hold it: nothing is decoded while another stream of the connection holds one.
async fn next_frame<F>(
    stream: &mut Streaming<F>,
    turn: &mut PollSemaphore,
) -> Result<Option<(F, OwnedSemaphorePermit)>, Status> {
    std::future::poll_fn(|cx| {
        let Some(permit) = ready!(turn.poll_acquire(cx)) else { return Poll::Ready(Ok(None)) };
        // While there is nothing to decode the permit goes back at once.
        let Some(frame) = ready!(stream.poll_next_unpin(cx)) else { return Poll::Ready(Ok(None)) };
        Poll::Ready(frame.map(|frame| Some((frame, permit))))
    })
    .await
}

/// The next inputs that go to the core together, and how many permits they take: one, or more for a heavy one.
fn take_together(digested: &mut impl Iterator<Item = (Input, usize)>) -> (Vec<Input>, u32) {
    let (mut inputs, mut permits) = (Vec::new(), 0_u32);
    while permits < TOGETHER
        && let Some((input, bytes)) = digested.next()
    {
        permits = permits.saturating_add(u32::try_from(bytes / INPUT_BYTES).unwrap_or(u32::MAX)).saturating_add(1);
        inputs.push(input);
    }
    // One that is heavier than all a connection may have waits until it has nothing else.
    (inputs, permits.min(u32::try_from(INPUTS).unwrap_or(u32::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::master::core::SessionId;

    fn inputs(weights: &[usize]) -> (usize, u32) {
        let input = || Input::Detached { session: SessionId(1) };
        let mut all = weights.iter().map(|bytes| (input(), *bytes)).collect::<Vec<_>>().into_iter();
        let (inputs, permits) = take_together(&mut all);
        (inputs.len(), permits)
    }

    #[test]
    fn light_inputs_go_together_and_heavy_ones_take_the_place_of_many() {
        assert_eq!(inputs(&[0; 100]), (32, 32));
        assert_eq!(inputs(&[INPUT_BYTES - 1, 0]), (2, 2));
        assert_eq!(inputs(&[INPUT_BYTES, INPUT_BYTES]), (2, 4));
        assert_eq!(inputs(&[0, 40 * INPUT_BYTES, 0]), (2, 42));
        assert_eq!(inputs(&[1 << 30, 0]), (1, 64));
    }

    #[tokio::test]
    async fn a_stream_ends_with_the_first_reason_that_was_given() {
        let end = EndStatus::default();
        let frames = end.after(stream::iter([Ok(1)]));
        end.set(Status::invalid_argument("the first"));
        end.set(Status::internal("the second"));
        let all: Vec<Result<i32, String>> =
            frames.map(|frame| frame.map_err(|status| status.message().to_owned())).collect().await;
        assert_eq!(all, [Ok(1), Err("the first".to_owned())]);
        let left = EndStatus::default();
        left.set_left();
        let quiet: Vec<Result<i32, Status>> = left.after(stream::iter([Ok(1)])).collect().await;
        assert_eq!(quiet.len(), 1);
        let closed: Vec<Result<i32, Status>> = EndStatus::default().after(stream::iter([Ok(1)])).collect().await;
        assert!(matches!(&closed[..], [Ok(1), Err(status)] if !status.message().is_empty()), "{closed:?}");
    }
}
