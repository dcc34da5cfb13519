//! Reaps the orphans of which a supervisor is the subreaper, and detects whether there are any.
//!
//! Orphans become children of the main thread; containers' first processes are children of the threads that started
//! them. So the main thread, waiting for its own children alone, reaps orphans only, and never consumes the exit status
//! of a first process.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::{
    io::Errno,
    process::{WaitId, WaitIdOptions, getpid, waitid},
    thread::gettid,
};

use crate::agent::isolation::child_signals;

/// What is read of one signal.
const SIGNAL_BYTES: usize = 128;
/// `__WNOTHREAD`: children of the calling thread only.
const OWN_THREAD: u32 = 0x2000_0000;

/// Reaps orphans on the main thread of a supervisor process.
#[derive(Debug)]
pub(in crate::agent::supervisor) struct OrphanReaper {
    signals: OwnedFd,
    on_main_thread: bool,
}

impl OrphanReaper {
    /// Listens for ended children (SIGCHLD). On any other than the main thread orphans are not reaped before the
    /// process ends, and are always presumed to exist.
    ///
    /// # Errors
    /// No descriptors are left, or the signal cannot be listened for.
    pub(in crate::agent::supervisor) fn new() -> io::Result<Self> {
        Ok(Self { signals: child_signals::listen()?, on_main_thread: gettid() == getpid() })
    }

    /// Reaps the orphans that have ended; true if there are others. `is_signalled`: a child has ended since the last
    /// time.
    pub(in crate::agent::supervisor) fn collect(&self, is_signalled: bool) -> bool {
        if is_signalled {
            // At most one signal is pending. It is read before reaping, so that a later end signals anew.
            let mut buffer = [0; SIGNAL_BYTES];
            let _ = rustix::io::read(&self.signals, &mut buffer);
        }
        if !self.on_main_thread {
            return true;
        }
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::from_bits_retain(OWN_THREAD);
        loop {
            match waitid(WaitId::All, options) {
                Ok(Some(_)) | Err(Errno::INTR) => {}
                Ok(None) => return true,
                // No children at all.
                Err(_) => return false,
            }
        }
    }
}

impl AsFd for OrphanReaper {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.signals.as_fd()
    }
}
