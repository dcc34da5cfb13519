//! Results of the rules for a few agents, as text.

mod laws;
mod reasons;
mod scores;

use super::*;
use crate::allocator::constraint::{ClusterAgent, ClusterView};

impl Rules<'_> {
    /// Returns how many more instances the agent may have, one after the other, until [`check`](Self::check) fails.
    fn room(&self, request: usize, agent: usize) -> u32 {
        if self.passes_all(request, agent) { self.moving_room(request, agent, true) } else { 0 }
    }
}

/// Agents `h0`, `h1`, ... with these attributes.
fn hosts(attributes: &[&str]) -> Vec<Described> {
    let describe = |(number, text): (usize, &&str)| {
        let host = Host { agent_id: id(number), hostname: format!("h{number}") };
        Described { host: Arc::new(host), attributes: text.parse().unwrap() }
    };
    attributes.iter().enumerate().map(describe).collect()
}

fn id(number: usize) -> v1::AgentId {
    v1::AgentId { value: format!("s{number}") }
}

/// Creates a request with these valid constraints.
fn request(name: &str, constraints: &[&str]) -> TaskRequest {
    let request = TaskRequest::command(name, "true").cpus(1.0);
    let request = constraints.iter().fold(request, |request, text| request.constrained(text));
    assert_eq!(request.check(), Ok(()));
    request
}

/// Returns the reason, or "yes".
fn answer(rules: &Rules<'_>, request: usize, agent: usize) -> String {
    rules.check(request, agent).map_or_else(|reason| reason.to_string(), |()| "yes".to_owned())
}
