//! Ends what is left of containers whose supervisor, or its record of them, is gone.
//!
//! A process is a container's if it is the recorded first one, carries the container's id in its environment, or descends
//! from such a process. This is for an agent that starts and finds containers in its own log that no supervisor has.

use std::{collections::BTreeMap, io};

use super::{
    process::{Stat, unless_short},
    runtime::{CONTAINER_VARIABLE, Look, kill_all},
};
use crate::agent::core::{ContainerId, Leftover};

/// The variables that name a container to its processes: the task's own, and that of earlier builds.
const NAMES: [&str; 2] = ["MESOS_CONTAINER_ID", CONTAINER_VARIABLE];
/// How many generations are followed before a chain of parents counts as broken.
const MAX_GENERATIONS: usize = 1 << 15;

/// Kills all processes of these containers; gives the containers of which nothing is left.
///
/// # Errors
/// No descriptors or memory are left to look or to kill: something may still run.
pub(crate) fn end(leftovers: &[Leftover]) -> io::Result<Vec<ContainerId>> {
    let look_again = |_| {
        let found = look(leftovers)?.into_iter().map(|(stat, _)| stat).collect();
        Ok(Look { found, is_unsure: false })
    };
    let all_dead = kill_all(look_again)?;
    let left = if all_dead { vec![] } else { look(leftovers)? };
    let has_left = |leftover: &&Leftover| left.iter().any(|(_, container)| *container == leftover.container);
    Ok(leftovers.iter().filter(|leftover| !has_left(leftover)).map(|leftover| leftover.container.clone()).collect())
}

/// The living processes of these containers.
fn look(leftovers: &[Leftover]) -> io::Result<Vec<(Stat, ContainerId)>> {
    let mut processes: BTreeMap<u32, (Stat, Option<ContainerId>)> = BTreeMap::new();
    for entry in std::fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let Some(stat) = Stat::read(pid)? else { continue };
        let environ = unless_short(std::fs::read(format!("/proc/{pid}/environ")))?.unwrap_or_default();
        let container = leftovers.iter().find(|leftover| is_of(leftover, &stat, &environ));
        processes.insert(pid, (stat, container.map(|leftover| leftover.container.clone())));
    }
    let living = processes.values().map(|(stat, _)| stat).filter(|stat| stat.alive && stat.pid != std::process::id());
    Ok(living.filter_map(|stat| Some((*stat, owner(&processes, stat.pid)?))).collect())
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
    use std::process::Command;

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
        let ended = end(&all).unwrap();
        assert_eq!(ended.iter().map(ContainerId::as_str).collect::<Vec<_>>(), [&*named, "recorded", "gone"]);
        assert!(!marked.wait().unwrap().success() && !recorded.wait().unwrap().success());
        assert!(other.try_wait().unwrap().is_none(), "a process that has the number of an earlier one is another");
        other.kill().unwrap();
        other.wait().unwrap();
        assert!(look(&all).unwrap().is_empty());
    }
}
