//! Groups of agents that a request's rules do not distinguish.

use std::collections::HashMap;
use std::sync::Arc;

use super::columns::Column;
use super::{Compiled, Tested};

/// The groups of agents that always have the same score for a request.
#[derive(Debug, Clone, Default)]
pub(super) enum Groups {
    /// All agents are one group.
    #[default]
    One,
    /// Each agent is its own group.
    Each,
    /// Agents of one number are a group.
    Numbered(Arc<[u32]>),
}

/// What distinguishes groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Sign {
    Test(usize),
    Value(usize),
}

/// The groupings computed so far, by their signs: requests with equal rules share one.
#[derive(Debug, Default)]
pub(super) struct Groupings(HashMap<Vec<Sign>, Groups>);

impl Groups {
    pub(super) fn of(&self, agent: usize) -> u32 {
        match self {
            Self::One => 0,
            Self::Each => u32::try_from(agent).unwrap_or(u32::MAX),
            Self::Numbered(numbers) => numbers[agent],
        }
    }
}

impl Groupings {
    /// Returns the groups of a request, among the first `offered` agents.
    pub(super) fn group(
        &mut self,
        compiled: &Compiled,
        near: &[Option<usize>],
        tests: &[Tested],
        columns: &[Column],
        offered: usize,
    ) -> Groups {
        let Some(signs) = signs(compiled, near, columns) else { return Groups::Each };
        self.0.entry(signs).or_insert_with_key(|signs| number(signs, tests, columns, offered)).clone()
    }
}

/// Returns `None` if soft constraints depend on each agent alone. Hard rules that do are left to the check.
fn signs(compiled: &Compiled, near: &[Option<usize>], columns: &[Column]) -> Option<Vec<Sign>> {
    let required = compiled.required.iter().map(|&(test, _)| Sign::Test(test));
    let wished = compiled.wished.iter().map(|&(test, _)| Sign::Test(test));
    let mut signs: Vec<Sign> = required.chain(wished).collect();
    for rule in &compiled.distributed {
        let column = compiled.counts[rule.counts].column;
        if rule.weight.is_some() || !columns[column].is_identity() {
            signs.push(Sign::Value(column));
        }
    }
    for (rule, column) in compiled.near.iter().zip(near) {
        match column {
            Some(column) => signs.push(Sign::Value(*column)),
            None if rule.weight.is_some() => return None,
            None => {}
        }
    }
    if !compiled.alone_wished.is_empty() {
        return None;
    }
    signs.sort_unstable();
    signs.dedup();
    Some(signs)
}

fn number(signs: &[Sign], tests: &[Tested], columns: &[Column], offered: usize) -> Groups {
    if signs.is_empty() {
        return Groups::One;
    }
    let mut groups = vec![0; offered];
    for &sign in signs {
        let mut numbers = HashMap::new();
        for (agent, group) in groups.iter_mut().enumerate() {
            let value = match sign {
                Sign::Test(test) => {
                    let Tested { column, passes } = &tests[test];
                    Some(usize::from(passes[columns[*column].list_of[agent]]))
                }
                Sign::Value(column) => columns[column].key(agent),
            };
            let next = u32::try_from(numbers.len()).unwrap_or(u32::MAX);
            *group = *numbers.entry((*group, value)).or_insert(next);
        }
    }
    Groups::Numbered(groups.into())
}
