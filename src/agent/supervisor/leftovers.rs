//! Kills the leftovers of containers whose supervisor, or its record of them, is gone.
//!
//! A process belongs to a container if it is the recorded first one, carries the container's id in its environment, or
//! descends from such a process. An agent uses this when its own log has containers that no supervisor has. A
//! supervisor whose folder was removed is killed first: no agent can reach it, and it may be about to start a
//! container.

use std::{ffi::OsStr, io, os::unix::ffi::OsStrExt as _, os::unix::fs::MetadataExt as _, path::Path};

use super::{
    process::{self, Stat, none_unless_exhausted},
    runtime::{CONTAINER_VARIABLE, Look, Survey, kill_all, pids},
};
use crate::agent::core::{ContainerId, Leftover};

/// The variables that name a container to its processes: the task's own, and that of earlier builds.
const NAMES: [&str; 2] = ["MESOS_CONTAINER_ID", CONTAINER_VARIABLE];

/// Kills all processes of these containers, and the supervisors below `work_dir` that no agent can reach; returns the
/// containers of which nothing is left.
///
/// # Errors
/// No descriptors or memory are left to look or to kill: something may still run.
pub(crate) fn end(work_dir: &Path, leftovers: &[Leftover]) -> io::Result<Vec<ContainerId>> {
    let supervisors = work_dir.join("supervisors");
    let supervisors = supervisors.canonicalize().unwrap_or(supervisors);
    if !kill_all(|_| Ok(Look { found: unreachable_supervisors(&supervisors)?, is_unsure: false }))? {
        return Ok(vec![]);
    }
    let mut seen = Survey::default();
    kill_all(|is_first| {
        let before = if is_first { Survey::default() } else { std::mem::take(&mut seen) };
        seen = look_again(before, leftovers)?;
        Ok(Look { found: living(&seen).map(|(stat, _)| stat).collect(), is_unsure: seen.is_unsure() })
    })?;
    // Processes that do not die are still seen.
    let has_left = |leftover: &&Leftover| living(&seen).any(|(_, container)| *container == leftover.container);
    Ok(leftovers.iter().filter(|leftover| !has_left(leftover)).map(|leftover| leftover.container.clone()).collect())
}

/// Looks at every process, whether it is of one of these containers.
fn look_again(before: Survey<ContainerId>, leftovers: &[Leftover]) -> io::Result<Survey<ContainerId>> {
    let mark_of = |stat: &Stat, environ: &[u8]| {
        let leftover = leftovers.iter().find(|leftover| is_of(leftover, stat, environ))?;
        Some(leftover.container.clone())
    };
    before.look_again(|_| true, mark_of)
}

/// The living processes of containers that are looked for, but for this one: an agent may be started by a task.
fn living(seen: &Survey<ContainerId>) -> impl Iterator<Item = (Stat, &ContainerId)> {
    seen.marked().filter(|(stat, _)| stat.pid != std::process::id())
}

/// The supervisors whose folders were below `supervisors` and were removed, and what they are just starting.
fn unreachable_supervisors(supervisors: &Path) -> io::Result<Vec<Stat>> {
    let mut found = Vec::new();
    for pid in pids()? {
        let arguments = process::arguments(pid)?.unwrap_or_default();
        if !serves_below(&arguments, supervisors) {
            continue;
        }
        let stands_in = none_unless_exhausted(std::fs::metadata(format!("/proc/{pid}/cwd")))?;
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
        assert_eq!(living(&look_again(Survey::default(), &all).unwrap()).count(), 0);
    }

    #[test]
    fn processes_that_only_start_others_or_other_programs_are_ended() {
        let folder = tempfile::tempdir().unwrap();
        let named = |what: &str| format!("{what}-{}", std::process::id());
        let start = |what: &str, script: &str| {
            let path = folder.path().join(what);
            std::fs::write(&path, script).unwrap();
            Command::new("sh").arg(&path).env(NAMES[0], named(what)).process_group(0).spawn().unwrap()
        };
        let mut execs = start("execs", r#"exec sh "$0""#);
        let mut forks = start("forks", r#"sh "$0" & exit 0"#);
        let all = [leftover(&named("execs"), None), leftover(&named("forks"), None)];
        assert_eq!(end(folder.path(), &all).unwrap().len(), 2);
        assert!(!execs.wait().unwrap().success(), "it was killed");
        forks.wait().unwrap();
        assert_eq!(living(&look_again(Survey::default(), &all).unwrap()).count(), 0);
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
