//! The events as a stream, as an alternative to callbacks.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use async_trait::async_trait;
use futures::Stream;
use tokio::sync::{mpsc, oneshot};

use super::{
    driver::SchedulerDriver,
    error::Result,
    event::SchedulerEvent,
    listener::{Listener, ListenerAdapter},
};

/// The events of a driver as a stream, one at a time.
///
/// Made by [`DriverBuilder::stream`](super::DriverBuilder::stream). An event is done when the next one is requested: a
/// status is acknowledged then, and one that was not done before a crash is delivered again.
/// [`redeliver`](Self::redeliver) marks an event as not done. The driver declines offers after the hold time even while
/// they wait in the stream. The stream ends with the driver; dropping it stops the driver like
/// [`stop_failover`](SchedulerDriver::stop_failover).
#[derive(Debug)]
pub struct EventStream {
    events: mpsc::Receiver<(SchedulerEvent, oneshot::Sender<Completion>)>,
    current: Option<oneshot::Sender<Completion>>,
}

/// How the reader completed an event.
#[derive(Clone, Copy, Debug)]
enum Completion {
    Done,
    Redeliver,
}

/// The event was not done; no log line is needed.
#[derive(Debug, thiserror::Error)]
#[error("the reader of the stream did not complete the event")]
pub(super) struct Unread;

impl EventStream {
    /// Marks the latest event as not done.
    ///
    /// A status is delivered again after 1 s, 2 s and so on, up to a minute; later ones of its task wait behind it. For
    /// other events this is only logged.
    pub fn redeliver(&mut self) {
        self.complete(Completion::Redeliver);
    }

    fn complete(&mut self, completion: Completion) {
        if let Some(current) = self.current.take() {
            // The receiver is dropped when the driver has ended.
            let _ = current.send(completion);
        }
    }
}

impl Stream for EventStream {
    type Item = SchedulerEvent;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<SchedulerEvent>> {
        self.complete(Completion::Done);
        self.events.poll_recv(cx).map(|next| {
            let (event, current) = next?;
            self.current = Some(current);
            Some(event)
        })
    }
}

/// The scheduler that feeds a stream.
#[derive(Debug)]
pub(crate) struct Feed {
    events: mpsc::Sender<(SchedulerEvent, oneshot::Sender<Completion>)>,
}

/// A stream and what feeds it.
pub(crate) fn pair() -> (ListenerAdapter<Feed>, EventStream) {
    // One event that waits to be read, and the final error behind it.
    let (sender, events) = mpsc::channel(2);
    (ListenerAdapter(Feed { events: sender }), EventStream { events, current: None })
}

#[async_trait]
impl Listener for Feed {
    /// Waits until the reader requests the next event, or the driver is stopping.
    async fn handle_event(&mut self, driver: &SchedulerDriver, event: SchedulerEvent) -> Result<()> {
        if matches!(event, SchedulerEvent::Error(_)) {
            // The final event stays in the stream; the driver does not wait for a reader.
            let (current, _completed) = oneshot::channel();
            return self.events.send((event, current)).await.map_err(|_closed| Unread.into());
        }
        if driver.is_stopping() {
            return Err(Unread.into());
        }
        let (current, completed) = oneshot::channel();
        let handled = async {
            self.events.send((event, current)).await.ok()?;
            completed.await.ok()
        };
        let handled = tokio::select! {
            biased;
            handled = handled => handled,
            () = driver.until_stopping() => return Err(Unread.into()),
        };
        match handled {
            Some(Completion::Done) => Ok(()),
            Some(Completion::Redeliver) => Err("the reader of the stream requested redelivery".into()),
            None => {
                // This fails only when the driver has ended already.
                let _ = driver.stop_failover().await;
                Err(Unread.into())
            }
        }
    }
}
