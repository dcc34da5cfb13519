//! Recovers the journal of a dead supervisor: kills its containers, completes its records, and replays them.
//!
//! A record stays on disk until an agent has acknowledged the exit, even if agents die in between.

use std::{
    collections::BTreeMap,
    io,
    os::{fd::OwnedFd, unix::ffi::OsStrExt as _, unix::net::UnixStream},
    sync::Arc,
    thread,
    time::Duration,
};

use rustix::process::Signal;

use super::{
    SupervisorError,
    accept::Endpoint,
    core::{Core, Effect},
    directory::Directory,
    identity::Identity,
    journal::{Content, Journal},
    process::{self, Stat},
    runtime::{Known, Leader, Look, Survey, kill_all, markers},
    service,
    session::Session,
};
use crate::{
    agent::{
        damage::{self, Damage, Kept},
        watcher::Watcher,
    },
    proto::internal::{Started, SupervisorRecord, supervisor_record},
    transport::clock::Clock,
};

/// How long a supervisor that is just ending may take, in milliseconds.
const MOMENT_MS: i64 = 1_000;
/// The pause before a retry when no thread can be started.
const PAUSE: Duration = Duration::from_millis(100);
/// How long a killed supervisor may take to end, in milliseconds.
const END_MS: i64 = 10_000;
/// Why the containers of a copied folder are lost.
const COPIED: &str = "the agent was started on a copy of a work directory; its processes are the original's";
/// For threads that scan the host and read records.
const STACK_BYTES: usize = 512 << 10;

/// Opens the process that serves `directory`, if it is alive and not this one.
///
/// # Errors
/// No descriptors or memory are left.
pub(super) fn open_live_process(directory: &Directory) -> io::Result<Option<OwnedFd>> {
    let Some(identity) = directory.identity()? else { return Ok(None) };
    if identity.pid == std::process::id() { Ok(None) } else { identity.open() }
}

/// Kills a supervisor that does not answer.
pub(super) async fn kill_supervisor(supervisor: OwnedFd) {
    let kill = move || {
        let _ = process::signal(&supervisor, Signal::KILL);
        process::wait_all(&[supervisor], END_MS)
    };
    if !spawn_thread(kill).await.unwrap_or(false) {
        tracing::error!("a supervisor that does not answer cannot be killed either");
    }
}

/// Waits a moment for a supervisor to end. `None`: it ended, or no thread could wait; the caller retries.
pub(super) async fn wait_briefly(supervisor: OwnedFd) -> Option<OwnedFd> {
    let wait = move || (!process::wait_all(std::slice::from_ref(&supervisor), MOMENT_MS)).then_some(supervisor);
    if let Ok(left) = spawn_thread(wait).await {
        return left;
    }
    tokio::time::sleep(PAUSE).await;
    None
}

/// The recovered journal of a dead supervisor.
#[derive(Debug, Default)]
pub(super) struct RecoveredJournal {
    /// Replays its records; `None` when there are none.
    pub(super) session: Option<Session>,
    /// The damage in its journal, with the kept copy.
    pub(super) damage: Option<Kept>,
}

/// Which folder the processes in the records belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// The folder's own: they are killed.
    Own,
    /// Those of the folder that this is a copy of: they are left alone.
    Copied,
}

/// Recovers the records of a dead supervisor and replays them. Containers that ran are reported lost with reason
/// `lost`; if `None`, `its supervisor died`.
///
/// # Errors
/// The records cannot be read or replayed.
pub(super) async fn recover_journal(
    directory: &Directory,
    lost: Option<&'static str>,
    origin: Origin,
) -> Result<RecoveredJournal, SupervisorError> {
    let taken = {
        let directory = directory.clone();
        spawn_thread(move || take_over(directory, lost, origin)).await
    };
    let failed = |source| SupervisorError::Connection { id: directory.id(), source };
    let (stream, damage) = taken.map_err(failed)??;
    let Some(stream) = stream else { return Ok(RecoveredJournal { session: None, damage }) };
    let stream = tokio::net::UnixStream::from_std(stream).map_err(failed)?;
    let session = Session::open(stream, &directory.id()).await?;
    Ok(RecoveredJournal { session: Some(session), damage })
}

/// The damage in the records of a dead supervisor, if any.
///
/// # Errors
/// They cannot be read.
pub(super) fn find_damage(directory: &Directory) -> Result<Option<Damage>, SupervisorError> {
    Ok(read_journal(directory, host_restarted(directory)?)?.damage)
}

fn read_journal(directory: &Directory, restarted: bool) -> Result<Content, SupervisorError> {
    let content = Content::read(&directory.journal());
    let content = content.map_err(SupervisorError::directory("read", directory.journal()))?;
    Ok(if restarted { content.after_restart() } else { content })
}

/// Whether the host was restarted since the supervisor served.
fn host_restarted(directory: &Directory) -> Result<bool, SupervisorError> {
    let of_this_boot = |identity: Identity| identity.is_of_this_boot();
    let known = directory.identity().and_then(|identity| identity.map(of_this_boot).transpose());
    Ok(known.map_err(SupervisorError::directory("read who serves", directory.path()))? == Some(false))
}

type TakenOver = (Option<UnixStream>, Option<Kept>);

fn take_over(directory: Directory, lost: Option<&'static str>, origin: Origin) -> Result<TakenOver, SupervisorError> {
    let taken = match origin {
        Origin::Own => directory.lock(),
        Origin::Copied => directory.lock_at_once(),
    };
    let lock = match taken {
        // It ended in order meanwhile, and removed its folder.
        Err(_) if !directory.exists() => return Ok((None, None)),
        taken => taken?,
    };
    let path = directory.journal();
    let restarted = host_restarted(&directory)?;
    let content = read_journal(&directory, restarted)?;
    let content = if origin == Origin::Copied { content.needing_rewrite() } else { content };
    let (folder, name) = directory.damaged_journal_location();
    let keep =
        |damage| damage::keep(damage, folder, &name).map_err(SupervisorError::directory("keep a copy of", &path));
    let damage = content.damage.clone().map(keep).transpose()?;
    let mut journal = Journal::go_on(&path, &content).map_err(SupervisorError::directory("go on with", &path))?;
    let records = &content.records;
    let lost = match lost {
        _ if restarted => "the host was restarted",
        Some(lost) if origin == Origin::Own => lost,
        Some(_) | None if origin == Origin::Copied => COPIED,
        Some(_) | None if damage.is_some() => "its supervisor died, and its journal is damaged",
        Some(_) | None => "its supervisor died",
    };
    if origin == Origin::Own {
        let failed = SupervisorError::directory("look for what is left of", directory.path());
        kill_left(&directory, records).map_err(failed)?;
    }
    let mut effects = Vec::new();
    let core = Core::recover(std::process::id(), records, lost, Clock::system().now().wall_ns, &mut effects);
    for effect in &effects {
        if let Effect::Record(record) = effect {
            journal.append(record);
        }
    }
    journal.flush();
    if core.is_empty() {
        directory.remove();
        return Ok((None, damage));
    }
    let core = core.with_folder(directory.claim(false)?.to_string());
    let failed = SupervisorError::directory("serve", directory.path().to_owned());
    let guards = ServiceGuards { _lock: lock, _watcher: None };
    let stream = serve_in_thread(directory, core, journal, guards).map_err(failed)?;
    Ok((Some(stream), damage))
}

/// Held as long as a supervisor in this process serves.
#[derive(Debug)]
pub(super) struct ServiceGuards {
    pub(super) _lock: std::fs::File,
    /// Kills the processes of the containers when this process is killed.
    pub(super) _watcher: Option<Watcher>,
}

/// Serves `directory` in threads of this process; the result is the agent's end of the connection.
///
/// # Errors
/// No descriptors or threads are left.
pub(super) fn serve_in_thread(
    directory: Directory,
    core: Core,
    journal: Journal,
    guards: ServiceGuards,
) -> std::io::Result<UnixStream> {
    let (ours, theirs) = UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    thread::Builder::new().name("supervisor-reap".to_owned()).spawn(move || {
        if let Err(error) = service::serve(directory, core, journal, Endpoint::Stream(Arc::new(theirs)), None) {
            tracing::error!(%error, "a supervisor cannot serve");
        }
        drop(guards);
    })?;
    Ok(ours)
}

/// Kills all processes of a dead supervisor's containers.
///
/// A recorded process id is valid only within the same boot of the host. Processes are also recognized by the
/// supervisor's markers, and by a session of its own: between fork and exec a process has no marker yet. The processes
/// named in a copied folder belong to another supervisor and are left alone.
///
/// # Errors
/// No descriptors or memory are left: something may still run.
pub(super) fn kill_left(directory: &Directory, records: &[SupervisorRecord]) -> io::Result<()> {
    if directory.is_copy()? {
        return Ok(());
    }
    let folder = Some(directory.path().as_os_str().as_bytes().to_vec());
    let mut known = Known { markers: markers(records), folder, ..Known::default() };
    if let Some(identity) = directory.identity()?
        && identity.is_of_this_boot()?
    {
        known.firsts = live_first_processes(records)?;
        let Identity { pid, start_time, owns_session, .. } = identity;
        known.session = owns_session.then_some(Leader { pid, start_time });
    }
    let mut earlier = Survey::default();
    let look = |is_first| {
        let before = if is_first { Survey::default() } else { std::mem::take(&mut earlier) };
        earlier = before.again(|_| true)?;
        let found = earlier.owned(&known).into_iter().map(|(stat, _)| stat).collect();
        Ok(Look { found, is_unsure: earlier.is_unsure() })
    };
    if !kill_all(look)? {
        tracing::warn!(supervisor = %directory.id(), "processes are left that do not die");
    }
    Ok(())
}

/// As [`kill_left`], from an asynchronous task, with the records that can be read.
///
/// # Errors
/// No descriptors, memory or threads are left.
pub(super) async fn kill_left_in_thread(directory: &Directory) -> io::Result<()> {
    let directory = directory.clone();
    spawn_thread(move || {
        let content = Content::read(&directory.journal());
        kill_left(&directory, &content.map_or_else(|_| Vec::new(), |content| content.records))
    })
    .await?
}

/// Runs blocking work on a thread of its own.
///
/// # Errors
/// The thread cannot be started, or it panicked.
pub(super) async fn spawn_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    let (done, outcome) = tokio::sync::oneshot::channel();
    // If the caller was cancelled, the outcome is dropped.
    let body = move || drop(done.send(work()));
    thread::Builder::new().name("supervisor-task".to_owned()).stack_size(STACK_BYTES).spawn(body)?;
    outcome.await.map_err(|_panicked| io::Error::other("a thread panicked"))
}

/// The recorded first processes that are still alive.
fn live_first_processes(records: &[SupervisorRecord]) -> io::Result<BTreeMap<u32, String>> {
    let mut firsts = BTreeMap::new();
    for record in records {
        if let Some(supervisor_record::Kind::Started(Started { container_id, pid, start_time })) = &record.kind
            && Stat::read(*pid)?.is_some_and(|stat| stat.start_time == *start_time)
        {
            firsts.insert(*pid, container_id.clone());
        }
    }
    Ok(firsts)
}
