//! What must hold, whatever goes wrong. Each judges by the facts of the world, not by a core's own account.
//!
//! | file | what holds |
//! |---|---|
//! | `accounts` | what is charged to a session is what was sent to it and is not yet reported as written |
//! | `conservation` | per agent and resource: offered + used + free = total, and the cores' own checks hold |
//! | `delivered` | what the core sends leaves, or a newer status of the same task does |
//! | `answered` | who asks after all its tasks, or subscribes, is sent the states of all as soon as it has room |
//! | `spared` | no process ends because something else was to end |
//! | `single_offer` | a resource of an agent is in at most one live offer, and not in use besides |
//! | `started_once` | a container is started at most once ever, and no task runs in two containers at once |
//! | `own_offers` | a task is launched only out of a live offer of its own framework, once per ACCEPT |
//! | `status_order` | a scheduler sees a task's statuses in the agent's order, its end once, nothing else after it |
//! | `written_first` | a status is sent, and a process started, only after it was written |
//! | `acknowledged_after_ok` | an agent hears an acknowledgement only of what a callback took |
//! | `held_while_running` | what runs on a connected agent is counted as used there, until it ends |
//! | `given_up` | an agent with which and with whose links nothing is wrong is not given up |
//! | `registry_first` | admission, loss and removal are durable before anybody is told |
//! | `one_writer` | the registry takes nothing of a master that was replaced |
//! | `latest_run` | a run of a framework that was replaced never has it again, and is told nothing more |
//! | `refusals` | no offer to a suppressed client, nor within a refusal |
//! | `free_is_offered` | what is free and was not refused is offered within seconds |
//! | `gone` | an agent marked gone is never taken again, nothing of it is offered, its end is told once |
//! | `removal_rate` | agents are given up no faster than operators allow |
//! | `unique_ids` | no two things share an id, and no run of a driver has two frameworks |
//! | `truth` | a task's last status is what its process came to |
//! | `killed_ends` | what was to be killed runs no more when all has come to rest |
//! | `settled` | when the trouble ends, everything finds back together, and new work is served |

mod accounts;
mod acknowledged_after_ok;
mod answered;
mod conservation;
mod delivered;
mod free_is_offered;
mod given_up;
mod gone;
mod held_while_running;
pub(super) mod killed_ends;
mod latest_run;
mod one_writer;
mod own_offers;
mod refusals;
mod registry_first;
mod removal_rate;
pub(super) mod settled;
mod single_offer;
mod spared;
mod started_once;
mod status_order;
mod truth;
mod unique_ids;
mod written_first;

use std::collections::{BTreeMap, BTreeSet};

use prost::Message as _;

use super::{
    chance::nanos,
    fact::{Fact, How},
    nodes::{Client, Node},
    world::World,
};
use crate::{
    master::core::{Call, Event, Order, SessionId, Snapshot},
    proto::v1::TaskInfo,
    types::Resources,
};

/// What was broken, and how.
pub(super) type Broken = (&'static str, String);

/// One invariant: it may look at every fact, and at the world after every step.
pub(super) trait Invariant: std::fmt::Debug {
    fn name(&self) -> &'static str;

    /// Whether it can judge such a world.
    fn suits(&self, _world: &World) -> bool {
        true
    }

    fn observe(&mut self, _known: &Known, _fact: &Fact) -> Result<(), String> {
        Ok(())
    }

    fn inspect(&mut self, _known: &Known, _view: &View<'_>) -> Result<(), String> {
        Ok(())
    }
}

/// What invariants may look at besides the facts.
pub(super) struct View<'a> {
    pub(super) world: &'a World,
    /// The master's state, if there is one and it may have changed.
    pub(super) snapshot: Option<&'a Snapshot>,
}

/// What several invariants have to know.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) now_ns: u64,
    pub(super) epoch: u64,
    pub(super) sessions: BTreeMap<SessionId, Client>,
    /// The framework behind a session, by id.
    pub(super) frameworks: BTreeMap<SessionId, String>,
    /// The same of one that subscribes and was not sent the answer yet.
    pub(super) subscribing: BTreeMap<SessionId, String>,
    pub(super) containers: BTreeMap<String, Launched>,
    /// What each agent really runs.
    running: BTreeMap<usize, BTreeSet<String>>,
    /// Frameworks that were torn down.
    pub(super) torn_down: Vec<String>,
    /// What each agent has.
    pub(super) totals: Vec<Resources>,
    /// How long after a turn of the master's the next may begin.
    pub(super) turn_ns: u64,
}

/// A container that a master had launched.
#[derive(Clone, Debug)]
pub(super) struct Launched {
    pub(super) framework: String,
    pub(super) task: String,
    pub(super) resources: Resources,
    pub(super) agent: usize,
    pub(super) started: u32,
    pub(super) ended: Option<How>,
}

impl Launched {
    pub(super) fn runs(&self) -> bool {
        self.started > 0 && self.ended.is_none()
    }
}

/// All invariants.
#[derive(Debug)]
pub(super) struct Invariants {
    known: Known,
    all: Vec<Box<dyn Invariant>>,
    /// How often one of them was asked.
    pub(super) checks: u64,
}

impl Invariants {
    pub(super) fn new(world: &World) -> Self {
        let totals = world.agents.iter().map(|agent| agent.total.clone()).collect();
        let all: Vec<Box<dyn Invariant>> = vec![
            Box::<conservation::Conservation>::default(),
            Box::<accounts::Accounts>::default(),
            Box::<delivered::Delivered>::default(),
            Box::<answered::Answered>::default(),
            Box::<spared::Spared>::default(),
            Box::<single_offer::SingleOffer>::default(),
            Box::<started_once::StartedOnce>::default(),
            Box::<own_offers::OwnOffers>::default(),
            Box::<status_order::StatusOrder>::default(),
            Box::<written_first::WrittenFirst>::default(),
            Box::<acknowledged_after_ok::AcknowledgedAfterOk>::default(),
            Box::<held_while_running::HeldWhileRunning>::default(),
            Box::<given_up::GivenUp>::default(),
            Box::<registry_first::RegistryFirst>::default(),
            Box::<one_writer::OneWriter>::default(),
            Box::<latest_run::LatestRun>::default(),
            Box::<refusals::Refusals>::default(),
            Box::<unique_ids::UniqueIds>::default(),
            Box::<truth::Truth>::default(),
            Box::<free_is_offered::FreeIsOffered>::default(),
            Box::<gone::Gone>::default(),
            Box::new(removal_rate::SlowRemovals::new(world.plan.master.removal_rate)),
        ];
        let all = all.into_iter().filter(|one| one.suits(world)).collect();
        let turn_ns = nanos(world.plan.turn);
        Self { known: Known { totals, turn_ns, ..Known::default() }, all, checks: 0 }
    }

    /// What they are called.
    pub(super) fn names(&self) -> Vec<&'static str> {
        self.all.iter().map(|one| one.name()).chain(["killed_ends", "settled"]).collect()
    }

    /// Shows a fact to all.
    pub(super) fn observe(&mut self, now_ns: u64, fact: &Fact) -> Result<(), Broken> {
        self.known.now_ns = now_ns;
        self.known.learn(fact);
        self.checks += self.all.len() as u64;
        for one in &mut self.all {
            one.observe(&self.known, fact).map_err(|text| (one.name(), text))?;
        }
        Ok(())
    }

    /// Shows the world to all.
    pub(super) fn inspect(&mut self, world: &mut World) -> Result<(), Broken> {
        let now = world.time(Node::Master);
        self.known.now_ns = world.now_ns;
        let snapshot = world.master.process.as_mut().map(|process| {
            process.harness.core.check();
            process.snapshot(now)
        });
        self.checks += self.all.len() as u64;
        let view = View { world, snapshot: snapshot.as_ref() };
        for one in &mut self.all {
            one.inspect(&self.known, &view).map_err(|text| (one.name(), text))?;
        }
        Ok(())
    }
}

impl Known {
    /// What really runs on an agent.
    pub(super) fn running_on(&self, agent: usize) -> impl Iterator<Item = (&String, &Launched)> {
        let ids = self.running.get(&agent).into_iter().flatten();
        ids.filter_map(|id| self.containers.get_key_value(id)).filter(|(_, one)| one.runs())
    }

    /// What really runs anywhere.
    pub(super) fn running(&self) -> impl Iterator<Item = (&String, &Launched)> {
        self.running.keys().flat_map(|agent| self.running_on(*agent))
    }

    /// The session's client, if it is an agent.
    pub(super) fn agent_of(&self, session: SessionId) -> Option<usize> {
        match self.sessions.get(&session) {
            Some(Client::Agent(index)) => Some(*index),
            Some(Client::Framework(_) | Client::Replaced(_) | Client::Author(_)) | None => None,
        }
    }

    fn learn(&mut self, fact: &Fact) {
        match fact {
            Fact::MasterStarted { epoch } => {
                self.epoch = *epoch;
                self.sessions.clear();
                self.frameworks.clear();
                self.subscribing.clear();
            }
            Fact::SessionOpened { session, client } => drop(self.sessions.insert(*session, *client)),
            Fact::Told { session, event: Event::Subscribed { framework, .. } } => {
                self.frameworks.insert(*session, framework.to_string());
            }
            Fact::Subscribes { session, framework } => {
                self.subscribing.insert(*session, framework.to_string());
            }
            Fact::Called { session, call: Call::Teardown } => {
                self.torn_down.extend(self.frameworks.get(session).cloned());
            }
            Fact::TornDown { framework } => self.torn_down.push(framework.clone()),
            Fact::Ordered { session, order: Order::Run { framework, container, info } } => {
                let (Some(agent), Ok(info)) = (self.agent_of(*session), TaskInfo::decode(info.clone())) else { return };
                let launched = Launched {
                    framework: framework.to_string(),
                    resources: info.resources().unwrap_or_default(),
                    task: info.task_id.value,
                    agent,
                    started: 0,
                    ended: None,
                };
                self.containers.entry(container.to_string()).or_insert(launched);
            }
            Fact::ProcessStarted { agent, container } => {
                if let Some(launched) = self.containers.get_mut(container) {
                    launched.started += 1;
                    self.running.entry(*agent).or_default().insert(container.clone());
                }
            }
            Fact::ProcessEnded { agent, container, how } => {
                if let Some(running) = self.running.get_mut(agent) {
                    running.remove(container);
                }
                if let Some(launched) = self.containers.get_mut(container) {
                    launched.ended = Some(*how);
                }
            }
            _ => {}
        }
    }
}
