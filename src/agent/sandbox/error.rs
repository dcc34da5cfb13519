//! Errors of a sandbox or of a path in it, worded for the client.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use rustix::io::Errno;

use crate::types::Quoted;

/// Why an operation on a sandbox failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SandboxError {
    /// The container id could not name a folder.
    #[error("`{}` is no container id: 1 to 255 letters, digits, '.', '_' and '-', and neither '.' nor '..'", Quoted(.0))]
    BadId(String),
    /// There is no such sandbox.
    #[error("container {0} has no sandbox here")]
    NoSandbox(String),
    /// There is such a sandbox already.
    #[error("the sandbox {} exists already", .0.display())]
    Exists(PathBuf),
    /// A path in a sandbox names nothing.
    #[error("there is no `{}` in the sandbox", Quoted(.0))]
    NotFound(String),
    /// A path leads out of the sandbox, by itself or through a link.
    #[error("`{}` leads out of the sandbox", Quoted(.0))]
    Outside(String),
    /// A path names a folder, a pipe, a socket or a device.
    #[error("`{}` is not a regular file", Quoted(.0))]
    NotAFile(String),
    /// A path that no file can have.
    #[error("`{}` is no path: it has a byte of zero in it", Quoted(.0))]
    BadPath(String),
    /// The agent's user may not read it.
    #[error("permission to read `{}` is denied to the agent's user", Quoted(.0))]
    Denied(String),
    /// Too many files are open in the agent or on its host; that passes.
    #[error("the agent has too many files open to read `{}`; try again", Quoted(.0))]
    Busy(String),
    /// The agent stops while a file is followed.
    #[error("the agent stops; the file may continue at byte {offset}: retry once the agent has restarted")]
    AgentStops {
        /// The offset of the first byte that was not sent, in bytes.
        offset: u64,
    },
    /// A system call failed.
    #[error("cannot {action} {path}: {cause}", path = path.display(), cause = ReadableError(source))]
    Failed {
        /// What was being done.
        action: &'static str,
        /// The file or folder concerned.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

impl SandboxError {
    pub(super) fn failed(action: &'static str, path: impl AsRef<Path>, source: impl Into<io::Error>) -> Self {
        Self::Failed { action, path: path.as_ref().to_owned(), source: source.into() }
    }
}

/// Displays a system error; the most frequent ones in plain words.
struct ReadableError<'a>(&'a io::Error);

impl fmt::Display for ReadableError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Errno::from_io_error(self.0) {
            Some(Errno::NOSPC) => f.write_str("the disk is full, or has no room for more files"),
            Some(Errno::DQUOT) => f.write_str("the disk quota is used up"),
            Some(Errno::ROFS) => f.write_str("the file system is read-only"),
            Some(Errno::ACCESS | Errno::PERM) => write!(f, "permission denied to the agent's user ({})", self.0),
            Some(Errno::MFILE | Errno::NFILE) => f.write_str("too many files are open"),
            Some(Errno::NOSYS) => f.write_str("this needs Linux 5.6 or newer"),
            Some(_) | None => self.0.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_quoted_in_no_more_than_a_line() {
        let text = SandboxError::NotFound("ü".repeat(2_500)).to_string();
        assert!(text.chars().count() < 200 && text.contains("..."), "{text}");
        assert_eq!(
            SandboxError::BadPath("a\0b".to_owned()).to_string(),
            r"`a\0b` is no path: it has a byte of zero in it"
        );
    }

    #[test]
    fn a_full_disk_is_described_in_plain_words() {
        let error = SandboxError::failed("create the sandbox", "/w/runs/c", Errno::NOSPC);
        let text = "cannot create the sandbox /w/runs/c: the disk is full, or has no room for more files";
        assert_eq!(error.to_string(), text);
    }
}
