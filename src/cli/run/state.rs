//! Where a `divvy run` stands: what is still to be placed, what runs, how it ended, and with which code we end.
//!
//! Decides and does nothing else: offers and statuses go in, tasks to launch and words for people come out.

use std::collections::{BTreeMap, BTreeSet};

use super::exit;
use crate::{
    allocator::{self, TaskRequest, Unplaced},
    proto::v1::{AgentId, Offer, OfferId, TaskId, TaskInfo, TaskState, TaskStatus},
};

/// How often instances that never came to run are put back before that counts as a failure.
const MAX_SECOND_TRIES: u32 = 10;

/// All instances of one command.
#[derive(Debug)]
pub(super) struct Run {
    /// `count` is what is still to be placed; `running` also counts instances that have ended, so that the limit per
    /// agent holds for the whole run and who gets what does not depend on how fast the first ones end.
    wanted: TaskRequest,
    /// What fits now is run and no room is waited for, so every agent is asked once.
    best_effort: bool,
    asked_agents: BTreeSet<AgentId>,
    asked: u32,
    launched: u32,
    second_tries: u32,
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
    pub(super) fn new(wanted: TaskRequest, best_effort: bool) -> Self {
        Self {
            asked: wanted.count,
            wanted,
            best_effort,
            asked_agents: BTreeSet::new(),
            launched: 0,
            second_tries: 0,
            instances: BTreeMap::new(),
            failure: None,
        }
    }

    /// Places what is still to be placed.
    pub(super) fn offered(&mut self, offers: &[Offer]) -> Answer {
        let again = |offer: &&Offer| self.best_effort && self.asked_agents.contains(&offer.agent_id);
        let (useless, offers): (Vec<&Offer>, Vec<&Offer>) = match self.wanted.count {
            0 => (offers.iter().collect(), Vec::new()),
            _ => offers.iter().partition(again),
        };
        let mut decline: Vec<OfferId> = useless.into_iter().map(|offer| offer.id.clone()).collect();
        if offers.is_empty() {
            return Answer { launches: Vec::new(), decline, unplaced: None, hopeless: false };
        }
        self.asked_agents.extend(offers.iter().map(|offer| offer.agent_id.clone()));
        let offers: Vec<Offer> = offers.into_iter().cloned().collect();
        let plan = allocator::place(&offers, std::slice::from_ref(&self.wanted));
        decline.extend(plan.unused);
        let launches = plan.launches.iter().map(|launch| Launch {
            offer_ids: launch.offer_ids.clone(),
            tasks: launch.tasks().into_iter().map(|task| self.launch(task)).collect(),
        });
        let launches = launches.collect();
        let unplaced = plan.unplaced.first();
        Answer {
            launches,
            decline,
            unplaced: unplaced.map(|unplaced| self.explain(unplaced)),
            hopeless: unplaced.is_some_and(|unplaced| unplaced.error.is_some() || unplaced.unblock.is_none()),
        }
    }

    /// Why some are not placed, counted over the whole run rather than over what was left of it.
    fn explain(&self, unplaced: &Unplaced) -> String {
        match &unplaced.unblock {
            Some(unblock) if unplaced.error.is_none() => {
                let verb = if unplaced.missing == 1 { "does" } else { "do" };
                let (missing, asked) = (unplaced.missing, self.asked);
                format!("{missing} of {asked} {verb} not fit: {}; needs {unblock}", unplaced.summary())
            }
            Some(_) | None => unplaced.to_string(),
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
        let text = status.message().to_owned();
        if never_ran && self.second_tries < MAX_SECOND_TRIES {
            if let Some(running) = self.wanted.running.get_mut(&instance.agent_id) {
                *running = running.saturating_sub(1);
            }
            self.asked_agents.remove(&instance.agent_id);
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
