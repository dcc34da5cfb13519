//! Counts of a request's instances by attribute value, and the distribution rules that read them.
//!
//! A [`Counts`] also keeps how many values have which count, so that the least and the most used value are known
//! without a scan.

use std::collections::BTreeMap;

/// The number of instances of each value.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Counts {
    /// The column number of the attribute.
    pub(super) column: usize,
    by_value: Vec<u64>,
    /// The values of agents that could run the request when empty; only these are compared with each other. Empty if no
    /// rule compares.
    reachable: Vec<bool>,
    /// How many reachable values have each count.
    histogram: BTreeMap<u64, usize>,
}

/// A rule on how instances are distributed over the values of an attribute.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Limit {
    PerValue { limit: u32 },
    GroupBy { skew: u32 },
    Even { total: u64 },
    Targets(Targets),
}

/// Shares of all instances by value.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Targets {
    /// Percentages by the value's number.
    percents: Vec<(usize, u32)>,
    /// The percentage that all other values share.
    rest_percent: u32,
    /// The number of other values.
    others: u64,
    /// The number of instances wanted in all.
    total: u64,
}

/// An increase or decrease of a count.
#[derive(Debug, Clone, Copy)]
pub(super) enum Change {
    Add(u64),
    Remove(u64),
}

impl Change {
    pub(super) fn apply(self, count: &mut u64) {
        match self {
            Self::Add(instances) => *count += instances,
            Self::Remove(instances) => {
                debug_assert!(*count >= instances, "only what was placed is removed");
                *count = count.saturating_sub(instances);
            }
        }
    }
}

impl Counts {
    /// Creates zero counts, given which values are reachable.
    pub(super) fn new(column: usize, reachable: Vec<bool>) -> Self {
        let values = reachable.iter().filter(|reachable| **reachable).count();
        let histogram = if values == 0 { BTreeMap::new() } else { BTreeMap::from([(0, values)]) };
        Self { column, by_value: vec![0; reachable.len()], reachable, histogram }
    }

    pub(super) fn change(&mut self, value: usize, change: Change) {
        let before = self.by_value[value];
        change.apply(&mut self.by_value[value]);
        if !self.reachable[value] {
            return;
        }
        let values = self.histogram.get_mut(&before).expect("every reachable value is counted");
        *values -= 1;
        if *values == 0 {
            self.histogram.remove(&before);
        }
        *self.histogram.entry(self.by_value[value]).or_default() += 1;
    }

    pub(super) fn at(&self, value: usize) -> u64 {
        self.by_value[value]
    }

    /// Returns the even share of a value, rounded up.
    pub(super) fn even_share(&self, total: u64) -> u64 {
        total.div_ceil(self.reachable_values().max(1))
    }

    pub(super) fn reachable(&self) -> &[bool] {
        &self.reachable
    }

    fn reachable_values(&self) -> u64 {
        self.histogram.values().map(|&values| values as u64).sum()
    }

    /// Returns the count of the least used other reachable value.
    pub(super) fn least_other(&self, value: usize) -> Option<u64> {
        let own = self.reachable[value].then_some(self.by_value[value]);
        let others = self.histogram.iter().map(|(&count, &values)| (count, values - usize::from(own == Some(count))));
        others.into_iter().find(|&(_, values)| values > 0).map(|(count, _)| count)
    }

    /// Returns what [`least_other`](Self::least_other) reads of all values: the lowest count, whether several values
    /// have it, and the next count.
    pub(super) fn lowest(&self) -> [u64; 3] {
        let mut counts = self.histogram.iter().map(|(&count, &values)| (count, values));
        let (least, values) = counts.next().unwrap_or((u64::MAX, 0));
        [least, u64::from(values > 1), counts.next().map_or(u64::MAX, |(count, _)| count)]
    }

    /// Returns the lowest and the highest count of the reachable values.
    pub(super) fn extremes(&self) -> Option<(u64, u64)> {
        Some((*self.histogram.first_key_value()?.0, *self.histogram.last_key_value()?.0))
    }
}

impl Limit {
    /// Returns how many more instances of the value are allowed.
    pub(super) fn room(&self, counts: &Counts, value: usize) -> u64 {
        let most = match self {
            Self::PerValue { limit } => u64::from(*limit),
            Self::GroupBy { skew } => match counts.least_other(value) {
                Some(least) => least.saturating_add(u64::from(*skew)),
                None => u64::MAX,
            },
            Self::Even { total } => counts.even_share(*total),
            Self::Targets(targets) => targets.share(value),
        };
        most.saturating_sub(counts.at(value))
    }

    /// Scores one more instance of the value, from -1 to 1.
    ///
    /// A satisfied limit scores 1; an exceeded one scores 0 or less, and less the more it is exceeded. Shares score as
    /// in Nomad's spread: by how much of the desired number is missing, or without targets by the distance to the least
    /// used value.
    pub(super) fn score(&self, counts: &Counts, value: usize) -> f64 {
        let there = counts.at(value);
        let score = match self {
            Self::PerValue { limit } => kept((there + 1).saturating_sub(u64::from(*limit))),
            Self::GroupBy { skew } => counts
                .least_other(value)
                .map_or(1.0, |least| kept((there + 1).saturating_sub(least.saturating_add(u64::from(*skew))))),
            Self::Even { .. } => counts.extremes().map_or(0.0, |(least, most)| even(there, least, most)),
            Self::Targets(targets) => match targets.desired(value) {
                0.0 => -1.0,
                desired => (desired - number(there + 1)) / desired,
            },
        };
        score.clamp(-1.0, 1.0)
    }
}

impl Targets {
    /// Creates targets. `percents` are those of values that some agent has; `sum` is that of all.
    pub(super) fn new(mut percents: Vec<(usize, u32)>, sum: u32, reachable: &[bool], total: u64) -> Self {
        percents.sort_unstable();
        let is_target = |value: usize| percents.binary_search_by_key(&value, |&(target, _)| target).is_ok();
        let others = (0..reachable.len()).filter(|&value| reachable[value] && !is_target(value)).count();
        let rest_percent = 100_u32.saturating_sub(sum);
        Self { percents, rest_percent, others: (others as u64).max(1), total }
    }

    /// Returns a value's share in hundredths of instances, and the divisor.
    fn hundredths(&self, value: usize) -> (u64, u64) {
        match self.percents.binary_search_by_key(&value, |&(target, _)| target) {
            Ok(at) => (self.total.saturating_mul(self.percents[at].1.into()), 100),
            Err(_) => (self.total.saturating_mul(self.rest_percent.into()), 100 * self.others),
        }
    }

    pub(super) fn share(&self, value: usize) -> u64 {
        let (hundredths, parts) = self.hundredths(value);
        hundredths.div_ceil(parts)
    }

    fn desired(&self, value: usize) -> f64 {
        let (hundredths, parts) = self.hundredths(value);
        number(hundredths) / number(parts)
    }
}

/// Returns 1 if nothing is exceeded, and 0, -1/2, -2/3, ... if a limit is exceeded by 1, 2, 3, ...
pub(super) fn kept(exceeded_by: u64) -> f64 {
    if exceeded_by == 0 { 1.0 } else { 1.0 / number(exceeded_by) - 1.0 }
}

/// Returns the boost of an even spread for a value with `there` instances, where values have `least` to `most`.
fn even(there: u64, least: u64, most: u64) -> f64 {
    let relative = |distance: u64| number(distance) / number(least);
    if most == 0 {
        0.0
    } else if there > least {
        if least == 0 { -1.0 } else { -relative(there - least) }
    } else if least == most {
        -1.0
    } else if least == 0 {
        1.0
    } else {
        relative(most - least)
    }
}

#[expect(clippy::cast_precision_loss, reason = "scores need no more than a double has")]
fn number(count: u64) -> f64 {
    count as f64
}
