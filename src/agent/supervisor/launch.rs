//! How an agent comes by its supervisors: has one started, finds those that lived on, or keeps one in this process.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    time::Duration,
};

use rand::{SeedableRng as _, rngs::StdRng};
use tokio::sync::mpsc;

use super::{
    FromSupervisor, Link, SupervisorError, build,
    core::{Core, Life},
    directory::Directory,
    fresh::Fresh,
    journal::Journal,
    link_task::{Beginning, attend},
    look::{Finding, Silence, look},
    replay::{self, Held, Legacy, Origin},
    session::Session,
};
use crate::agent::{
    damage::{Kept, Recover},
    watcher::Watcher,
};

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
        replay::spawn_thread(move || Fresh::start(&settings, directory.clone()).inspect_err(|_| directory.remove()))
            .await
    };
    let started = started.map_err(|error| not_started(error.to_string())).flatten();
    let mut fresh = started.inspect_err(|_| directory.remove())?;
    fresh.ready(limit).await.map_err(not_started)?;
    let session = Session::connect(&directory).await?;
    fresh.keep();
    let builds = vec![session.build().to_owned()];
    Ok(attend(directory, Beginning::Greeted(session), builds, events))
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
/// One that lives is connected to. One that is silent is left alone, and its link tries again for as long as it takes,
/// without taking starts. Of one that is dead, what runs is killed, and its link serves its records: a `Welcome` with
/// every exit that was not forgotten, `lost` where none was recorded; it takes no starts, and ends when all is forgotten.
/// Processes that a folder names which is a copy belong to the original: they are left alone.
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
    let (mut living, mut dead, mut copies) = (Vec::new(), Vec::new(), Vec::new());
    for directory in Directory::list(work_dir)? {
        match (find(&directory).await?, earlier.recover) {
            (Finding::Gone, _) => {}
            (Finding::Living(session), Recover::Reconnect | Recover::Strict) => {
                living.push((directory, Beginning::Greeted(session)));
            }
            (Finding::Living(session), Recover::Cleanup) => dead.push((directory, session.process())),
            (Finding::Silent(silence), Recover::Strict) => {
                return Err(SupervisorError::Silent(Box::new(silence.error)));
            }
            (Finding::Silent(silence), Recover::Reconnect) => {
                living.push((directory, Beginning::Silent(silence.error.to_string())));
            }
            (Finding::Silent(Silence { process: None, error }), Recover::Cleanup) => return Err(error),
            (Finding::Silent(Silence { process, error }), Recover::Cleanup) => {
                tracing::warn!(%error, "a supervisor that does not answer is killed, as --recover=cleanup demands");
                dead.push((directory, process));
            }
            (Finding::Dead | Finding::Copy, Recover::Strict) if let Some(damage) = replay::inspect(&directory)? => {
                return Err(SupervisorError::Damaged(damage));
            }
            (Finding::Dead, _) => dead.push((directory, None)),
            (Finding::Copy, _) => copies.push(directory),
        }
    }
    let lost = (earlier.recover == Recover::Cleanup).then_some(CLEANED_UP);
    let mut found = Reconnected::default();
    for (directory, beginning) in living {
        found.links.push(attend(directory, beginning, builds.clone(), events.clone()));
    }
    for (directory, process) in dead {
        if let Some(process) = process {
            replay::end(process).await;
        }
        let legacy = replay::inherit(&directory, lost, Origin::Own).await?;
        found.take_in(directory, legacy, &builds, &events);
    }
    for directory in copies {
        match replay::inherit(&directory, lost, Origin::Copied).await {
            Ok(legacy) => found.take_in(directory, legacy, &builds, &events),
            // A copy by hard links has the original's lock.
            Err(error) => {
                tracing::error!(%error, supervisor = %directory.id(), "a copied folder of a supervisor is left alone");
            }
        }
    }
    found.links.sort_by_key(|link| link.id().as_str().parse::<u64>().unwrap_or(u64::MAX));
    Ok(found)
}

impl Reconnected {
    fn take_in(
        &mut self,
        directory: Directory,
        left: Legacy,
        builds: &[String],
        events: &mpsc::Sender<FromSupervisor>,
    ) {
        self.damage.extend(left.damage);
        let replayed = left.session.map(Beginning::Replayed);
        self.links.extend(replayed.map(|it| attend(directory, it, builds.to_vec(), events.clone())));
    }
}

/// How often, and how far apart, one is tried to be reached of which nothing is known but that it serves.
const ATTEMPTS: u32 = 500;
const PAUSE: Duration = Duration::from_millis(20);

/// Looks until it is clear how a supervisor is found: one may be just coming up or going.
async fn find(directory: &Directory) -> Result<Finding, SupervisorError> {
    for _ in 0..ATTEMPTS {
        match look(directory).await? {
            Finding::Silent(Silence { process: Some(process), error }) => {
                // One that is just ending has closed its door already, and still counts as alive.
                if let Some(process) = replay::wait_briefly(process).await {
                    // One that lives and does not hold this folder's lock holds another's.
                    let serves = directory.is_served()?;
                    let silent = Silence { process: Some(process), error };
                    return Ok(if serves { Finding::Silent(silent) } else { Finding::Copy });
                }
            }
            Finding::Silent(silence) if !silence.is_timeout() => tokio::time::sleep(PAUSE).await,
            finding => return Ok(finding),
        }
    }
    look(directory).await
}

/// Keeps a supervisor in threads of this process, behind the same protocol. Its containers end with the last link to it.
/// When the process is killed, a shell that was waiting for that kills them.
///
/// The program around it stays as it is: its children are never waited for, orphans do not come to it, and nothing of
/// it is confined, so what a container starts may gain privileges where the program itself may. A descendant that has
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
    let folder = directory.claim(false)?;
    let core = Core::new(std::process::id(), build::own(), Life::Agents).serving(folder.to_string());
    let failed = |source| SupervisorError::Connection { id: directory.id(), source };
    let marker_start = format!("{:016x}-", rand::random::<u64>());
    // The shell is started by a thread that may wait for it.
    let watcher = {
        let marker_start = marker_start.clone();
        replay::spawn_thread(move || Watcher::of_tasks(&marker_start)).await.flatten().map_err(failed)?
    };
    let core = core.drawing_from(StdRng::from_os_rng()).marking(marker_start);
    let held = Held { _lock: lock, _watcher: Some(watcher) };
    let stream = replay::serve_in_thread(directory.clone(), core, journal, held).map_err(failed)?;
    let stream = tokio::net::UnixStream::from_std(stream).map_err(failed)?;
    let session = Session::open(stream, &directory.id()).await?;
    let builds = vec![build::own()];
    Ok(attend(directory, Beginning::Within(session), builds, events))
}
