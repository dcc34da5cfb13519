//! The folders that containers run in, and safe ways into them: `work_dir/runs/CONTAINER_ID/`, flat.
//!
//! What is in a sandbox was put there by somebody else's program, and may change at any moment. So everything in here
//! goes through descriptors of folders, never through a path that could lead elsewhere by the time it is used: no link
//! leads out of a sandbox, nothing but a regular file is read, and no mount is crossed.

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

/// All sandboxes of an agent. Cheap to clone. The calls block for as long as the disk does.
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
        let root = work_dir.join("runs");
        // Other users' containers have to pass through it, but have no business looking around.
        let made = DirBuilder::new().recursive(true).mode(0o711).create(&root);
        made.map_err(|error| SandboxError::failed("create", &root, error))?;
        let root = root.canonicalize().map_err(|error| SandboxError::failed("find", &root, error))?;
        Ok(Self { root })
    }

    /// The folder that holds them all, absolute.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where the sandbox of a container is, or would be.
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

    /// Makes an empty sandbox, open to its owner alone, and returns its path.
    ///
    /// # Errors
    /// The id is not one, there is such a sandbox already, or the folder cannot be made.
    pub fn create(&self, container_id: &str) -> Result<PathBuf, SandboxError> {
        let path = self.path(container_id)?;
        match DirBuilder::new().mode(0o700).create(&path) {
            Ok(()) => Ok(path),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(SandboxError::Exists(path)),
            Err(error) => Err(SandboxError::failed("create the sandbox", &path, error)),
        }
    }

    /// The containers that have a sandbox, in order.
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
    fn the_root_of_a_sandbox_may_not_be_a_link() {
        let work = tempfile::tempdir().unwrap();
        let sandboxes = Sandboxes::new(work.path()).unwrap();
        std::os::unix::fs::symlink("/etc", work.path().join("runs/c")).unwrap();
        assert!(sandboxes.open_root("c").is_err());
        assert!(matches!(sandboxes.open_root("d"), Err(SandboxError::NoSandbox(_))));
    }
}
