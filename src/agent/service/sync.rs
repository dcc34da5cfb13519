//! Brings the log to the disk from a thread of its own: at once when an effect waits for it, else within 50 ms.
//!
//! Waits are numbered, as the records are that they stand for. A sync covers every number given out before it began, so
//! many waits cost one sync.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::mail::{Mail, Mailbox};
use crate::agent::log::{LogError, Syncer};
use crate::transport::outbox::RecordNumber;

/// The longest that what was written stays unsynced.
const DELAY: Duration = Duration::from_millis(50);

/// The thread that syncs.
#[derive(Debug)]
pub(super) struct SyncThread {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    wanted: Mutex<Wanted>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Wanted {
    /// Of the log as it is now; there when something is unsynced.
    syncer: Option<Syncer>,
    /// The last number given out, and the last that a sync was begun for.
    given: RecordNumber,
    begun: RecordNumber,
    stop: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Wanted> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SyncThread {
    /// Starts the thread; `mailbox` receives numbers that are synced and a disk that fails.
    pub(super) fn start(mailbox: Mailbox) -> io::Result<Self> {
        let shared = Arc::<Shared>::default();
        let thread = thread::Builder::new().name("agent-sync".to_owned()).stack_size(128 << 10);
        let thread = thread.spawn({
            let shared = Arc::clone(&shared);
            move || run(&shared, &mailbox)
        })?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Something was written: it is to be on the disk soon.
    pub(super) fn soon(&self, syncer: Syncer) {
        let mut wanted = self.shared.lock();
        if wanted.syncer.replace(syncer).is_none() {
            self.shared.changed.notify_one();
        }
    }

    /// Something was written that an effect waits for; its number comes back when it is on the disk.
    pub(super) fn now(&self, syncer: Syncer) -> RecordNumber {
        let mut wanted = self.shared.lock();
        wanted.syncer = Some(syncer);
        wanted.given.0 += 1;
        self.shared.changed.notify_one();
        wanted.given
    }
}

/// Syncs what is left and ends the thread.
impl Drop for SyncThread {
    fn drop(&mut self) {
        self.shared.lock().stop = true;
        self.shared.changed.notify_one();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that syncs the log has panicked");
        }
    }
}

fn run(shared: &Shared, mailbox: &Mailbox) {
    while let Some((syncer, waiting)) = next(shared) {
        match (syncer.sync(), waiting) {
            (Ok(()), None) => {}
            (Ok(()), Some(number)) => mailbox.blocking_send(Mail::Synced(number)),
            (Err(error), _) => return failed(mailbox, error),
        }
    }
}

/// Waits until there is something to sync; `None` at the end.
fn next(shared: &Shared) -> Option<(Syncer, Option<RecordNumber>)> {
    let idle = |wanted: &mut Wanted| wanted.syncer.is_none() && !wanted.stop;
    let patient = |wanted: &mut Wanted| wanted.given == wanted.begun && !wanted.stop;
    let wanted = shared.changed.wait_while(shared.lock(), idle).unwrap_or_else(PoisonError::into_inner);
    let patience = shared.changed.wait_timeout_while(wanted, DELAY, patient);
    let mut wanted = patience.unwrap_or_else(PoisonError::into_inner).0;
    let syncer = wanted.syncer.take()?;
    let waiting = (wanted.given > wanted.begun).then_some(wanted.given);
    wanted.begun = wanted.given;
    Some((syncer, waiting))
}

fn failed(mailbox: &Mailbox, error: LogError) {
    mailbox.blocking_send(Mail::DiskFailed(error));
}
