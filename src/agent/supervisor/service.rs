//! A supervisor at work: its threads, and the body of the process `divvy-agent supervise`.
//!
//! One thread decides (`core`) and writes the journal, two start processes, one hears of their ends, one sweeps what
//! they leave, two talk to the agent. The deciding thread waits for nothing but its mailbox: the others wait for it.

use std::{
    io::{self, Write as _},
    os::{
        fd::AsFd as _,
        unix::net::{UnixListener, UnixStream},
    },
    path::Path,
    process::ExitCode,
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread::{self, Scope},
    time::Duration,
};

use rustix::io::Errno;

use super::{
    SupervisorError, VERSIONS, build, connection,
    core::{Core, Input, Life},
    decider::{Decider, Mail},
    directory::Directory,
    harvest::Harvest,
    journal::Journal,
    live::{Key, Live},
    queue::Queue,
    spawn,
    sweep::{Job, Sweeper},
};
use crate::{
    agent::isolation,
    proto::{
        ext::VersionRange,
        internal::{Start, StartFailed},
    },
    transport::clock::Clock,
};

/// Threads that start processes: one alone is kept waiting by the kernel half of the time.
const SPAWNERS: usize = 2;
/// Starts that may wait before no more requests are read.
const MAX_WAITING_STARTS: usize = 1024;
/// Inputs that may wait; who has more waits.
const MAILBOX: usize = 4096;
/// Enough for what the threads do, and little for the many small hosts.
const STACK_BYTES: usize = 256 << 10;

/// How agents come to a service.
pub(super) enum Door {
    /// One after the other.
    Listener(UnixListener),
    /// One, and no other after it.
    Stream(UnixStream),
}

/// What the threads share.
pub(super) struct Shared {
    pub(super) directory: Directory,
    pub(super) live: Live,
    pub(super) starts: Queue<Start>,
    pub(super) sweeps: Queue<Job>,
    mail: SyncSender<Mail>,
    door: Door,
    clock: Clock,
    /// Whether orphans come to this process, and it may change its own limits.
    owns_process: bool,
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
    let harvest = Harvest::new().map_err(SupervisorError::directory("listen for ended children of", path))?;
    // A socket's path may have 107 bytes only; from within the folder any folder will do.
    std::env::set_current_dir(directory.path()).map_err(SupervisorError::directory("enter", path))?;
    let _ = std::fs::remove_file("socket");
    let listener = UnixListener::bind("socket").map_err(SupervisorError::directory("listen at the socket in", path))?;
    directory.claim()?;
    Ok(move || {
        // A thread that fails would leave containers that nobody looks after: end, and have them killed and reported.
        let report = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            report(panic);
            std::process::abort();
        }));
        announce();
        let core = Core::new(std::process::id(), build::own(), Life::Own).speaking(versions).ending_idle_after(idle);
        if let Err(error) = serve(directory, core, journal, Door::Listener(listener), Some(harvest)) {
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
/// `harvest` is that of a process which is all the supervisor's.
///
/// # Errors
/// No descriptors or threads are left; nothing was started.
pub(super) fn serve(
    directory: Directory,
    core: Core,
    journal: Journal,
    door: Door,
    mut harvest: Option<Harvest>,
) -> io::Result<()> {
    let (mail, mailbox) = sync_channel(MAILBOX);
    let live = Live::new()?;
    if let Some(harvest) = &harvest {
        live.also_wake_by(harvest.as_fd())?;
    }
    let shared = Shared {
        directory,
        live,
        starts: Queue::new(),
        sweeps: Queue::new(),
        mail,
        door,
        clock: Clock::system(),
        owns_process: harvest.is_some(),
    };
    thread::scope(|scope| {
        let decider = Decider::new(core, journal, &shared);
        let started = start_threads(scope, &shared, decider, mailbox);
        match started {
            Ok(()) => shared.reap(harvest.as_mut()),
            Err(_) => shared.stop(),
        }
        started
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
    spawn("sweep", Box::new(|| shared.sweep()))?;
    spawn("door", Box::new(|| shared.receive()))
}

impl Shared {
    /// Ends all threads but the deciding one.
    pub(super) fn stop(&self) {
        self.starts.close();
        self.sweeps.close();
        self.live.stop();
        if let Door::Listener(listener) = &self.door {
            let _ = rustix::net::shutdown(listener, rustix::net::Shutdown::Both);
        }
    }

    /// Hears of processes' ends. Without orphans there is nothing that an ended process could have left.
    fn reap(&self, mut harvest: Option<&mut Harvest>) {
        let (mut ended, mut go_on) = (Vec::new(), true);
        while go_on {
            go_on = self.live.wait(&mut ended);
            let orphans_exist = harvest.as_mut().is_none_or(|harvest| harvest.collect());
            for key in ended.drain(..) {
                if orphans_exist {
                    self.live.kill_group(key);
                    self.sweeps.extend([Job::Finish(key)]);
                } else {
                    self.finish(key);
                }
            }
        }
    }

    fn sweep(&self) {
        let reaper = self.owns_process.then(std::process::id);
        let supervisor = self.directory.path().as_os_str();
        Sweeper::new(&self.live, supervisor, reaper).run(&self.sweeps, |key| self.finish(key));
    }

    fn finish(&self, key: Key) {
        if let Some(exited) = self.live.reap(key, self.clock.now().wall_ns) {
            self.tell(Input::Ended(exited));
        }
    }

    fn start_processes(&self) {
        while let Some(start) = self.starts.pop() {
            self.live.begin();
            if let Err(failed) = self.start(&start) {
                self.live.abandon();
                self.tell(Input::SpawnFailed(failed));
            }
        }
    }

    fn start(&self, start: &Start) -> Result<(), StartFailed> {
        let supervisor = self.directory.path().as_os_str();
        let mut child = match spawn::spawn(start, supervisor) {
            Err(failed) if failed.errno == Errno::MFILE.raw_os_error() && self.more_files() => {
                spawn::spawn(start, supervisor)?
            }
            outcome => outcome?,
        };
        let entered = match self.live.enter(&start.container_id, child.id()) {
            Err(error) if Errno::from_io_error(&error) == Some(Errno::MFILE) && self.more_files() => {
                self.live.enter(&start.container_id, child.id())
            }
            outcome => outcome,
        };
        let (key, started) = entered.map_err(|error| {
            let _ = child.kill().and_then(|()| child.wait());
            spawn::failed(start, "watch the process".to_owned(), &error)
        })?;
        self.tell(Input::Spawned(started));
        if let Err(error) = self.live.arm(key) {
            tracing::error!(container = start.container_id, %error, "cannot watch a process: killed");
            self.live.kill_group(key);
            self.finish(key);
        }
        Ok(())
    }

    /// A supervisor that runs out of descriptors may have more; a program that it is only part of decides by itself.
    fn more_files(&self) -> bool {
        self.owns_process && isolation::raise_file_limit()
    }

    fn receive(&self) {
        match &self.door {
            Door::Listener(listener) => {
                listener.incoming().map_while(Result::ok).for_each(|stream| self.converse(&stream));
            }
            Door::Stream(stream) => self.converse(stream),
        }
    }

    fn converse(&self, stream: &UnixStream) {
        connection::serve(
            stream,
            |outbox| drop(self.mail.send(Mail::Attached(outbox))),
            |request| {
                self.starts.wait_below(MAX_WAITING_STARTS);
                self.tell(Input::Requested(request))
            },
            || {
                self.tell(Input::Detached);
            },
        );
    }

    /// False when nobody decides any more.
    fn tell(&self, input: Input) -> bool {
        self.mail.send(Mail::Input(input)).is_ok()
    }
}
