//! Syncs the log on its own thread: at once when an effect waits for it, else within 50 ms.
//!
//! The same thread compacts the log, reserves disk space for it, and regularly checks that the agent's files are in
//! place. Each request for a sync has the number of its record. A sync covers every number assigned before it began, so
//! many requests cost one sync.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::mail::{Mail, Mailbox};
use crate::agent::core::Input;
use crate::agent::log::{Draft, LogError, Room, Syncer, WorkDir};
use crate::transport::outbox::RecordNumber;

/// The longest time that a write stays unsynced.
const DELAY: Duration = Duration::from_millis(50);
/// How often the files are checked, and how often while the disk is full.
const CHECK_INTERVAL: Duration = Duration::from_secs(5);
const CHECK_INTERVAL_WHILE_FULL: Duration = Duration::from_millis(500);
/// How long the end of the agent waits for the last sync.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);

/// The handle of the thread that syncs the log.
#[derive(Debug)]
pub(super) struct SyncThread {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    wanted: Mutex<SyncRequests>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct SyncRequests {
    /// The current log, if a part of it is unsynced.
    syncer: Option<Syncer>,
    /// The last number assigned, and the last for which a sync began.
    given: RecordNumber,
    begun: RecordNumber,
    /// A successor of the log to be written.
    draft: Option<Draft>,
    stop: bool,
    ended: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, SyncRequests> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SyncThread {
    /// Starts the thread; `mailbox` receives the synced numbers and a failure of the disk.
    pub(super) fn start(mailbox: Mailbox, syncer: Syncer, work_dir: Arc<WorkDir>) -> io::Result<Self> {
        let shared = Arc::<Shared>::default();
        let thread = thread::Builder::new().name("agent-sync".to_owned()).stack_size(128 << 10);
        let thread = thread.spawn({
            let shared = Arc::clone(&shared);
            move || {
                let worker = Worker { shared: &shared, mailbox: &mailbox, latest: syncer, work_dir, full: false };
                worker.run();
                shared.lock().ended = true;
                shared.changed.notify_all();
            }
        })?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Requests a sync within the usual delay.
    pub(super) fn sync_soon(&self, syncer: Syncer) {
        let mut wanted = self.shared.lock();
        if wanted.syncer.replace(syncer).is_none() {
            self.shared.changed.notify_one();
        }
    }

    /// Requests the writing of a successor of the log.
    pub(super) fn write_draft(&self, draft: Draft) {
        self.shared.lock().draft = Some(draft);
        self.shared.changed.notify_one();
    }

    /// Requests an immediate sync, because an effect waits for it. [`Mail::Synced`] follows with the returned number.
    pub(super) fn sync_now(&self, syncer: Syncer) -> RecordNumber {
        let mut wanted = self.shared.lock();
        wanted.syncer = Some(syncer);
        wanted.given.0 += 1;
        self.shared.changed.notify_one();
        wanted.given
    }
}

/// Syncs the rest and ends the thread, within a time limit in case the disk does not respond.
impl Drop for SyncThread {
    fn drop(&mut self) {
        let mut wanted = self.shared.lock();
        wanted.stop = true;
        self.shared.changed.notify_all();
        let ends = self.shared.changed.wait_timeout_while(wanted, SHUTDOWN_TIMEOUT, |wanted| !wanted.ended);
        let has_ended = ends.unwrap_or_else(PoisonError::into_inner).0.ended;
        let Some(thread) = self.thread.take() else { return };
        if !has_ended {
            tracing::error!("the disk does not respond: the agent ends without the last sync");
        } else if thread.join().is_err() {
            tracing::error!("the thread that syncs the log has panicked");
        }
    }
}

/// The next work of the thread.
#[derive(Debug)]
enum Work {
    /// Sync, and report this number.
    Sync(Syncer, Option<RecordNumber>),
    Write(Draft),
    /// Check the files, after some time without requests.
    Check,
}

/// The state of the thread.
struct Worker<'a> {
    shared: &'a Shared,
    mailbox: &'a Mailbox,
    /// The log as it was last written to.
    latest: Syncer,
    work_dir: Arc<WorkDir>,
    full: bool,
}

impl Worker<'_> {
    fn run(mut self) {
        self.check_space();
        while let Some(work) = self.next() {
            let done = match work {
                Work::Sync(syncer, waiting) => self.sync(syncer, waiting),
                Work::Write(draft) => {
                    self.mailbox.blocking_send(Mail::Drafted(draft.write()));
                    Ok(())
                }
                Work::Check => self.check_files(),
            };
            if let Err(error) = done {
                return self.mailbox.blocking_send(Mail::DiskFailed(error));
            }
            self.check_space();
        }
    }

    /// Waits until there is something to do; `None` at the end.
    fn next(&self) -> Option<Work> {
        let idle = |wanted: &mut SyncRequests| wanted.syncer.is_none() && wanted.draft.is_none() && !wanted.stop;
        let is_delayable =
            |wanted: &mut SyncRequests| wanted.given == wanted.begun && wanted.draft.is_none() && !wanted.stop;
        let until = if self.full { CHECK_INTERVAL_WHILE_FULL } else { CHECK_INTERVAL };
        let found = self.shared.changed.wait_timeout_while(self.shared.lock(), until, idle);
        let (wanted, timeout) = found.unwrap_or_else(PoisonError::into_inner);
        if timeout.timed_out() {
            return Some(Work::Check);
        }
        let delayed = self.shared.changed.wait_timeout_while(wanted, DELAY, is_delayable);
        let mut wanted = delayed.unwrap_or_else(PoisonError::into_inner).0;
        if let Some(draft) = wanted.draft.take() {
            return Some(Work::Write(draft));
        }
        let syncer = wanted.syncer.take()?;
        let waiting = (wanted.given > wanted.begun).then_some(wanted.given);
        wanted.begun = wanted.given;
        Some(Work::Sync(syncer, waiting))
    }

    fn sync(&mut self, syncer: Syncer, waiting: Option<RecordNumber>) -> Result<(), LogError> {
        let outcome = syncer.sync();
        self.latest = syncer;
        match (outcome, waiting) {
            (Ok(()), None) => Ok(()),
            (Ok(()), Some(number)) => {
                self.mailbox.blocking_send(Mail::Synced(number));
                Ok(())
            }
            (Err(error @ LogError::Gone(_)), waiting) => {
                if let Some(RecordNumber(number)) = waiting {
                    // The sync of the rewritten log covers it.
                    self.shared.lock().begun = RecordNumber(number - 1);
                }
                self.mailbox.blocking_send(Mail::LogGone(error));
                Ok(())
            }
            (Err(error), _) => Err(error),
        }
    }

    /// Checks that the lock and the log are still in place.
    fn check_files(&self) -> Result<(), LogError> {
        self.work_dir.ensure_locked().map_err(LogError::WorkDir)?;
        if let Err(error @ LogError::Gone(_)) = self.latest.check_in_place() {
            self.mailbox.blocking_send(Mail::LogGone(error));
        }
        Ok(())
    }

    fn check_space(&mut self) {
        let input = match (self.latest.reserve_space(), self.full) {
            (Room::Full, false) => Input::DiskFull { text: "no space left on device".to_owned() },
            (Room::Enough, true) => Input::DiskHasRoom,
            (Room::Full | Room::Little, _) | (Room::Enough, false) => return,
        };
        self.full = !self.full;
        self.mailbox.blocking_send(Mail::Inputs(vec![input]));
    }
}
