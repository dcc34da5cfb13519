//! A registry in memory, for a cluster inside a process and for tests. It outlives its master, not its process.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Fence, Position, Registry, RegistryChange, RegistryError, State};

/// A registry in memory; all clones share its facts.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    state: State,
    epoch: u64,
    position: u64,
}

impl Memory {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Registry for Memory {
    fn load(&mut self) -> Result<(State, Fence), RegistryError> {
        let mut inner = self.lock();
        inner.epoch += 1;
        Ok((inner.state.clone(), Fence { epoch: inner.epoch }))
    }

    fn append(&mut self, fence: Fence, changes: &[RegistryChange]) -> Result<Position, RegistryError> {
        let mut inner = self.lock();
        if fence.epoch != inner.epoch {
            return Err(RegistryError::Fenced { mine: fence.epoch, current: inner.epoch });
        }
        for change in changes {
            inner.state.apply(change);
            inner.position += 1;
        }
        Ok(Position(inner.position))
    }
}
