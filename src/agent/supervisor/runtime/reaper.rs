//! Orphans that come to a supervisor because it is their subreaper: reaped as they end, and told apart from none.
//!
//! Orphans become children of the main thread, containers' first processes are children of the threads that started
//! them. So the main thread, waiting for its own children alone, gets orphans and nothing else, and never takes an exit
//! status that somebody waits for.

use std::{
    io::{self, Read as _},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::net::UnixStream,
    },
};

use rustix::{
    io::Errno,
    process::{WaitId, WaitIdOptions, getpid, waitid},
    thread::gettid,
};

/// `__WNOTHREAD`: children of the calling thread only.
const OWN_THREAD: u32 = 0x2000_0000;

/// Belongs to the main thread of a supervisor process.
#[derive(Debug)]
pub(in crate::agent::supervisor) struct OrphanReaper {
    signals: UnixStream,
    on_main_thread: bool,
}

impl OrphanReaper {
    /// Listens for ended children (SIGCHLD). On any other than the main thread orphans are not reaped before the process
    /// ends, and are always presumed to exist.
    ///
    /// # Errors
    /// No descriptors are left, or the signal cannot be listened for.
    pub(in crate::agent::supervisor) fn new() -> io::Result<Self> {
        let (signals, write) = UnixStream::pair()?;
        signals.set_nonblocking(true)?;
        signal_hook::low_level::pipe::register(signal_hook::consts::SIGCHLD, write)?;
        Ok(Self { signals, on_main_thread: gettid() == getpid() })
    }

    /// Reaps the orphans that have ended; true if there are others.
    pub(in crate::agent::supervisor) fn collect(&mut self) -> bool {
        let mut buffer = [0; 256];
        while self.signals.read(&mut buffer).is_ok_and(|length| length == buffer.len()) {}
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
