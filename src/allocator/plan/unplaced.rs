//! What was not placed: how many, why on each agent, and what would help.

use std::collections::BTreeMap;
use std::fmt;

use super::unblock::Unblock;
use crate::allocator::place::Search;
use crate::allocator::reason::{AgentReason, Reason};
use crate::allocator::request::{RequestError, TaskRequest};

/// A request, or the rest of one, that is not placed.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Unplaced {
    /// The request's name.
    pub task: String,
    /// How many instances were asked for.
    pub asked: u32,
    /// How many of them are not placed.
    pub missing: u32,
    /// Why the next instance does not fit, one entry for each agent and role offered, in the order of the offers.
    pub reasons: Vec<AgentReason>,
    /// Set when the request makes no sense: then there are no reasons, and no offer helps.
    pub error: Option<RequestError>,
    /// What would make room for the missing instances; `None` when nothing would.
    pub unblock: Option<Unblock>,
    /// Set when the search ran out of nodes before it knew that there is no better answer: how many it took.
    pub searched: Option<u64>,
}

impl Unplaced {
    pub(in crate::allocator) fn new(
        request: &TaskRequest,
        missing: u32,
        reasons: Vec<AgentReason>,
        search: Search,
    ) -> Self {
        let unblock = Unblock::of(request, missing);
        let searched = search.exhausted_budget.then_some(search.nodes);
        Self { task: request.name.clone(), asked: request.count, missing, reasons, error: None, unblock, searched }
    }

    pub(in crate::allocator) fn invalid(request: &TaskRequest, error: RequestError) -> Self {
        let (asked, missing) = (request.count, request.count);
        Self {
            task: request.name.clone(),
            asked,
            missing,
            reasons: Vec::new(),
            error: Some(error),
            unblock: None,
            searched: None,
        }
    }

    /// The reasons in one line: "2 agents: at their limit of 2", "12 agents: 7 cpus, 4 zone, 1 port".
    #[must_use]
    pub fn summary(&self) -> String {
        let Some(first) = self.reasons.first() else { return "nothing is offered".to_owned() };
        let agents = counted(self.reasons.len(), "agent");
        let mut by_subject: BTreeMap<&str, usize> = BTreeMap::new();
        for reason in &self.reasons {
            *by_subject.entry(reason.reason().subject()).or_default() += 1;
        }
        if by_subject.len() == 1 {
            return format!("{agents}: {}", self.one_rule(first.reason()));
        }
        let mut rules: Vec<_> = by_subject.into_iter().collect();
        rules.sort_by_key(|&(rule, count)| (std::cmp::Reverse(count), rule));
        let rules: Vec<String> = rules.iter().map(|(rule, count)| format!("{count} {rule}")).collect();
        format!("{agents}: {}", rules.join(", "))
    }

    /// The text for agents that all fail by the first one's rule.
    fn one_rule(&self, first: &Reason) -> String {
        if self.reasons.len() == 1 {
            return first.to_string();
        }
        let most = self.reasons.iter().filter_map(|reason| reason.reason().left()).max().unwrap_or_default();
        match first {
            Reason::AgentLimit { limit } => format!("at their limit of {limit}"),
            Reason::Scalar { name, asked, .. } => format!("{name}: asked {asked}, at most {most} left"),
            Reason::Items { name, asked, .. } => format!("{name}: asked {asked}, at most {most} left"),
            Reason::Ports { asked, .. } => format!("ports: asked {asked}, at most {most} left"),
            Reason::AnyOf(reasons) if !reasons.is_empty() => {
                format!("{}, and no room for an alternative", self.one_rule(&reasons[0]))
            }
            Reason::Offer { .. }
            | Reason::Role { .. }
            | Reason::Port { .. }
            | Reason::Item { .. }
            | Reason::AnyOf(_)
            | Reason::Constraint(_)
            | Reason::Kind { .. } => first.to_string(),
        }
    }
}

impl fmt::Display for Unplaced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(error) = &self.error {
            return write!(f, "cannot be placed: {error}");
        }
        let verb = if self.missing == 1 { "does" } else { "do" };
        write!(f, "{} of {} {verb} not fit: {}", self.missing, self.asked, self.summary())?;
        match &self.unblock {
            Some(unblock) => write!(f, "; needs {unblock}")?,
            None => write!(f, "; a limit of 0 allows none anywhere")?,
        }
        match self.searched {
            Some(nodes) => write!(f, "; a search of {nodes} nodes did not settle whether there is a better answer"),
            None => Ok(()),
        }
    }
}

/// "1 agent", "2 agents".
fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}
