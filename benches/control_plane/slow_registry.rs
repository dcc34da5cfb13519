//! A registry that answers as late as one across a network, and frameworks that keep it busy.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use divvy::{
    master::registry::{Fence, Memory, Position, Registry, RegistryError, State},
    proto::internal::RegistryChange,
};
use tokio::task::JoinSet;

use crate::framework;

/// What a write takes.
pub(crate) const WRITE: Duration = Duration::from_millis(50);
/// Frameworks that subscribe and leave at the same time.
const AT_ONCE: usize = 4;

/// Facts in memory, of which each write takes [`WRITE`].
#[derive(Debug, Default)]
pub(crate) struct SlowRegistry(Memory);

impl Registry for SlowRegistry {
    fn load(&mut self) -> Result<(State, Fence), RegistryError> {
        self.0.load()
    }

    fn append(&mut self, fence: Fence, changes: &[RegistryChange]) -> Result<Position, RegistryError> {
        thread::sleep(WRITE);
        self.0.append(fence, changes)
    }
}

/// Frameworks that subscribe, wait for the answer and leave, until this is dropped: each is a record in the registry.
#[derive(Debug)]
pub(crate) struct Subscriptions {
    answered: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

impl Subscriptions {
    /// Starts them. It has to be called inside a runtime.
    pub(crate) fn start(master: &str) -> Self {
        let (answered, mut tasks) = (Arc::<AtomicUsize>::default(), JoinSet::new());
        for _ in 0..AT_ONCE {
            let (master, answered) = (master.to_owned(), Arc::clone(&answered));
            tasks.spawn(async move {
                while framework::subscribe_and_leave(&master).await.is_ok() {
                    answered.fetch_add(1, Relaxed);
                }
            });
        }
        Self { answered, _tasks: tasks }
    }

    /// How many were answered so far.
    pub(crate) fn answered(&self) -> usize {
        self.answered.load(Relaxed)
    }
}
