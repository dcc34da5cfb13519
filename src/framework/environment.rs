//! Where a driver gets time, timers, tasks and its way to the master from: the host, or a simulation.
//!
//! Everything that a driver waits for is either one of these or a channel whose other end is one of its own tasks, so an
//! environment that polls the tasks it was given and moves the clock runs an unchanged scheduler on virtual time. The
//! driver's tasks decide nothing by chance: the same environment with the same seed makes the same run.

use std::{fmt, time::Duration};

use futures::{future::BoxFuture, stream::BoxStream};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

use super::{attach, core::Request, user};
use crate::{proto::ext, transport::clock::Clock, types::Now};

/// What the driver says on a stream, frame by frame; its end is the driver's wish to close.
pub(crate) type CallFrames = BoxStream<'static, ext::Calls>;
/// What the master says on it, until the stream is gone.
pub(crate) type EventFrames = BoxStream<'static, Result<ext::Events, Gone>>;

/// Why there is no stream, and where the master said to go instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Gone {
    pub(crate) reason: String,
    /// `host:port`, as the master wrote it.
    pub(crate) leader: Option<String>,
}

/// What surrounds a driver.
pub(crate) trait Environment: fmt::Debug + Send + Sync {
    /// Both clocks, read now.
    fn now(&self) -> Now;
    /// Done once the monotonic clock has moved on by `duration`.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()>;
    /// Runs a task beside the caller's.
    fn spawn(&self, task: BoxFuture<'static, ()>);
    /// Runs a task of the driver's own.
    fn spawn_own(&self, task: BoxFuture<'static, ()>) {
        self.spawn(task);
    }
    /// A number that no other run has, or that the simulation wants.
    fn seed(&self) -> u64;
    /// What tells this run of the framework from all others, whatever seeds they share; in the simulation what it wants.
    fn identity(&self) -> [u8; 16];
    /// Whether `spawn` can be called here.
    fn can_spawn(&self) -> bool;
    /// Opens a stream to `master` (`host:port`): done when it stands, before the master has said anything. Dropping what
    /// it gave ends the stream.
    fn attach(&self, master: String, calls: CallFrames) -> BoxFuture<'static, Result<EventFrames, Gone>>;
    /// Whom tasks run as unless the framework names somebody.
    fn user(&self) -> String;
    /// The framework makes this call.
    fn called(&self, _request: &Request) {}
}

/// The host's clocks and network, and the tokio runtime around the caller.
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

    fn identity(&self) -> [u8; 16] {
        StdRng::from_os_rng().random()
    }

    fn can_spawn(&self) -> bool {
        tokio::runtime::Handle::try_current().is_ok()
    }

    fn attach(&self, master: String, calls: CallFrames) -> BoxFuture<'static, Result<EventFrames, Gone>> {
        Box::pin(attach::over_grpc(master, calls))
    }

    fn user(&self) -> String {
        user::current()
    }
}
