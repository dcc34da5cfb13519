//! The record of a run, built from its facts: the history of each task, and counts.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use prost::Message as _;

use super::{
    describe,
    fact::{Fact, How},
    nodes::Client,
};
use crate::{
    framework::{SchedulerEvent, core::Request},
    master::core::{Event, Order, SessionId},
    proto::v1::{AgentId, TaskInfo, TaskState},
};

/// How many lines of history are kept.
const LINES: usize = 5_000;

/// A task state that a scheduler received.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq)]
pub struct ReceivedState {
    /// Virtual time since the start of the run.
    pub at: Duration,
    /// The state.
    pub state: TaskState,
    /// The message of the status.
    pub message: String,
    /// Whether the callback returned `Ok`.
    pub taken: bool,
}

/// A process that was started for a task.
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
    /// How long it ran; `None` if it has not ended.
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

/// The history of a task.
#[non_exhaustive]
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TaskHistory {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The number of its framework, from 0.
    pub framework: usize,
    /// When its scheduler launched it; more than one entry is a bug of the scheduler.
    pub launched: Vec<Duration>,
    /// The agents it was launched on.
    pub agents: Vec<AgentId>,
    /// The states that its scheduler received, in order, repeats included.
    pub states: Vec<ReceivedState>,
    /// The processes that ran. Two at a time fail the run.
    pub processes: Vec<Process>,
}

impl TaskHistory {
    /// The last state that a callback accepted, if any.
    #[must_use]
    pub fn state(&self) -> Option<TaskState> {
        self.states.iter().rev().find(|received| received.taken).map(|received| received.state)
    }

    /// Whether one of its processes ran at that time.
    #[must_use]
    pub fn runs_at(&self, at: Duration) -> bool {
        self.processes.iter().any(|process| process.runs_at(at))
    }
}

/// Counts of offers, calls and callbacks.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Offers that schedulers received.
    pub offers: u64,
    /// Offers they declined.
    pub declined: u64,
    /// Tasks they launched.
    pub launched: u64,
    /// Kills they requested.
    pub kills: u64,
    /// Statuses that their callbacks received.
    pub statuses: u64,
    /// Callbacks that returned an `Err`.
    pub errors: u64,
}

/// The record of a run so far.
#[derive(Debug, Default)]
pub(super) struct Record {
    pub(super) tasks: BTreeMap<(usize, String), TaskHistory>,
    pub(super) counts: Counts,
    pub(super) lines: VecDeque<String>,
    sessions: BTreeMap<SessionId, usize>,
    frameworks: BTreeMap<String, usize>,
    /// The framework and task of each container that runs.
    containers: BTreeMap<String, (usize, String)>,
}

impl Record {
    pub(super) fn add_fact(&mut self, at: Duration, fact: &Fact) {
        if let Some(text) = describe::describe_fact(fact) {
            if self.lines.len() == LINES {
                self.lines.pop_front();
            }
            self.lines.push_back(format!("{:>12.6} {text}", at.as_secs_f64()));
        }
        match fact {
            Fact::MasterStarted { .. } => self.sessions.clear(),
            Fact::SessionOpened { session, client: Client::Author(index) } => {
                self.sessions.insert(*session, *index);
            }
            Fact::EventSent { session, event: Event::Subscribed { framework, .. } } => {
                if let Some(index) = self.sessions.get(session) {
                    self.frameworks.insert(framework.to_string(), *index);
                }
            }
            Fact::Requested { framework, request } => self.asked(at, *framework, request),
            Fact::CallbackStarted { framework, event, .. } => self.given(at, *framework, event),
            Fact::CallbackReturned { framework, event, ok, .. } => self.returned(*framework, event, *ok),
            Fact::OrderSent { order: Order::Run { framework, container, info }, .. } => {
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
                        How::Signal(_) | How::WithSupervisor => None,
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
                let received = ReceivedState { at, state: status.state(), message, taken: false };
                self.task((framework, status.task_id.value.clone())).states.push(received);
            }
            _ => {}
        }
    }

    fn returned(&mut self, framework: usize, event: &SchedulerEvent, ok: bool) {
        self.counts.errors += u64::from(!ok);
        if let SchedulerEvent::StatusUpdate(status) | SchedulerEvent::UnknownTask(status) = event
            && let Some(received) = self.task((framework, status.task_id.value.clone())).states.last_mut()
        {
            received.taken = ok;
        }
    }
}
