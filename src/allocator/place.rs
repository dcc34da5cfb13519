//! Tasks onto offers: the simple front, and [`Placer`] with every choice there is.
//!
//! Greedy first: by priority, then the request with the largest dominant share, each instance onto the agent that scores
//! best. When that leaves something over, a search looks for a better answer. Everything is deterministic: ties go to the request
//! and the offer that come first, ports and items are the lowest free ones.

mod among;
mod finish;
mod greedy;
mod naive;
mod search;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use self::greedy::{Measure, Scoring};
pub use self::search::Search;
use super::board::Board;
use super::constraint::ClusterView;
use super::fitness::{Fitness, Score};
use super::plan::Plan;
use super::problem::Problem;
use super::reason::Host;
use super::request::TaskRequest;
use crate::proto::v1;

/// Places as many of the requested instances as it can, as [`Placer::new`] does.
///
/// ```
/// use divvy::allocator::{TaskRequest, place};
/// use divvy::proto::v1;
/// use divvy::types::Resources;
///
/// let offer = v1::Offer {
///     id: v1::OfferId { value: "O1".into() },
///     agent_id: v1::AgentId { value: "S1".into() },
///     hostname: "h1".into(),
///     resources: "cpus:4;mem:8192;ports:[31000-31009]".parse::<Resources>()?.to_proto(),
///     ..Default::default()
/// };
/// let web = TaskRequest::command("web", "serve --port $PORT").cpus(0.5).mem_mib(128).ports(1).count(3).max_per_agent(2);
/// let plan = place(&[offer], &[web]);
/// assert_eq!(plan.placed(), 2);
/// assert_eq!(plan.launches[0].tasks().len(), 2);
/// assert_eq!(
///     plan.unplaced[0].to_string(),
///     "1 of 3 does not fit: 1 agent: at its limit of 2 on this agent; needs 1 more agent with 0.5 cpus, 128 MiB and 1 port"
/// );
/// # Ok::<(), divvy::types::ResourceError>(())
/// ```
#[must_use]
pub fn place(offers: &[v1::Offer], requests: &[TaskRequest]) -> Plan {
    Placer::new().place(offers, requests)
}

/// Places all requested instances or none: when something is missing, the plan launches nothing and says what is missing as
/// [`place`] does.
#[must_use]
pub fn place_all(offers: &[v1::Offer], requests: &[TaskRequest]) -> Plan {
    Placer::new().all_or_nothing().place(offers, requests)
}

/// What makes a place a good one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Strategy {
    /// Fill agents up, so that large tasks find room later: [`BinPack`](super::BinPack).
    #[default]
    Binpack,
    /// Use the emptiest agents, and spread the instances of a request: [`WorstFit`](super::WorstFit).
    Spread,
    /// First fit by memory, then cpus, biggest first, without scores and without search: what Mesomatic's allocator does, less
    /// its mistakes. A queue of offers is carried from request to request. A request that asks for no resources is placed, too,
    /// though no master accepts such tasks.
    Naive,
}

/// Places requests on offers. Every setting has a default that fits most.
///
/// ```
/// use divvy::allocator::{Placer, Strategy, TaskRequest};
///
/// let requests = [TaskRequest::command("web", "serve").cpus(1.0).count(4)];
/// let plan = Placer::new().strategy(Strategy::Spread).all_or_nothing().place(&[], &requests);
/// assert!(!plan.is_complete());
/// ```
#[derive(Default)]
pub struct Placer<'a> {
    strategy: Strategy,
    all_or_nothing: bool,
    fitness: Option<Box<dyn Fitness + 'a>>,
    good_enough: Option<f64>,
    node_budget: Option<u64>,
    view: Option<&'a ClusterView>,
}

impl<'a> Placer<'a> {
    /// Best effort, [`Strategy::Binpack`].
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets what makes a place a good one.
    #[must_use]
    pub fn strategy(mut self, strategy: Strategy) -> Self {
        self.strategy = strategy;
        self
    }

    /// Launches nothing when something is missing.
    #[must_use]
    pub fn all_or_nothing(mut self) -> Self {
        self.all_or_nothing = true;
        self
    }

    /// Replaces the strategy's fitness; [`Strategy::Naive`] uses none.
    #[must_use]
    pub fn fitness(mut self, fitness: impl Fitness + 'a) -> Self {
        self.fitness = Some(Box::new(fitness));
        self
    }

    /// Takes a place that scores as much without looking at others; agents are looked at in the order of the offers.
    #[must_use]
    pub fn good_enough(mut self, score: f64) -> Self {
        self.good_enough = Some(score);
        self
    }

    /// How many nodes the search may take when greedy placing leaves something over; 0 for no search. Unless set, up to 12
    /// instances on 6 agents everything is looked at (so that what can be placed is), and beyond that 200,000 nodes,
    /// which is some tens of milliseconds.
    #[must_use]
    pub fn node_budget(mut self, nodes: u64) -> Self {
        self.node_budget = Some(nodes);
        self
    }

    /// Lets constraints look at the whole cluster and not only at the agents with offers.
    #[must_use]
    pub fn cluster(mut self, view: &'a ClusterView) -> Self {
        self.view = Some(view);
        self
    }

    /// Places.
    #[must_use]
    pub fn place(&self, offers: &[v1::Offer], requests: &[TaskRequest]) -> Plan {
        let problem = Problem::new(offers, requests, self.view, self.strategy == Strategy::Naive);
        let mut board = Board::new(&problem, self.view, self.strategy == Strategy::Spread);
        let search = match self.strategy {
            Strategy::Naive => {
                naive::fill(&mut board);
                Search::default()
            }
            Strategy::Binpack | Strategy::Spread => {
                self.greedy(&mut board);
                search::improve(&mut board, self.node_budget)
            }
        };
        let plan = finish::plan(&board, search);
        if self.all_or_nothing && !plan.is_complete() { plan.without_launches() } else { plan }
    }

    /// The places for one instance of a request if nothing else were placed, the best first: what the score of a place is
    /// made of, and what else there was.
    #[must_use]
    pub fn rank(&self, offers: &[v1::Offer], request: &TaskRequest) -> Vec<Ranked> {
        let requests = std::slice::from_ref(request);
        let problem = Problem::new(offers, requests, self.view, false);
        let board = Board::new(&problem, self.view, true);
        let scoring = self.scoring();
        let rank = |pool: usize| {
            let variant = (0..problem.wants[0].len()).find(|&variant| board.allows(0, variant, pool))?;
            let score = scoring.whole(&board, 0, variant, pool);
            Some(Ranked { host: Arc::clone(&problem.pools.all[pool].host), variant, score })
        };
        let mut ranked: Vec<Ranked> = (0..board.rooms.len()).filter_map(rank).collect();
        ranked.sort_by(|a, b| b.score.total().total_cmp(&a.score.total()));
        ranked
    }

    /// A second round only where placing lets others in, as long as it does.
    fn greedy(&self, board: &mut Board<'_>) {
        let scoring = self.scoring();
        let mut requests = board.problem.order();
        while !requests.is_empty() {
            let before = board.missing.clone();
            for &request in &requests {
                greedy::fill(board, &scoring, request);
            }
            let placed_more = board.missing != before;
            requests.retain(|&request| placed_more && board.missing[request] > 0 && board.rules.may_open(request));
        }
    }

    fn scoring(&self) -> Scoring<'_> {
        let spread = self.strategy == Strategy::Spread;
        let fitness = match &self.fitness {
            Some(fitness) => Measure::Other(&**fitness),
            None if spread => Measure::WorstFit,
            None => Measure::BinPack,
        };
        Scoring { fitness, spread, good_enough: self.good_enough }
    }
}

/// A place for an instance, from [`Placer::rank`].
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Ranked {
    /// The agent.
    pub host: Arc<Host>,
    /// By which of the request's demands it would be placed there.
    pub variant: usize,
    /// How good a place it is, in parts.
    pub score: Score,
}

impl std::fmt::Debug for Placer<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Placer")
            .field("strategy", &self.strategy)
            .field("all_or_nothing", &self.all_or_nothing)
            .field("good_enough", &self.good_enough)
            .finish_non_exhaustive()
    }
}
