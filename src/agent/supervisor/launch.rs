//! How an agent comes by its supervisors: starts one, finds those that lived on, or keeps one in this process.

use std::{
    ffi::OsString,
    fs::OpenOptions,
    io::{BufRead as _, BufReader},
    os::{fd::OwnedFd, unix::fs::OpenOptionsExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use tokio::sync::mpsc;

use super::{
    FromSupervisor, Link, SupervisorError,
    attend::{Session, attend, attend_heir},
    build,
    core::{Core, Life},
    directory::Directory,
    heir,
    journal::Journal,
};
use crate::agent::damage::{Kept, Recover};

/// Of our own environment, what a supervisor gets: how much it logs. Its containers get none of it.
const PASSED_ON: [&str; 2] = ["RUST_LOG", "RUST_BACKTRACE"];
/// How much of a log an error quotes, in lines.
const QUOTED_LINES: usize = 5;

/// How a supervisor is started.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The program whose `main` calls [`super::run`].
    pub program: PathBuf,
    /// Its arguments; `--directory DIRECTORY` follows them.
    pub arguments: Vec<OsString>,
    /// The agent's folder, below which the supervisor gets one of its own.
    pub work_dir: PathBuf,
}

impl Settings {
    /// Starts `program supervise --directory DIRECTORY`.
    #[must_use]
    pub fn new(program: impl Into<PathBuf>, work_dir: impl Into<PathBuf>) -> Self {
        Self { program: program.into(), arguments: vec!["supervise".into()], work_dir: work_dir.into() }
    }

    /// The same, which ends by itself when no agent came and nothing ran for so long; [`super::IDLE`] unless told.
    #[must_use]
    pub fn ending_idle_after(mut self, idle: Duration) -> Self {
        self.arguments.extend(["--idle-ms".into(), idle.as_millis().to_string().into()]);
        self
    }

    fn start(&self, directory: &Directory) -> Result<Child, SupervisorError> {
        let log = OpenOptions::new().create(true).append(true).mode(0o600).open(directory.log());
        let log = log.map_err(SupervisorError::directory("open", directory.log()))?;
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).arg("--directory").arg(directory.path()).env_clear();
        command.envs(PASSED_ON.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
        command.current_dir("/").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
        let mut child = command.spawn().map_err(|error| self.not_started(error.to_string()))?;
        let stdout = child.stdout.take().map(BufReader::new);
        let mut lines = stdout.into_iter().flat_map(BufReader::lines).map_while(Result::ok);
        if lines.any(|line| line == "ready") {
            return Ok(child);
        }
        let _ = child.kill();
        let ended = child.wait().map_or_else(|error| error.to_string(), |status| status.to_string());
        let log = std::fs::read_to_string(directory.log()).unwrap_or_default();
        let quoted: Vec<&str> = log.lines().rev().take(QUOTED_LINES).collect();
        let text = if quoted.is_empty() { ended } else { quoted.into_iter().rev().collect::<Vec<_>>().join("; ") };
        Err(self.not_started(text))
    }

    fn not_started(&self, text: String) -> SupervisorError {
        SupervisorError::NotStarted { program: self.program.clone(), text }
    }
}

/// Starts a supervisor as a process of its own. The first event it sends is its `Welcome`.
///
/// # Errors
/// Its folder cannot be made, or it does not come up.
pub async fn launch(settings: &Settings, events: mpsc::Sender<FromSupervisor>) -> Result<Link, SupervisorError> {
    let directory = Directory::create(&settings.work_dir)?;
    let started = {
        let (settings, directory) = (settings.clone(), directory.clone());
        tokio::task::spawn_blocking(move || settings.start(&directory)).await
    };
    let started = started.map_err(|panic| settings.not_started(panic.to_string())).flatten();
    let mut child = started.inspect_err(|_| directory.remove())?;
    match Session::connect(&directory).await {
        Ok(session) => {
            // While this process lives somebody has to take the supervisor's own exit status.
            let wait = thread::Builder::new().name("supervisor-wait".to_owned()).stack_size(64 << 10);
            let waiting = wait.spawn(move || drop(child.wait()));
            waiting.map_err(|error| settings.not_started(error.to_string()))?;
            Ok(attend(directory, session, events))
        }
        Err(error) => {
            let _ = child.kill().and_then(|()| child.wait());
            directory.remove();
            Err(error)
        }
    }
}

/// What becomes of the supervisors that an earlier agent left.
#[derive(Clone, Debug, Default)]
pub struct Earlier {
    /// What is done with those that live, and about damaged records.
    pub recover: Recover,
    /// The program that is started as a supervisor: one that lives and runs another file, as after an upgrade, is given
    /// no more containers.
    pub program: Option<PathBuf>,
}

/// The supervisors that an earlier agent left.
#[derive(Debug, Default)]
pub struct Reconnected {
    /// Oldest first.
    pub links: Vec<Link>,
    /// Journals of dead ones that could not be read to their end.
    pub damage: Vec<Kept>,
}

/// Why containers were lost that an agent ended for a clean start.
const CLEANED_UP: &str = "ended when the agent was started with --recover=cleanup";

/// Finds the supervisors that an earlier agent left below `work_dir`.
///
/// One that lives is connected to. Of one that is dead, what runs is killed, and its link serves its records: a
/// `Welcome` with every exit that was not forgotten, `lost` where nobody saw it; it takes no starts, and ends when all is
/// forgotten.
///
/// # Errors
/// A supervisor speaks another version, or its records cannot be read; under [`Recover::Strict`] also damage, and a
/// supervisor that lives but does not answer, and nothing was touched then.
pub async fn reconnect(
    work_dir: &Path,
    earlier: &Earlier,
    events: mpsc::Sender<FromSupervisor>,
) -> Result<Reconnected, SupervisorError> {
    let mut builds = vec![build::own()];
    builds.extend(earlier.program.as_deref().and_then(build::of));
    let (mut living, mut dead) = (Vec::new(), Vec::new());
    for directory in Directory::list(work_dir)? {
        match (look(&directory).await?, earlier.recover) {
            (Standing::Gone, _) => {}
            (Standing::Living(session), Recover::Reconnect | Recover::Strict) => living.push((directory, session)),
            (Standing::Living(session), Recover::Cleanup) => dead.push((directory, session.process())),
            (Standing::Silent(_, error), Recover::Strict) => return Err(SupervisorError::Silent(Box::new(error))),
            (Standing::Silent(process, error), Recover::Reconnect | Recover::Cleanup) => {
                tracing::error!(%error, "a supervisor lives but does not answer: it is killed");
                dead.push((directory, Some(process)));
            }
            (Standing::Dead, Recover::Strict) => match heir::inspect(&directory)? {
                Some(damage) => return Err(SupervisorError::Damaged(damage)),
                None => dead.push((directory, None)),
            },
            (Standing::Dead, Recover::Reconnect | Recover::Cleanup) => dead.push((directory, None)),
        }
    }
    let lost = (earlier.recover == Recover::Cleanup).then_some(CLEANED_UP);
    let mut found = Reconnected::default();
    for (directory, session) in living {
        let is_current = session.is_current(&builds);
        let link = attend(directory, session, events.clone());
        if !is_current {
            tracing::info!(supervisor = %link.id(), "a supervisor of another build goes on with what it has");
            link.take_no_more_starts();
        }
        found.links.push(link);
    }
    for (directory, process) in dead {
        if let Some(process) = process {
            heir::end(process).await;
        }
        let legacy = heir::inherit(&directory, lost).await?;
        found.damage.extend(legacy.damage);
        found.links.extend(legacy.session.map(|session| attend_heir(directory, session, events.clone())));
    }
    found.links.sort_by_key(|link| link.id().as_str().parse::<u64>().unwrap_or(u64::MAX));
    Ok(found)
}

/// How often, and how far apart, one is tried to be reached of which nothing is known but that it serves.
const ATTEMPTS: u32 = 500;
const PAUSE: Duration = Duration::from_millis(20);

/// How an agent finds a supervisor.
enum Standing {
    /// It ended in order just now, and took its folder along.
    Gone,
    Living(Session),
    /// It lives but does not answer, for this reason.
    Silent(OwnedFd, SupervisorError),
    Dead,
}

/// The folder says which process serves it, and its lock whether any does: a supervisor whose word on that is damaged is
/// not taken for dead.
async fn look(directory: &Directory) -> Result<Standing, SupervisorError> {
    let mut left = ATTEMPTS;
    loop {
        let process = heir::living(directory);
        if process.is_none() && !directory.is_served() {
            return Ok(if directory.exists() { Standing::Dead } else { Standing::Gone });
        }
        match (Session::connect(directory).await, process) {
            (Ok(session), _) => return Ok(Standing::Living(session)),
            (Err(error @ SupervisorError::Version(_)), _) => return Err(error),
            (Err(error), Some(process)) => {
                // One that is just ending has closed its door already, and still counts as alive.
                let Some(process) = heir::unless_it_ends(process).await else { continue };
                return Ok(Standing::Silent(process, error));
            }
            (Err(error), None) if left == 0 => return Err(error),
            // It is just coming up, or going.
            (Err(_), None) => tokio::time::sleep(PAUSE).await,
        }
        left -= 1;
    }
}

/// Keeps a supervisor in threads of this process, behind the same protocol. Its containers end with the last link to it.
///
/// The program around it stays as it is: its children are never waited for, orphans do not come to it, and nothing of
/// it is confined, so what a container starts may gain privileges where the program itself may, and gets descriptors that
/// the program has opened for its children. A descendant that has
/// left its parents *and* wiped its environment is not found when its container ends; a supervisor that is a process of
/// its own finds that one too.
///
/// # Errors
/// Its folder cannot be made, or no descriptors or threads are left.
pub async fn in_process(work_dir: &Path, events: mpsc::Sender<FromSupervisor>) -> Result<Link, SupervisorError> {
    let directory = Directory::create(work_dir)?;
    let lock = directory.lock()?;
    let journal =
        Journal::begin(&directory.journal()).map_err(SupervisorError::directory("open", directory.journal()))?;
    directory.claim()?;
    let core = Core::new(std::process::id(), build::own(), Life::Agents);
    let failed = |source| SupervisorError::Connection { id: directory.id(), source };
    let stream = heir::serve_in_thread(directory.clone(), core, journal, lock).map_err(failed)?;
    let stream = tokio::net::UnixStream::from_std(stream).map_err(failed)?;
    let session = Session::open(stream, &directory.id()).await?;
    Ok(attend(directory, session, events))
}
