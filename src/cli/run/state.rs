//! Where a `divvy run` stands: what is still to be placed, what runs, how it ended, and with which code we end.
//!
//! Decides and does nothing else: offers and statuses go in, tasks to launch and words for people come out. All instances
//! start together: offers are pooled until all fit, and given back together when that takes too long, so that they
//! come back together too.

use std::collections::BTreeMap;

use super::exit;
use crate::{
    allocator::{self, Plan, TaskRequest},
    proto::v1::{AgentId, Offer, OfferId, TaskId, TaskInfo, TaskState, TaskStatus},
};

/// How often instances that never came to run are put back before that counts as a failure.
const MAX_SECOND_TRIES: u32 = 10;

/// All instances of one command.
#[derive(Debug)]
pub(super) struct Run {
    /// `count` is what is still to be placed.
    wanted: TaskRequest,
    asked: u32,
    launched: u32,
    second_tries: u32,
    pool: Vec<Offer>,
    instances: BTreeMap<TaskId, Instance>,
    /// Code of the first that ended with another than 0.
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

/// What to do with offers.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Answer {
    pub(super) launches: Vec<Launch>,
    pub(super) decline: Vec<OfferId>,
    /// What does not fit where, if anything does not.
    pub(super) unplaced: Option<String>,
    /// The request makes no sense, so that no offer will ever do.
    pub(super) hopeless: bool,
}

/// What a status changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Started,
    /// Its agent cannot be reached; it may come back.
    Unreachable,
    /// It never ran and is wanted again.
    Again {
        text: String,
    },
    Ended {
        code: u8,
        text: String,
    },
}

impl Run {
    pub(super) fn new(wanted: TaskRequest) -> Self {
        let asked = wanted.count;
        Self {
            wanted,
            asked,
            launched: 0,
            second_tries: 0,
            pool: Vec::new(),
            instances: BTreeMap::new(),
            failure: None,
        }
    }

    /// Adds offers to those at hand and launches what is still to be placed if all of it fits on them.
    pub(super) fn offered(&mut self, offers: Vec<Offer>) -> Answer {
        self.pool.extend(offers);
        self.place(allocator::place_all)
    }

    /// Launches what fits on the offers at hand.
    pub(super) fn take_what_fits(&mut self) -> Answer {
        let mut answer = self.place(allocator::place);
        answer.decline.extend(self.give_back());
        answer
    }

    /// An offer is gone.
    pub(super) fn rescinded(&mut self, offer_id: &OfferId) {
        self.pool.retain(|offer| offer.id != *offer_id);
    }

    /// Parts with the offers at hand: somebody else may use them meanwhile.
    pub(super) fn give_back(&mut self) -> Vec<OfferId> {
        self.pool.drain(..).map(|offer| offer.id).collect()
    }

    fn place(&mut self, place: fn(&[Offer], &[TaskRequest]) -> Plan) -> Answer {
        if self.wanted.count == 0 {
            return Answer { launches: Vec::new(), decline: self.give_back(), unplaced: None, hopeless: false };
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
            decline: if unplaced.is_none() { self.give_back() } else { Vec::new() },
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

    /// Takes in a status; `None` if it says nothing new.
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
        if never_ran && self.second_tries < MAX_SECOND_TRIES {
            self.second_tries += 1;
            self.wanted.count += 1;
            return Some(Change::Again { text });
        }
        if code != 0 {
            self.failure.get_or_insert(code);
        }
        Some(Change::Ended { code, text })
    }

    /// Asks for no more instances and tells how many are left out.
    pub(super) fn settle(&mut self) -> u32 {
        std::mem::take(&mut self.wanted.count)
    }

    /// Whether there is something to place.
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

    /// How many instances were asked for.
    pub(super) fn asked(&self) -> u32 {
        self.asked
    }

    /// The exit code: the first that was not 0, or 1 when nothing ran at all.
    pub(super) fn code(&self) -> u8 {
        self.failure.unwrap_or_else(|| u8::from(self.instances.is_empty()))
    }
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
