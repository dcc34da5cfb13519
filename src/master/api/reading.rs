//! The reading side of a session: sends frames to the core as inputs, no faster than the core handles them.
//!
//! A connection has one decoded frame in memory at a time. Inputs that the core has not handled are bounded in number
//! and in bytes, for any number of streams. When reading ends, the answering stream ends with the reason.

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
        service::{Handle, INPUTS_PER_MAIL, Mail},
    },
    transport::serve::inflow::{INPUT_BYTES, INPUTS, Inflow},
};

/// How a session ended: the final status of its stream.
#[derive(Clone, Debug, Default)]
pub(super) struct EndStatus(Arc<OnceLock<Option<Status>>>);

impl EndStatus {
    /// Sets the reason; only the first counts, because it causes the later ones.
    pub(super) fn set(&self, status: Status) {
        let _ = self.0.set(Some(status));
    }

    /// Records that the peer closed its side: the stream ends without a reason.
    pub(super) fn set_closed_by_peer(&self) {
        let _ = self.0.set(None);
    }

    /// Appends the reason to these frames.
    pub(super) fn append_to<T, S>(&self, frames: S) -> impl Stream<Item = Result<T, Status>> + use<T, S>
    where
        S: Stream<Item = Result<T, Status>>,
    {
        let reason = Arc::clone(&self.0);
        let closed = || Some(Status::aborted("the master ended this session; its last message says why"));
        let last = stream::once(async move { reason.get().cloned().unwrap_or_else(closed).map(Err) });
        frames.chain(last.filter_map(|last| async move { last }))
    }
}

/// Sends the inputs of every frame to the core. `parse` returns the inputs of a frame, each with its size in bytes.
///
/// # Errors
/// Why reading ended, unless the peer closed its side.
pub(super) async fn feed<F, I>(
    core: Handle,
    inflow: Inflow,
    mut stream: Streaming<F>,
    parse: impl Fn(F) -> I,
) -> Result<(), Status>
where
    I: Iterator<Item = (Input, usize)>,
{
    let mut turn = PollSemaphore::new(inflow.turn());
    while let Some((frame, _turn)) = next_frame(&mut stream, &mut turn).await? {
        let mut parsed = parse(frame).peekable();
        while parsed.peek().is_some() {
            let (inputs, permits) = take_group(&mut parsed);
            let permits = inflow.inputs().acquire_many_owned(permits).await.ok();
            core.send(Mail::Inputs { inputs, permits })
                .await
                .map_err(|error| Status::unavailable(error.to_string()))?;
        }
    }
    Ok(())
}

/// Reads the next frame, with the permit to hold it. No frame is decoded while another stream of the connection holds
/// one.
async fn next_frame<F>(
    stream: &mut Streaming<F>,
    turn: &mut PollSemaphore,
) -> Result<Option<(F, OwnedSemaphorePermit)>, Status> {
    std::future::poll_fn(|cx| {
        let Some(permit) = ready!(turn.poll_acquire(cx)) else { return Poll::Ready(Ok(None)) };
        // Without a frame to decode, the permit is returned at once.
        let Some(frame) = ready!(stream.poll_next_unpin(cx)) else { return Poll::Ready(Ok(None)) };
        Poll::Ready(frame.map(|frame| Some((frame, permit))))
    })
    .await
}

/// Takes the next inputs to send together, and how many permits they need: one each, more for a large one.
fn take_group(parsed: &mut impl Iterator<Item = (Input, usize)>) -> (Vec<Input>, u32) {
    let (mut inputs, mut permits) = (Vec::new(), 0_u32);
    while permits < INPUTS_PER_MAIL
        && let Some((input, bytes)) = parsed.next()
    {
        permits = permits.saturating_add(u32::try_from(bytes / INPUT_BYTES).unwrap_or(u32::MAX)).saturating_add(1);
        inputs.push(input);
    }
    // An input above the connection's limit waits until all permits are free.
    (inputs, permits.min(u32::try_from(INPUTS).unwrap_or(u32::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::master::core::SessionId;

    fn inputs(weights: &[usize]) -> (usize, u32) {
        let input = || Input::Detached { session: SessionId(1) };
        let mut all = weights.iter().map(|bytes| (input(), *bytes)).collect::<Vec<_>>().into_iter();
        let (inputs, permits) = take_group(&mut all);
        (inputs.len(), permits)
    }

    #[test]
    fn small_inputs_are_sent_together_and_large_ones_need_many_permits() {
        assert_eq!(inputs(&[0; 100]), (32, 32));
        assert_eq!(inputs(&[INPUT_BYTES - 1, 0]), (2, 2));
        assert_eq!(inputs(&[INPUT_BYTES, INPUT_BYTES]), (2, 4));
        assert_eq!(inputs(&[0, 40 * INPUT_BYTES, 0]), (2, 42));
        assert_eq!(inputs(&[1 << 30, 0]), (1, 64));
    }

    #[tokio::test]
    async fn a_stream_ends_with_the_first_reason_that_was_set() {
        let end = EndStatus::default();
        let frames = end.append_to(stream::iter([Ok(1)]));
        end.set(Status::invalid_argument("the first"));
        end.set(Status::internal("the second"));
        let all: Vec<Result<i32, String>> =
            frames.map(|frame| frame.map_err(|status| status.message().to_owned())).collect().await;
        assert_eq!(all, [Ok(1), Err("the first".to_owned())]);
        let left = EndStatus::default();
        left.set_closed_by_peer();
        let quiet: Vec<Result<i32, Status>> = left.append_to(stream::iter([Ok(1)])).collect().await;
        assert_eq!(quiet.len(), 1);
        let closed: Vec<Result<i32, Status>> = EndStatus::default().append_to(stream::iter([Ok(1)])).collect().await;
        assert!(matches!(&closed[..], [Ok(1), Err(status)] if !status.message().is_empty()), "{closed:?}");
    }
}
