//! The thread that appends to the registry.
//!
//! It appends all queued changes at once and reports its progress. While the registry is unavailable it retries without
//! limit: the core continues, and effects that depend on the changes wait. A failed append may have stored some of the
//! changes. The registry's position shows how many, and only the others are appended again. Any other error ends the
//! thread and the master. While there is nothing to append, the thread checks every few seconds that the registry
//! exists and has not been taken over.

use std::{io, thread, time::Duration};

use rand::{SeedableRng as _, rngs::StdRng};
use tokio::{
    sync::{mpsc, watch},
    time::timeout,
};

use super::registry::{Fence, Position, Registry, RegistryError};
use crate::{proto::internal::RegistryChange, transport::backoff::Backoff};

/// Changes that go into one append.
const BATCH: usize = 1_024;
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(2);
/// How long to wait for changes before the registry is checked.
const CHECK_INTERVAL: Duration = Duration::from_secs(5);

/// Changes with their record number, which rises.
pub(super) type Store = (u64, Vec<RegistryChange>);

/// The number of the last synced store, or why the thread ended.
pub(super) type Progress = Result<u64, String>;

/// Starts the thread. It ends when the sender of `stores` or every receiver of `progress` is dropped, or with an error
/// in `progress`.
pub(super) fn spawn(
    registry: Box<dyn Registry>,
    fence: Fence,
    stores: mpsc::Receiver<Store>,
    progress: watch::Sender<Progress>,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let run = move || runtime.block_on(run_registry(registry, fence, stores, progress, StdRng::from_os_rng()));
    thread::Builder::new().name("divvy-registry".into()).spawn(run)?;
    Ok(())
}

async fn run_registry(
    registry: Box<dyn Registry>,
    fence: Fence,
    mut stores: mpsc::Receiver<Store>,
    progress: watch::Sender<Progress>,
    rng: StdRng,
) {
    let backoff = Backoff::new(FIRST_WAIT, LONGEST_WAIT);
    let mut appender = Appender { registry, fence, position: None, progress, backoff, rng, failures: 0 };
    let mut batch = Vec::new();
    loop {
        match timeout(CHECK_INTERVAL, stores.recv_many(&mut batch, BATCH)).await {
            Ok(0) => return,
            Ok(_) => {}
            Err(_elapsed) => {
                if let Err(text) = appender.check() {
                    drop(appender.progress.send_replace(Err(text)));
                    return;
                }
                continue;
            }
        }
        let last = batch.last().map_or(0, |(number, _)| *number);
        let changes: Vec<RegistryChange> = batch.drain(..).flat_map(|(_, changes)| changes).collect();
        let outcome = appender.append_all(&changes).await;
        let ends = outcome.is_err();
        // The value it replaces is outdated.
        drop(appender.progress.send_replace(outcome.map(|()| last)));
        if ends {
            return;
        }
    }
}

/// Appends to a registry, with retries.
struct Appender {
    registry: Box<dyn Registry>,
    fence: Fence,
    /// The registry's position, once it is known.
    position: Option<Position>,
    progress: watch::Sender<Progress>,
    backoff: Backoff,
    rng: StdRng,
    /// Failures in a row.
    failures: u32,
}

impl Appender {
    /// Appends each change exactly once, with any number of retries.
    async fn append_all(&mut self, changes: &[RegistryChange]) -> Result<(), String> {
        let start = match self.position {
            Some(position) => position,
            None => self.find_position().await?,
        };
        let mut rest = changes;
        while !rest.is_empty() {
            let position = match self.registry.append(self.fence, rest) {
                Ok(position) => self.succeeded(position),
                Err(error) => {
                    self.wait(error).await?;
                    self.find_position().await?
                }
            };
            rest = missing_changes(changes, start, position)?;
        }
        Ok(())
    }

    /// Checks that the registry exists and holds what this master appended. If it is unavailable, this only logs a
    /// warning.
    fn check(&mut self) -> Result<(), String> {
        match self.registry.append(self.fence, &[]) {
            Ok(position) => match self.position {
                Some(known) if known != position => Err(format!(
                    "the registry holds {} changes, but this master appended up to {}",
                    position.0, known.0
                )),
                Some(_) | None => {
                    self.succeeded(position);
                    Ok(())
                }
            },
            Err(RegistryError::Unavailable { text }) => {
                self.failures += 1;
                if self.failures.is_power_of_two() {
                    tracing::warn!(error = text, failures = self.failures, "the registry is unavailable");
                }
                Ok(())
            }
            Err(error) => Err(error.to_string()),
        }
    }

    /// Reads the registry's position, with retries.
    async fn find_position(&mut self) -> Result<Position, String> {
        loop {
            match self.registry.append(self.fence, &[]) {
                Ok(position) => return Ok(self.succeeded(position)),
                Err(error) => self.wait(error).await?,
            }
        }
    }

    fn succeeded(&mut self, position: Position) -> Position {
        if std::mem::take(&mut self.failures) > 0 {
            tracing::info!("the registry is available again");
        }
        self.backoff.reset();
        self.position = Some(position);
        position
    }

    /// Waits before the next retry. Returns the error if it allows none, or if the master stops.
    async fn wait(&mut self, error: RegistryError) -> Result<(), String> {
        let RegistryError::Unavailable { text } = error else { return Err(error.to_string()) };
        self.failures += 1;
        let wait = self.backoff.next_wait(&mut self.rng);
        if self.failures.is_power_of_two() {
            tracing::warn!(error = text, failures = self.failures, ?wait, "the registry is unavailable: retrying");
        }
        if let Err(_elapsed) = timeout(wait, self.progress.closed()).await {
            Ok(())
        } else {
            tracing::warn!(
                error = text,
                "the master stops while its registry is unavailable: the last changes are lost"
            );
            Err(text)
        }
    }
}

/// The part of `changes`, which begin at `start`, that a registry at `position` does not hold.
fn missing_changes(
    changes: &[RegistryChange],
    start: Position,
    position: Position,
) -> Result<&[RegistryChange], String> {
    let done = position.0.checked_sub(start.0).and_then(|done| usize::try_from(done).ok());
    done.and_then(|done| changes.get(done..)).ok_or_else(|| {
        let end = start.0.saturating_add(changes.len() as u64);
        format!(
            "the registry holds {} changes, but {} to {end} are expected: something else changed it; run only one master \
             on it and restart",
            position.0, start.0
        )
    })
}

#[cfg(test)]
#[path = "registry_thread_tests.rs"]
mod tests;
