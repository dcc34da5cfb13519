//! A supervisor at work: its threads, and the body of the process `divvy-agent supervise`.
//!
//! One thread decides (`core`) and writes the journal, two start processes, the runtime's look after them, one accepts
//! connections, one writes to them and a few read. The deciding thread waits for nothing but its mailbox,
//! and while it is busy a moment for more.

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
    SupervisorError, VERSIONS, build, connection,
    core::{Core, Input, Life},
    decider::{Decider, Mail},
    directory::Directory,
    door::{Connections, Door, READERS},
    journal::Journal,
    queue::Queue,
    runtime::{ContainerRuntime, ContainerSpec, OrphanReaper, SurveyRuntime},
};
use crate::{
    agent::isolation::{self, vfork::BlockedSignals},
    proto::ext::VersionRange,
};

/// Threads that start processes: one alone is kept waiting by the kernel half of the time.
const SPAWNERS: usize = 2;
/// How many a thread starts before it reports, while more are waiting.
const STARTED_AT_ONCE: usize = 8;
/// Batches of inputs that may wait; who has more waits.
const MAILBOX: usize = 4096;
/// How long is waited when descriptors or memory are short: others have to let go of some first.
pub(super) const SHORTAGE_PAUSE: Duration = Duration::from_millis(100);
/// Enough for what the threads do, and little for the many small hosts.
pub(super) const STACK_BYTES: usize = 256 << 10;

/// What the threads share.
pub(super) struct Shared {
    pub(super) directory: Directory,
    pub(super) runtime: SurveyRuntime,
    pub(super) starts: Queue<ContainerSpec>,
    pub(super) connections: Connections,
    mail: SyncSender<Mail>,
    pub(super) door: Door,
}

/// How long a supervisor without an agent and without a running container stays, unless told otherwise.
pub const IDLE: Duration = Duration::from_mins(10);

/// The body of `divvy-agent supervise --directory DIRECTORY`: serves until retired and empty, or until it was `idle` for
/// that long: without an agent, and without a container that runs. Ends that no agent has taken over stay on disk then.
///
/// Call it on the main thread, before there is any other, since orphans come to that one. It takes the whole process:
/// own session, no core dumps, no new privileges, all inherited by what it starts. Once it can be connected to it writes
/// a line `ready` to standard output; what goes wrong before that, it writes to standard error.
#[must_use]
pub fn run(directory: &Path, idle: Duration) -> ExitCode {
    run_speaking(directory, idle, VERSIONS)
}

/// The same, speaking these versions of the protocol.
pub(super) fn run_speaking(directory: &Path, idle: Duration, versions: VersionRange) -> ExitCode {
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
    let directory = Directory::at(path)?;
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
    let token = (versions.max >= 3).then(|| directory.draw_token()).transpose()?;
    let folder = directory.claim(isolation::leads_session())?;
    Ok(move || {
        // A thread that fails would leave containers that nobody looks after: end, and have them killed and reported.
        let report = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            report(panic);
            std::process::abort();
        }));
        announce();
        let core = Core::new(std::process::id(), build::own(), Life::Own).serving(folder.to_string());
        let core = core.speaking(versions).ending_idle_after(idle).drawing_from(StdRng::from_os_rng());
        if let Err(error) = serve(directory, core, journal, Door::Listener { listener, token }, Some(reaper)) {
            tracing::error!(%error, "the supervisor cannot serve");
        }
        drop(lock);
    })
}

fn announce() {
    let mut stdout = io::stdout();
    let _ = stdout.write_all(b"ready\n").and_then(|()| stdout.flush());
}

/// Serves `directory` on this thread until `core` ends, and removes the folder if nothing in it is of use any more.
/// `reaper` is that of a process which is all the supervisor's.
///
/// # Errors
/// No descriptors or threads are left; nothing was started.
pub(super) fn serve(
    directory: Directory,
    core: Core,
    journal: Journal,
    door: Door,
    reaper: Option<OrphanReaper>,
) -> io::Result<()> {
    let (mail, mailbox) = sync_channel(MAILBOX);
    let shared = Shared {
        directory,
        runtime: SurveyRuntime::new(reaper.is_some())?,
        starts: Queue::new(),
        connections: Connections::new(),
        mail,
        door,
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
    spawn("door", Box::new(|| shared.receive(scope)))
}

impl Shared {
    /// Ends all threads but the deciding one.
    pub(super) fn stop(&self) {
        self.starts.close();
        self.connections.close();
        self.runtime.stop();
        if let Door::Listener { listener, .. } = &self.door {
            let _ = rustix::net::shutdown(listener, rustix::net::Shutdown::Both);
        }
    }

    /// Starts what there is, several before anything is reported of them while more are waiting.
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

    /// A supervisor that runs out of descriptors may have more.
    pub(super) fn more_files(&self) -> bool {
        self.runtime.more_files()
    }

    /// Has the deciding thread know of what happened here.
    fn report(&self, inputs: Vec<Input>) {
        // One that has ended needs to know no more.
        let _ = self.post(Mail::Happened(inputs));
    }

    /// False when the deciding thread has ended.
    pub(super) fn post(&self, mail: Mail) -> bool {
        self.mail.send(mail).is_ok()
    }
}
