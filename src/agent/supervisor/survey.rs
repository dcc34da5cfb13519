//! Which processes belong to which container, as far as the host tells.
//!
//! A process belongs to the container whose first process it descends from. One whose parents are gone is known by the
//! marker that every container has in its environment, and so are its descendants. Under a supervisor of its own
//! process, orphans become the supervisor's children: one that has wiped its environment as well is a *stray*, known to
//! be some container's but not whose. A survey is a moment's view: repeat it until it shows nothing more.

use std::collections::BTreeMap;

use super::{CONTAINER_VARIABLE, SUPERVISOR_VARIABLE, process::Stat};

/// How many generations are followed before a chain of parents counts as broken.
const MAX_GENERATIONS: usize = 1 << 15;

/// Whose a process is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    Container(String),
    Stray,
    Foreign,
}

/// All processes of the host at one moment.
#[derive(Debug, Default)]
pub(super) struct Survey {
    processes: BTreeMap<u32, (Stat, Option<String>)>,
}

impl Survey {
    /// Looks at every process. Markers count if they name `supervisor`.
    pub(super) fn take(supervisor: &[u8]) -> Self {
        let processes = pids().filter_map(|pid| {
            let marker = marker(pid, supervisor);
            Some((pid, (Stat::read(pid)?, marker)))
        });
        Self { processes: processes.collect() }
    }

    /// The living processes that are not foreign, each with its owner. `firsts` are the first processes of containers;
    /// `reaper` is the process that orphans come to, if it is the supervisor's own.
    pub(super) fn owned(&self, firsts: &BTreeMap<u32, String>, reaper: Option<u32>) -> Vec<(Stat, Owner)> {
        let living = self.processes.values().map(|(stat, _)| stat).filter(|stat| stat.alive);
        let owners = living.map(|stat| (*stat, self.owner(stat.pid, firsts, reaper)));
        owners.filter(|(_, owner)| *owner != Owner::Foreign).collect()
    }

    fn owner(&self, pid: u32, firsts: &BTreeMap<u32, String>, reaper: Option<u32>) -> Owner {
        let mut at = pid;
        for _ in 0..MAX_GENERATIONS {
            if let Some(container) = firsts.get(&at) {
                return Owner::Container(container.clone());
            }
            match self.processes.get(&at) {
                Some((_, Some(marker))) => return Owner::Container(marker.clone()),
                Some((stat, None)) if Some(stat.parent) == reaper => return Owner::Stray,
                Some((stat, None)) if stat.parent > 1 => at = stat.parent,
                Some(_) | None => return Owner::Foreign,
            }
        }
        Owner::Foreign
    }
}

/// The processes that carry a marker of `supervisor`, with the container's id. Much cheaper than a survey.
pub(super) fn marked(supervisor: &[u8]) -> Vec<(u32, String)> {
    pids().filter_map(|pid| Some((pid, marker(pid, supervisor)?))).collect()
}

fn pids() -> impl Iterator<Item = u32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn marker(pid: u32, supervisor: &[u8]) -> Option<String> {
    parse(&std::fs::read(format!("/proc/{pid}/environ")).ok()?, supervisor)
}

pub(super) fn parse(environ: &[u8], supervisor: &[u8]) -> Option<String> {
    let value = |name: &str| {
        let mut variables = environ.split(|byte| *byte == 0);
        variables.find_map(|it| it.strip_prefix(name.as_bytes())?.strip_prefix(b"="))
    };
    if value(SUPERVISOR_VARIABLE)? != supervisor {
        return None;
    }
    String::from_utf8(value(CONTAINER_VARIABLE)?.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Processes as (pid, parent, marker); the supervisor is process 10.
    fn survey(processes: &[(u32, u32, Option<&str>)]) -> Survey {
        let processes = processes.iter().map(|&(pid, parent, marker)| {
            let stat = Stat { pid, parent, group: pid, start_time: 0, alive: true };
            (pid, (stat, marker.map(str::to_owned)))
        });
        Survey { processes: processes.collect() }
    }

    fn owned(survey: &Survey, firsts: &[(u32, &str)], reaper: Option<u32>) -> Vec<(u32, Owner)> {
        let firsts = firsts.iter().map(|(pid, id)| (*pid, (*id).to_owned())).collect();
        survey.owned(&firsts, reaper).into_iter().map(|(stat, owner)| (stat.pid, owner)).collect()
    }

    fn of(container: &str) -> Owner {
        Owner::Container(container.to_owned())
    }

    #[test]
    fn descendants_belong_to_the_container_even_without_a_marker() {
        let survey = survey(&[(10, 1, None), (20, 10, Some("a")), (30, 20, None), (40, 30, None), (50, 1, None)]);
        assert_eq!(owned(&survey, &[(20, "a")], Some(10)), [(20, of("a")), (30, of("a")), (40, of("a"))]);
    }

    #[test]
    fn an_orphan_is_known_by_its_marker_and_brings_its_children() {
        let survey = survey(&[(10, 1, None), (30, 1, Some("a")), (40, 30, None)]);
        assert_eq!(owned(&survey, &[], None), [(30, of("a")), (40, of("a"))]);
    }

    #[test]
    fn an_orphan_without_a_marker_is_a_stray_of_a_supervisor_that_reaps() {
        let survey = survey(&[(10, 1, None), (30, 10, None), (40, 30, None), (50, 10, Some("b"))]);
        assert_eq!(owned(&survey, &[], Some(10)), [(30, Owner::Stray), (40, Owner::Stray), (50, of("b"))]);
        assert_eq!(owned(&survey, &[], None), [(50, of("b"))], "children of an embedding program are its own");
    }

    #[test]
    fn a_container_nested_in_another_is_not_part_of_it() {
        let survey = survey(&[(20, 10, Some("a")), (30, 10, Some("b"))]);
        assert_eq!(owned(&survey, &[(20, "a"), (30, "b")], Some(10)), [(20, of("a")), (30, of("b"))]);
    }

    #[test]
    fn a_marker_of_another_supervisor_does_not_count() {
        let environ = b"A=1\0DIVVY_CONTAINER_ID=c\0DIVVY_SUPERVISOR=/work/supervisors/1\0";
        assert_eq!(parse(environ, b"/work/supervisors/1"), Some("c".to_owned()));
        assert_eq!(parse(environ, b"/work/supervisors/2"), None);
        assert_eq!(parse(b"DIVVY_CONTAINER_ID=c\0", b"/work/supervisors/1"), None);
    }
}
