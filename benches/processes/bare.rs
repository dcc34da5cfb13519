//! The baseline: the same processes, spawned and waited for on two threads without divvy.

use std::{
    fs::File,
    path::Path,
    process::{Command, Stdio},
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    thread,
};

use crate::Outcome;

/// Starts so many `true` and waits for each.
pub(crate) fn spawn_and_wait(tasks: usize) -> Outcome<()> {
    on_two_threads(tasks, |_| {
        Command::new("/bin/true").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status()?;
        Ok(())
    })
}

/// The same, each in a folder of its own below `parent` with files for its output, which are removed at the end.
pub(crate) fn with_sandboxes(tasks: usize, parent: &Path) -> Outcome<()> {
    on_two_threads(tasks, |number| {
        let sandbox = parent.join(format!("bare-{number}"));
        std::fs::create_dir(&sandbox)?;
        let (stdout, stderr) = (File::create(sandbox.join("stdout"))?, File::create(sandbox.join("stderr"))?);
        let mut command = Command::new("/bin/true");
        command.current_dir(&sandbox).stdin(Stdio::null()).stdout(stdout).stderr(stderr).status()?;
        std::fs::remove_dir_all(&sandbox)
    })
}

fn on_two_threads(tasks: usize, work: impl Fn(usize) -> std::io::Result<()> + Sync) -> Outcome<()> {
    let started = AtomicUsize::new(0);
    let worker = || -> std::io::Result<()> {
        loop {
            let number = started.fetch_add(1, Relaxed);
            if number >= tasks {
                return Ok(());
            }
            work(number)?;
        }
    };
    thread::scope(|scope| {
        let workers = [scope.spawn(worker), scope.spawn(worker)];
        workers
            .into_iter()
            .try_for_each(|worker| worker.join().map_err(|_panic| "a worker panicked")?.map_err(Into::into))
    })
}
