//! The work directory: one agent at a time.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

/// A work directory that is held. It is free again when this is dropped or the process ends.
#[derive(Debug)]
pub struct WorkDir {
    path: PathBuf,
    _lock: File,
}

/// Why a work directory cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WorkDirError {
    /// Another agent holds it.
    #[error(
        "work directory {path} is in use by {holder}: stop it or give another --work-dir", path = path.display()
    )]
    InUse {
        /// The directory.
        path: PathBuf,
        /// Who holds it, as far as that is known.
        holder: String,
    },
    /// Its path is not UTF-8, so that it cannot be named in messages and in the environment of tasks.
    #[error("work directory {path:?} has a path that is not UTF-8: give another --work-dir")]
    NotText {
        /// The directory.
        path: PathBuf,
    },
    /// The file system refused.
    #[error("cannot {action} work directory {path}: {source}", path = path.display())]
    Io {
        /// What was being done.
        action: &'static str,
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl WorkDir {
    /// Makes the directory if it is not there, readable by its owner only, and takes it.
    ///
    /// # Errors
    ///
    /// It cannot be made or written, its path is not UTF-8, or another agent has it.
    pub fn take(path: &Path) -> Result<Self, WorkDirError> {
        let text = |path: &Path| match path.to_str() {
            Some(_) => Ok(()),
            None => Err(WorkDirError::NotText { path: path.to_owned() }),
        };
        text(path)?;
        let failed = |action| move |source| WorkDirError::Io { action, path: path.to_owned(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed("create"))?;
        // Where it is must not depend on where the agent happens to stand.
        let path = fs::canonicalize(path).map_err(failed("find"))?;
        text(&path)?;
        let file = path.join("lock");
        let mut options = OpenOptions::new();
        let opened = options.write(true).create(true).truncate(false).mode(0o600).open(&file);
        let mut lock = opened.map_err(failed("lock"))?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let pid = fs::read_to_string(&file).ok().and_then(|text| text.trim().parse::<u32>().ok());
                let holder = pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"));
                return Err(WorkDirError::InUse { path, holder });
            }
            Err(error) => return Err(failed("lock")(error.into())),
        }
        let named = lock.set_len(0).and_then(|()| writeln!(lock, "{}", std::process::id()));
        named.map_err(failed("write to"))?;
        Ok(Self { path, _lock: lock })
    }

    /// Where it is, absolute.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_is_not_utf_8_is_refused_also_behind_a_link() {
        use std::os::unix::ffi::OsStrExt as _;

        let parent = tempfile::tempdir().unwrap();
        let odd = parent.path().join(std::ffi::OsStr::from_bytes(b"work-\xff"));
        let error = WorkDir::take(&odd).unwrap_err().to_string();
        assert!(error.contains("work-\\xFF") && error.contains("is not UTF-8"), "{error}");
        assert!(!odd.exists(), "nothing is made");
        fs::create_dir(&odd).unwrap();
        let link = parent.path().join("link");
        std::os::unix::fs::symlink(&odd, &link).unwrap();
        assert!(matches!(WorkDir::take(&link), Err(WorkDirError::NotText { .. })));
        assert!(!odd.join("lock").exists());
    }

    #[test]
    fn a_work_directory_belongs_to_one_agent_at_a_time() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("a/b");
        let held = WorkDir::take(&path).unwrap();
        let error = WorkDir::take(&path).unwrap_err().to_string();
        let expected = format!(
            "work directory {} is in use by process {}: stop it or give another --work-dir",
            held.path().display(),
            std::process::id()
        );
        assert_eq!(error, expected);
        drop(held);
        WorkDir::take(&path).unwrap();
    }

    #[test]
    fn a_work_directory_that_cannot_be_made_is_named() {
        let error = WorkDir::take(Path::new("/dev/null/work")).unwrap_err().to_string();
        assert!(error.starts_with("cannot create work directory /dev/null/work: "), "{error}");
    }
}
