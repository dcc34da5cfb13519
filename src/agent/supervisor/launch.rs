//! How an agent comes by its supervisors: has one started, finds those that lived on, or keeps one in this process.

use std::{
    ffi::OsString,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::sync::mpsc;

use super::{
    FromSupervisor, Link, SupervisorError,
    attend::{Session, attend, attend_heir},
    build,
    core::{Core, Life},
    directory::Directory,
    fresh::Fresh,
    heir,
    journal::Journal,
};
use crate::agent::damage::{Kept, Recover};

/// How long a supervisor that was started may take until it can be connected to.
const READY: Duration = Duration::from_secs(10);

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
}

/// Starts a supervisor as a process of its own. The first event it sends is its `Welcome`.
///
/// Nothing is left of it when this fails, or is given up.
///
/// # Errors
/// Its folder cannot be made, or it does not come up within 10 seconds.
pub async fn launch(settings: &Settings, events: mpsc::Sender<FromSupervisor>) -> Result<Link, SupervisorError> {
    launch_within(settings, events, READY).await
}

/// The same within another time.
pub(super) async fn launch_within(
    settings: &Settings,
    events: mpsc::Sender<FromSupervisor>,
    limit: Duration,
) -> Result<Link, SupervisorError> {
    let directory = Directory::create(&settings.work_dir)?;
    let not_started = |text| SupervisorError::NotStarted { program: settings.program.clone(), text };
    let started = {
        let (settings, directory) = (settings.clone(), directory.clone());
        // Whoever gave the attempt up meanwhile does not remove it any more.
        heir::aside(move || Fresh::start(&settings, directory.clone()).inspect_err(|_| directory.remove())).await
    };
    let started = started.map_err(|error| not_started(error.to_string())).flatten();
    let mut fresh = started.inspect_err(|_| directory.remove())?;
    fresh.ready(limit).await.map_err(not_started)?;
    let session = Session::connect(&directory).await?;
    fresh.keep();
    Ok(attend(directory, session, events))
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
        let process = process.map_err(SupervisorError::directory("read who serves", directory.path()))?;
        if process.is_none() && !directory.is_served()? {
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
    directory.claim(false)?;
    let core = Core::new(std::process::id(), build::own(), Life::Agents);
    let failed = |source| SupervisorError::Connection { id: directory.id(), source };
    let stream = heir::serve_in_thread(directory.clone(), core, journal, lock).map_err(failed)?;
    let stream = tokio::net::UnixStream::from_std(stream).map_err(failed)?;
    let session = Session::open(stream, &directory.id()).await?;
    Ok(attend(directory, session, events))
}
