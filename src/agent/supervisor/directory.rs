//! A supervisor's folder, `work_dir/supervisors/NAME/`: its identity, its lock and its journal.
//!
//! `pid` names the serving process and the folder that it claimed, and is replaced atomically. A process holds `lock`
//! while it serves the folder, so that no other does. An agent connects to `socket` with the content of `token`.
//! `exits` is the journal, `log` the standard error of the process.

use std::{
    fs::{DirBuilder, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::fs::{FlockOperation, flock};

use super::{
    SupervisorError, SupervisorId,
    identity::{FolderName, Identity},
    process,
};

/// How often and how far apart a folder's lock is tried: its holder releases it within milliseconds.
const LOCK_ATTEMPTS: u32 = 1_000;
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// The file with the secret that an agent has to send.
const TOKEN: &str = "token";

/// A supervisor's folder.
#[derive(Clone, Debug)]
pub(super) struct Directory {
    path: PathBuf,
}

impl Directory {
    /// Creates a new one below `work_dir/supervisors/`.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub(super) fn create(work_dir: &Path) -> Result<Self, SupervisorError> {
        let parent = work_dir.join("supervisors");
        let failed = SupervisorError::directory("create", &parent);
        DirBuilder::new().recursive(true).mode(0o700).create(&parent).map_err(failed)?;
        // Containers carry this path, so it has to be canonical.
        let parent = parent.canonicalize().map_err(SupervisorError::directory("find", &parent))?;
        let next = numbers(&parent)?.last().map_or(1, |highest| highest + 1);
        for number in next.. {
            let path = parent.join(number.to_string());
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Ok(Self { path }),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(SupervisorError::directory("create", path)(error)),
            }
        }
        unreachable!("there are more numbers than folders")
    }

    /// The one at `path`, which exists.
    ///
    /// # Errors
    /// It does not exist.
    pub(super) fn open(path: &Path) -> Result<Self, SupervisorError> {
        let path = path.canonicalize().map_err(SupervisorError::directory("open", path))?;
        Ok(Self { path })
    }

    /// All below `work_dir/supervisors/`, oldest first.
    ///
    /// # Errors
    /// The folders cannot be listed.
    pub(super) fn list(work_dir: &Path) -> Result<Vec<Self>, SupervisorError> {
        let parent = work_dir.join("supervisors");
        match parent.canonicalize() {
            Ok(parent) => {
                Ok(numbers(&parent)?.into_iter().map(|number| Self { path: parent.join(number.to_string()) }).collect())
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(SupervisorError::directory("list", parent)(error)),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn id(&self) -> SupervisorId {
        SupervisorId::new(self.path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default())
    }

    pub(super) fn journal(&self) -> PathBuf {
        self.path.join("exits")
    }

    /// The folder and the name for a copy of a damaged journal; outside of this folder, which will be removed.
    pub(super) fn damaged_journal_location(&self) -> (&Path, String) {
        let work_dir = self.path.parent().and_then(Path::parent).unwrap_or(&self.path);
        (work_dir, format!("supervisor-{}.exits", self.id()))
    }

    pub(super) fn log(&self) -> PathBuf {
        self.path.join("log")
    }

    /// Whether the folder is still there; a supervisor that ends in order removes it.
    pub(super) fn exists(&self) -> bool {
        self.path.exists()
    }

    /// Locks the folder while the result lives; waits a bounded time for another process to release it.
    ///
    /// # Errors
    /// The lock cannot be taken, for example because another process still serves the folder.
    pub(super) fn lock(&self) -> Result<File, SupervisorError> {
        let mut left = LOCK_ATTEMPTS;
        loop {
            match self.try_lock() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && left > 0 => {
                    left -= 1;
                    std::thread::sleep(LOCK_PAUSE);
                }
                taken => return taken.map_err(SupervisorError::directory("lock", self.path.join("lock"))),
            }
        }
    }

    /// The same without waiting.
    ///
    /// # Errors
    /// As [`Self::lock`].
    pub(super) fn lock_at_once(&self) -> Result<File, SupervisorError> {
        self.try_lock().map_err(SupervisorError::directory("lock", self.path.join("lock")))
    }

    /// Whether some process serves the folder now.
    ///
    /// # Errors
    /// That cannot be found out, for example because no descriptors are left.
    pub(super) fn is_served(&self) -> Result<bool, SupervisorError> {
        match self.try_lock() {
            Ok(_) => Ok(false),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(true),
            // The folder is gone.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(SupervisorError::directory("lock", self.path.join("lock"))(error)),
        }
    }

    fn try_lock(&self) -> io::Result<File> {
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(self.path.join("lock"))?;
        flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        Ok(file)
    }

    /// Records that this process serves the folder; `owns_session` as in [`Identity`]. The folder keeps its name, and a
    /// copy of it gets a new one: by the name an agent recognizes the supervisor that it sent starts to.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) fn claim(&self, owns_session: bool) -> Result<FolderName, SupervisorError> {
        let write = || -> io::Result<FolderName> {
            let before = self.identity()?.and_then(|identity| identity.folder);
            let folder = match before {
                Some(folder) if folder.is_at(&self.path)? => folder,
                Some(_) | None => FolderName::generate(&self.path)?,
            };
            self.replace("pid", &format!("{}\n", Identity::own(owns_session, folder.clone())?))?;
            Ok(folder)
        };
        write().map_err(SupervisorError::directory("write", self.path.join("pid")))
    }

    /// Creates the token that an agent has to send.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) fn create_token(&self) -> Result<String, SupervisorError> {
        let token = format!("{:032x}", rand::random::<u128>());
        self.replace(TOKEN, &token).map_err(SupervisorError::directory("write", self.path.join(TOKEN)))?;
        Ok(token)
    }

    /// What [`Self::create_token`] wrote; empty in the folder of a supervisor before version 3 of the protocol.
    ///
    /// # Errors
    /// It is there and cannot be read.
    pub(super) fn token(&self) -> io::Result<String> {
        match std::fs::read_to_string(self.path.join(TOKEN)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
            read => read,
        }
    }

    fn replace(&self, name: &str, text: &str) -> io::Result<()> {
        let draft = self.path.join(format!("{name}.new"));
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&draft, self.path.join(name))
    }

    /// Whether the folder is a copy: its `pid` names another folder, to which its processes belong. Supervisors before
    /// version 3 record no folder.
    ///
    /// # Errors
    /// No descriptors or memory are left.
    pub(super) fn is_copy(&self) -> io::Result<bool> {
        match self.identity()? {
            Some(identity) if identity.is_of_this_boot()? => {
                let elsewhere = identity.folder.map(|folder| folder.is_at(&self.path)).transpose()? == Some(false);
                Ok(elsewhere && self.exists())
            }
            Some(_) | None => Ok(false),
        }
    }

    /// The process that serves or served the folder; `None` if there was none, or if the file cannot be parsed.
    ///
    /// # Errors
    /// No descriptors or memory are left.
    pub(super) fn identity(&self) -> io::Result<Option<Identity>> {
        let text = process::none_unless_exhausted(std::fs::read_to_string(self.path.join("pid")))?;
        Ok(text.and_then(|text| Identity::parse(&text)))
    }

    /// Removes the folder with all that is in it.
    pub(super) fn remove(&self) {
        if let Err(error) = std::fs::remove_dir_all(&self.path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(path = %self.path.display(), %error, "cannot remove the folder of a supervisor that ended");
        }
    }
}

fn numbers(parent: &Path) -> Result<Vec<u64>, SupervisorError> {
    let entries = std::fs::read_dir(parent).map_err(SupervisorError::directory("list", parent))?;
    let mut numbers: Vec<u64> =
        entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_numbered_and_listed_oldest_first() {
        let work = tempfile::tempdir().unwrap();
        assert!(Directory::list(work.path()).unwrap().is_empty());
        for _ in 0..11 {
            Directory::create(work.path()).unwrap();
        }
        let names: Vec<_> = Directory::list(work.path()).unwrap().iter().map(|it| it.id().to_string()).collect();
        assert_eq!(names, (1..=11).map(|number: u32| number.to_string()).collect::<Vec<_>>());
    }

    #[test]
    fn the_serving_process_is_identified_by_its_start_and_the_boot() {
        let work = tempfile::tempdir().unwrap();
        let directory = Directory::create(work.path()).unwrap();
        assert_eq!(directory.identity().unwrap(), None);
        for owns_session in [true, false] {
            let folder = directory.claim(owns_session).unwrap();
            let own = directory.identity().unwrap().unwrap();
            assert_eq!(own, Identity::own(owns_session, folder).unwrap());
            assert!(own.open().unwrap().is_some());
            assert!(Identity { boot_id: "another".to_owned(), ..own.clone() }.open().unwrap().is_none());
            assert!(Identity { start_time: 1, ..own }.open().unwrap().is_none());
        }
    }
}
