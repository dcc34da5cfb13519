//! The lock of the work directory: one agent at a time.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use prost::bytes::Bytes;
use rustix::fs::{FlockOperation, flock};

use crate::proto::internal::WorkDirIdentity;

/// A locked work directory. It is unlocked when this is dropped or the process ends.
#[derive(Debug)]
pub struct WorkDir {
    path: PathBuf,
    lock: Mutex<File>,
}

/// Why a work directory cannot be used.
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
    /// It is a copy of one that is still there.
    #[error(
        "work directory {path} is a copy of {original}, whose agent id and tasks it would take: give an empty --work-dir, or \
         remove the original, or {path}/log to begin as a new agent", path = path.display(), original = original.display()
    )]
    Copy {
        /// The directory.
        path: PathBuf,
        /// What it is a copy of.
        original: PathBuf,
    },
    /// The file system refused.
    #[error("cannot {action} work directory {path}: {source}", path = path.display())]
    Io {
        /// What was being done.
        action: &'static str,
        /// The directory.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

impl WorkDir {
    /// Locks the directory; creates it, readable by its owner only, if it is missing.
    ///
    /// # Errors
    ///
    /// It cannot be created or written, its path is not UTF-8, or another agent holds it.
    pub fn take(path: &Path) -> Result<Self, WorkDirError> {
        let text = |path: &Path| match path.to_str() {
            Some(_) => Ok(()),
            None => Err(WorkDirError::NotText { path: path.to_owned() }),
        };
        text(path)?;
        let failed = |action| move |source| WorkDirError::Io { action, path: path.to_owned(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed("create"))?;
        // The path must not depend on the agent's current directory.
        let path = fs::canonicalize(path).map_err(failed("find"))?;
        text(&path)?;
        let lock = Mutex::new(hold(&path)?);
        Ok(Self { path, lock })
    }

    /// The absolute path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The identity of the directory on its host.
    ///
    /// # Errors
    ///
    /// It cannot be inspected.
    pub fn identity(&self) -> Result<WorkDirIdentity, WorkDirError> {
        identity(&self.path).map_err(|source| WorkDirError::Io { action: "inspect", path: self.path.clone(), source })
    }

    /// Locks the directory again if its lock file was removed: another agent could lock it otherwise.
    ///
    /// # Errors
    ///
    /// It cannot be locked, or another agent holds it by now.
    pub fn ensure_locked(&self) -> Result<(), WorkDirError> {
        let mut lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        let inode = |metadata: io::Result<fs::Metadata>| metadata.map(|it| (it.dev(), it.ino())).ok();
        if inode(fs::metadata(self.path.join("lock"))) != inode(lock.metadata()) {
            *lock = hold(&self.path)?;
            tracing::warn!(work_dir = %self.path.display(), "the lock of the work directory was removed: locked again");
        }
        Ok(())
    }
}

fn identity(path: &Path) -> io::Result<WorkDirIdentity> {
    let metadata = fs::metadata(path)?;
    let path = Bytes::copy_from_slice(path.as_os_str().as_bytes());
    Ok(WorkDirIdentity { path, device: metadata.dev(), inode: metadata.ino() })
}

/// Whether the log in `here` is a copy: the directory `recorded` in it still exists and is another one.
/// The tasks in a copied log belong to the original's agent.
#[must_use]
pub fn is_copy(recorded: &WorkDirIdentity, here: &WorkDirIdentity) -> bool {
    let same = |one: &WorkDirIdentity| (one.device, one.inode) == (recorded.device, recorded.inode);
    if same(here) {
        return false;
    }
    let stands = identity(Path::new(OsStr::from_bytes(&recorded.path)));
    // Moved to another file system: the original is not there any more.
    stands.is_ok_and(|original| same(&original))
}

/// Opens and locks the lock file of a work directory.
fn hold(path: &Path) -> Result<File, WorkDirError> {
    let failed = |action| move |source| WorkDirError::Io { action, path: path.to_owned(), source };
    let file = path.join("lock");
    let mut options = OpenOptions::new();
    let opened = options.write(true).create(true).truncate(false).mode(0o600).open(&file);
    let mut lock = opened.map_err(failed("lock"))?;
    match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let pid = fs::read_to_string(&file).ok().and_then(|text| text.trim().parse::<u32>().ok());
            let holder = pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"));
            return Err(WorkDirError::InUse { path: path.to_owned(), holder });
        }
        Err(error) => return Err(failed("lock")(error.into())),
    }
    let name = format!("{}\n", std::process::id());
    // In place, so that it needs no space on a full disk. The holder's pid is only for error messages.
    let named = lock.write_all(name.as_bytes()).and_then(|()| lock.set_len(name.len() as u64));
    if let Err(error) = named {
        tracing::warn!(path = %file.display(), %error, "cannot record the pid in the lock of the work directory");
    }
    Ok(lock)
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
    fn a_removed_lock_is_acquired_again_unless_another_agent_was_faster() {
        let parent = tempfile::tempdir().unwrap();
        let held = WorkDir::take(parent.path()).unwrap();
        fs::remove_file(held.path().join("lock")).unwrap();
        held.ensure_locked().unwrap();
        assert!(matches!(WorkDir::take(parent.path()), Err(WorkDirError::InUse { .. })));
        fs::remove_file(held.path().join("lock")).unwrap();
        let other = WorkDir::take(parent.path()).unwrap();
        assert!(matches!(held.ensure_locked(), Err(WorkDirError::InUse { .. })));
        drop(other);
    }

    #[test]
    fn a_directory_beside_the_one_its_log_names_is_a_copy_and_one_in_its_place_is_not() {
        let parent = tempfile::tempdir().unwrap();
        let (original, copy) = (parent.path().join("w"), parent.path().join("copy"));
        fs::create_dir(&original).unwrap();
        fs::create_dir(&copy).unwrap();
        let recorded = identity(&original).unwrap();
        assert!(!is_copy(&recorded, &recorded));
        assert!(is_copy(&recorded, &identity(&copy).unwrap()));
        fs::remove_dir(&original).unwrap();
        assert!(!is_copy(&recorded, &identity(&copy).unwrap()), "it was moved there");
        fs::rename(&copy, &original).unwrap();
        assert!(!is_copy(&recorded, &identity(&original).unwrap()), "a backup was put back in its place");
    }

    #[test]
    fn a_work_directory_that_cannot_be_made_is_named() {
        let error = WorkDir::take(Path::new("/dev/null/work")).unwrap_err().to_string();
        assert!(error.starts_with("cannot create work directory /dev/null/work: "), "{error}");
    }
}
