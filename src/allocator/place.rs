//! Placement of tasks on offers: [`place`] with the defaults, and [`Placer`] with every setting.
//!
//! Greedy first: by priority, then the request with the largest dominant share, each instance on the agent with the
//! best score. If something is left over, a search looks for a better result. Everything is deterministic: ties go to
//! the request and the offer that come first, and ports and items are the lowest free ones.

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

/// Places as many of the requested instances as possible, as [`Placer::new`] does.
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

/// Places all requested instances or none.
///
/// If something is missing, the plan launches nothing and has the same reasons as that of [`place`].
#[must_use]
pub fn place_all(offers: &[v1::Offer], requests: &[TaskRequest]) -> Plan {
    Placer::new().all_or_nothing().place(offers, requests)
}

/// How places are scored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Strategy {
    /// Fills agents up, so that large tasks find room later: [`BinPack`](super::BinPack).
    #[default]
    Binpack,
    /// Uses the emptiest agents, and spreads the instances of a request: [`WorstFit`](super::WorstFit).
    Spread,
    /// First fit by memory, then cpus, largest first, without scores and search.
    ///
    /// This is Mesomatic's allocator without its bugs. A queue of offers is carried over from request to request. A
    /// request without resources is placed, too, though no master accepts such tasks.
    Naive,
}

/// Places requests on offers, with defaults that suit most frameworks.
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
    /// Creates a placer: best effort, [`Strategy::Binpack`].
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets how places are scored.
    #[must_use]
    pub fn strategy(mut self, strategy: Strategy) -> Self {
        self.strategy = strategy;
        self
    }

    /// Launches nothing if something is missing.
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

    /// Accepts a place with this score without looking at others; agents are visited in the order of the offers.
    #[must_use]
    pub fn good_enough(mut self, score: f64) -> Self {
        self.good_enough = Some(score);
        self
    }

    /// Sets how many nodes the search may visit if greedy placement leaves something over; 0 for no search.
    ///
    /// Unless set, up to 12 instances on 6 agents the search is complete, so that what can be placed is placed. Beyond
    /// that it visits 200,000 nodes, which is some tens of milliseconds.
    #[must_use]
    pub fn node_budget(mut self, nodes: u64) -> Self {
        self.node_budget = Some(nodes);
        self
    }

    /// Lets constraints use the whole cluster and not only the agents with offers.
    #[must_use]
    pub fn cluster(mut self, view: &'a ClusterView) -> Self {
        self.view = Some(view);
        self
    }

    /// Places the requests on the offers.
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

    /// Returns the places for one instance of a request as if nothing else were placed, the best first, with their
    /// scores.
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

    /// Repeats only while placing lets others in.
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
    /// The index of the request's demand that it would use there.
    pub variant: usize,
    /// The parts of its score.
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
