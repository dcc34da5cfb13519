//! Room on the disk for a log: some is kept ahead of what is written, so that a disk that others fill leaves the log what it
//! must write.
//!
//! The room belongs to the log's own file, beyond its end, so no other program can take it in the moment it is needed.
//! Where a file system cannot keep room, a full disk is only known by how much it has left.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{FallocateFlags, fallocate, fstatvfs};
use rustix::io::Errno;

/// How much is kept ahead, in bytes: some thousand ends of tasks.
const AHEAD: u64 = 2 << 20;
/// It is renewed when less than this is left of it.
const LEAST: u64 = 1 << 20;
/// A disk with less than this is full, and has room again with the other.
const FULL: u64 = 1 << 20;
const ENOUGH: u64 = 4 << 20;

/// How much room a disk has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Room {
    /// Plenty.
    Enough,
    /// Not enough to say that it has room again, nor little enough to call it full.
    Little,
    /// None but what is kept for the log.
    Full,
}

/// Whether a write failed for want of room.
pub(super) fn is_shortage(error: &io::Error) -> bool {
    [Errno::NOSPC, Errno::DQUOT].iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

/// Keeps room beyond `length`; `reserved` is how far it is kept by now.
pub(super) fn keep(file: &File, path: &Path, length: u64, reserved: &AtomicU64) -> Room {
    let mut kept = true;
    if reserved.load(Ordering::Acquire) < length + LEAST {
        match fallocate(file, FallocateFlags::KEEP_SIZE, length, AHEAD) {
            Ok(()) => reserved.store(length + AHEAD, Ordering::Release),
            Err(Errno::NOSPC | Errno::DQUOT) => kept = false,
            Err(error) => {
                tracing::debug!(path = %path.display(), %error, "this file system keeps no room for the log");
                reserved.store(u64::MAX, Ordering::Release);
            }
        }
    }
    // Where that cannot be found out, writing will show it.
    let free = fstatvfs(file).map_or(u64::MAX, |found| found.f_bavail.saturating_mul(found.f_frsize));
    match free {
        _ if !kept => Room::Full,
        ..FULL => Room::Full,
        FULL..ENOUGH => Room::Little,
        ENOUGH.. => Room::Enough,
    }
}
