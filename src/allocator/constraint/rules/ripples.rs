//! What an instance changes for other agents than its own: by what they are all measured by, and by values they share.

use super::Rules;
use super::counts::{Counts, Limit};

impl Rules<'_> {
    /// Writes into `figures` all that rules on a request read wherever the agent is, besides the agent itself and its
    /// [`counted_values`](Self::counted_values). As long as it is the same, an instance that is placed changes nothing for
    /// agents that share no value with its own.
    pub(in crate::allocator) fn horizon(&self, request: usize, figures: &mut Vec<u64>) {
        let compiled = &self.compiled[request];
        figures.clear();
        for rule in &compiled.distributed {
            rule.limit.horizon(&compiled.counts[rule.counts], figures);
        }
        // The first of those that want to be together may go anywhere.
        figures.extend(compiled.near.iter().map(|near| u64::from(self.watches[near.watch].anywhere == 0)));
    }

    /// The values, each with its attribute, by which an instance of the request on this agent counts for others as well.
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

    /// Whether agents of one [group](Self::score_group) may differ in their counted values: where a hard rule counts by what
    /// tells agents apart.
    pub(in crate::allocator) fn counts_by_identity(&self, request: usize) -> bool {
        self.compiled[request].counts.iter().any(|counts| self.columns[counts.column].is_identity())
    }
}

impl Limit {
    /// What the rule reads of all values together.
    fn horizon(&self, counts: &Counts, figures: &mut Vec<u64>) {
        match self {
            Self::PerValue { .. } | Self::Targets(_) => {}
            Self::GroupBy { .. } => figures.extend(counts.lowest()),
            Self::Even { .. } => figures.extend(counts.extremes().map_or([u64::MAX; 2], |(least, most)| [least, most])),
        }
    }
}
