//! Brings the log to the disk from a thread of its own: at once when an effect waits for it, else within 50 ms.
//!
//! The same thread writes the log anew when it has grown, keeps room for it on the disk, and looks now and then whether
//! what belongs to the agent is still in its place. Waits are
//! numbered, as the records are that they stand for. A sync covers every number given out before it began, so many waits
//! cost one sync.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::mail::{Mail, Mailbox};
use crate::agent::core::Input;
use crate::agent::log::{Draft, LogError, Room, Syncer, WorkDir};
use crate::transport::outbox::RecordNumber;

/// The longest that what was written stays unsynced.
const DELAY: Duration = Duration::from_millis(50);
/// How often it is looked whether everything is in its place, and whether a full disk has room again.
const LOOK: Duration = Duration::from_secs(5);
const LOOK_WHILE_FULL: Duration = Duration::from_millis(500);
/// How long the end of the agent waits for the last sync.
const FAREWELL: Duration = Duration::from_secs(5);

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
    /// A successor of the log to be written.
    draft: Option<Draft>,
    stop: bool,
    ended: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Wanted> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SyncThread {
    /// Starts the thread; `mailbox` receives numbers that are synced and a disk that fails.
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

    /// Something was written: it is to be on the disk soon.
    pub(super) fn soon(&self, syncer: Syncer) {
        let mut wanted = self.shared.lock();
        if wanted.syncer.replace(syncer).is_none() {
            self.shared.changed.notify_one();
        }
    }

    /// Has a successor of the log written.
    pub(super) fn write(&self, draft: Draft) {
        self.shared.lock().draft = Some(draft);
        self.shared.changed.notify_one();
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

/// Syncs what is left and ends the thread. A disk that does not answer is not waited for without end.
impl Drop for SyncThread {
    fn drop(&mut self) {
        let mut wanted = self.shared.lock();
        wanted.stop = true;
        self.shared.changed.notify_all();
        let ends = self.shared.changed.wait_timeout_while(wanted, FAREWELL, |wanted| !wanted.ended);
        let has_ended = ends.unwrap_or_else(PoisonError::into_inner).0.ended;
        let Some(thread) = self.thread.take() else { return };
        if !has_ended {
            tracing::error!("the disk does not answer: the agent ends without the last sync");
        } else if thread.join().is_err() {
            tracing::error!("the thread that syncs the log has panicked");
        }
    }
}

/// What the thread is to do next.
#[derive(Debug)]
enum Work {
    /// Sync, and report this number.
    Sync(Syncer, Option<RecordNumber>),
    Write(Draft),
    /// Nothing was wanted for a while.
    Look,
}

/// The thread's side.
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
        self.look_for_room();
        while let Some(work) = self.next() {
            let done = match work {
                Work::Sync(syncer, waiting) => self.sync(syncer, waiting),
                Work::Write(draft) => {
                    self.mailbox.blocking_send(Mail::Drafted(draft.write()));
                    Ok(())
                }
                Work::Look => self.look(),
            };
            if let Err(error) = done {
                return self.mailbox.blocking_send(Mail::DiskFailed(error));
            }
            self.look_for_room();
        }
    }

    /// Waits until there is something to do; `None` at the end.
    fn next(&self) -> Option<Work> {
        let idle = |wanted: &mut Wanted| wanted.syncer.is_none() && wanted.draft.is_none() && !wanted.stop;
        let unhurried = |wanted: &mut Wanted| wanted.given == wanted.begun && wanted.draft.is_none() && !wanted.stop;
        let until = if self.full { LOOK_WHILE_FULL } else { LOOK };
        let found = self.shared.changed.wait_timeout_while(self.shared.lock(), until, idle);
        let (wanted, timeout) = found.unwrap_or_else(PoisonError::into_inner);
        if timeout.timed_out() {
            return Some(Work::Look);
        }
        let delayed = self.shared.changed.wait_timeout_while(wanted, DELAY, unhurried);
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
                    // The sync of the log that is written anew covers it.
                    self.shared.lock().begun = RecordNumber(number - 1);
                }
                self.mailbox.blocking_send(Mail::LogGone(error));
                Ok(())
            }
            (Err(error), _) => Err(error),
        }
    }

    /// Looks whether what belongs to the agent is still in its place.
    fn look(&self) -> Result<(), LogError> {
        self.work_dir.keep().map_err(LogError::WorkDir)?;
        if let Err(error @ LogError::Gone(_)) = self.latest.look() {
            self.mailbox.blocking_send(Mail::LogGone(error));
        }
        Ok(())
    }

    fn look_for_room(&mut self) {
        let input = match (self.latest.keep_room(), self.full) {
            (Room::Full, false) => Input::DiskFull { text: "no space left on device".to_owned() },
            (Room::Enough, true) => Input::DiskHasRoom,
            (Room::Full | Room::Little, _) | (Room::Enough, false) => return,
        };
        self.full = !self.full;
        self.mailbox.blocking_send(Mail::Inputs(vec![input]));
    }
}
