//! The result of placement: launches by agent, offers to decline, and what did not fit with the reasons.
//!
//! A plan is small however many tasks it places: equal instances on one agent are one entry, and [`Launch::tasks`]
//! creates the messages when they are sent.

mod pieces;
mod stock;
mod unblock;
mod unplaced;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

pub(super) use self::pieces::{Free, Pieces};
use self::stock::Stock;
pub use self::unblock::Unblock;
pub use self::unplaced::{Hopeless, Refusal, Unplaced};
use super::fitness::Score;
use super::place::Search;
use super::pools::Pool;
use super::reason::Host;
use super::request::TaskRequest;
use crate::proto::v1::{self, environment};
use crate::types::{Milli, PartitionPolicy, Resources};

/// The result of [`place`](super::place()).
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Plan {
    /// The launches, one entry for each agent and role used.
    pub launches: Vec<Launch>,
    /// The offers to decline: nothing is launched on them.
    pub unused: Vec<v1::OfferId>,
    /// The requests that are not placed in full, in the given order.
    pub unplaced: Vec<Unplaced>,
    pub(super) search: Search,
}

/// Tasks for one agent, to be launched by one ACCEPT of all the named offers.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Launch {
    /// The agent and its host name.
    pub host: Arc<Host>,
    /// The offers, all of this agent and one role.
    pub offer_ids: Vec<v1::OfferId>,
    role: Option<Arc<str>>,
    refinement: bool,
    resources: Resources,
    batches: Vec<Batch>,
}

/// One placed instance.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Placed<'a> {
    /// The request's name.
    pub task: &'a str,
    /// The number of the instance within its request, counted from 0 in this plan.
    pub instance: u32,
    /// Its ports: the fixed ones first, in the order of the variables `PORT0`, `PORT1`, ...
    pub ports: &'a [u64],
    /// Its items of sets, by the set's name, in the order of the names.
    pub items: &'a [(Arc<str>, BTreeSet<String>)],
    /// The index of the demand that it uses: 0 is the preferred one, 1 its first alternative.
    pub variant: usize,
    /// The parts of the place's score when the last equal instance was placed there; `None` if a search or
    /// [`Strategy::Naive`](super::Strategy::Naive) placed it.
    pub score: Option<Score>,
}

/// Equal instances on one agent.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Batch {
    pub(super) task: Arc<Task>,
    /// The number of the first instance; the others follow.
    pub(super) first: u32,
    pub(super) instances: u32,
    pub(super) pieces: Pieces,
    pub(super) score: Option<Score>,
}

/// What the tasks of a request have in common.
#[derive(Debug, PartialEq)]
pub(super) struct Task {
    name: String,
    command: v1::CommandInfo,
    labels: Vec<v1::Label>,
    partition: Option<PartitionPolicy>,
    scalars: Vec<(String, Milli)>,
    fixed_ports: usize,
    variant: usize,
}

impl Plan {
    /// Returns the number of placed instances.
    #[must_use]
    pub fn placed(&self) -> u32 {
        self.launches.iter().map(Launch::count).fold(0, u32::saturating_add)
    }

    /// Returns whether everything requested is placed.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.unplaced.is_empty()
    }

    /// Returns the statistics of the search for a better result than the greedy one.
    #[must_use]
    pub fn search(&self) -> Search {
        self.search
    }

    pub(super) fn without_launches(self) -> Self {
        let launched = self.launches.into_iter().flat_map(|launch| launch.offer_ids);
        Self { launches: Vec::new(), unused: launched.chain(self.unused).collect(), ..self }
    }
}

/// Formats "3 placed on 2 agents", then a line for each request that is not placed in full.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let agents = self.launches.len();
        write!(f, "{} placed on {agents} {}", self.placed(), if agents == 1 { "agent" } else { "agents" })?;
        for unplaced in &self.unplaced {
            write!(f, "\n{}: {unplaced}", unplaced.task)?;
        }
        Ok(())
    }
}

impl Launch {
    pub(super) fn new(pool: &Pool, batches: Vec<Batch>) -> Self {
        let Pool { host, role, refinement, offer_ids, resources, .. } = pool;
        Self {
            host: Arc::clone(host),
            offer_ids: offer_ids.clone(),
            role: role.clone(),
            refinement: *refinement,
            resources: resources.clone(),
            batches,
        }
    }

    /// Returns the agent.
    #[must_use]
    pub fn agent_id(&self) -> &v1::AgentId {
        &self.host.agent_id
    }

    /// Returns the number of tasks.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.batches.iter().map(|batch| batch.instances).fold(0, u32::saturating_add)
    }

    /// Iterates over the instances in the order of [`tasks`](Self::tasks).
    pub fn instances(&self) -> impl Iterator<Item = Placed<'_>> {
        self.batches.iter().flat_map(Batch::placed)
    }

    /// Creates the tasks, complete but for their ids, which the caller assigns.
    ///
    /// Resources reserved for the role are taken before unreserved ones. All are allocated to the role of the offers.
    #[must_use]
    pub fn tasks(&self) -> Vec<v1::TaskInfo> {
        let mut stock = Stock::new(&self.resources);
        let instances = self.batches.iter().flat_map(|batch| batch.placed().map(|placed| (&*batch.task, placed)));
        instances
            .map(|(task, placed)| {
                let resources = stock.take(&task.scalars, placed.ports, placed.items);
                self.task_info(task, &resources, placed.ports)
            })
            .collect()
    }

    fn task_info(&self, task: &Task, resources: &Resources, ports: &[u64]) -> v1::TaskInfo {
        let mut command = task.command.clone();
        add_ports(&mut command, ports, task.fixed_ports);
        v1::TaskInfo {
            name: task.name.clone(),
            agent_id: self.host.agent_id.clone(),
            resources: resources.to_proto_as(self.role.as_deref(), self.refinement),
            command: Some(Box::new(command)),
            labels: (!task.labels.is_empty()).then(|| v1::Labels { labels: task.labels.clone() }),
            partition_policy: task.partition.map(Box::new),
            ..Default::default()
        }
    }
}

impl Batch {
    fn placed(&self) -> impl Iterator<Item = Placed<'_>> {
        let Pieces { ports, width, items } = &self.pieces;
        let width = *width;
        (0..self.instances).zip(0_usize..).map(move |(instance, at)| Placed {
            task: &self.task.name,
            instance: self.first + instance,
            ports: &ports[at * width..(at + 1) * width],
            items: items.get(at).map_or(&[], Vec::as_slice),
            variant: self.task.variant,
            score: self.score,
        })
    }
}

impl Task {
    pub(super) fn new(request: &TaskRequest, variant: usize) -> Self {
        let demand = request.nth_demand(variant);
        let wanted = demand.scalars.iter().filter(|&(_, &amount)| amount > Milli::ZERO);
        Self {
            name: request.name.clone(),
            command: request.command.clone(),
            labels: request.labels.clone(),
            partition: request.partition,
            scalars: wanted.map(|(name, &amount)| (name.clone(), amount)).collect(),
            fixed_ports: demand.fixed_ports.len(),
            variant,
        }
    }
}

/// Sets the variables of a command's ports: `PORT` and `PORT0`, `PORT1`, ... in their order, `PORT_8080` for a fixed
/// one, `PORTS` for all. Variables that the author has set do not change.
fn add_ports(command: &mut v1::CommandInfo, ports: &[u64], fixed: usize) {
    let Some(first) = ports.first() else { return };
    let all = ports.iter().map(u64::to_string).collect::<Vec<_>>().join(",");
    let numbered = ports.iter().enumerate().map(|(index, port)| (format!("PORT{index}"), port.to_string()));
    let named = ports[..fixed].iter().map(|port| (format!("PORT_{port}"), port.to_string()));
    let whole = [("PORT".to_owned(), first.to_string()), ("PORTS".to_owned(), all)];
    let variables = &mut command.environment.get_or_insert_default().variables;
    for (name, value) in numbered.chain(named).chain(whole) {
        if variables.iter().all(|variable| variable.name != name) {
            variables.push(environment::Variable { name, value: Some(value), ..Default::default() });
        }
    }
}
