//! Instances that were not placed: how many, why on each agent, and what would help.

use std::collections::BTreeMap;
use std::fmt;

use super::unblock::Unblock;
use crate::allocator::constraint::in_one_text;
use crate::allocator::place::Search;
use crate::allocator::reason::{AgentReason, Reason};
use crate::allocator::request::{RequestError, TaskRequest};
use crate::types::Milli;

/// A request that is not placed in full.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Unplaced {
    /// The request's name.
    pub task: String,
    /// The number of requested instances.
    pub asked: u32,
    /// The number of them that are not placed.
    pub missing: u32,
    /// Why the next instance does not fit: one entry for each agent and role offered, in the order of the offers.
    pub reasons: Vec<AgentReason>,
    /// Set if the request is invalid: then there are no reasons, and no offer helps.
    pub error: Option<RequestError>,
    /// What would make room for the missing instances; `None` if nothing would.
    pub unblock: Option<Unblock>,
    /// Set if no agent in the view of the cluster can ever run the request.
    pub hopeless: Option<Hopeless>,
    /// Set if the search used up its nodes, so that a better result may exist: how many it took.
    pub searched: Option<u64>,
}

/// Why a cluster cannot run a request as long as its agents stay the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Hopeless {
    /// No agent passes the attribute tests.
    Constraints,
    /// No agent is large enough, even when it is empty.
    Size,
}

/// Agents that refuse an instance for the same reason, whatever the numbers.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Refusal {
    /// The resource, the attribute or the rule.
    pub subject: String,
    /// The number of agents.
    pub agents: u32,
    /// The reason of the first of them.
    pub example: Reason,
    /// How much the agent that lacks least lacks, if that is a number.
    pub least_margin: Option<Milli>,
}

impl Unplaced {
    pub(in crate::allocator) fn new(
        request: &TaskRequest,
        missing: u32,
        reasons: Vec<AgentReason>,
        hopeless: Option<Hopeless>,
        search: Search,
    ) -> Self {
        let unblock = Unblock::of(request, missing);
        let searched = search.exhausted_budget.then_some(search.nodes);
        let task = request.name.clone();
        Self { task, asked: request.count, missing, reasons, error: None, unblock, hopeless, searched }
    }

    pub(in crate::allocator) fn invalid(request: &TaskRequest, error: RequestError) -> Self {
        let unplaced = Self::new(request, request.count, Vec::new(), None, Search::default());
        Self { error: Some(error), unblock: None, ..unplaced }
    }

    /// Groups the reasons by subject, the most frequent first.
    #[must_use]
    pub fn refusals(&self) -> Vec<Refusal> {
        let mut by_subject: BTreeMap<&str, Refusal> = BTreeMap::new();
        for reason in self.reasons.iter().map(AgentReason::reason) {
            let subject = reason.subject();
            let refusal = by_subject.entry(subject).or_insert_with(|| Refusal {
                subject: subject.to_owned(),
                agents: 0,
                example: reason.clone(),
                least_margin: None,
            });
            refusal.agents += 1;
            refusal.least_margin = refusal.least_margin.into_iter().chain(reason.margin()).min();
        }
        let mut refusals: Vec<Refusal> = by_subject.into_values().collect();
        refusals.sort_by_key(|refusal| std::cmp::Reverse(refusal.agents));
        refusals
    }

    /// Summarizes the reasons in one line: "2 agents: at their limit of 2", "12 agents: 7 cpus, 4 zone, 1 port".
    #[must_use]
    pub fn summary(&self) -> String {
        let Some(first) = self.reasons.first() else { return "nothing is offered".to_owned() };
        let agents = counted(self.reasons.len(), "agent");
        let refusals = self.refusals();
        if refusals.len() == 1 {
            return format!("{agents}: {}", self.one_rule(first.reason()));
        }
        let parts: Vec<String> = refusals.iter().map(|it| format!("{} {}", it.agents, it.subject)).collect();
        format!("{agents}: {}", parts.join(", "))
    }

    /// Returns the text for agents that all fail by the first one's rule.
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
            Reason::Constraint(_) => in_one_text(self.reasons.iter().filter_map(|reason| reason.reason().broken())),
            Reason::Offer { .. }
            | Reason::Role { .. }
            | Reason::Port { .. }
            | Reason::Item { .. }
            | Reason::AnyOf(_)
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
        if let Some(hopeless) = self.hopeless {
            write!(f, "; {hopeless}")?;
        }
        match &self.unblock {
            Some(unblock) => write!(f, "; needs {unblock}")?,
            None => write!(f, "; a limit of 0 allows none anywhere")?,
        }
        match self.searched {
            Some(nodes) => write!(f, "; the search stopped after {nodes} nodes, so a better plan may exist"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Hopeless {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Constraints => "no agent of the cluster meets its constraints",
            Self::Size => "no agent of the cluster is large enough, even when empty",
        })
    }
}

/// Formats "1 agent", "2 agents".
fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::allocator::{Broken, Host};
    use crate::proto::v1;

    fn zone(found: &str) -> Reason {
        Reason::Constraint(Broken::Attribute { name: "zone".into(), found: Some(found.into()), asked: "a".into() })
    }

    fn unplaced(reasons: Vec<Reason>) -> Unplaced {
        let host = Arc::new(Host { agent_id: v1::AgentId { value: "s1".into() }, hostname: "h1".into() });
        let reasons = reasons.into_iter().map(|reason| AgentReason::new(Arc::clone(&host), reason)).collect();
        Unplaced::new(&TaskRequest::command("web", "true").cpus(1.0), 1, reasons, None, Search::default())
    }

    fn summary(reasons: Vec<Reason>) -> String {
        unplaced(reasons).summary()
    }

    fn cpus(left: i64) -> Reason {
        Reason::Scalar { name: "cpus".into(), asked: Milli::from_units(4), left: Milli::from_units(left) }
    }

    #[test]
    fn constraints_are_counted_under_their_attributes() {
        let mut reasons = vec![cpus(0); 7];
        reasons.extend([zone("b"), zone("c"), zone("b"), zone("b"), Reason::Port { port: 80 }]);
        assert_eq!(summary(reasons), "12 agents: 7 cpus, 4 zone, 1 port");
        let unique = Broken::PerValue { attribute: "zone".into(), value: "a".into(), there: 1, limit: 1 };
        let exclusive = Broken::Exclusive { task: "db".into() };
        let reasons = vec![Reason::Constraint(unique), Reason::Constraint(exclusive), zone("b")];
        assert_eq!(summary(reasons), "3 agents: 2 zone, 1 exclusive");
    }

    #[test]
    fn agents_that_fail_by_one_attribute_are_shown_with_its_values() {
        assert_eq!(summary(vec![zone("b"), zone("c"), zone("b")]), "3 agents: zone is b or c, asked a");
    }

    #[test]
    fn refusals_count_agents_by_subject_and_have_the_least_margin() {
        let counted: Vec<(String, u32, Option<Milli>)> = unplaced(vec![cpus(1), zone("b"), cpus(3)])
            .refusals()
            .into_iter()
            .map(|it| (it.subject, it.agents, it.least_margin))
            .collect();
        assert_eq!(counted, [("cpus".to_owned(), 2, Some(Milli::from_units(1))), ("zone".to_owned(), 1, None)]);
    }
}
