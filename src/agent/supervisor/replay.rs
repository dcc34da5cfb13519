//! Takes over what a dead supervisor leaves: kills its containers, completes its records, goes on serving them.
//!
//! Until an agent has taken every exit over and said so, the records stay, whoever dies in between.

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
    core::{Core, Effect},
    directory::Directory,
    door::Door,
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

/// How long one that says nothing any more may take to be gone, if it is just ending, in milliseconds.
const MOMENT_MS: i64 = 1_000;
/// How long is waited where there is no thread to be had.
const PAUSE: Duration = Duration::from_millis(100);
/// How long a supervisor that was killed may take to be gone, in milliseconds.
const END_MS: i64 = 10_000;
/// Why containers are lost whose records are those of another folder.
const COPIED: &str = "the agent was started on a copy of a work directory; its processes are the original's";
/// For threads that look at the host and at records.
const STACK_BYTES: usize = 512 << 10;

/// The process that serves `directory`, if it lives and is another than this.
///
/// # Errors
/// No descriptors or memory are left.
pub(super) fn living(directory: &Directory) -> io::Result<Option<OwnedFd>> {
    let Some(identity) = directory.identity()? else { return Ok(None) };
    if identity.pid == std::process::id() { Ok(None) } else { identity.open() }
}

/// Kills a supervisor that lives but does not answer.
pub(super) async fn end(supervisor: OwnedFd) {
    let kill = move || {
        let _ = process::signal(&supervisor, Signal::KILL);
        process::wait_all(&[supervisor], END_MS)
    };
    if !spawn_thread(kill).await.unwrap_or(false) {
        tracing::error!("a supervisor that does not answer cannot be killed either");
    }
}

/// The process, unless it ends within a moment.
pub(super) async fn wait_briefly(supervisor: OwnedFd) -> Option<OwnedFd> {
    let wait = move || (!process::wait_all(std::slice::from_ref(&supervisor), MOMENT_MS)).then_some(supervisor);
    if let Ok(left) = spawn_thread(wait).await {
        return left;
    }
    // Nobody can wait for it: it is looked at again.
    tokio::time::sleep(PAUSE).await;
    None
}

/// What a dead supervisor left.
#[derive(Debug, Default)]
pub(super) struct Legacy {
    /// Serves its records; nothing when there is nothing to tell of it.
    pub(super) session: Option<Session>,
    /// What of its journal could not be read.
    pub(super) damage: Option<Kept>,
}

/// Whose processes the records of a folder name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// The folder's own: they are killed.
    Own,
    /// Those of the folder that this is a copy of: they are left alone.
    Copied,
}

/// Takes over the records of a dead supervisor. What ran is said to have been lost because of `lost`, if that is more
/// than its death.
///
/// # Errors
/// The records cannot be read, or not be served.
pub(super) async fn inherit(
    directory: &Directory,
    lost: Option<&'static str>,
    origin: Origin,
) -> Result<Legacy, SupervisorError> {
    let taken = {
        let directory = directory.clone();
        spawn_thread(move || take_over(directory, lost, origin)).await
    };
    let failed = |source| SupervisorError::Connection { id: directory.id(), source };
    let (stream, damage) = taken.map_err(failed)??;
    let Some(stream) = stream else { return Ok(Legacy { session: None, damage }) };
    let stream = tokio::net::UnixStream::from_std(stream).map_err(failed)?;
    let session = Session::open(stream, &directory.id()).await?;
    Ok(Legacy { session: Some(session), damage })
}

/// What is wrong with the records of a dead supervisor, if anything.
///
/// # Errors
/// They cannot be read.
pub(super) fn inspect(directory: &Directory) -> Result<Option<Damage>, SupervisorError> {
    Ok(content(directory, host_restarted(directory)?)?.damage)
}

fn content(directory: &Directory, restarted: bool) -> Result<Content, SupervisorError> {
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
        // It ended in order meanwhile, and took its folder along.
        Err(_) if !directory.exists() => return Ok((None, None)),
        taken => taken?,
    };
    let path = directory.journal();
    let restarted = host_restarted(&directory)?;
    let content = content(&directory, restarted)?;
    let content = if origin == Origin::Copied { content.written_anew() } else { content };
    let (folder, name) = directory.journal_aside();
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
    let core = core.serving(directory.claim(false)?.to_string());
    let failed = SupervisorError::directory("serve", directory.path().to_owned());
    let held = Held { _lock: lock, _watcher: None };
    let stream = serve_in_thread(directory, core, journal, held).map_err(failed)?;
    Ok((Some(stream), damage))
}

/// What is held as long as a supervisor in this process serves.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) _lock: std::fs::File,
    /// Ends what the containers run when this process is killed.
    pub(super) _watcher: Option<Watcher>,
}

/// Serves `directory` in threads of this process; the other end of the result is the door.
///
/// # Errors
/// No descriptors or threads are left.
pub(super) fn serve_in_thread(
    directory: Directory,
    core: Core,
    journal: Journal,
    held: Held,
) -> std::io::Result<UnixStream> {
    let (ours, theirs) = UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    thread::Builder::new().name("supervisor-reap".to_owned()).spawn(move || {
        if let Err(error) = service::serve(directory, core, journal, Door::Stream(Arc::new(theirs)), None) {
            tracing::error!(%error, "a supervisor cannot serve");
        }
        drop(held);
    })?;
    Ok(ours)
}

/// Kills all that still runs of a dead supervisor's containers. By its number a process is known only within the boot
/// of the host that the number was given in; what carries the supervisor's marker is known anyway, and so is what is in
/// a session that was the supervisor's own: it has no marker yet between its fork and its exec. What a copied folder
/// names is another's and left alone.
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
        known.firsts = firsts(records)?;
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

/// The same from an asynchronous task, with what can be read of the supervisor's records.
///
/// # Errors
/// No descriptors, memory or threads are left.
pub(super) async fn clear(directory: &Directory) -> io::Result<()> {
    let directory = directory.clone();
    spawn_thread(move || {
        let content = Content::read(&directory.journal());
        kill_left(&directory, &content.map_or_else(|_| Vec::new(), |content| content.records))
    })
    .await?
}

/// Has a thread of its own do something that may block.
///
/// # Errors
/// There is no thread to be had, or it panicked.
pub(super) async fn spawn_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    let (done, outcome) = tokio::sync::oneshot::channel();
    // Whoever asked may have gone away; then the outcome is dropped.
    let body = move || drop(done.send(work()));
    thread::Builder::new().name("supervisor-task".to_owned()).stack_size(STACK_BYTES).spawn(body)?;
    outcome.await.map_err(|_panicked| io::Error::other("a thread panicked"))
}

/// The first processes that still live, as far as records tell.
fn firsts(records: &[SupervisorRecord]) -> io::Result<BTreeMap<u32, String>> {
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
