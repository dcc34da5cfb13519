//! The working directories of containers, and safe access to them: `work_dir/runs/CONTAINER_ID/`, flat.
//!
//! Untrusted programs write into a sandbox, and may change it at any moment. So this module uses descriptors of
//! folders, never a path that could lead elsewhere by the time it is used. No link leads out of a sandbox, nothing but
//! a regular file is read, and no mount is crossed.

mod error;
mod follow;
mod read;
mod remove;
mod usage;

use std::{
    fs::{DirBuilder, File},
    io,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use rustix::{fs::OFlags, io::Errno};

pub use self::{error::SandboxError, follow::NoMore, read::Part};
use crate::agent::core::ContainerId;

/// All sandboxes of an agent. Cheap to clone; the calls block on the disk.
#[derive(Clone, Debug)]
pub struct Sandboxes {
    root: PathBuf,
}

impl Sandboxes {
    /// The sandboxes below `work_dir`, which exists.
    ///
    /// # Errors
    /// The folder for them cannot be made.
    pub fn new(work_dir: &Path) -> Result<Self, SandboxError> {
        let mut this = Self { root: work_dir.join("runs") };
        this.create_root()?;
        this.root = this.root.canonicalize().map_err(|error| SandboxError::failed("find", &this.root, error))?;
        Ok(this)
    }

    fn create_root(&self) -> Result<(), SandboxError> {
        // Other users' containers have to pass through it, but need not list it.
        let made = DirBuilder::new().recursive(true).mode(0o711).create(&self.root);
        made.map_err(|error| SandboxError::failed("create", &self.root, error))
    }

    /// The absolute path of the folder that holds all sandboxes.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The path of a container's sandbox, whether it exists or not.
    ///
    /// # Errors
    /// The id is not one.
    pub fn path(&self, container_id: &str) -> Result<PathBuf, SandboxError> {
        if ContainerId::is_legal(container_id) {
            Ok(self.root.join(container_id))
        } else {
            Err(SandboxError::BadId(container_id.to_owned()))
        }
    }

    /// Creates an empty sandbox, accessible to its owner alone, and returns its path.
    ///
    /// # Errors
    /// The id is not one, there is such a sandbox already, or the folder cannot be made.
    pub fn create(&self, container_id: &str) -> Result<PathBuf, SandboxError> {
        let path = self.path(container_id)?;
        let mut made = DirBuilder::new().mode(0o700).create(&path);
        if made.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
            tracing::warn!(root = %self.root.display(), "the folder of all sandboxes was removed: created it again");
            self.create_root()?;
            made = DirBuilder::new().mode(0o700).create(&path);
        }
        match made {
            Ok(()) => Ok(path),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(SandboxError::Exists(path)),
            Err(error) => Err(SandboxError::failed("create the sandbox", &path, error)),
        }
    }

    /// The ids of the containers that have a sandbox, sorted.
    ///
    /// # Errors
    /// The folder cannot be listed.
    pub fn list(&self) -> Result<Vec<String>, SandboxError> {
        let list = || -> io::Result<Vec<String>> {
            let mut ids = Vec::new();
            for entry in std::fs::read_dir(&self.root)? {
                ids.extend(entry?.file_name().into_string().ok().filter(|id| ContainerId::is_legal(id)));
            }
            ids.sort_unstable();
            Ok(ids)
        };
        list().map_err(|error| SandboxError::failed("list", &self.root, error))
    }

    /// A descriptor of a sandbox.
    fn open_root(&self, container_id: &str) -> Result<File, SandboxError> {
        let path = self.path(container_id)?;
        let flags = (OFlags::DIRECTORY | OFlags::NOFOLLOW).bits().cast_signed();
        let opened = File::options().read(true).custom_flags(flags).open(&path);
        opened.map_err(|error| match Errno::from_io_error(&error) {
            Some(Errno::NOENT) => SandboxError::NoSandbox(container_id.to_owned()),
            _ => SandboxError::failed("open the sandbox", &path, error),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn ids_that_could_lead_elsewhere_are_refused() {
        let work = tempfile::tempdir().unwrap();
        let sandboxes = Sandboxes::new(work.path()).unwrap();
        let long = "a".repeat(256);
        for id in ["", ".", "..", "../x", "a/b", "/etc", "a\0b", "a\nb", "%2e%2e", "ａ", "a b", &long] {
            assert!(matches!(sandboxes.create(id), Err(SandboxError::BadId(_))), "{id:?}");
        }
        for id in ["a", "...", "a.b-c_D9", "-x", &long[1..]] {
            sandboxes.create(id).unwrap();
        }
        assert_eq!(sandboxes.list().unwrap().len(), 5);
    }

    #[test]
    fn a_sandbox_is_its_owners_alone_and_is_made_once() {
        let work = tempfile::tempdir().unwrap();
        let sandboxes = Sandboxes::new(work.path()).unwrap();
        let path = sandboxes.create("c").unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o700);
        assert!(path.is_absolute());
        assert!(matches!(sandboxes.create("c"), Err(SandboxError::Exists(_))));
    }

    #[test]
    fn a_sandbox_that_cannot_be_made_says_why() {
        let work = tempfile::tempdir().unwrap();
        let sandboxes = Sandboxes::new(work.path()).unwrap();
        std::fs::remove_dir(work.path().join("runs")).unwrap();
        std::fs::write(work.path().join("runs"), "").unwrap();
        let text = sandboxes.create("c").unwrap_err().to_string();
        assert!(text.starts_with("cannot create the sandbox /"), "{text}");
    }

    #[test]
    fn the_folder_of_all_sandboxes_is_made_again_when_it_was_removed() {
        let work = tempfile::tempdir().unwrap();
        let sandboxes = Sandboxes::new(work.path()).unwrap();
        sandboxes.create("a").unwrap();
        std::fs::remove_dir_all(work.path().join("runs")).unwrap();
        assert!(sandboxes.create("b").unwrap().is_dir());
        assert_eq!(std::fs::metadata(work.path().join("runs")).unwrap().permissions().mode() & 0o7777, 0o711);
        assert_eq!(sandboxes.list().unwrap(), ["b"]);
    }

    #[test]
    fn the_root_of_a_sandbox_may_not_be_a_link() {
        let work = tempfile::tempdir().unwrap();
        let sandboxes = Sandboxes::new(work.path()).unwrap();
        std::os::unix::fs::symlink("/etc", work.path().join("runs/c")).unwrap();
        assert!(sandboxes.open_root("c").is_err());
        assert!(matches!(sandboxes.open_root("d"), Err(SandboxError::NoSandbox(_))));
    }
}
