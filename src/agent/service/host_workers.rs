//! Threads for slow work on the host: one creates sandboxes, one removes them, so that a large removal delays no
//! launch. A third kills the processes of containers that no supervisor has.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, UNIX_EPOCH};

use super::mail::{Mail, Mailbox};
use crate::agent::core::{ContainerId, Input, Leftover, Step};
use crate::agent::sandbox::{SandboxError, Sandboxes};
use crate::agent::supervisor::leftovers;

/// The most sandboxes created before they are reported to the core.
const BATCH: usize = 64;
/// How long the end of the agent waits for the work under way. The next agent removes the remaining sandboxes.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(3);
/// Between two attempts to kill or find leftover processes.
const AGAIN: Duration = Duration::from_secs(1);

/// The handles of the worker threads.
#[derive(Debug)]
pub(super) struct HostWorkers {
    make: Sender<Vec<(ContainerId, Step)>>,
    remove: Sender<Vec<ContainerId>>,
    end: Sender<Vec<Leftover>>,
    is_over: Arc<AtomicBool>,
    /// Closed when the last thread has ended.
    ended: Receiver<()>,
}

impl HostWorkers {
    /// All sandboxes on disk, each with the time of its last change in nanoseconds since the epoch.
    pub(super) fn list_sandboxes(sandboxes: &Sandboxes) -> Result<Vec<(ContainerId, i64)>, SandboxError> {
        let ids = sandboxes.list()?;
        let ids = ids.iter().filter_map(|id| ContainerId::parse(id));
        Ok(ids.map(|id| (id.clone(), changed_wall_ns(sandboxes, &id))).collect())
    }

    /// Starts the threads; the results are sent to `mailbox`.
    pub(super) fn start(sandboxes: &Sandboxes, mailbox: Mailbox) -> io::Result<Self> {
        // The numbers of containers and of retired sandboxes bound the queues.
        let ((make, to_make), (remove, to_remove), (end, to_end)) = (channel(), channel(), channel());
        let spawn = |name: &str| thread::Builder::new().name(name.to_owned());
        let (making, removing, mail) = (sandboxes.clone(), sandboxes.clone(), mailbox.clone());
        let work_dir = sandboxes.root().parent().unwrap_or_else(|| sandboxes.root()).to_owned();
        let (ending, ended) = channel::<()>();
        let (making_over, removing_over) = (ending.clone(), ending.clone());
        let is_over = Arc::new(AtomicBool::new(false));
        let (no_removals, no_searches) = (Arc::clone(&is_over), Arc::clone(&is_over));
        spawn("agent-sandboxes").spawn(move || {
            make_all(&making, &to_make, &mailbox);
            drop(making_over);
        })?;
        spawn("agent-removals").spawn(move || {
            remove_all(&removing, &to_remove, &no_removals);
            drop(removing_over);
        })?;
        spawn("agent-leftovers").spawn(move || {
            end_all(&work_dir, &to_end, &mail, &no_searches);
            drop(ending);
        })?;
        Ok(Self { make, remove, end, is_over, ended })
    }

    pub(super) fn provision(&self, steps: Vec<(ContainerId, Step)>) {
        if !steps.is_empty() {
            // An error means that the thread has ended: the agent is about to end.
            let _ = self.make.send(steps);
        }
    }

    /// Kills all processes of these containers; each container is reported when none is left.
    pub(super) fn end_leftovers(&self, leftovers: Vec<Leftover>) {
        let _ = self.end.send(leftovers);
    }

    pub(super) fn remove(&self, containers: Vec<ContainerId>) {
        if !containers.is_empty() {
            let _ = self.remove.send(containers);
        }
    }

    /// Finishes the work under way, for a limited time.
    pub(super) fn stop(self) {
        self.is_over.store(true, Ordering::Relaxed);
        drop((self.make, self.remove, self.end));
        if self.ended.recv_timeout(SHUTDOWN_TIMEOUT) == Err(RecvTimeoutError::Timeout) {
            tracing::warn!("sandboxes are still being removed while the agent ends: the next one removes the rest");
        }
    }
}

fn make_all(sandboxes: &Sandboxes, asked: &Receiver<Vec<(ContainerId, Step)>>, mailbox: &Mailbox) {
    for mut steps in asked {
        while !steps.is_empty() {
            let some = steps.drain(..steps.len().min(BATCH));
            let inputs = some.map(|(container, step)| provision(sandboxes, container, step)).collect();
            mailbox.blocking_send(Mail::Inputs(inputs));
        }
    }
}

fn provision(sandboxes: &Sandboxes, container: ContainerId, step: Step) -> Input {
    let done = match step {
        Step::Sandbox => sandboxes.create(container.as_str()),
    };
    match done {
        Ok(_) => Input::StepDone { container, step },
        Err(error) => {
            tracing::error!(%container, %error, "cannot {step}: its task fails");
            Input::StepFailed { container, step, text: error.to_string() }
        }
    }
}

/// Repeats the search until no process is left; only then is the end of a container reported.
fn end_all(work_dir: &Path, asked: &Receiver<Vec<Leftover>>, mailbox: &Mailbox, is_over: &AtomicBool) {
    let mut left: Vec<Leftover> = vec![];
    loop {
        let more = if left.is_empty() { asked.recv().map_err(|_closed| ()) } else { Ok(vec![]) };
        let Ok(more) = more else { return };
        left.extend(more.into_iter().chain(asked.try_iter().flatten()));
        if is_over.load(Ordering::Relaxed) {
            return;
        }
        match leftovers::end(work_dir, &left) {
            Ok(ended) => {
                left.retain(|leftover| !ended.contains(&leftover.container));
                mailbox.blocking_send(Mail::Inputs(vec![Input::LeftoversEnded { containers: ended }]));
            }
            Err(error) => tracing::error!(%error, "cannot look for what earlier containers left: trying again"),
        }
        if !left.is_empty() {
            thread::sleep(AGAIN);
        }
    }
}

fn remove_all(sandboxes: &Sandboxes, asked: &Receiver<Vec<ContainerId>>, is_over: &AtomicBool) {
    for container in asked.iter().flatten() {
        if is_over.load(Ordering::Relaxed) {
            return;
        }
        if let Err(error) = sandboxes.remove(container.as_str()) {
            tracing::warn!(%container, %error, "cannot remove a sandbox: it stays until the next agent removes it");
        }
    }
}

/// The time of a sandbox's last change; zero, which is long ago, if it is unknown.
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
    fn sandboxes_are_created_listed_and_removed() {
        let work_dir = tempfile::tempdir().unwrap();
        let sandboxes = Sandboxes::new(work_dir.path()).unwrap();
        let id = ContainerId::parse("c1").unwrap();
        let (mailbox, mut mail) = Mailbox::new();
        let workers = HostWorkers::start(&sandboxes, mailbox.clone()).unwrap();
        workers.provision(vec![(id.clone(), Step::Sandbox)]);
        let made = mail.blocking_recv().unwrap();
        let done = Input::StepDone { container: id.clone(), step: Step::Sandbox };
        assert!(matches!(&made, Mail::Inputs(it) if *it == [done.clone()]), "{made:?}");
        let found = HostWorkers::list_sandboxes(&sandboxes).unwrap();
        assert!(found.len() == 1 && found[0].0 == id && found[0].1 > 0, "{found:?}");

        workers.provision(vec![(id.clone(), Step::Sandbox)]);
        let failed = mail.blocking_recv().unwrap();
        assert!(matches!(&failed, Mail::Inputs(it) if matches!(it[0], Input::StepFailed { .. })), "{failed:?}");
        workers.remove(vec![id]);
        for _ in 0..1_000 {
            if HostWorkers::list_sandboxes(&sandboxes).unwrap().is_empty() {
                break;
            }
            thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(HostWorkers::list_sandboxes(&sandboxes).unwrap(), []);
        workers.stop();
    }
}
