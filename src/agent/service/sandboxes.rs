//! Makes and removes sandboxes, on two threads so that a large removal holds up no launch.
//!
//! Sandboxes are flat: `runs/CONTAINER` in the work directory. What is in one belongs to the task and may be hostile:
//! it is removed without following links.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::UNIX_EPOCH;

use super::mail::{Mail, Mailbox};
use crate::agent::core::{ContainerId, Input};

/// Where sandboxes are, in the work directory.
const DIRECTORY: &str = "runs";
/// The most sandboxes made before the core hears of them.
const BATCH: usize = 64;

/// The threads that make and remove.
#[derive(Debug)]
pub(super) struct Sandboxes {
    make: Sender<ContainerId>,
    remove: Sender<ContainerId>,
    threads: Vec<JoinHandle<()>>,
}

impl Sandboxes {
    /// Where the sandboxes of a work directory are.
    pub(super) fn directory(work_dir: &Path) -> PathBuf {
        work_dir.join(DIRECTORY)
    }

    /// Makes the directory of sandboxes and says which are there, each with the time of its last change in nanoseconds
    /// since the epoch. Names that are no container's are left alone.
    pub(super) fn survey(directory: &Path) -> io::Result<Vec<(ContainerId, i64)>> {
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        let mut found = vec![];
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            if let Some(id) = entry.file_name().to_str().and_then(ContainerId::parse) {
                found.push((id, changed_wall_ns(&entry)));
            }
        }
        found.sort_unstable();
        Ok(found)
    }

    /// Starts the threads; what was made or could not be is told to `mailbox`.
    pub(super) fn start(directory: PathBuf, mailbox: Mailbox) -> io::Result<Self> {
        // Both queues are as long as there are tasks or retired sandboxes at most.
        let ((make, to_make), (remove, to_remove)) = (channel(), channel());
        let spawn = |name: &str| thread::Builder::new().name(name.to_owned());
        let making = directory.clone();
        let threads = vec![
            spawn("agent-sandboxes").spawn(move || make_all(&making, &to_make, &mailbox))?,
            spawn("agent-removals").spawn(move || remove_all(&directory, &to_remove))?,
        ];
        Ok(Self { make, remove, threads })
    }

    pub(super) fn make(&self, container: ContainerId) {
        // A thread that has panicked is reported when it is joined.
        let _ = self.make.send(container);
    }

    pub(super) fn remove(&self, container: ContainerId) {
        let _ = self.remove.send(container);
    }

    /// Finishes what was asked for.
    pub(super) fn stop(self) {
        drop((self.make, self.remove));
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a thread for sandboxes has panicked");
            }
        }
    }
}

fn make_all(directory: &Path, asked: &Receiver<ContainerId>, mailbox: &Mailbox) {
    while let Ok(first) = asked.recv() {
        let more = asked.try_iter().take(BATCH - 1);
        let inputs = std::iter::once(first).chain(more).map(|container| make(directory, container)).collect();
        mailbox.blocking_send(Mail::Inputs(inputs));
    }
}

fn make(directory: &Path, container: ContainerId) -> Input {
    let path = directory.join(container.as_str());
    match DirBuilder::new().mode(0o755).create(&path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            let text = format!("cannot make the sandbox {}: {error}", path.display());
            Input::SandboxFailed { container, text }
        }
        Ok(()) | Err(_) => Input::SandboxMade { container },
    }
}

fn remove_all(directory: &Path, asked: &Receiver<ContainerId>) {
    for container in asked {
        let path = directory.join(container.as_str());
        match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(path = %path.display(), %error, "cannot remove a sandbox");
            }
            Ok(()) | Err(_) => {}
        }
    }
}

fn changed_wall_ns(entry: &fs::DirEntry) -> i64 {
    let changed = entry.metadata().and_then(|metadata| metadata.modified()).ok();
    let since = changed.and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    since.and_then(|since| i64::try_from(since.as_nanos()).ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> ContainerId {
        ContainerId::parse(text).unwrap()
    }

    #[test]
    fn a_sandbox_is_made_found_again_and_removed_with_all_in_it() {
        let work_dir = tempfile::tempdir().unwrap();
        let directory = Sandboxes::directory(work_dir.path());
        assert_eq!(Sandboxes::survey(&directory).unwrap(), []);
        assert_eq!(make(&directory, id("c1")), Input::SandboxMade { container: id("c1") });
        assert_eq!(make(&directory, id("c1")), Input::SandboxMade { container: id("c1") }, "it is there already");
        let outside = work_dir.path().join("outside");
        fs::write(&outside, "mine").unwrap();
        std::os::unix::fs::symlink(work_dir.path(), directory.join("c1/link")).unwrap();
        fs::create_dir(directory.join(".hidden")).unwrap();
        let found = Sandboxes::survey(&directory).unwrap();
        assert_eq!(found.len(), 1);
        assert!(found[0].0 == id("c1") && found[0].1 > 0);

        let (mailbox, _mail) = Mailbox::new();
        let sandboxes = Sandboxes::start(directory.clone(), mailbox).unwrap();
        sandboxes.remove(id("c1"));
        sandboxes.remove(id("never-there"));
        sandboxes.stop();
        assert_eq!(Sandboxes::survey(&directory).unwrap(), []);
        assert_eq!(fs::read(&outside).unwrap(), b"mine", "links are not followed");
    }

    #[test]
    fn a_sandbox_that_cannot_be_made_says_where_and_why() {
        let failed = make(Path::new("/dev/null"), id("c1"));
        let text = "cannot make the sandbox /dev/null/c1: Not a directory (os error 20)".to_owned();
        assert_eq!(failed, Input::SandboxFailed { container: id("c1"), text });
    }
}
