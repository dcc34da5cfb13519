//! The thread that appends to the registry.
//!
//! It takes all changes that are queued in one append and reports how far it has got. While the registry is unavailable it
//! tries again, without an end: the core goes on, and what needs the changes to be durable waits. A try that failed may
//! have appended some of the changes: the registry's position says how many, and only the others are appended again. Any
//! other error ends the thread, and with it the master. While there is nothing to append it looks every few seconds whether
//! the registry is still there, and still this master's.

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
/// After so long without changes the registry is looked at.
const LOOK: Duration = Duration::from_secs(5);

/// Changes, under a number that rises.
pub(super) type Store = (u64, Vec<RegistryChange>);

/// The number of the last store that is synced, or why there will be no further.
pub(super) type Progress = Result<u64, String>;

/// Starts the thread. It ends when the sender of `stores` or every receiver of `progress` is gone, or with an error in
/// `progress`.
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
        match timeout(LOOK, stores.recv_many(&mut batch, BATCH)).await {
            Ok(0) => return,
            Ok(_) => {}
            Err(_elapsed) => {
                if let Err(text) = appender.look() {
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
        // What it replaces was seen, or is no longer of interest.
        drop(appender.progress.send_replace(outcome.map(|()| last)));
        if ends {
            return;
        }
    }
}

/// Appends to a registry until it is done.
struct Appender {
    registry: Box<dyn Registry>,
    fence: Fence,
    /// How many changes the registry holds, once that is known.
    position: Option<Position>,
    progress: watch::Sender<Progress>,
    backoff: Backoff,
    rng: StdRng,
    /// Tries that failed in a row.
    failures: u32,
}

impl Appender {
    /// Appends each of these once, however many tries it takes.
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
            rest = missing(changes, start, position)?;
        }
        Ok(())
    }

    /// Whether the registry is there, and holds what this master has appended. That it cannot be used now is no more than
    /// logged: nothing waits for it.
    fn look(&mut self) -> Result<(), String> {
        match self.registry.append(self.fence, &[]) {
            Ok(position) => match self.position {
                Some(known) if known != position => {
                    Err(format!("the registry holds {} changes, and this master knows of {}", position.0, known.0))
                }
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

    /// Asks how many changes the registry holds.
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

    /// Waits before the next try, if this error allows one and the master still runs.
    async fn wait(&mut self, error: RegistryError) -> Result<(), String> {
        let RegistryError::Unavailable { text } = error else { return Err(error.to_string()) };
        self.failures += 1;
        let wait = self.backoff.next_wait(&mut self.rng);
        if self.failures.is_power_of_two() {
            tracing::warn!(
                error = text,
                failures = self.failures,
                ?wait,
                "the registry is unavailable: will try again"
            );
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

/// Of these changes, which began at `start`, those that a registry at `position` does not hold.
fn missing(changes: &[RegistryChange], start: Position, position: Position) -> Result<&[RegistryChange], String> {
    let done = position.0.checked_sub(start.0).and_then(|done| usize::try_from(done).ok());
    done.and_then(|done| changes.get(done..)).ok_or_else(|| {
        let end = start.0.saturating_add(changes.len() as u64);
        format!(
            "the registry holds {} changes and has to hold {} to {end}: something else writes to it or took from it; \
             let one master alone have it and start again",
            position.0, start.0
        )
    })
}

#[cfg(test)]
#[path = "registry_thread_tests.rs"]
mod tests;
