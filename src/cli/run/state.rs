//! The state of a `divvy run`: what is to be placed, what runs, how it ended, and the exit code.
//!
//! It makes decisions without I/O: offers and statuses go in, tasks to launch and notices come out. All instances start
//! together: offers are pooled until all instances fit. If that takes too long, all offers are declined together, so
//! that they are offered again together.

use std::collections::BTreeMap;

use super::exit;
use crate::{
    allocator::{self, Plan, TaskRequest},
    proto::v1::{AgentId, Offer, OfferId, TaskId, TaskInfo, TaskState, TaskStatus},
};

/// How often instances that never started are placed again before that is a failure.
const MAX_RETRIES: u32 = 10;

/// All instances of one command.
#[derive(Debug)]
pub(super) struct Run {
    /// The request; `count` is the number still to be placed.
    wanted: TaskRequest,
    requested: u32,
    launched: u32,
    retries: u32,
    pool: Vec<Offer>,
    instances: BTreeMap<TaskId, Instance>,
    /// The exit code of the first instance that failed.
    failure: Option<u8>,
}

#[derive(Clone, Debug)]
struct Instance {
    agent_id: AgentId,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Launched,
    Running,
    Ended,
}

/// Tasks for offers of one agent.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Launch {
    pub(super) offer_ids: Vec<OfferId>,
    pub(super) tasks: Vec<TaskInfo>,
}

/// How to answer offers.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Answer {
    pub(super) launches: Vec<Launch>,
    pub(super) decline: Vec<OfferId>,
    /// Why something does not fit, if anything does not.
    pub(super) unplaced: Option<String>,
    /// No offer can ever satisfy the request.
    pub(super) hopeless: bool,
}

/// The change that a status makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Started,
    /// Its agent is unreachable; it may reconnect.
    Unreachable,
    /// It never ran and will be placed again.
    Retry {
        text: String,
    },
    Ended {
        code: u8,
        text: String,
    },
}

impl Run {
    pub(super) fn new(wanted: TaskRequest) -> Self {
        let requested = wanted.count;
        Self { wanted, requested, launched: 0, retries: 0, pool: Vec::new(), instances: BTreeMap::new(), failure: None }
    }

    /// Adds offers to the pool, and launches all instances to be placed if they fit on it.
    pub(super) fn offered(&mut self, offers: Vec<Offer>) -> Answer {
        self.pool.extend(offers);
        self.place(allocator::place_all)
    }

    /// Launches what fits on the pooled offers.
    pub(super) fn launch_what_fits(&mut self) -> Answer {
        let mut answer = self.place(allocator::place);
        answer.decline.extend(self.take_offers());
        answer
    }

    /// Removes a rescinded offer.
    pub(super) fn rescinded(&mut self, offer_id: &OfferId) {
        self.pool.retain(|offer| offer.id != *offer_id);
    }

    /// Removes all offers from the pool, to be declined so that other frameworks can use them.
    pub(super) fn take_offers(&mut self) -> Vec<OfferId> {
        self.pool.drain(..).map(|offer| offer.id).collect()
    }

    fn place(&mut self, place: fn(&[Offer], &[TaskRequest]) -> Plan) -> Answer {
        if self.wanted.count == 0 {
            return Answer { launches: Vec::new(), decline: self.take_offers(), unplaced: None, hopeless: false };
        }
        let plan = place(&self.pool, std::slice::from_ref(&self.wanted));
        let launches: Vec<Launch> = plan
            .launches
            .iter()
            .map(|launch| Launch {
                offer_ids: launch.offer_ids.clone(),
                tasks: launch.tasks().into_iter().map(|task| self.launch(task)).collect(),
            })
            .collect();
        let used = |offer: &Offer| launches.iter().any(|launch| launch.offer_ids.contains(&offer.id));
        self.pool.retain(|offer| !used(offer));
        let unplaced = plan.unplaced.first();
        Answer {
            decline: if unplaced.is_none() { self.take_offers() } else { Vec::new() },
            launches,
            unplaced: unplaced.map(ToString::to_string),
            hopeless: unplaced.is_some_and(|unplaced| unplaced.error.is_some() || unplaced.unblock.is_none()),
        }
    }

    fn launch(&mut self, mut task: TaskInfo) -> TaskInfo {
        task.task_id = TaskId { value: format!("{}.{}", self.wanted.name, self.launched) };
        self.launched += 1;
        self.wanted.count -= 1;
        *self.wanted.running.entry(task.agent_id.clone()).or_default() += 1;
        let instance = Instance { agent_id: task.agent_id.clone(), stage: Stage::Launched };
        self.instances.insert(task.task_id.clone(), instance);
        task
    }

    /// Applies a status; `None` if it changes nothing.
    pub(super) fn status(&mut self, status: &TaskStatus) -> Option<Change> {
        let instance = self.instances.get_mut(&status.task_id).filter(|instance| instance.stage != Stage::Ended)?;
        let state = TaskState::try_from(status.state).ok()?;
        let Some(code) = exit::code(status) else {
            return match state {
                TaskState::TaskUnreachable => Some(Change::Unreachable),
                TaskState::TaskRunning if instance.stage == Stage::Launched => {
                    instance.stage = Stage::Running;
                    Some(Change::Started)
                }
                _not_an_end => None,
            };
        };
        let never_ran =
            instance.stage == Stage::Launched && matches!(state, TaskState::TaskDropped | TaskState::TaskLost);
        instance.stage = Stage::Ended;
        if let Some(running) = self.wanted.running.get_mut(&instance.agent_id) {
            *running = running.saturating_sub(1);
        }
        let text = status.message().to_owned();
        if never_ran && self.retries < MAX_RETRIES {
            self.retries += 1;
            self.wanted.count += 1;
            return Some(Change::Retry { text });
        }
        if code != 0 {
            self.failure.get_or_insert(code);
        }
        Some(Change::Ended { code, text })
    }

    /// Stops placing instances and returns how many were not placed.
    pub(super) fn stop_placing(&mut self) -> u32 {
        std::mem::take(&mut self.wanted.count)
    }

    /// Whether there are instances to place.
    pub(super) fn wants_offers(&self) -> bool {
        self.wanted.count > 0
    }

    /// Whether nothing is to be placed and everything has ended.
    pub(super) fn is_over(&self) -> bool {
        !self.wants_offers() && self.live().next().is_none()
    }

    /// The instances that were launched and have not ended.
    pub(super) fn live(&self) -> impl Iterator<Item = &TaskId> {
        self.instances.iter().filter(|(_, instance)| instance.stage != Stage::Ended).map(|(id, _)| id)
    }

    /// How many instances were requested.
    pub(super) fn requested(&self) -> u32 {
        self.requested
    }

    /// The exit code: that of the first failure, or 1 if nothing ran.
    pub(super) fn code(&self) -> u8 {
        self.failure.unwrap_or_else(|| u8::from(self.instances.is_empty()))
    }
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
