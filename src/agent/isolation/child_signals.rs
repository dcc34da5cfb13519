//! Receives SIGCHLD through a descriptor: a handler would interrupt other threads' calls and write to a pipe each time.

#![expect(unsafe_code, reason = "a signal set and its descriptor are had from the kernel alone")]

use std::{
    io,
    mem::MaybeUninit,
    os::fd::{FromRawFd as _, OwnedFd},
    ptr,
};

/// A descriptor that can be read, without waiting, when a child of this process has ended. The signal is blocked in
/// this thread and in those it starts from now on: call it before there are others, or one of them takes the signal.
///
/// # Errors
/// No descriptors are left.
pub(crate) fn listen() -> io::Result<OwnedFd> {
    let mut set = MaybeUninit::uninit();
    // SAFETY: no handler is set, only taken away. The first call writes the whole set, which the others are given. All
    // pointers are to memory of our own. The descriptor is checked, and was made here.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        let mut set = set.assume_init();
        libc::sigaddset(&raw mut set, libc::SIGCHLD);
        let descriptor = libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
        if descriptor < 0 {
            return Err(io::Error::last_os_error());
        }
        let descriptor = OwnedFd::from_raw_fd(descriptor);
        // Ignoring it is inherited, and then the kernel reaps our children itself.
        if libc::signal(libc::SIGCHLD, libc::SIG_DFL) == libc::SIG_ERR {
            return Err(io::Error::last_os_error());
        }
        match libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, ptr::null_mut()) {
            0 => Ok(descriptor),
            error => Err(io::Error::from_raw_os_error(error)),
        }
    }
}
