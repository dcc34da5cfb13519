//! Effects of an instance on other agents: through figures that all agents share, and through attribute values.

use super::Rules;
use super::counts::{Counts, Limit};

impl Rules<'_> {
    /// Writes to `figures` what rules on a request read, other than the agent itself and its
    /// [`counted_values`](Self::counted_values). While the figures are the same, placing an instance changes nothing
    /// for agents that share no value with its agent.
    pub(in crate::allocator) fn shared_figures(&self, request: usize, figures: &mut Vec<u64>) {
        let compiled = &self.compiled[request];
        figures.clear();
        for rule in &compiled.distributed {
            rule.limit.shared_figures(&compiled.counts[rule.counts], figures);
        }
        // The first of those that require their own label may be placed anywhere.
        figures.extend(compiled.near.iter().map(|near| u64::from(self.watches[near.watch].anywhere == 0)));
    }

    /// Returns the values, each with its attribute, through which an instance of the request on this agent affects
    /// others.
    pub(in crate::allocator) fn counted_values(
        &self,
        request: usize,
        agent: usize,
    ) -> impl Iterator<Item = (usize, usize)> {
        let compiled = &self.compiled[request];
        let counted = compiled.counts.iter().map(|counts| counts.column);
        let watched = compiled.near.iter().filter_map(|near| self.watches[near.watch].column);
        counted.chain(watched).filter_map(move |column| Some((column, self.columns[column].key(agent)?)))
    }

    /// Returns whether agents of one [group](Self::score_group) may differ in their counted values: a hard rule counts
    /// by an attribute that identifies agents.
    pub(in crate::allocator) fn counts_by_identity(&self, request: usize) -> bool {
        self.compiled[request].counts.iter().any(|counts| self.columns[counts.column].is_identity())
    }
}

impl Limit {
    /// Writes what the rule reads of all values together.
    fn shared_figures(&self, counts: &Counts, figures: &mut Vec<u64>) {
        match self {
            Self::PerValue { .. } | Self::Targets(_) => {}
            Self::GroupBy { .. } => figures.extend(counts.lowest()),
            Self::Even { .. } => figures.extend(counts.extremes().map_or([u64::MAX; 2], |(least, most)| [least, most])),
        }
    }
}
