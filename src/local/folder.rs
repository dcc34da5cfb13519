//! Where a local cluster keeps its files: a new folder that goes with it, or one that was named and stays. A new one goes
//! also when this process is killed.

use std::{
    fs, io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use rand::{Rng, SeedableRng, rngs::StdRng};

use crate::agent::watcher::Watcher;

/// A folder; a temporary one is removed when this is dropped.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    temporary: bool,
    /// Removes it when this process is killed.
    _watcher: Option<Watcher>,
}

impl Folder {
    /// A folder of this name, made if it is not there.
    pub(super) fn named(path: PathBuf) -> Result<Self, (PathBuf, io::Error)> {
        match fs::create_dir_all(&path).and_then(|()| path.canonicalize()) {
            Ok(path) => Ok(Self { path, temporary: false, _watcher: None }),
            Err(error) => Err((path, error)),
        }
    }

    /// A new temporary folder that only this user may read.
    pub(super) fn temporary() -> Result<Self, (PathBuf, io::Error)> {
        let number: u64 = StdRng::from_os_rng().random();
        let path = std::env::temp_dir().join(format!("divvy-local-{}-{number:016x}", std::process::id()));
        let made = fs::DirBuilder::new().mode(0o700).create(&path).and_then(|()| {
            let path = path.canonicalize()?;
            let watcher = Watcher::of_folder(&path)?;
            Ok(Self { path, temporary: true, _watcher: Some(watcher) })
        });
        made.map_err(|error| (path, error))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Removes it, if it is temporary, without holding up the runtime's threads.
    pub(super) async fn leave(self) {
        // A removal that panics leaves the folder behind.
        let _ = tokio::task::spawn_blocking(move || drop(self)).await;
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if self.temporary
            && let Err(error) = fs::remove_dir_all(&self.path)
        {
            tracing::warn!("cannot remove {}: {error}", self.path.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_temporary_folder_is_private_and_goes_with_its_owner() {
        let folder = Folder::temporary().expect("a folder");
        let path = folder.path().to_owned();
        fs::write(path.join("file"), "x").expect("it is ours");
        assert_eq!(fs::metadata(&path).expect("it is there").permissions().mode() & 0o777, 0o700);
        assert_ne!(Folder::temporary().expect("another").path(), path);
        drop(folder);
        assert!(!path.exists());
    }

    #[test]
    fn a_named_folder_stays() {
        let outer = tempfile::tempdir().expect("a folder");
        let folder = Folder::named(outer.path().join("a/b")).expect("made");
        drop(folder);
        assert!(outer.path().join("a/b").is_dir());
        fs::write(outer.path().join("file"), "x").expect("a file");
        assert_eq!(Folder::named(outer.path().join("file")).expect_err("no folder").0, outer.path().join("file"));
    }
}
