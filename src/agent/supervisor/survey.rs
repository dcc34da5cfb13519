//! Which processes belong to which container, as far as the host tells.
//!
//! A process belongs to the container whose first process it descends from. One whose parents are gone is known by the
//! marker that every container has in its environment, and so are its descendants. Under a supervisor of its own
//! process, orphans become the supervisor's children: one that has wiped its environment as well is a *stray*, known to
//! be some container's but not whose. A survey is a moment's view: repeat it until it shows nothing more.

use std::{collections::BTreeMap, io, time::Duration};

use super::{
    CONTAINER_VARIABLE, SUPERVISOR_VARIABLE,
    process::{Stat, unless_short},
};

/// How many generations are followed before a chain of parents counts as broken.
const MAX_GENERATIONS: usize = 1 << 15;
/// The parent of all threads of the kernel.
const KERNEL_THREADS: u32 = 2;
/// In the midst of an exec a process shows an empty environment; after so many looks it has none.
const MAX_LOOKS: u32 = 4;
const BETWEEN_LOOKS: Duration = Duration::from_millis(1);

/// Whose a process is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    Container(String),
    Stray,
    Foreign,
}

/// What names processes as containers' besides their markers.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    /// The first processes of containers.
    pub(super) firsts: BTreeMap<u32, String>,
    /// The process that orphans come to, if it is the supervisor's own.
    pub(super) reaper: Option<u32>,
    /// The dead supervisor that led a session of its own: whatever is in it was started by it or by its containers.
    pub(super) session: Option<Leader>,
}

/// A process that led a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Leader {
    pub(super) pid: u32,
    pub(super) start_time: u64,
}

/// All processes of the host at one moment.
#[derive(Debug, Default)]
pub(super) struct Survey {
    processes: BTreeMap<u32, (Stat, Option<String>)>,
}

impl Survey {
    /// Looks at every process. Markers count if they name `supervisor`.
    ///
    /// # Errors
    /// Not every process could be looked at: what was not seen may be there.
    pub(super) fn take(supervisor: &[u8]) -> io::Result<Self> {
        let mut processes = BTreeMap::new();
        for (pid, marker) in markers(supervisor)? {
            processes.extend(Stat::read(pid)?.map(|stat| (pid, (stat, marker))));
        }
        Ok(Self { processes })
    }

    /// The living processes that are not foreign, each with its owner.
    pub(super) fn owned(&self, known: &Known) -> Vec<(Stat, Owner)> {
        let leader = known.session.filter(|leader| self.is_free_or_of(*leader));
        let living = self.processes.values().map(|(stat, _)| stat).filter(|stat| stat.alive);
        let owners = living.map(|stat| (*stat, self.owner(stat.pid, known, leader)));
        owners.filter(|(_, owner)| *owner != Owner::Foreign).collect()
    }

    /// A number stays taken as long as a session bears it. One that another process has now was free before, so of the
    /// leader's session nobody is left.
    fn is_free_or_of(&self, leader: Leader) -> bool {
        self.processes.get(&leader.pid).is_none_or(|(stat, _)| stat.start_time == leader.start_time)
    }

    fn owner(&self, pid: u32, known: &Known, leader: Option<Leader>) -> Owner {
        let is_led = |stat: &Stat| {
            leader.is_some_and(|it| stat.session == it.pid && stat.pid != it.pid && stat.start_time >= it.start_time)
        };
        let mut at = pid;
        for _ in 0..MAX_GENERATIONS {
            if let Some(container) = known.firsts.get(&at) {
                return Owner::Container(container.clone());
            }
            match self.processes.get(&at) {
                Some((_, Some(marker))) => return Owner::Container(marker.clone()),
                Some((stat, None)) if Some(stat.parent) == known.reaper || is_led(stat) => return Owner::Stray,
                Some((stat, None)) if stat.parent > 1 => at = stat.parent,
                Some(_) | None => return Owner::Foreign,
            }
        }
        Owner::Foreign
    }
}

/// The containers that processes carry a marker of `supervisor` for. Much cheaper than a survey.
///
/// # Errors
/// Not every process could be looked at.
pub(super) fn marked(supervisor: &[u8]) -> io::Result<Vec<String>> {
    Ok(markers(supervisor)?.into_values().flatten().collect())
}

fn pids() -> io::Result<Vec<u32>> {
    let mut pids = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        pids.extend(entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()));
    }
    Ok(pids)
}

/// Every process with its marker, if it has one of `supervisor`.
fn markers(supervisor: &[u8]) -> io::Result<BTreeMap<u32, Option<String>>> {
    let (mut markers, mut unclear) = (BTreeMap::new(), Vec::new());
    for pid in pids()? {
        match environ(pid)? {
            Some(environ) if environ.is_empty() && may_exec(pid)? => unclear.push(pid),
            environ => drop(markers.insert(pid, environ.and_then(|environ| parse(&environ, supervisor)))),
        }
    }
    for _ in 1..MAX_LOOKS {
        if unclear.is_empty() {
            break;
        }
        std::thread::sleep(BETWEEN_LOOKS);
        for pid in std::mem::take(&mut unclear) {
            match environ(pid)? {
                Some(environ) if environ.is_empty() => unclear.push(pid),
                environ => drop(markers.insert(pid, environ.and_then(|environ| parse(&environ, supervisor)))),
            }
        }
    }
    markers.extend(unclear.into_iter().map(|pid| (pid, None)));
    Ok(markers)
}

fn environ(pid: u32) -> io::Result<Option<Vec<u8>>> {
    unless_short(std::fs::read(format!("/proc/{pid}/environ")))
}

/// Whether it is a living program: what has ended and the kernel's own threads have no environment either.
fn may_exec(pid: u32) -> io::Result<bool> {
    let is_kernels = |stat: &Stat| stat.pid == KERNEL_THREADS || stat.parent == KERNEL_THREADS;
    Ok(Stat::read(pid)?.is_some_and(|stat| stat.alive && !is_kernels(&stat)))
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

    /// Processes as (pid, parent, marker); the supervisor is process 10, and the session 9 is nobody's.
    fn survey(processes: &[(u32, u32, Option<&str>)]) -> Survey {
        let processes = processes.iter().map(|&(pid, parent, marker)| {
            let stat = Stat { pid, parent, group: pid, session: 9, start_time: 5, alive: true };
            (pid, (stat, marker.map(str::to_owned)))
        });
        Survey { processes: processes.collect() }
    }

    fn owned(survey: &Survey, firsts: &[(u32, &str)], reaper: Option<u32>) -> Vec<(u32, Owner)> {
        let firsts = firsts.iter().map(|(pid, id)| (*pid, (*id).to_owned())).collect();
        owners(survey, &Known { firsts, reaper, session: None })
    }

    fn owners(survey: &Survey, known: &Known) -> Vec<(u32, Owner)> {
        survey.owned(known).into_iter().map(|(stat, owner)| (stat.pid, owner)).collect()
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
    fn whoever_is_in_the_session_of_a_dead_supervisor_is_its_own_also_without_a_marker() {
        let mut survey = survey(&[(20, 1, None), (21, 20, None), (30, 1, Some("a")), (40, 1, None)]);
        survey.processes.get_mut(&20).unwrap().0.session = 10;
        let led_by = |start_time| Known { session: Some(Leader { pid: 10, start_time }), ..Known::default() };
        let strays = [(20, Owner::Stray), (21, Owner::Stray), (30, of("a"))];
        assert_eq!(owners(&survey, &led_by(5)), strays);
        assert_eq!(owners(&survey, &led_by(6)), [(30, of("a"))], "it is older than the supervisor");
        let leader = Stat { pid: 10, parent: 1, group: 10, session: 10, start_time: 5, alive: true };
        survey.processes.insert(10, (leader, None));
        assert_eq!(owners(&survey, &led_by(5)), strays, "the supervisor itself is not of its containers");
        survey.processes.insert(10, (Stat { start_time: 7, ..leader }, None));
        assert_eq!(owners(&survey, &led_by(5)), [(30, of("a"))], "another process bears the number now");
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
