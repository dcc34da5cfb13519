//! Where a driver gets time, timers and tasks from: the host, or a simulation.
//!
//! Everything that user code can reach goes through here and never to tokio directly, so the same scheduler runs on
//! virtual time.

use std::{fmt, time::Duration};

use futures::future::BoxFuture;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

use crate::{transport::clock::Clock, types::Now};

/// What surrounds a driver.
pub(crate) trait Environment: fmt::Debug + Send + Sync {
    /// Both clocks, read now.
    fn now(&self) -> Now;
    /// Done once the monotonic clock has moved on by `duration`.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()>;
    /// Runs a task beside the caller's.
    fn spawn(&self, task: BoxFuture<'static, ()>);
    /// A number that no other run has, or that the simulation wants.
    fn seed(&self) -> u64;
    /// Whether `spawn` can be called here.
    fn can_spawn(&self) -> bool;
}

/// The host's clocks and the tokio runtime around the caller.
#[derive(Debug)]
pub(crate) struct Host {
    clock: Clock,
}

impl Host {
    pub(crate) fn new() -> Self {
        Self { clock: Clock::system() }
    }
}

impl Environment for Host {
    fn now(&self) -> Now {
        self.clock.now()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(duration))
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        tokio::spawn(task);
    }

    fn seed(&self) -> u64 {
        StdRng::from_os_rng().random()
    }

    fn can_spawn(&self) -> bool {
        tokio::runtime::Handle::try_current().is_ok()
    }
}
