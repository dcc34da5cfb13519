//! Finds which processes belong to which container, by scanning the host.
//!
//! A process belongs to the container whose first process it descends from. An orphan is recognized by the random
//! marker that every container has in its environment, and so are its descendants. In a supervisor process, orphans
//! become the supervisor's children. If such an orphan has an unknown marker, its container altered it: it is *forged*.
//! Without a marker it is a *stray*: it belongs to some container, but not known which.
//!
//! A survey is a snapshot: repeat it until it finds no new process and is sure. It reads the newest processes first,
//! since those that only start others live for a moment.

use std::{collections::BTreeMap, io};

use super::{
    super::process::{self, Looked, Stat},
    MARKER_VARIABLE,
};
use crate::proto::internal::{SupervisorRecord, supervisor_record::Kind};

/// How many generations are followed before a chain of parents counts as broken.
const MAX_GENERATIONS: usize = 1 << 15;
/// How often a process in the midst of an exec, or about to end, is looked at again before it counts as stuck there.
const MAX_LOOKS: u32 = 100;
/// What containers had in their environment before version 3 of the protocol.
pub(in crate::agent::supervisor) const CONTAINER_VARIABLE: &str = "DIVVY_CONTAINER_ID";
const SUPERVISOR_VARIABLE: &str = "DIVVY_SUPERVISOR";
/// How much of a marker is kept: more than any container's has.
const MAX_MARKER_BYTES: usize = 128;
/// The longest path there is.
const MAX_NAME_BYTES: usize = 4096;

/// The owner of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::agent::supervisor) enum Owner {
    Container(String),
    /// Of some container that altered the marker of its processes.
    Forged,
    Stray,
    Foreign,
}

/// The marker that a process has in its environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::agent::supervisor) enum Mark {
    /// A container's marker, or what a process made of it.
    Marker(Vec<u8>),
    /// The container id and the folder that an older supervisor set.
    Named { folder: Vec<u8>, container: String },
}

impl Mark {
    /// Reads the mark of a process off its environment.
    pub(in crate::agent::supervisor) fn parse(environ: &[u8]) -> Option<Self> {
        let value = |name: &str| {
            let mut variables = environ.split(|byte| *byte == 0);
            variables.find_map(|it| it.strip_prefix(name.as_bytes())?.strip_prefix(b"="))
        };
        if let Some(marker) = value(MARKER_VARIABLE) {
            // A longer value is of no container.
            return Some(Self::Marker(marker.get(..MAX_MARKER_BYTES).unwrap_or(marker).to_vec()));
        }
        let (folder, container) = (value(SUPERVISOR_VARIABLE)?, value(CONTAINER_VARIABLE)?);
        let is_short = folder.len() <= MAX_NAME_BYTES && container.len() <= MAX_NAME_BYTES;
        let container = String::from_utf8(container.to_vec()).ok().filter(|_| is_short)?;
        Some(Self::Named { folder: folder.to_vec(), container })
    }
}

/// The markers of containers that a supervisor's records name.
pub(in crate::agent::supervisor) fn markers(records: &[SupervisorRecord]) -> BTreeMap<String, String> {
    let mut containers = BTreeMap::new();
    for record in records.iter().filter(|record| !record.marker.is_empty()) {
        if let Some(Kind::Starting(id) | Kind::Started(crate::proto::internal::Started { container_id: id, .. })) =
            &record.kind
        {
            containers.insert(record.marker.clone(), id.clone());
        }
    }
    containers
}

/// What identifies processes as containers'. It has to be read after the survey that it is applied to: a survey may
/// show the marker of a container that has just started.
#[derive(Clone, Debug, Default)]
pub(in crate::agent::supervisor) struct Known {
    /// Containers by their markers.
    pub(in crate::agent::supervisor) markers: BTreeMap<String, String>,
    /// The folder that containers of an older supervisor name, beside their own ids.
    pub(in crate::agent::supervisor) folder: Option<Vec<u8>>,
    /// The first processes of containers.
    pub(in crate::agent::supervisor) firsts: BTreeMap<u32, String>,
    /// The process that adopts orphans, if it is the supervisor's own.
    pub(in crate::agent::supervisor) reaper: Option<u32>,
    /// The dead supervisor that led a session of its own: whatever is in it was started by it or by its containers.
    pub(in crate::agent::supervisor) session: Option<Leader>,
}

impl Known {
    /// The container that a mark names.
    fn container<'a>(&'a self, mark: &'a Mark) -> Option<&'a str> {
        match mark {
            Mark::Marker(marker) => {
                std::str::from_utf8(marker).ok().and_then(|marker| self.markers.get(marker)).map(String::as_str)
            }
            Mark::Named { folder, container } => (self.folder.as_ref() == Some(folder)).then_some(container.as_str()),
        }
    }
}

/// A process that led a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::agent::supervisor) struct Leader {
    pub(in crate::agent::supervisor) pid: u32,
    pub(in crate::agent::supervisor) start_time: u64,
}

/// One process of a survey.
#[derive(Clone, Debug)]
struct Seen<M> {
    stat: Stat,
    mark: Option<M>,
    /// How many looks in a row found it in the midst of an exec or about to end.
    changing: u32,
}

/// All processes of the host at one moment, each with the mark that was found at it.
#[derive(Debug)]
pub(in crate::agent::supervisor) struct Survey<M = Mark> {
    processes: BTreeMap<u32, Seen<M>>,
    is_unsure: bool,
}

impl<M> Default for Survey<M> {
    fn default() -> Self {
        Self { processes: BTreeMap::new(), is_unsure: false }
    }
}

impl<M> Survey<M> {
    /// Looks at every process that was not seen before, and again at those for which `is_of_interest` is true; `mark_of`
    /// reads the mark of a process off its environment.
    ///
    /// # Errors
    /// Not every process could be looked at: what was not seen may be there.
    pub(in crate::agent::supervisor) fn look_again(
        mut self,
        is_of_interest: impl Fn(&Stat) -> bool,
        mark_of: impl Fn(&Stat, &[u8]) -> Option<M>,
    ) -> io::Result<Self> {
        let (mut processes, mut is_unsure) = (BTreeMap::new(), false);
        for pid in pids()?.into_iter().rev() {
            let earlier = self.processes.remove(&pid);
            if let Some(seen) = &earlier
                && !seen.is_changing()
                && !is_of_interest(&seen.stat)
            {
                processes.extend(earlier.map(|seen| (pid, seen)));
                continue;
            }
            match Seen::look(pid, earlier.as_ref().map_or(0, |seen| seen.changing), &mark_of)? {
                Some(seen) => {
                    // A process that has just ended may have started another before.
                    is_unsure |= !seen.stat.alive && earlier.as_ref().is_none_or(|earlier| earlier.stat.alive);
                    is_unsure |= seen.stat.alive && seen.is_changing();
                    processes.insert(pid, seen);
                }
                None => is_unsure = true,
            }
        }
        // Processes that are not listed any more have ended.
        is_unsure |= self.processes.values().any(|seen| seen.stat.alive && seen.mark.is_some());
        Ok(Self { processes, is_unsure })
    }

    /// Whether there may be processes that were not seen.
    pub(in crate::agent::supervisor) fn is_unsure(&self) -> bool {
        self.is_unsure
    }

    /// The living processes that have a mark or descend from such, each with the mark that is nearest.
    pub(in crate::agent::supervisor) fn marked(&self) -> impl Iterator<Item = (Stat, &M)> {
        let living = self.processes.values().map(|seen| seen.stat).filter(|stat| stat.alive);
        living.filter_map(|stat| Some((stat, self.lineage(stat.pid).find_map(|seen| seen.mark.as_ref())?)))
    }

    /// The process and those that it descends from, as far as they were seen.
    fn lineage(&self, pid: u32) -> impl Iterator<Item = &Seen<M>> {
        let parent = |seen: &&Seen<M>| (seen.stat.parent > 1).then(|| self.processes.get(&seen.stat.parent)).flatten();
        std::iter::successors(self.processes.get(&pid), parent).take(MAX_GENERATIONS)
    }
}

impl Survey {
    /// Looks at every process.
    ///
    /// # Errors
    /// As [`Self::look_again`].
    pub(in crate::agent::supervisor) fn take() -> io::Result<Self> {
        Self::default().again(|_| true)
    }

    /// Looks again at those for which `is_of_interest` is true, for the marks of containers.
    ///
    /// # Errors
    /// As [`Self::look_again`].
    pub(in crate::agent::supervisor) fn again(self, is_of_interest: impl Fn(&Stat) -> bool) -> io::Result<Self> {
        self.look_again(is_of_interest, |_, environ| Mark::parse(environ))
    }

    /// The living processes that are not foreign, each with its owner.
    pub(in crate::agent::supervisor) fn owned(&self, known: &Known) -> Vec<(Stat, Owner)> {
        let leader = known.session.filter(|leader| self.is_free_or_of(*leader));
        let living = self.processes.values().map(|seen| seen.stat).filter(|stat| stat.alive);
        let owners = living.map(|stat| (stat, self.owner(stat.pid, known, leader)));
        owners.filter(|(_, owner)| *owner != Owner::Foreign).collect()
    }

    /// Whether the leader's number was not reused. The kernel does not reuse a number while a session has it: if
    /// another process has it now, no process of the leader's session is left.
    fn is_free_or_of(&self, leader: Leader) -> bool {
        self.processes.get(&leader.pid).is_none_or(|seen| seen.stat.start_time == leader.start_time)
    }

    fn owner(&self, pid: u32, known: &Known, leader: Option<Leader>) -> Owner {
        let is_led = |stat: &Stat| {
            leader.is_some_and(|it| stat.session == it.pid && stat.pid != it.pid && stat.start_time >= it.start_time)
        };
        let (mut at, mut of_none) = (pid, Owner::Stray);
        for _ in 0..MAX_GENERATIONS {
            if let Some(container) = known.firsts.get(&at) {
                return Owner::Container(container.clone());
            }
            let Some(Seen { stat, mark, .. }) = self.processes.get(&at) else { return Owner::Foreign };
            match mark.as_ref().map(|mark| known.container(mark)) {
                Some(Some(container)) => return Owner::Container(container.to_owned()),
                Some(None) if matches!(mark, Some(Mark::Marker(_))) => of_none = Owner::Forged,
                Some(None) | None => {}
            }
            if Some(stat.parent) == known.reaper || is_led(stat) {
                return of_none;
            }
            if stat.parent <= 1 {
                return Owner::Foreign;
            }
            at = stat.parent;
        }
        Owner::Foreign
    }
}

impl<M> Seen<M> {
    /// `changing`: in how many looks before this one it was changing.
    fn look(pid: u32, changing: u32, mark_of: impl Fn(&Stat, &[u8]) -> Option<M>) -> io::Result<Option<Self>> {
        let looked = process::look(pid)?;
        Ok(looked.map(|Looked { stat, environment, is_changing }| {
            let changing = if is_changing { changing + 1 } else { 0 };
            let mark = mark_of(&stat, &environment);
            Self { stat, mark, changing }
        }))
    }

    fn is_changing(&self) -> bool {
        (1..MAX_LOOKS).contains(&self.changing)
    }
}

/// The numbers of all processes.
///
/// # Errors
/// No descriptors or memory are left.
pub(in crate::agent::supervisor) fn pids() -> io::Result<Vec<u32>> {
    let mut pids = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        pids.extend(entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()));
    }
    pids.sort_unstable();
    Ok(pids)
}

#[cfg(test)]
#[path = "survey_tests.rs"]
mod tests;
