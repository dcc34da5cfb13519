//! Makes and removes sandboxes, on two threads so that a large removal holds up no launch.

use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::UNIX_EPOCH;

use super::mail::{Mail, Mailbox};
use crate::agent::core::{ContainerId, Input};
use crate::agent::sandbox::{SandboxError, Sandboxes};

/// The most sandboxes made before the core hears of them.
const BATCH: usize = 64;

/// The threads that make and remove.
#[derive(Debug)]
pub(super) struct Housekeeping {
    make: Sender<ContainerId>,
    remove: Sender<ContainerId>,
    threads: Vec<JoinHandle<()>>,
}

impl Housekeeping {
    /// Which sandboxes are there, each with the time of its last change in nanoseconds since the epoch.
    pub(super) fn survey(sandboxes: &Sandboxes) -> Result<Vec<(ContainerId, i64)>, SandboxError> {
        let ids = sandboxes.list()?;
        let ids = ids.iter().filter_map(|id| ContainerId::parse(id));
        Ok(ids.map(|id| (id.clone(), changed_wall_ns(sandboxes, &id))).collect())
    }

    /// Starts the threads; what was made or could not be is told to `mailbox`.
    pub(super) fn start(sandboxes: &Sandboxes, mailbox: Mailbox) -> io::Result<Self> {
        // Both queues are as long as there are tasks or retired sandboxes at most.
        let ((make, to_make), (remove, to_remove)) = (channel(), channel());
        let spawn = |name: &str| thread::Builder::new().name(name.to_owned());
        let (making, removing) = (sandboxes.clone(), sandboxes.clone());
        let threads = vec![
            spawn("agent-sandboxes").spawn(move || make_all(&making, &to_make, &mailbox))?,
            spawn("agent-removals").spawn(move || remove_all(&removing, &to_remove))?,
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

fn make_all(sandboxes: &Sandboxes, asked: &Receiver<ContainerId>, mailbox: &Mailbox) {
    while let Ok(first) = asked.recv() {
        let more = asked.try_iter().take(BATCH - 1);
        let inputs = std::iter::once(first).chain(more).map(|container| make(sandboxes, container)).collect();
        mailbox.blocking_send(Mail::Inputs(inputs));
    }
}

fn make(sandboxes: &Sandboxes, container: ContainerId) -> Input {
    match sandboxes.create(container.as_str()) {
        Ok(_) => Input::SandboxMade { container },
        Err(error) => Input::SandboxFailed { container, text: error.to_string() },
    }
}

fn remove_all(sandboxes: &Sandboxes, asked: &Receiver<ContainerId>) {
    for container in asked {
        if let Err(error) = sandboxes.remove(container.as_str()) {
            tracing::warn!(%container, %error, "a sandbox stays");
        }
    }
}

/// Zero, which is long ago, where it cannot be told.
fn changed_wall_ns(sandboxes: &Sandboxes, id: &ContainerId) -> i64 {
    let metadata = sandboxes.path(id.as_str()).ok().and_then(|path| path.symlink_metadata().ok());
    let changed = metadata.and_then(|metadata| metadata.modified().ok());
    let since = changed.and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    since.and_then(|since| i64::try_from(since.as_nanos()).ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sandboxes_are_made_found_again_and_removed() {
        let work_dir = tempfile::tempdir().unwrap();
        let sandboxes = Sandboxes::new(work_dir.path()).unwrap();
        let id = ContainerId::parse("c1").unwrap();
        let (mailbox, mut mail) = Mailbox::new();
        let housekeeping = Housekeeping::start(&sandboxes, mailbox.clone()).unwrap();
        housekeeping.make(id.clone());
        let made = mail.blocking_recv().unwrap();
        assert!(matches!(&made, Mail::Inputs(it) if *it == [Input::SandboxMade { container: id.clone() }]), "{made:?}");
        let found = Housekeeping::survey(&sandboxes).unwrap();
        assert!(found.len() == 1 && found[0].0 == id && found[0].1 > 0, "{found:?}");

        housekeeping.make(id.clone());
        let failed = mail.blocking_recv().unwrap();
        assert!(matches!(&failed, Mail::Inputs(it) if matches!(it[0], Input::SandboxFailed { .. })), "{failed:?}");
        housekeeping.remove(id);
        housekeeping.stop();
        assert_eq!(Housekeeping::survey(&sandboxes).unwrap(), []);
    }
}
