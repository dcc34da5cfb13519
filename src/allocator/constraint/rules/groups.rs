//! Agents that a request's rules cannot tell apart.

use std::collections::HashMap;
use std::sync::Arc;

use super::columns::Column;
use super::{Compiled, Tested};

/// Which agents always score alike for a request.
#[derive(Debug, Clone, Default)]
pub(super) enum Groups {
    /// All of them.
    #[default]
    One,
    /// Each only with itself.
    Each,
    /// Those of one number.
    Numbered(Arc<[u32]>),
}

/// What tells agents apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Sign {
    Test(usize),
    Value(usize),
}

/// The groupings made so far, by their signs: requests with like rules share one.
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
    /// The groups of a request, among the first `offered` agents.
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

/// `None` when wishes look at each agent alone. Hard rules that do are left to the check.
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
