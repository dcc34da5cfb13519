//! Starts a supervisor as a process, reconnects to running ones, or runs one in this process.

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
    journal::Journal,
    link_task::{LinkStart, spawn_link},
    probe::{Finding, Silence, probe},
    replay::{self, Origin, RecoveredJournal, ServiceGuards},
    session::Session,
    starting::StartingProcess,
};
use crate::agent::{
    damage::{Kept, Recover},
    watcher::Watcher,
};

/// How long a started supervisor may take until it accepts connections.
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

    /// Sets how long it stays without an agent and without a running container; [`super::IDLE`] by default.
    #[must_use]
    pub fn ending_idle_after(mut self, idle: Duration) -> Self {
        self.arguments.extend(["--idle-ms".into(), idle.as_millis().to_string().into()]);
        self
    }
}

/// Starts a supervisor as a process of its own. The first event it sends is its `Welcome`.
///
/// If this fails or is cancelled, the process is killed and its folder removed.
///
/// # Errors
/// Its folder cannot be created, or it is not ready within 10 seconds.
pub async fn launch(settings: &Settings, events: mpsc::Sender<FromSupervisor>) -> Result<Link, SupervisorError> {
    launch_within(settings, events, READY).await
}

/// As [`launch`], with another time limit.
pub(super) async fn launch_within(
    settings: &Settings,
    events: mpsc::Sender<FromSupervisor>,
    limit: Duration,
) -> Result<Link, SupervisorError> {
    let directory = Directory::create(&settings.work_dir)?;
    let not_started = |text| SupervisorError::NotStarted { program: settings.program.clone(), text };
    let started = {
        let (settings, directory) = (settings.clone(), directory.clone());
        // A caller that was cancelled meanwhile does not remove the folder any more.
        replay::spawn_thread(move || {
            StartingProcess::start(&settings, directory.clone()).inspect_err(|_| directory.remove())
        })
        .await
    };
    let started = started.map_err(|error| not_started(error.to_string())).flatten();
    let mut starting = started.inspect_err(|_| directory.remove())?;
    starting.wait_until_ready(limit).await.map_err(not_started)?;
    let session = Session::connect(&directory).await?;
    starting.detach();
    let builds = vec![session.build().to_owned()];
    Ok(spawn_link(directory, LinkStart::Connected(session), builds, events))
}

/// How to treat the supervisors that an earlier agent left.
#[derive(Clone, Debug, Default)]
pub struct Earlier {
    /// What to do with running supervisors and damaged records.
    pub recover: Recover,
    /// The program that is started as a supervisor. A running one of another file, as after an upgrade, gets no more
    /// containers.
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

/// Why containers are lost that an agent killed for a clean start.
const CLEANED_UP: &str = "ended when the agent was started with --recover=cleanup";

/// Finds the supervisors that an earlier agent left below `work_dir`.
///
/// The agent connects to one that answers. One that is silent is left alone: its link retries for ever, without taking
/// starts. The containers of a dead one are killed, and its link replays its records. That is a `Welcome` with every
/// exit that was not forgotten, `lost` where none was recorded; the link takes no starts, and ends when all is
/// forgotten. The processes named in a copied folder belong to the original: they are left alone.
///
/// # Errors
/// A supervisor speaks another version, or its records cannot be read. Under [`Recover::Strict`] also damage, and a
/// supervisor that runs but does not answer; nothing is changed then.
pub async fn reconnect(
    work_dir: &Path,
    earlier: &Earlier,
    events: mpsc::Sender<FromSupervisor>,
) -> Result<Reconnected, SupervisorError> {
    let mut builds = vec![build::own()];
    builds.extend(earlier.program.as_deref().and_then(build::of));
    let (mut living, mut dead, mut copies) = (Vec::new(), Vec::new(), Vec::new());
    for directory in Directory::list(work_dir)? {
        match (find_supervisor(&directory).await?, earlier.recover) {
            (Finding::Gone, _) => {}
            (Finding::Alive(session), Recover::Reconnect | Recover::Strict) => {
                living.push((directory, LinkStart::Connected(session)));
            }
            (Finding::Alive(session), Recover::Cleanup) => dead.push((directory, session.process())),
            (Finding::Silent(silence), Recover::Strict) => {
                return Err(SupervisorError::Silent(Box::new(silence.error)));
            }
            (Finding::Silent(silence), Recover::Reconnect) => {
                living.push((directory, LinkStart::Silent(silence.error.to_string())));
            }
            (Finding::Silent(Silence { process: None, error }), Recover::Cleanup) => return Err(error),
            (Finding::Silent(Silence { process, error }), Recover::Cleanup) => {
                tracing::warn!(%error, "a supervisor that does not answer is killed, as --recover=cleanup demands");
                dead.push((directory, process));
            }
            (Finding::Dead | Finding::Copy, Recover::Strict) if let Some(damage) = replay::find_damage(&directory)? => {
                return Err(SupervisorError::Damaged(damage));
            }
            (Finding::Dead, _) => dead.push((directory, None)),
            (Finding::Copy, _) => copies.push(directory),
        }
    }
    let lost = (earlier.recover == Recover::Cleanup).then_some(CLEANED_UP);
    let mut found = Reconnected::default();
    for (directory, start) in living {
        found.links.push(spawn_link(directory, start, builds.clone(), events.clone()));
    }
    for (directory, process) in dead {
        if let Some(process) = process {
            replay::kill_supervisor(process).await;
        }
        let recovered = replay::recover_journal(&directory, lost, Origin::Own).await?;
        found.add_replay(directory, recovered, &builds, &events);
    }
    for directory in copies {
        match replay::recover_journal(&directory, lost, Origin::Copied).await {
            Ok(recovered) => found.add_replay(directory, recovered, &builds, &events),
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
    fn add_replay(
        &mut self,
        directory: Directory,
        recovered: RecoveredJournal,
        builds: &[String],
        events: &mpsc::Sender<FromSupervisor>,
    ) {
        self.damage.extend(recovered.damage);
        let replayed = recovered.session.map(LinkStart::Replayed);
        self.links.extend(replayed.map(|it| spawn_link(directory, it, builds.to_vec(), events.clone())));
    }
}

/// How often, and how far apart, the agent tries to connect to a supervisor of which only the lock is known.
const ATTEMPTS: u32 = 500;
const PAUSE: Duration = Duration::from_millis(20);

/// Probes until the state of a supervisor is clear: it may be just starting or ending.
async fn find_supervisor(directory: &Directory) -> Result<Finding, SupervisorError> {
    for _ in 0..ATTEMPTS {
        match probe(directory).await? {
            Finding::Silent(Silence { process: Some(process), error }) => {
                // A supervisor that is just ending has closed its socket already, and still counts as alive.
                if let Some(process) = replay::wait_briefly(process).await {
                    // A running supervisor that does not hold this folder's lock holds another's.
                    let serves = directory.is_served()?;
                    let silent = Silence { process: Some(process), error };
                    return Ok(if serves { Finding::Silent(silent) } else { Finding::Copy });
                }
            }
            Finding::Silent(silence) if !silence.is_timeout() => tokio::time::sleep(PAUSE).await,
            finding => return Ok(finding),
        }
    }
    probe(directory).await
}

/// Runs a supervisor in threads of this process, behind the same protocol. Its containers end with the last link to it.
/// When the process is killed, a waiting shell kills them.
///
/// The embedding program is not affected: its children are never waited for, it does not adopt orphans, and it is not
/// confined. So a container may gain privileges where the program itself may. A descendant that has left its parents
/// *and* wiped its environment is not found when its container ends; a supervisor process finds that one too.
///
/// # Errors
/// Its folder cannot be created, or no descriptors or threads are left.
pub async fn in_process(work_dir: &Path, events: mpsc::Sender<FromSupervisor>) -> Result<Link, SupervisorError> {
    let directory = Directory::create(work_dir)?;
    let lock = directory.lock()?;
    let journal =
        Journal::begin(&directory.journal()).map_err(SupervisorError::directory("open", directory.journal()))?;
    let folder = directory.claim(false)?;
    let core = Core::new(std::process::id(), build::own(), Life::Agents).with_folder(folder.to_string());
    let failed = |source| SupervisorError::Connection { id: directory.id(), source };
    let marker_start = format!("{:016x}-", rand::random::<u64>());
    // The shell is started by a thread that may wait for it.
    let watcher = {
        let marker_start = marker_start.clone();
        replay::spawn_thread(move || Watcher::of_tasks(&marker_start)).await.flatten().map_err(failed)?
    };
    let core = core.with_marker_rng(StdRng::from_os_rng()).with_marker_start(marker_start);
    let guards = ServiceGuards { _lock: lock, _watcher: Some(watcher) };
    let stream = replay::serve_in_thread(directory.clone(), core, journal, guards).map_err(failed)?;
    let stream = tokio::net::UnixStream::from_std(stream).map_err(failed)?;
    let session = Session::open(stream, &directory.id()).await?;
    let builds = vec![build::own()];
    Ok(spawn_link(directory, LinkStart::InProcess(session), builds, events))
}
