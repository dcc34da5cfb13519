//! Hardens a process before it runs the commands of tasks.
//!
//! Settings common to all containers are set once on the supervisor and inherited. `vfork` applies those of one
//! container in its child. This is the only module of the agent where `unsafe` is allowed.

pub(crate) mod child_signals;
pub(crate) mod vfork;

use std::{
    io,
    os::fd::{BorrowedFd, RawFd},
};

use rustix::{
    fs::Mode,
    io::{Errno, FdFlags, fcntl_getfd, fcntl_setfd},
    process::{Resource, Rlimit, getpid, getrlimit, getsid, set_child_subreaper, setrlimit, setsid, umask},
    thread::set_no_new_privs,
};

/// The highest limit of open files that [`raise_file_limit`] sets.
const MOST_FILES: u64 = 1 << 20;

/// Confines this process and all it will start: a session of its own, no new privileges by set-user-id programs, no
/// core dumps, new files not writable by others, none of the descriptors that it inherited itself. Orphaned descendants
/// become its children. Call it on the main thread before there is another.
///
/// # Errors
/// The first step that the kernel refuses.
pub(crate) fn harden_supervisor() -> io::Result<()> {
    match setsid() {
        // A process that leads a group already, as one started by a shell does, stays in its session.
        Ok(_) | Err(Errno::PERM) => {}
        Err(error) => return Err(error.into()),
    }
    set_child_subreaper(Some(getpid()))?;
    set_no_new_privs(true)?;
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    umask(Mode::WGRP | Mode::WOTH);
    close_descriptors_on_exec()
}

/// Whether this process leads the session it is in.
pub(crate) fn leads_session() -> bool {
    getsid(None) == Ok(getpid())
}

/// Sets close-on-exec on all descriptors but the standard ones. Those that we open have it already; these are those
/// that our own parent left open.
#[expect(unsafe_code, reason = "a descriptor known by its number alone can be had in no other way")]
fn close_descriptors_on_exec() -> io::Result<()> {
    let names = std::fs::read_dir("/proc/self/fd")?.flatten().map(|entry| entry.file_name());
    let numbers: Vec<RawFd> = names.filter_map(|name| name.to_str()?.parse().ok()).collect();
    for number in numbers.into_iter().filter(|number| *number > 2) {
        // SAFETY: borrowed for two calls that close nothing and change nothing but the flag; a number that is no longer
        // open (the listing's own) makes them fail.
        let descriptor = unsafe { BorrowedFd::borrow_raw(number) };
        if let Ok(flags) = fcntl_getfd(descriptor) {
            fcntl_setfd(descriptor, flags | FdFlags::CLOEXEC)?;
        }
    }
    Ok(())
}

/// Doubles how many files this process may have open, as far as its hard limit goes; false when that is reached.
/// Processes started later inherit it.
pub(crate) fn raise_file_limit() -> bool {
    let limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.unwrap_or(MOST_FILES).min(MOST_FILES);
    match limit.current {
        Some(current) if current < most => {
            let raised = Rlimit { current: Some((current * 2).min(most)), maximum: limit.maximum };
            setrlimit(Resource::Nofile, raised).is_ok()
        }
        Some(_) | None => false,
    }
}
