//! The task that runs a scheduler's callbacks, one after the other, and reports the outcome of each to the core.

use std::{panic::AssertUnwindSafe, sync::Arc};

use futures::FutureExt as _;
use tokio::sync::mpsc;

use super::{
    core::{Input, Outcome},
    driver::{SchedulerDriver, Shared},
    event::SchedulerEvent,
    scheduler::{self, Scheduler},
    stream::Unread,
};

/// The number of a callback, and its event.
pub(super) type Delivery = (u64, SchedulerEvent);

/// Runs callbacks until there are no more, or the user stops the driver.
pub(super) async fn run(
    mut scheduler: Box<dyn Scheduler>,
    shared: Arc<Shared>,
    mut deliveries: mpsc::Receiver<Delivery>,
    returned: mpsc::Sender<Input>,
) {
    let driver = SchedulerDriver::from(Arc::clone(&shared));
    while let Some((callback, event)) = deliveries.recv().await {
        if shared.is_delivery_disabled() {
            return;
        }
        let outcome = guard(&mut *scheduler, &driver, event).await;
        shared.counts.count(outcome);
        if returned.send(Input::Returned { callback, outcome }).await.is_err() {
            return;
        }
    }
}

async fn guard(scheduler: &mut dyn Scheduler, driver: &SchedulerDriver, event: SchedulerEvent) -> Outcome {
    let callback = event.callback();
    match AssertUnwindSafe(scheduler::call(scheduler, driver, event)).catch_unwind().await {
        Ok(Ok(())) => Outcome::Ok,
        Ok(Err(error)) if error.is::<Unread>() => Outcome::Err,
        Ok(Err(error)) => {
            tracing::warn!(callback, "callback failed: {error}");
            Outcome::Err
        }
        Err(panic) => {
            let text = panic.downcast_ref::<&str>().copied();
            let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
            tracing::error!(callback, "callback panicked: {}", text.unwrap_or("no message"));
            Outcome::Panicked
        }
    }
}
