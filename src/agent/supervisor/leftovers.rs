//! Ends what is left of containers whose supervisor, or its record of them, is gone.
//!
//! A process is a container's if it is the recorded first one, carries the container's id in its environment, or descends
//! from such a process. This is for an agent that starts and finds containers in its own log that no supervisor has.
//! A supervisor whose folder was removed is ended first: no agent reaches it again, and it may be about to start one.

use std::{
    collections::BTreeMap, ffi::OsStr, io, os::unix::ffi::OsStrExt as _, os::unix::fs::MetadataExt as _, path::Path,
};

use super::{
    process::{self, Looked, Stat, unless_short},
    runtime::{CONTAINER_VARIABLE, Look, kill_all},
};
use crate::agent::core::{ContainerId, Leftover};

/// The variables that name a container to its processes: the task's own, and that of earlier builds.
const NAMES: [&str; 2] = ["MESOS_CONTAINER_ID", CONTAINER_VARIABLE];
/// How many generations are followed before a chain of parents counts as broken.
const MAX_GENERATIONS: usize = 1 << 15;

/// Kills all processes of these containers, and the supervisors below `work_dir` that no agent reaches; gives the containers
/// of which nothing is left.
///
/// # Errors
/// No descriptors or memory are left to look or to kill: something may still run.
pub(crate) fn end(work_dir: &Path, leftovers: &[Leftover]) -> io::Result<Vec<ContainerId>> {
    let supervisors = work_dir.join("supervisors");
    let supervisors = supervisors.canonicalize().unwrap_or(supervisors);
    if !kill_all(|_| Ok(Look { found: unreachable_supervisors(&supervisors)?, is_unsure: false }))? {
        return Ok(vec![]);
    }
    let look_again = |_| {
        let (left, is_unsure) = look(leftovers)?;
        Ok(Look { found: left.into_iter().map(|(stat, _)| stat).collect(), is_unsure })
    };
    let all_dead = kill_all(look_again)?;
    let left = if all_dead { vec![] } else { look(leftovers)?.0 };
    let has_left = |leftover: &&Leftover| left.iter().any(|(_, container)| *container == leftover.container);
    Ok(leftovers.iter().filter(|leftover| !has_left(leftover)).map(|leftover| leftover.container.clone()).collect())
}

/// The supervisors whose folders were below `supervisors` and were removed, and what they are just starting.
fn unreachable_supervisors(supervisors: &Path) -> io::Result<Vec<Stat>> {
    let mut found = Vec::new();
    for pid in pids()? {
        let arguments = process::arguments(pid)?.unwrap_or_default();
        if !serves_below(&arguments, supervisors) {
            continue;
        }
        let stands_in = unless_short(std::fs::metadata(format!("/proc/{pid}/cwd")))?;
        if stands_in.is_some_and(|folder| folder.nlink() == 0) {
            found.extend(Stat::read(pid)?.filter(|stat| stat.alive && stat.pid != std::process::id()));
        }
    }
    Ok(found)
}

/// Whether these are the arguments of a supervisor of a folder directly below `supervisors`.
fn serves_below(arguments: &[u8], supervisors: &Path) -> bool {
    let mut arguments = arguments.split(|byte| *byte == 0);
    let directory = arguments.by_ref().find(|it| *it == b"--directory").and_then(|_| arguments.next());
    directory.and_then(|path| Path::new(OsStr::from_bytes(path)).parent()) == Some(supervisors)
}

fn pids() -> io::Result<Vec<u32>> {
    let names = std::fs::read_dir("/proc")?.map(|entry| entry.map(|entry| entry.file_name()));
    names.filter_map(|name| name.map(|name| name.to_str()?.parse().ok()).transpose()).collect()
}

/// The living processes of these containers, and whether there may be others: of one in the midst of an exec it does not show
/// whose it is, and one that ended may have started another.
fn look(leftovers: &[Leftover]) -> io::Result<(Vec<(Stat, ContainerId)>, bool)> {
    let mut processes: BTreeMap<u32, (Stat, Option<ContainerId>)> = BTreeMap::new();
    let mut is_unsure = false;
    for pid in pids()? {
        let Some(Looked { stat, environment, is_changing }) = process::look(pid)? else {
            is_unsure = true;
            continue;
        };
        is_unsure |= is_changing;
        let container = leftovers.iter().find(|leftover| is_of(leftover, &stat, &environment));
        processes.insert(pid, (stat, container.map(|leftover| leftover.container.clone())));
    }
    let living = processes.values().map(|(stat, _)| stat).filter(|stat| stat.alive && stat.pid != std::process::id());
    Ok((living.filter_map(|stat| Some((*stat, owner(&processes, stat.pid)?))).collect(), is_unsure))
}

fn is_of(leftover: &Leftover, stat: &Stat, environ: &[u8]) -> bool {
    let is_first = leftover.process.is_some_and(|it| it.pid == stat.pid && it.start_time == stat.start_time);
    is_first || names(environ, &leftover.container)
}

fn names(environ: &[u8], container: &ContainerId) -> bool {
    let names = |variable: &[u8]| {
        let value = |name: &&str| variable.strip_prefix(name.as_bytes())?.strip_prefix(b"=");
        NAMES.iter().filter_map(value).any(|value| value == container.as_str().as_bytes())
    };
    environ.split(|byte| *byte == 0).any(names)
}

fn owner(processes: &BTreeMap<u32, (Stat, Option<ContainerId>)>, pid: u32) -> Option<ContainerId> {
    let mut at = pid;
    for _ in 0..MAX_GENERATIONS {
        match processes.get(&at)? {
            (_, Some(container)) => return Some(container.clone()),
            (stat, None) if stat.parent > 1 => at = stat.parent,
            (_, None) => return None,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::{os::unix::process::CommandExt as _, process::Command};

    use super::*;
    use crate::agent::core::Process;

    fn leftover(container: &str, process: Option<Process>) -> Leftover {
        Leftover { container: ContainerId::parse(container).unwrap(), process }
    }

    #[test]
    fn what_is_left_of_a_container_is_found_by_its_name_or_its_first_process_and_ended() {
        let named = format!("leftover-{}", std::process::id());
        let mut marked = Command::new("sh").args(["-c", "sleep 1000 & wait"]).env(NAMES[0], &named).spawn().unwrap();
        let mut recorded = Command::new("sleep").arg("1000").env_clear().spawn().unwrap();
        let mut other = Command::new("sleep").arg("1000").env(NAMES[0], "another").spawn().unwrap();
        let stat = Stat::read(recorded.id()).unwrap().unwrap();
        let process = Some(Process { pid: stat.pid, start_time: stat.start_time });
        let reused = Some(Process { pid: other.id(), start_time: 1 });
        let all = [leftover(&named, None), leftover("recorded", process), leftover("gone", reused)];
        let work_dir = tempfile::tempdir().unwrap();
        let ended = end(work_dir.path(), &all).unwrap();
        assert_eq!(ended.iter().map(ContainerId::as_str).collect::<Vec<_>>(), [&*named, "recorded", "gone"]);
        assert!(!marked.wait().unwrap().success() && !recorded.wait().unwrap().success());
        assert!(other.try_wait().unwrap().is_none(), "a process that has the number of an earlier one is another");
        other.kill().unwrap();
        other.wait().unwrap();
        assert!(look(&all).unwrap().0.is_empty());
    }

    #[test]
    fn a_supervisor_whose_folder_was_removed_is_ended_and_one_that_has_its_folder_is_not() {
        let work_dir = tempfile::tempdir().unwrap();
        let serve = |name: &str| {
            let folder = work_dir.path().canonicalize().unwrap().join("supervisors").join(name);
            std::fs::create_dir_all(&folder).unwrap();
            // Whatever it runs, its arguments and its folder are what names it.
            let mut supervisor = Command::new("sh");
            supervisor.arg0("supervisor").args(["-c", "read line", "--directory"]).arg(&folder).current_dir(&folder);
            supervisor.stdin(std::process::Stdio::piped());
            (supervisor.spawn().unwrap(), folder)
        };
        let ((mut removed, folder), (mut there, _)) = (serve("1"), serve("2"));
        std::fs::remove_dir_all(folder).unwrap();
        let ended = end(work_dir.path(), &[leftover("c-of-none", None)]).unwrap();
        assert_eq!(ended.len(), 1);
        assert!(!removed.wait().unwrap().success(), "it was killed");
        assert!(there.try_wait().unwrap().is_none());
        there.kill().unwrap();
        there.wait().unwrap();
    }
}
