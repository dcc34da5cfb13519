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
    journal::Journal,
    process::{self, Stat},
    service::{self, Door},
    survey::{Owner, Survey},
};
use crate::{
    proto::internal::{Started, SupervisorRecord, supervisor_record},
    transport::clock::Clock,
};

/// How often the host is looked over for processes that are left.
const MAX_ROUNDS: u32 = 200;
/// How long a round waits for those it killed, in milliseconds.
const ROUND_MS: i64 = 50;
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

/// Takes over the records of a dead supervisor; nothing when there is nothing to tell of it.
///
/// # Errors
/// The records cannot be read, or not be served.
pub(super) async fn inherit(directory: &Directory) -> Result<Option<Session>, SupervisorError> {
    let taken = {
        let directory = directory.clone();
        tokio::task::spawn_blocking(move || take_over(directory)).await
    };
    let failed = |source| SupervisorError::Connection { id: directory.id(), source };
    let Some(stream) = taken.map_err(|panic| failed(panic.into()))?? else { return Ok(None) };
    let stream = tokio::net::UnixStream::from_std(stream).map_err(failed)?;
    Session::open(stream, &directory.id()).await.map(Some)
}

fn take_over(directory: Directory) -> Result<Option<UnixStream>, SupervisorError> {
    let lock = directory.lock()?;
    let (mut journal, records) =
        Journal::open(&directory.journal()).map_err(SupervisorError::directory("open", directory.journal()))?;
    let lost = match directory.identity() {
        Some(identity) if !identity.is_of_this_boot() => "the host was restarted",
        Some(Identity { .. }) | None => "its supervisor died",
    };
    kill_left(&directory, &records);
    let mut effects = Vec::new();
    let core = Core::recover(std::process::id(), &records, lost, Clock::system().now().wall_ns, &mut effects);
    for effect in &effects {
        if let Effect::Record(record) = effect {
            journal.append(record);
        }
    }
    journal.flush();
    if core.is_empty() {
        directory.remove();
        return Ok(None);
    }
    directory.claim()?;
    let failed = SupervisorError::directory("serve", directory.path().to_owned());
    serve_in_thread(directory, core, journal, lock).map(Some).map_err(failed)
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

/// Kills all that still runs of a dead supervisor's containers.
pub(super) fn kill_left(directory: &Directory, records: &[SupervisorRecord]) {
    let firsts = firsts(records);
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
