//! How good a place is: scores from 0 to 1, the larger the better, and how they are put together.
//!
//! [`BinPack`] fills agents up, [`WorstFit`] leaves them as empty as possible, [`DominantShare`] fills up by the scarcest
//! resource, [`Weighted`] mixes several; a closure will do as well. The final [`Score`] of a place is the arithmetic mean of the parts that had
//! something to say: the fitness always, soft constraints and the spread of a request's own instances only where they
//! apply. The
//! formulas are those of Nomad's scheduler.

use super::feasible::{Names, Want};
use super::reason::Host;
use crate::types::Milli;

/// How well an agent suits one more instance.
///
/// ```
/// use divvy::allocator::{Fitness, Placer, Prospect, TaskRequest};
///
/// // Prefers agents that keep most memory free.
/// let placer = Placer::new().fitness(|place: &Prospect<'_>| place.free("mem").unwrap_or(0.0));
/// assert_eq!(placer.place(&[], &[TaskRequest::command("a", "true").cpus(1.0)]).placed(), 0);
/// ```
pub trait Fitness {
    /// From 0, as bad as can be, to 1, perfect. What lies outside counts as the nearer bound, no number as 0.
    fn score(&self, place: &Prospect<'_>) -> f64;
}

impl<F: Fn(&Prospect<'_>) -> f64> Fitness for F {
    fn score(&self, place: &Prospect<'_>) -> f64 {
        self(place)
    }
}

/// One instance on one agent, if it were placed there.
#[derive(Debug, Clone, Copy)]
pub struct Prospect<'a> {
    pub(super) names: &'a Names,
    pub(super) host: &'a Host,
    pub(super) total: &'a [Milli],
    pub(super) left: &'a [Milli],
    pub(super) want: &'a Want,
    pub(super) instances: u32,
}

impl Prospect<'_> {
    /// The agent.
    #[must_use]
    pub fn host(&self) -> &Host {
        self.host
    }

    /// How many instances of the request are on the agent, as far as that is counted: with a limit per agent, or when
    /// instances are spread.
    #[must_use]
    pub fn instances(&self) -> u32 {
        self.instances
    }

    /// What the agent has of a scalar resource that some request asks for, used or not.
    #[must_use]
    pub fn total(&self, name: &str) -> Milli {
        self.names.scalar(name).map_or(Milli::ZERO, |index| self.total[index])
    }

    /// What the instance takes of a scalar resource.
    #[must_use]
    pub fn asked(&self, name: &str) -> Milli {
        self.names.scalar(name).map_or(Milli::ZERO, |index| self.asked_at(index))
    }

    /// The fraction of a scalar resource, 0 to 1, that is free once the instance is there; `None` when the agent has
    /// none of it or no request asks for it.
    #[must_use]
    pub fn free(&self, name: &str) -> Option<f64> {
        self.free_at(self.names.scalar(name)?)
    }

    #[expect(clippy::cast_precision_loss, reason = "a fraction is as exact as it has to be")]
    fn free_at(&self, index: usize) -> Option<f64> {
        let total = self.total[index];
        let left = self.left[index].saturating_sub(self.asked_at(index));
        (total > Milli::ZERO).then(|| left.raw() as f64 / total.raw() as f64)
    }

    fn asked_at(&self, index: usize) -> Milli {
        self.want.scalars.iter().find(|&&(name, _)| name == index).map_or(Milli::ZERO, |&(_, asked)| asked)
    }

    /// `10^free cpus + 10^free mem`, from 2 (full) to 20 (empty). What an agent does not have counts as used up.
    fn emptiness(&self) -> f64 {
        let term = |index| (self.free_at(index).unwrap_or(0.0) * std::f64::consts::LOG2_10).exp2();
        term(Names::CPUS) + term(Names::MEM)
    }
}

/// Fills agents up, by cpus and memory: `(20 - 10^free cpus - 10^free mem) / 18`. An agent that stays empty scores 0,
/// one that gets full 1.
#[derive(Debug, Clone, Copy, Default)]
pub struct BinPack;

impl Fitness for BinPack {
    fn score(&self, place: &Prospect<'_>) -> f64 {
        (20.0 - place.emptiness()) / 18.0
    }
}

/// Uses the emptiest agents: `(10^free cpus + 10^free mem - 2) / 18`, the opposite of [`BinPack`].
#[derive(Debug, Clone, Copy, Default)]
pub struct WorstFit;

impl Fitness for WorstFit {
    fn score(&self, place: &Prospect<'_>) -> f64 {
        (place.emptiness() - 2.0) / 18.0
    }
}

/// Fills agents up, by whichever scalar resource of the instance is the fullest: the largest used fraction of any.
#[derive(Debug, Clone, Copy, Default)]
pub struct DominantShare;

impl Fitness for DominantShare {
    fn score(&self, place: &Prospect<'_>) -> f64 {
        let asked = place.want.scalars.iter().filter_map(|&(index, _)| place.free_at(index));
        asked.map(|free| 1.0 - free).fold(0.0, f64::max)
    }
}

/// The weighted mean of several.
///
/// ```
/// use divvy::allocator::{BinPack, DominantShare, Placer, Weighted};
///
/// let placer = Placer::new().fitness(Weighted::new().with(2.0, BinPack).with(1.0, DominantShare));
/// # let _ = placer;
/// ```
#[derive(Default)]
pub struct Weighted<'a> {
    parts: Vec<(f64, Box<dyn Fitness + 'a>)>,
}

impl<'a> Weighted<'a> {
    /// Of none: scores 0.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// With one more. A weight that is no number over zero counts as zero.
    #[must_use]
    pub fn with(mut self, weight: f64, fitness: impl Fitness + 'a) -> Self {
        let weight = if weight.is_finite() { weight.max(0.0) } else { 0.0 };
        self.parts.push((weight, Box::new(fitness)));
        self
    }
}

impl Fitness for Weighted<'_> {
    fn score(&self, place: &Prospect<'_>) -> f64 {
        let sum: f64 = self.parts.iter().map(|(weight, fitness)| weight * bounded(fitness.score(place))).sum();
        let weights: f64 = self.parts.iter().map(|(weight, _)| weight).sum();
        if weights > 0.0 { sum / weights } else { 0.0 }
    }
}

impl std::fmt::Debug for Weighted<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.parts.iter().map(|(weight, _)| weight)).finish()
    }
}

/// The parts of a place's score. What had nothing to say is `None` and does not count.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Score {
    /// Of the fitness, 0 to 1.
    pub fitness: f64,
    /// How many of the request's instances are there already, as `-(instances + 1) / count`: with
    /// [`Strategy::Spread`](super::Strategy::Spread), where there are any.
    pub own_instances: Option<f64>,
    /// Of the soft constraints, -1 to 1.
    pub constraints: Option<f64>,
}

impl Score {
    /// The mean of the parts.
    #[must_use]
    pub fn total(&self) -> f64 {
        mean([Some(self.fitness), self.own_instances, self.constraints])
    }
}

/// The mean of those that are there; 0 of none.
pub(super) fn mean<const N: usize>(parts: [Option<f64>; N]) -> f64 {
    let (sum, count) = parts.into_iter().flatten().fold((0.0, 0.0), |(sum, count), part| (sum + part, count + 1.0));
    if count > 0.0 { sum / count } else { 0.0 }
}

/// A score between its bounds.
pub(super) fn bounded(score: f64) -> f64 {
    if score.is_nan() { 0.0 } else { score.clamp(0.0, 1.0) }
}

#[cfg(test)]
#[path = "fitness_tests.rs"]
mod tests;
