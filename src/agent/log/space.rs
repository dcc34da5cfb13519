//! Disk space reserved ahead of a log, so that required writes succeed on a disk that other programs fill.
//!
//! The space belongs to the log's own file, beyond its end, so no other program can use it. Where a file system cannot
//! reserve space, a full disk is detected only by how much is left.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{FallocateFlags, fallocate, fstatvfs};
use rustix::io::Errno;

/// How much is reserved ahead, in bytes: some thousand terminal statuses.
const AHEAD: u64 = 2 << 20;
/// The reservation is renewed when less than this is left.
const LEAST: u64 = 1 << 20;
/// A disk with less than `FULL` is full, and has space again from `ENOUGH`.
const FULL: u64 = 1 << 20;
const ENOUGH: u64 = 4 << 20;

/// How much space a disk has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Room {
    /// Plenty.
    Enough,
    /// Neither full nor enough to count as having space again.
    Little,
    /// None but the reservation for the log.
    Full,
}

/// Whether a write failed because the disk is full.
pub(super) fn is_shortage(error: &io::Error) -> bool {
    [Errno::NOSPC, Errno::DQUOT].iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

/// Reserves space beyond `length`; `reserved` is how far it is reserved by now.
pub(super) fn reserve(file: &File, path: &Path, length: u64, reserved: &AtomicU64) -> Room {
    let mut kept = true;
    if reserved.load(Ordering::Acquire) < length + LEAST {
        match fallocate(file, FallocateFlags::KEEP_SIZE, length, AHEAD) {
            Ok(()) => reserved.store(length + AHEAD, Ordering::Release),
            Err(Errno::NOSPC | Errno::DQUOT) => kept = false,
            Err(error) => {
                tracing::debug!(path = %path.display(), %error, "this file system cannot reserve space for the log");
                reserved.store(u64::MAX, Ordering::Release);
            }
        }
    }
    // Unknown counts as free: a write will fail if it is not.
    let free = fstatvfs(file).map_or(u64::MAX, |found| found.f_bavail.saturating_mul(found.f_frsize));
    match free {
        _ if !kept => Room::Full,
        ..FULL => Room::Full,
        FULL..ENOUGH => Room::Little,
        ENOUGH.. => Room::Enough,
    }
}
