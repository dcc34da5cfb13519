//! The threads of a supervisor, and the body of the process `divvy-agent supervise`.
//!
//! The core thread runs the state machine and writes the journal. Two threads start processes, those of the runtime
//! watch them, one accepts connections, one writes to them and a few read. The core thread waits for its mailbox only,
//! and under load a moment for a larger batch.

use std::{
    io::{self, Write as _},
    os::unix::net::UnixListener,
    path::Path,
    process::ExitCode,
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread::{self, Scope},
    time::Duration,
};

use rand::{SeedableRng as _, rngs::StdRng};

use super::{
    SupervisorError, VERSIONS,
    accept::{Connections, Endpoint, READERS},
    build, connection,
    core::{Core, Input, Life},
    decider::{Decider, Mail},
    directory::Directory,
    journal::Journal,
    queue::Queue,
    runtime::{ContainerRuntime, ContainerSpec, OrphanReaper, SurveyRuntime},
};
use crate::{
    agent::isolation::{self, vfork::BlockedSignals},
    proto::ext::VersionRange,
};

/// Threads that start processes: a single one waits for the kernel half of the time.
const SPAWNERS: usize = 2;
/// How many a thread starts before it reports them, while more are queued.
const STARTED_AT_ONCE: usize = 8;
/// How many batches of inputs may be queued; then senders wait.
const MAILBOX: usize = 4096;
/// The pause before a retry when descriptors or memory are short.
pub(super) const SHORTAGE_PAUSE: Duration = Duration::from_millis(100);
/// Enough for the threads, and little enough for small hosts.
pub(super) const STACK_BYTES: usize = 256 << 10;

/// The state that the threads share.
pub(super) struct Shared {
    pub(super) directory: Directory,
    pub(super) runtime: SurveyRuntime,
    pub(super) starts: Queue<ContainerSpec>,
    pub(super) connections: Connections,
    mail: SyncSender<Mail>,
    pub(super) endpoint: Endpoint,
}

/// How long a supervisor stays without an agent and without a running container, by default.
pub const IDLE: Duration = Duration::from_mins(10);

/// The body of `divvy-agent supervise --directory DIRECTORY`: serves until it is retired and empty, or until it was
/// without an agent and without a running container for `idle`. Unacknowledged exits stay on disk then.
///
/// Call it on the main thread, before there is any other, since that one adopts orphans. It changes the whole process:
/// own session, no core dumps, no new privileges, all inherited by what it starts. Once it accepts connections it
/// writes a line `ready` to standard output; it writes earlier errors to standard error.
#[must_use]
pub fn run(directory: &Path, idle: Duration) -> ExitCode {
    run_with_versions(directory, idle, VERSIONS)
}

/// As [`run`], with these versions of the protocol.
pub(super) fn run_with_versions(directory: &Path, idle: Duration, versions: VersionRange) -> ExitCode {
    match prepare(directory, idle, versions) {
        Ok(service) => {
            service();
            ExitCode::SUCCESS
        }
        Err(error) => {
            let _ = writeln!(io::stderr(), "{error}");
            ExitCode::FAILURE
        }
    }
}

fn prepare(path: &Path, idle: Duration, versions: VersionRange) -> Result<impl FnOnce() + use<>, SupervisorError> {
    let directory = Directory::open(path)?;
    isolation::harden_supervisor().map_err(SupervisorError::directory("confine the supervisor of", path))?;
    let lock = directory.lock()?;
    let journal =
        Journal::begin(&directory.journal()).map_err(SupervisorError::directory("open", directory.journal()))?;
    let reaper = OrphanReaper::new().map_err(SupervisorError::directory("listen for ended children of", path))?;
    // A socket's path may have 107 bytes only; from within the folder any folder will do.
    std::env::set_current_dir(directory.path()).map_err(SupervisorError::directory("enter", path))?;
    let _ = std::fs::remove_file("socket");
    let listener = UnixListener::bind("socket").map_err(SupervisorError::directory("listen at the socket in", path))?;
    // A supervisor before version 3 has none.
    let token = (versions.max >= 3).then(|| directory.create_token()).transpose()?;
    let folder = directory.claim(isolation::leads_session())?;
    Ok(move || {
        // If one thread panics, the process aborts, so that the agent kills and reports its containers.
        let report = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            report(panic);
            std::process::abort();
        }));
        announce_ready();
        let core = Core::new(std::process::id(), build::own(), Life::Own).with_folder(folder.to_string());
        let core = core.with_versions(versions).with_idle_timeout(idle).with_marker_rng(StdRng::from_os_rng());
        if let Err(error) = serve(directory, core, journal, Endpoint::Listener { listener, token }, Some(reaper)) {
            tracing::error!(%error, "the supervisor cannot serve");
        }
        drop(lock);
    })
}

fn announce_ready() {
    let mut stdout = io::stdout();
    let _ = stdout.write_all(b"ready\n").and_then(|()| stdout.flush());
}

/// Serves `directory` on this thread until `core` ends, and removes the folder if no exit is left in it. `reaper` is
/// given in a process of the supervisor's own.
///
/// # Errors
/// No descriptors or threads are left; nothing was started.
pub(super) fn serve(
    directory: Directory,
    core: Core,
    journal: Journal,
    endpoint: Endpoint,
    reaper: Option<OrphanReaper>,
) -> io::Result<()> {
    let (mail, mailbox) = sync_channel(MAILBOX);
    let shared = Shared {
        directory,
        runtime: SurveyRuntime::new(reaper.is_some())?,
        starts: Queue::new(),
        connections: Connections::new(),
        mail,
        endpoint,
    };
    thread::scope(|scope| {
        let decider = Decider::new(core, journal, &shared);
        let served = start_threads(scope, &shared, decider, mailbox).and_then(|()| {
            shared.runtime.exits(reaper, &|exits| shared.report(exits.into_iter().map(Input::Ended).collect()))
        });
        if served.is_err() {
            shared.stop();
        }
        served
    })
}

fn start_threads<'scope>(
    scope: &'scope Scope<'scope, '_>,
    shared: &'scope Shared,
    decider: Decider<'scope>,
    mailbox: Receiver<Mail>,
) -> io::Result<()> {
    let spawn = |name: &str, body: Box<dyn FnOnce() + Send + 'scope>| {
        let thread = thread::Builder::new().name(format!("supervisor-{name}")).stack_size(STACK_BYTES);
        thread.spawn_scoped(scope, body).map(drop)
    };
    spawn("core", Box::new(move || decider.run(&mailbox)))?;
    for _ in 0..SPAWNERS {
        spawn("spawn", Box::new(|| shared.start_processes()))?;
    }
    for _ in 0..READERS {
        spawn("read", Box::new(|| shared.read_connections()))?;
    }
    spawn("write", Box::new(|| connection::write_all(&shared.connections.writers)))?;
    spawn("accept", Box::new(|| shared.accept_connections(scope)))
}

impl Shared {
    /// Ends all threads but the core thread.
    pub(super) fn stop(&self) {
        self.starts.close();
        self.connections.close();
        self.runtime.stop();
        if let Endpoint::Listener { listener, .. } = &self.endpoint {
            let _ = rustix::net::shutdown(listener, rustix::net::Shutdown::Both);
        }
    }

    /// Starts queued containers; while more are queued, several before their outcomes are reported.
    fn start_processes(&self) {
        let _blocked = BlockedSignals::hold();
        while let Some(specs) = self.starts.pop_some(STARTED_AT_ONCE) {
            self.runtime.start(&specs, &mut |outcomes| {
                let input = |outcome| match outcome {
                    Ok(started) => Input::Spawned(started),
                    Err(failed) => Input::SpawnFailed(failed),
                };
                self.report(outcomes.into_iter().map(input).collect());
            });
        }
    }

    /// Raises the limit of open files, if this process may.
    pub(super) fn more_files(&self) -> bool {
        self.runtime.more_files()
    }

    /// Sends inputs to the core thread.
    fn report(&self, inputs: Vec<Input>) {
        // It may have ended.
        let _ = self.post(Mail::Happened(inputs));
    }

    /// Sends mail to the core thread; false when it has ended.
    pub(super) fn post(&self, mail: Mail) -> bool {
        self.mail.send(mail).is_ok()
    }
}
