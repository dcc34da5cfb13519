//! The author's scheduler, with every callback told to the world when it begins and when it ends.

use std::panic::AssertUnwindSafe;

use async_trait::async_trait;
use futures::FutureExt as _;

use super::surroundings::{Ask, Surroundings};
use crate::framework::{
    Result, Scheduler, SchedulerDriver, SchedulerEvent,
    listener::{Listener, ListenerAdapter},
    scheduler,
};

/// A scheduler that is looked at.
pub(super) struct Watched {
    scheduler: Box<dyn Scheduler>,
    surroundings: Surroundings,
}

impl Watched {
    pub(super) fn new(scheduler: Box<dyn Scheduler>, surroundings: Surroundings) -> ListenerAdapter<Self> {
        ListenerAdapter(Self { scheduler, surroundings })
    }
}

#[async_trait]
impl Listener for Watched {
    async fn tell(&mut self, driver: &SchedulerDriver, event: SchedulerEvent) -> Result<()> {
        let callback = event.callback();
        self.surroundings.begins(callback);
        self.surroundings.ask(Ask::Given(event.clone()));
        let called = scheduler::call(&mut *self.scheduler, driver, event.clone());
        let result = AssertUnwindSafe(called).catch_unwind().await.unwrap_or_else(|panic| {
            let words = super::words_of(&*panic);
            self.surroundings.panics(self.surroundings.blame(&format!("panicked: {words}")));
            Err("a callback panicked".into())
        });
        self.surroundings.ends();
        self.surroundings.ask(Ask::Returned { event, ok: result.is_ok() });
        result
    }
}
