//! The source of a driver's time, timers, tasks and connections: the host, or a simulation.
//!
//! A driver waits only for these, or for a channel whose other end is one of its own tasks. So an environment that
//! polls the spawned tasks and advances the clock runs an unchanged scheduler on virtual time. The driver's tasks are
//! deterministic: the same environment with the same seed makes the same run.

use std::{fmt, time::Duration};

use futures::{future::BoxFuture, stream::BoxStream};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

use super::{attach, core::Request, user};
use crate::{proto::ext, transport::clock::Clock, types::Now};

/// The frames from the driver to the master; the stream ends when the driver closes the connection.
pub(crate) type CallFrames = BoxStream<'static, ext::Calls>;
/// The frames from the master, until the connection is lost.
pub(crate) type EventFrames = BoxStream<'static, Result<ext::Events, Gone>>;

/// Why a connection was not opened or was lost, and the leader that the master named instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Gone {
    pub(crate) reason: String,
    /// `host:port`, as the master sent it.
    pub(crate) leader: Option<String>,
}

/// The runtime of a driver: clocks, timers, tasks and network.
pub(crate) trait Environment: fmt::Debug + Send + Sync {
    /// Reads both clocks.
    fn now(&self) -> Now;
    /// Waits until the monotonic clock has advanced by `duration`.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()>;
    /// Spawns a task.
    fn spawn(&self, task: BoxFuture<'static, ()>);
    /// Spawns the task that runs the driver itself.
    fn spawn_own(&self, task: BoxFuture<'static, ()>) {
        self.spawn(task);
    }
    /// A random seed; in a simulation, a fixed one.
    fn seed(&self) -> u64;
    /// A unique name of this instance, independent of the seed; in a simulation, a fixed one.
    fn identity(&self) -> [u8; 16];
    /// True when `spawn` can be called here.
    fn can_spawn(&self) -> bool;
    /// Opens a stream to `master` (`host:port`). It returns when connected, before the first frame. Dropping the
    /// returned stream closes the connection.
    fn attach(&self, master: String, calls: CallFrames) -> BoxFuture<'static, Result<EventFrames, Gone>>;
    /// The user that tasks run as unless the framework sets one.
    fn user(&self) -> String;
    /// Reports a call of the framework.
    fn called(&self, _request: &Request) {}
}

/// The host's clocks and network, and the current tokio runtime.
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
