//! Fitness: scores of places from 0 to 1, the larger the better, and how they are combined.
//!
//! [`BinPack`] fills agents up, [`WorstFit`] leaves them as empty as possible, [`DominantShare`] fills up by the
//! scarcest resource, [`Weighted`] combines several; a closure works as well. The final [`Score`] of a place is the
//! arithmetic mean of the parts that apply. These are always the fitness, and where they apply soft constraints and the
//! spread of a request's own instances. The formulas are those of Nomad's scheduler.

use super::feasible::{Names, Want};
use super::reason::Host;
use crate::types::Milli;

/// Scores how well an agent suits one more instance.
///
/// ```
/// use divvy::allocator::{Fitness, Placer, Prospect, TaskRequest};
///
/// // Prefers agents that keep most memory free.
/// let placer = Placer::new().fitness(|place: &Prospect<'_>| place.free("mem").unwrap_or(0.0));
/// assert_eq!(placer.place(&[], &[TaskRequest::command("a", "true").cpus(1.0)]).placed(), 0);
/// ```
pub trait Fitness {
    /// Returns the score from 0, the worst, to 1, the best. Scores outside are clamped, NaN counts as 0.
    fn score(&self, place: &Prospect<'_>) -> f64;
}

impl<F: Fn(&Prospect<'_>) -> f64> Fitness for F {
    fn score(&self, place: &Prospect<'_>) -> f64 {
        self(place)
    }
}

/// A possible placement of one instance on one agent.
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
    /// Returns the agent.
    #[must_use]
    pub fn host(&self) -> &Host {
        self.host
    }

    /// Returns how many instances of the request are on the agent.
    ///
    /// They are only counted with a limit per agent, or when instances are spread.
    #[must_use]
    pub fn instances(&self) -> u32 {
        self.instances
    }

    /// Returns the agent's total of a scalar resource that some request needs.
    #[must_use]
    pub fn total(&self, name: &str) -> Milli {
        self.names.scalar(name).map_or(Milli::ZERO, |index| self.total[index])
    }

    /// Returns what the instance takes of a scalar resource.
    #[must_use]
    pub fn asked(&self, name: &str) -> Milli {
        self.names.scalar(name).map_or(Milli::ZERO, |index| self.asked_at(index))
    }

    /// Returns the fraction of a scalar resource, 0 to 1, that is free once the instance is placed.
    ///
    /// `None` if the agent has none of it or no request needs it.
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

    /// Returns `10^free cpus + 10^free mem`, from 2 (full) to 20 (empty). What an agent does not have counts as used
    /// up.
    fn emptiness(&self) -> f64 {
        let term = |index| (self.free_at(index).unwrap_or(0.0) * std::f64::consts::LOG2_10).exp2();
        term(Names::CPUS) + term(Names::MEM)
    }
}

/// Fills agents up, by cpus and memory: `(20 - 10^free cpus - 10^free mem) / 18`.
///
/// An agent that stays empty scores 0, one that gets full 1.
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

/// Fills agents up by the fullest scalar resource that the instance needs: the largest used fraction.
#[derive(Debug, Clone, Copy, Default)]
pub struct DominantShare;

impl Fitness for DominantShare {
    fn score(&self, place: &Prospect<'_>) -> f64 {
        let asked = place.want.scalars.iter().filter_map(|&(index, _)| place.free_at(index));
        asked.map(|free| 1.0 - free).fold(0.0, f64::max)
    }
}

/// The weighted mean of several fitness functions.
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
    /// Creates a mean of no functions, which scores 0.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a function. A weight that is not a number over zero counts as zero.
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

/// The parts of a place's score; `None` where a scorer does not apply.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Score {
    /// The fitness, 0 to 1.
    pub fitness: f64,
    /// The penalty for the request's instances that are there already, `-(instances + 1) / count`. Only with
    /// [`Strategy::Spread`](super::Strategy::Spread), where there are any.
    pub own_instances: Option<f64>,
    /// The score by soft constraints, -1 to 1.
    pub constraints: Option<f64>,
}

impl Score {
    /// Returns the mean of the parts.
    #[must_use]
    pub fn total(&self) -> f64 {
        mean([Some(self.fitness), self.own_instances, self.constraints])
    }
}

/// Returns the mean of the parts that are `Some`; 0 if there are none.
pub(super) fn mean<const N: usize>(parts: [Option<f64>; N]) -> f64 {
    let (sum, count) = parts.into_iter().flatten().fold((0.0, 0.0), |(sum, count), part| (sum + part, count + 1.0));
    if count > 0.0 { sum / count } else { 0.0 }
}

/// Clamps a score to 0 to 1.
pub(super) fn bounded(score: f64) -> f64 {
    if score.is_nan() { 0.0 } else { score.clamp(0.0, 1.0) }
}

#[cfg(test)]
#[path = "fitness_tests.rs"]
mod tests;
