//! Takes over what a dead supervisor leaves: kills its containers, completes its records, goes on serving them.
//!
//! Until an agent has taken every exit over and said so, the records stay, whoever dies in between.

use std::{
    collections::BTreeMap,
    os::{fd::OwnedFd, unix::ffi::OsStrExt as _, unix::net::UnixStream},
    thread,
};

use rustix::process::Signal;

use super::{
    SupervisorError,
    attend::Session,
    core::{Core, Effect},
    directory::{Directory, Identity},
    journal::{Content, Journal},
    process::{self, Stat},
    service::{self, Door},
    survey::{Owner, Survey},
};
use crate::{
    agent::damage::{self, Damage, Kept},
    proto::internal::{Started, SupervisorRecord, supervisor_record},
    transport::clock::Clock,
};

/// How often the host is looked over for processes that are left.
const MAX_ROUNDS: u32 = 200;
/// How long a round waits for those it killed, in milliseconds.
const ROUND_MS: i64 = 50;
/// How long one that says nothing any more may take to be gone, if it is just ending, in milliseconds.
const MOMENT_MS: i64 = 1_000;
/// How long a supervisor that was killed may take to be gone, in milliseconds.
const END_MS: i64 = 10_000;

/// The process that serves `directory`, if it lives and is another than this.
pub(super) fn living(directory: &Directory) -> Option<OwnedFd> {
    let identity = directory.identity()?;
    if identity.pid == std::process::id() { None } else { identity.open() }
}

/// Kills a supervisor that lives but does not answer.
pub(super) async fn end(supervisor: OwnedFd) {
    let kill = move || {
        let _ = process::signal(&supervisor, Signal::KILL);
        process::wait_all(&[supervisor], END_MS)
    };
    if !tokio::task::spawn_blocking(kill).await.unwrap_or(false) {
        tracing::error!("a supervisor that does not answer cannot be killed either");
    }
}

/// The process, unless it ends within a moment.
pub(super) async fn unless_it_ends(supervisor: OwnedFd) -> Option<OwnedFd> {
    let wait = move || (!process::wait_all(std::slice::from_ref(&supervisor), MOMENT_MS)).then_some(supervisor);
    tokio::task::spawn_blocking(wait).await.ok().flatten()
}

/// What a dead supervisor left.
#[derive(Debug, Default)]
pub(super) struct Legacy {
    /// Serves its records; nothing when there is nothing to tell of it.
    pub(super) session: Option<Session>,
    /// What of its journal could not be read.
    pub(super) damage: Option<Kept>,
}

/// Takes over the records of a dead supervisor. What ran is said to have been lost because of `lost`, if that is more
/// than its death.
///
/// # Errors
/// The records cannot be read, or not be served.
pub(super) async fn inherit(directory: &Directory, lost: Option<&'static str>) -> Result<Legacy, SupervisorError> {
    let taken = {
        let directory = directory.clone();
        tokio::task::spawn_blocking(move || take_over(directory, lost)).await
    };
    let failed = |source| SupervisorError::Connection { id: directory.id(), source };
    let (stream, damage) = taken.map_err(|panic| failed(panic.into()))??;
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
    let content = Content::read(&directory.journal());
    Ok(content.map_err(SupervisorError::directory("read", directory.journal()))?.damage)
}

type TakenOver = (Option<UnixStream>, Option<Kept>);

fn take_over(directory: Directory, lost: Option<&'static str>) -> Result<TakenOver, SupervisorError> {
    let lock = match directory.lock() {
        // It ended in order meanwhile, and took its folder along.
        Err(_) if !directory.exists() => return Ok((None, None)),
        taken => taken?,
    };
    let path = directory.journal();
    let content = Content::read(&path).map_err(SupervisorError::directory("read", &path))?;
    let (folder, name) = directory.journal_aside();
    let keep =
        |damage| damage::keep(damage, folder, &name).map_err(SupervisorError::directory("keep a copy of", &path));
    let damage = content.damage.clone().map(keep).transpose()?;
    let mut journal = Journal::go_on(&path, &content).map_err(SupervisorError::directory("go on with", &path))?;
    let records = &content.records;
    let lost = match (directory.identity(), lost) {
        (Some(identity), _) if !identity.is_of_this_boot() => "the host was restarted",
        (Some(Identity { .. }) | None, Some(lost)) => lost,
        (Some(Identity { .. }) | None, None) if damage.is_some() => "its supervisor died, and its journal is damaged",
        (Some(Identity { .. }) | None, None) => "its supervisor died",
    };
    kill_left(&directory, records);
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
    directory.claim()?;
    let failed = SupervisorError::directory("serve", directory.path().to_owned());
    let stream = serve_in_thread(directory, core, journal, lock).map_err(failed)?;
    Ok((Some(stream), damage))
}

/// Serves `directory` in threads of this process; the other end of the result is the door.
///
/// # Errors
/// No descriptors or threads are left.
pub(super) fn serve_in_thread(
    directory: Directory,
    core: Core,
    journal: Journal,
    lock: std::fs::File,
) -> std::io::Result<UnixStream> {
    let (ours, theirs) = UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    thread::Builder::new().name("supervisor-reap".to_owned()).spawn(move || {
        if let Err(error) = service::serve(directory, core, journal, Door::Stream(theirs), None) {
            tracing::error!(%error, "a supervisor cannot serve");
        }
        drop(lock);
    })?;
    Ok(ours)
}

/// Kills all that still runs of a dead supervisor's containers. By its number a process is known only within the boot
/// of the host that the number was given in; what carries the supervisor's marker is known anyway.
pub(super) fn kill_left(directory: &Directory, records: &[SupervisorRecord]) {
    let is_of_this_boot = directory.identity().is_some_and(|identity| identity.is_of_this_boot());
    let firsts = if is_of_this_boot { firsts(records) } else { BTreeMap::new() };
    for _ in 0..MAX_ROUNDS {
        let survey = Survey::take(directory.path().as_os_str().as_bytes());
        let owned = survey.owned(&firsts, None);
        let left = owned.iter().filter(|(_, owner)| matches!(owner, Owner::Container(_)));
        let left: Vec<OwnedFd> = left.filter_map(|(stat, _)| process::open(stat.pid, stat.start_time)).collect();
        if left.is_empty() {
            return;
        }
        for descriptor in &left {
            let _ = process::signal(descriptor, Signal::KILL);
        }
        process::wait_all(&left, ROUND_MS);
    }
    tracing::warn!(supervisor = %directory.id(), "processes are left that do not die");
}

/// The first processes that still live, as far as records tell.
fn firsts(records: &[SupervisorRecord]) -> BTreeMap<u32, String> {
    let mut firsts = BTreeMap::new();
    for record in records {
        if let Some(supervisor_record::Kind::Started(Started { container_id, pid, start_time })) = &record.kind
            && Stat::read(*pid).is_some_and(|stat| stat.start_time == *start_time)
        {
            firsts.insert(*pid, container_id.clone());
        }
    }
    firsts
}
