//! Reading a file of a sandbox.

use std::{fs::File, io, os::unix::fs::FileExt as _};

use bytes::Bytes;
use rustix::{
    fs::{Mode, OFlags, ResolveFlags, openat2},
    io::Errno,
};

use super::{SandboxError, Sandboxes};

/// The most that one read returns, in bytes.
const MAX_READ_BYTES: usize = 4 << 20;
/// How often a path is looked up again when folders on its way are being renamed.
const MAX_LOOKUPS: u32 = 16;

/// A part of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Part {
    /// Where it begins, in bytes from the beginning of the file.
    pub offset: u64,
    /// What is there; empty at the end of the file.
    pub data: Bytes,
    /// How long the file is at this moment, in bytes.
    pub file_bytes: u64,
}

impl Sandboxes {
    /// Opens a regular file of a sandbox for reading. `path` is relative to the sandbox; links in it are followed as
    /// long as they stay inside.
    ///
    /// # Errors
    /// There is no such sandbox or file, it is not a regular file, it may not be read, or the path leads out of the
    /// sandbox.
    pub fn open(&self, container_id: &str, path: &str) -> Result<File, SandboxError> {
        if path.contains('\0') {
            return Err(SandboxError::BadPath(path.to_owned()));
        }
        let root = self.open_root(container_id)?;
        // Without these, opening a pipe would block, and a terminal would become our controlling terminal.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let confined = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        let mut opened = Err(Errno::AGAIN);
        for _ in 0..MAX_LOOKUPS {
            opened = openat2(&root, path, flags, Mode::empty(), confined);
            if !matches!(opened, Err(Errno::AGAIN)) {
                break;
            }
        }
        let file = match opened {
            Ok(descriptor) => File::from(descriptor),
            // A name too long for the system names no file of its.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG) => {
                return Err(SandboxError::NotFound(path.to_owned()));
            }
            Err(Errno::XDEV | Errno::LOOP) => return Err(SandboxError::Outside(path.to_owned())),
            // The errors of a socket, and of a device without a driver.
            Err(Errno::NXIO | Errno::NODEV) => return Err(SandboxError::NotAFile(path.to_owned())),
            Err(Errno::ACCESS | Errno::PERM) => return Err(SandboxError::Denied(path.to_owned())),
            Err(Errno::MFILE | Errno::NFILE) => return Err(SandboxError::Busy(path.to_owned())),
            Err(error) => return Err(SandboxError::failed("open", path, error)),
        };
        let kind = file.metadata().map_err(|error| SandboxError::failed("examine", path, error))?.file_type();
        if kind.is_file() { Ok(file) } else { Err(SandboxError::NotAFile(path.to_owned())) }
    }

    /// Reads up to `limit` bytes (and never more than 4 MiB) of a file from `offset` on.
    ///
    /// # Errors
    /// As for [`Self::open`], or the file cannot be read.
    pub fn read(&self, container_id: &str, path: &str, offset: u64, limit: usize) -> Result<Part, SandboxError> {
        let file = self.open(container_id, path)?;
        read_part(&file, offset, limit).map_err(|error| SandboxError::failed("read", path, error))
    }
}

/// Reads up to `limit` bytes from `offset` on.
///
/// # Errors
/// The file cannot be read.
pub(super) fn read_part(file: &File, offset: u64, limit: usize) -> io::Result<Part> {
    let file_bytes = file.metadata()?.len();
    // Memory for what the file holds, not for what was requested.
    let there = usize::try_from(file_bytes.saturating_sub(offset)).unwrap_or(usize::MAX);
    let mut data = vec![0; there.min(limit).min(MAX_READ_BYTES)];
    let mut filled = 0;
    while filled < data.len() {
        match file.read_at(&mut data[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(length) => filled += length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    data.truncate(filled);
    Ok(Part { offset, data: data.into(), file_bytes })
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::{fs::symlink, net::UnixListener},
        path::PathBuf,
        sync::atomic::{AtomicBool, Ordering},
    };

    use super::*;

    fn sandbox() -> (tempfile::TempDir, Sandboxes, PathBuf) {
        let work = tempfile::tempdir().unwrap();
        let sandboxes = Sandboxes::new(work.path()).unwrap();
        let path = sandboxes.create("c").unwrap();
        fs::write(work.path().join("secret"), "secret").unwrap();
        fs::create_dir(path.join("a")).unwrap();
        fs::write(path.join("a/file"), "0123456789").unwrap();
        (work, sandboxes, path)
    }

    #[test]
    fn a_part_of_a_file_is_read_with_its_length() {
        let (_work, sandboxes, _) = sandbox();
        let part = |offset, limit| {
            let part = sandboxes.read("c", "a/file", offset, limit).unwrap();
            (part.offset, String::from_utf8(part.data.to_vec()).unwrap(), part.file_bytes)
        };
        assert_eq!(part(0, 4), (0, "0123".to_owned(), 10));
        assert_eq!(part(8, usize::MAX), (8, "89".to_owned(), 10));
        assert_eq!(part(u64::MAX, 4), (u64::MAX, String::new(), 10));
    }

    #[test]
    fn no_path_leads_out_of_the_sandbox() {
        let (_work, sandboxes, path) = sandbox();
        symlink("/etc/passwd", path.join("absolute")).unwrap();
        symlink("../../secret", path.join("relative")).unwrap();
        symlink("/proc/self/root/etc/passwd", path.join("magic")).unwrap();
        symlink("..", path.join("parent")).unwrap();
        symlink("loop", path.join("loop")).unwrap();
        let out = [
            "../../secret",
            "/etc/passwd",
            "a/../../c/a/file",
            "absolute",
            "relative",
            "magic",
            "parent/c/a/file",
            "loop",
        ];
        for name in out {
            let outcome = sandboxes.open("c", name);
            assert!(matches!(outcome, Err(SandboxError::Outside(_))), "{name}: {outcome:?}");
        }
        symlink("a/file", path.join("inside")).unwrap();
        for name in ["inside", "a/../a/file", "./a//file"] {
            assert_eq!(sandboxes.read("c", name, 0, 1).unwrap().data, "0", "{name}");
        }
    }

    #[test]
    fn only_regular_files_are_read_and_a_pipe_does_not_block_the_reader() {
        let (_work, sandboxes, path) = sandbox();
        let mode = Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, path.join("pipe"), rustix::fs::FileType::Fifo, mode, 0).unwrap();
        let _listener = UnixListener::bind(path.join("socket")).unwrap();
        for name in ["pipe", "socket", "a", "."] {
            let outcome = sandboxes.open("c", name);
            assert!(matches!(outcome, Err(SandboxError::NotAFile(_))), "{name}: {outcome:?}");
        }
        for name in ["nothing", "a/file/x", ""] {
            assert!(matches!(sandboxes.open("c", name), Err(SandboxError::NotFound(_))), "{name}");
        }
        assert!(matches!(sandboxes.open("other", "x"), Err(SandboxError::NoSandbox(_))));
        assert!(matches!(sandboxes.open("../c", "a/file"), Err(SandboxError::BadId(_))));
    }

    #[test]
    fn a_path_that_no_file_can_have_is_the_callers_fault() {
        let (_work, sandboxes, path) = sandbox();
        for name in ["a\0b", "\0", "a/file\0", "../\0"] {
            let outcome = sandboxes.open("c", name);
            assert!(matches!(outcome, Err(SandboxError::BadPath(_))), "{name:?}: {outcome:?}");
        }
        symlink("x".repeat(4_000), path.join("long")).unwrap();
        for name in ["x".repeat(5_000), "x".repeat(256), "a/".repeat(2_500), "long".to_owned(), "./".repeat(3_000)] {
            let outcome = sandboxes.open("c", &name);
            assert!(matches!(outcome, Err(SandboxError::NotFound(_))), "{} bytes: {outcome:?}", name.len());
        }
    }

    #[test]
    fn a_folder_swapped_for_a_link_during_a_read_never_exposes_what_is_outside() {
        let (_work, sandboxes, path) = sandbox();
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("file"), "secret").unwrap();
        symlink(outside.path(), path.join("link")).unwrap();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let swap = rustix::fs::RenameFlags::EXCHANGE;
                    let cwd = rustix::fs::CWD;
                    rustix::fs::renameat_with(cwd, path.join("a"), cwd, path.join("link"), swap).unwrap();
                }
            });
            for _ in 0..2000 {
                if let Ok(part) = sandboxes.read("c", "a/file", 0, 100) {
                    assert_eq!(part.data, "0123456789");
                }
            }
            done.store(true, Ordering::Relaxed);
        });
    }
}
