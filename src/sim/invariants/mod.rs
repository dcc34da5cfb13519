//! What must hold under all faults. Each invariant checks the facts of the world, not a core's own state.
//!
//! | file | what holds |
//! |---|---|
//! | `accounts` | the bytes charged to a session are those sent to it and not yet reported as written |
//! | `conservation` | per agent and resource: offered + used + free = total, and the cores' own checks hold |
//! | `delivered` | a status that the core sends leaves the master, or a newer status of the same task does |
//! | `answered` | a framework that reconciles all its tasks, or subscribes, is sent their states as soon as it has room |
//! | `spared` | no process ends because of the kill of another one |
//! | `single_offer` | a resource of an agent is in at most one live offer, and not also in use |
//! | `started_once` | a container is started at most once ever, and no task runs in two containers at once |
//! | `own_offers` | a task is launched only out of a live offer of its own framework, once per ACCEPT |
//! | `status_order` | a scheduler sees a task's statuses in the agent's order, its end once, nothing else after it |
//! | `written_first` | a status is sent, and a process started, only after it was written |
//! | `acknowledged_after_ok` | an agent receives an acknowledgement only of a status that a callback accepted |
//! | `held_while_running` | what runs on a connected agent is counted as used there, until it ends |
//! | `given_up` | an agent without faults, of its own or of its links, is not marked unreachable |
//! | `registry_first` | admission, loss and removal are durable before they are reported |
//! | `one_writer` | the registry accepts nothing from a master that was replaced |
//! | `latest_run` | a replaced instance of a framework is never subscribed again, and receives nothing more |
//! | `refusals` | no offer to a suppressed client, nor within a refusal |
//! | `free_is_offered` | what is free and was not refused is offered within seconds |
//! | `gone` | an agent marked gone is never admitted again, nothing of it is offered, its tasks end once |
//! | `removal_rate` | agents are marked unreachable no faster than the configured rate |
//! | `unique_ids` | no two things share an id, and no instance of a driver has two frameworks |
//! | `truth` | a task's last status matches how its process ended |
//! | `killed_ends` | no task whose kill was requested runs once the cluster is quiescent |
//! | `quiescent` | after the faults all parts reconnect, no task is left, and new work is served |

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
pub(super) mod quiescent;
mod refusals;
mod registry_first;
mod removal_rate;
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

/// The name of a broken invariant, and how it was broken.
pub(super) type Broken = (&'static str, String);

/// One invariant: it observes every fact, and inspects the world after every step.
pub(super) trait Invariant: std::fmt::Debug {
    fn name(&self) -> &'static str;

    /// Whether it applies to this world.
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

/// What invariants may inspect besides the facts.
pub(super) struct View<'a> {
    pub(super) world: &'a World,
    /// The master's state, if there is one and it may have changed.
    pub(super) snapshot: Option<&'a Snapshot>,
}

/// The state that several invariants need.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) now_ns: u64,
    pub(super) epoch: u64,
    pub(super) sessions: BTreeMap<SessionId, Client>,
    /// The framework behind a session, by id.
    pub(super) frameworks: BTreeMap<SessionId, String>,
    /// The framework of a session that subscribes and has not received the answer yet.
    pub(super) subscribing: BTreeMap<SessionId, String>,
    pub(super) containers: BTreeMap<String, Launched>,
    /// The containers that each agent really runs.
    running: BTreeMap<usize, BTreeSet<String>>,
    /// Frameworks that were torn down.
    pub(super) torn_down: Vec<String>,
    /// The resources of each agent.
    pub(super) totals: Vec<Resources>,
    /// How long after a turn of the master's the next may begin.
    pub(super) turn_ns: u64,
}

/// A container that a master launched.
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
    /// How many checks were made.
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

    /// Their names.
    pub(super) fn names(&self) -> Vec<&'static str> {
        self.all.iter().map(|one| one.name()).chain(["killed_ends", "quiescent"]).collect()
    }

    /// Lets all invariants observe a fact.
    pub(super) fn observe(&mut self, now_ns: u64, fact: &Fact) -> Result<(), Broken> {
        self.known.now_ns = now_ns;
        self.known.update(fact);
        self.checks += self.all.len() as u64;
        for one in &mut self.all {
            one.observe(&self.known, fact).map_err(|text| (one.name(), text))?;
        }
        Ok(())
    }

    /// Lets all invariants inspect the world.
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
    /// The containers that really run on an agent.
    pub(super) fn running_on(&self, agent: usize) -> impl Iterator<Item = (&String, &Launched)> {
        let ids = self.running.get(&agent).into_iter().flatten();
        ids.filter_map(|id| self.containers.get_key_value(id)).filter(|(_, one)| one.runs())
    }

    /// The containers that really run on any agent.
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

    fn update(&mut self, fact: &Fact) {
        match fact {
            Fact::MasterStarted { epoch } => {
                self.epoch = *epoch;
                self.sessions.clear();
                self.frameworks.clear();
                self.subscribing.clear();
            }
            Fact::SessionOpened { session, client } => drop(self.sessions.insert(*session, *client)),
            Fact::EventSent { session, event: Event::Subscribed { framework, .. } } => {
                self.frameworks.insert(*session, framework.to_string());
            }
            Fact::FrameworkSubscribed { session, framework } => {
                self.subscribing.insert(*session, framework.to_string());
            }
            Fact::Called { session, call: Call::Teardown } => {
                self.torn_down.extend(self.frameworks.get(session).cloned());
            }
            Fact::TornDown { framework } => self.torn_down.push(framework.clone()),
            Fact::OrderSent { session, order: Order::Run { framework, container, info } } => {
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
