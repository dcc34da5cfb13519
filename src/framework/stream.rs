//! The events as a stream, for those who prefer a loop or a fold to callbacks.

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

/// What a driver tells, one event at a time; made by [`DriverBuilder::stream`](super::DriverBuilder::stream).
///
/// An event counts as dealt with when the next one is asked for: a status is acknowledged then, so one that was taken but
/// not finished before a crash is told again. [`tell_again`](Self::tell_again) says that it was not dealt with. Offers go back after the hold time whether they were taken from the stream
/// or not. The stream ends with the driver; dropping it leaves the tasks to a successor, as
/// [`stop_failover`](SchedulerDriver::stop_failover) does.
#[derive(Debug)]
pub struct EventStream {
    events: mpsc::Receiver<(SchedulerEvent, oneshot::Sender<Taken>)>,
    current: Option<oneshot::Sender<Taken>>,
}

/// What became of an event that was taken from the stream.
#[derive(Clone, Copy, Debug)]
enum Taken {
    DealtWith,
    ToBeToldAgain,
}

/// The event at hand was not dealt with, and nobody has to be told.
#[derive(Debug, thiserror::Error)]
#[error("an event taken from the stream was not dealt with")]
pub(super) struct Unread;

impl EventStream {
    /// The event taken last was not dealt with. A status is told again, after 1 s at first and ever longer up to a
    /// minute, and so are all later ones of its task; of other events it is logged.
    pub fn tell_again(&mut self) {
        self.settle(Taken::ToBeToldAgain);
    }

    fn settle(&mut self, taken: Taken) {
        if let Some(current) = self.current.take() {
            // Nobody waits for it when the driver has ended.
            let _ = current.send(taken);
        }
    }
}

impl Stream for EventStream {
    type Item = SchedulerEvent;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<SchedulerEvent>> {
        self.settle(Taken::DealtWith);
        self.events.poll_recv(cx).map(|next| {
            let (event, current) = next?;
            self.current = Some(current);
            Some(event)
        })
    }
}

/// The callbacks that feed a stream.
#[derive(Debug)]
pub(crate) struct Feed {
    events: mpsc::Sender<(SchedulerEvent, oneshot::Sender<Taken>)>,
}

/// A stream and what feeds it.
pub(crate) fn pair() -> (ListenerAdapter<Feed>, EventStream) {
    // One event that waits to be taken, and the last word behind it.
    let (sender, events) = mpsc::channel(2);
    (ListenerAdapter(Feed { events: sender }), EventStream { events, current: None })
}

#[async_trait]
impl Listener for Feed {
    /// Waits until the event was taken and the next one asked for, or the driver was told to stop or cut off.
    async fn tell(&mut self, driver: &SchedulerDriver, event: SchedulerEvent) -> Result<()> {
        if matches!(event, SchedulerEvent::Error(_)) {
            // The last one: it is left in the stream, for nothing waits for it to be read.
            let (current, _settled) = oneshot::channel();
            return self.events.send((event, current)).await.map_err(|_closed| Unread.into());
        }
        if driver.is_silenced() {
            return Err(Unread.into());
        }
        let (current, settled) = oneshot::channel();
        let told = async {
            self.events.send((event, current)).await.ok()?;
            settled.await.ok()
        };
        let told = tokio::select! {
            biased;
            told = told => told,
            () = driver.silenced() => return Err(Unread.into()),
        };
        match told {
            Some(Taken::DealtWith) => Ok(()),
            Some(Taken::ToBeToldAgain) => Err("the reader of the stream wants it told again".into()),
            None => {
                // It fails only when the driver has ended already.
                let _ = driver.stop_failover().await;
                Err(Unread.into())
            }
        }
    }
}
