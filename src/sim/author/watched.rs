//! The author's scheduler, with the start and the end of every callback reported to the world.

use std::panic::AssertUnwindSafe;

use async_trait::async_trait;
use futures::FutureExt as _;

use super::environment::{AuthorEffect, AuthorEnvironment};
use crate::framework::{
    Result, Scheduler, SchedulerDriver, SchedulerEvent,
    listener::{Listener, ListenerAdapter},
    scheduler,
};

/// A scheduler whose callbacks are observed.
pub(super) struct ObservedScheduler {
    scheduler: Box<dyn Scheduler>,
    environment: AuthorEnvironment,
}

impl ObservedScheduler {
    pub(super) fn new(scheduler: Box<dyn Scheduler>, environment: AuthorEnvironment) -> ListenerAdapter<Self> {
        ListenerAdapter(Self { scheduler, environment })
    }
}

#[async_trait]
impl Listener for ObservedScheduler {
    async fn handle_event(&mut self, driver: &SchedulerDriver, event: SchedulerEvent) -> Result<()> {
        let callback = event.callback();
        self.environment.begin_callback(callback);
        self.environment.push_effect(AuthorEffect::CallbackStarted(event.clone()));
        let called = scheduler::call(&mut *self.scheduler, driver, event.clone());
        let result = AssertUnwindSafe(called).catch_unwind().await.unwrap_or_else(|panic| {
            let text = super::panic_message(&*panic);
            self.environment.set_user_error(self.environment.error_text(&format!("panicked: {text}")));
            Err("a callback panicked".into())
        });
        self.environment.end_callback();
        self.environment.push_effect(AuthorEffect::CallbackReturned { event, ok: result.is_ok() });
        result
    }
}
