//! What a run is asked about afterwards, gathered from the facts while it happens: each task's life, and counts.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use prost::Message as _;

use super::{
    fact::{Fact, How},
    nodes::Client,
    wording,
};
use crate::{
    framework::{SchedulerEvent, core::Request},
    master::core::{Event, Order, SessionId},
    proto::v1::{AgentId, TaskInfo, TaskState},
};

/// How many lines of history are kept.
const LINES: usize = 5_000;

/// A state of a task as its scheduler was told it.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    /// Virtual time since the start of the run.
    pub at: Duration,
    /// The state.
    pub state: TaskState,
    /// What the status said about it.
    pub message: String,
    /// Whether the callback returned `Ok`.
    pub taken: bool,
}

/// One process that was started for a task.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq)]
pub struct Process {
    /// The number of its agent, from 0.
    pub agent: usize,
    /// When it was started, in virtual time since the start of the run.
    pub started: Duration,
    /// When it ended, if it has.
    pub ended: Option<Duration>,
    /// Its exit status, if it ended with one.
    pub exit_status: Option<i32>,
}

impl Process {
    /// How long it ran; `None` when it has not ended.
    #[must_use]
    pub fn ran_for(&self) -> Option<Duration> {
        Some(self.ended?.saturating_sub(self.started))
    }

    /// Whether it ran at that time.
    #[must_use]
    pub fn runs_at(&self, at: Duration) -> bool {
        self.started <= at && self.ended.is_none_or(|ended| at < ended)
    }
}

/// Everything that is known about a task.
#[non_exhaustive]
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TaskHistory {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The number of its framework, from 0.
    pub framework: usize,
    /// When its scheduler launched it; more than once is a bug of the scheduler's.
    pub launched: Vec<Duration>,
    /// The agents it was launched on.
    pub agents: Vec<AgentId>,
    /// What its scheduler was told, in order, repeats included.
    pub states: Vec<Told>,
    /// What really ran. A task that runs more than once at a time does not happen, or the run fails.
    pub processes: Vec<Process>,
}

impl TaskHistory {
    /// The last state that a callback took; `None` when there was none.
    #[must_use]
    pub fn state(&self) -> Option<TaskState> {
        self.states.iter().rev().find(|told| told.taken).map(|told| told.state)
    }

    /// Whether a process of its ran at that time.
    #[must_use]
    pub fn runs_at(&self, at: Duration) -> bool {
        self.processes.iter().any(|process| process.runs_at(at))
    }
}

/// How often things happened.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Offers that schedulers got.
    pub offers: u64,
    /// Offers they declined.
    pub declined: u64,
    /// Tasks they launched.
    pub launched: u64,
    /// Kills they asked for.
    pub kills: u64,
    /// Statuses their callbacks got.
    pub statuses: u64,
    /// Callbacks that returned an `Err`.
    pub errors: u64,
}

/// What is gathered.
#[derive(Debug, Default)]
pub(super) struct Record {
    pub(super) tasks: BTreeMap<(usize, String), TaskHistory>,
    pub(super) counts: Counts,
    pub(super) lines: VecDeque<String>,
    sessions: BTreeMap<SessionId, usize>,
    frameworks: BTreeMap<String, usize>,
    /// Whose process runs in a container.
    containers: BTreeMap<String, (usize, String)>,
}

impl Record {
    pub(super) fn take_in(&mut self, at: Duration, fact: &Fact) {
        if let Some(words) = wording::of(fact) {
            if self.lines.len() == LINES {
                self.lines.pop_front();
            }
            self.lines.push_back(format!("{:>12.6} {words}", at.as_secs_f64()));
        }
        match fact {
            Fact::MasterStarted { .. } => self.sessions.clear(),
            Fact::SessionOpened { session, client: Client::Author(index) } => {
                self.sessions.insert(*session, *index);
            }
            Fact::Told { session, event: Event::Subscribed { framework, .. } } => {
                if let Some(index) = self.sessions.get(session) {
                    self.frameworks.insert(framework.to_string(), *index);
                }
            }
            Fact::Asked { framework, request } => self.asked(at, *framework, request),
            Fact::Given { framework, event, .. } => self.given(at, *framework, event),
            Fact::Returned { framework, event, ok, .. } => self.returned(*framework, event, *ok),
            Fact::Ordered { order: Order::Run { framework, container, info }, .. } => {
                if let (Some(index), Ok(info)) = (self.frameworks.get(&**framework), TaskInfo::decode(info.clone())) {
                    self.containers.insert(container.to_string(), (*index, info.task_id.value));
                }
            }
            Fact::ProcessStarted { agent, container } => {
                let process = Process { agent: *agent, started: at, ended: None, exit_status: None };
                if let Some(task) = self.containers.get(container).cloned() {
                    self.task(task).processes.push(process);
                }
            }
            Fact::ProcessEnded { agent, container, how } => {
                let Some(task) = self.containers.remove(container) else { return };
                let processes = &mut self.task(task).processes;
                let of = |one: &&mut Process| one.agent == *agent && one.ended.is_none();
                if let Some(process) = processes.iter_mut().find(of) {
                    process.ended = Some(at);
                    process.exit_status = match how {
                        How::Code(code) => Some(*code),
                        How::Signal(_) | How::Torn => None,
                    };
                }
            }
            _ => {}
        }
    }

    fn task(&mut self, key: (usize, String)) -> &mut TaskHistory {
        let (framework, id) = key.clone();
        self.tasks.entry(key).or_insert_with(|| TaskHistory { id, framework, ..TaskHistory::default() })
    }

    fn asked(&mut self, at: Duration, framework: usize, request: &Request) {
        match request {
            Request::Accept { operations, .. } => {
                let launches = operations.iter().filter_map(|operation| operation.launch.as_ref());
                for info in launches.flat_map(|launch| &launch.task_infos) {
                    self.counts.launched += 1;
                    let task = self.task((framework, info.task_id.value.clone()));
                    task.name.clone_from(&info.name);
                    task.launched.push(at);
                    task.agents.push(info.agent_id.clone());
                }
            }
            Request::Decline { offer_ids, .. } => self.counts.declined += offer_ids.len() as u64,
            Request::Kill { .. } => self.counts.kills += 1,
            _ => {}
        }
    }

    fn given(&mut self, at: Duration, framework: usize, event: &SchedulerEvent) {
        match event {
            SchedulerEvent::ResourceOffers(offers) => self.counts.offers += offers.len() as u64,
            SchedulerEvent::StatusUpdate(status) | SchedulerEvent::UnknownTask(status) => {
                self.counts.statuses += 1;
                let message = status.message().to_owned();
                let told = Told { at, state: status.state(), message, taken: false };
                self.task((framework, status.task_id.value.clone())).states.push(told);
            }
            _ => {}
        }
    }

    fn returned(&mut self, framework: usize, event: &SchedulerEvent, ok: bool) {
        self.counts.errors += u64::from(!ok);
        if let SchedulerEvent::StatusUpdate(status) | SchedulerEvent::UnknownTask(status) = event
            && let Some(told) = self.task((framework, status.task_id.value.clone())).states.last_mut()
        {
            told.taken = ok;
        }
    }
}
