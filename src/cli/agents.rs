//! `divvy agents`.

use std::collections::BTreeMap;

use serde::Serialize;

use super::table::{Amounts, Listed};
use crate::proto::v1::{
    self,
    master::response::{GetAgents, get_agents::Agent},
};

/// An agent as it is listed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AgentRow {
    id: String,
    hostname: String,
    /// Where it serves, as the master reaches it.
    address: String,
    state: &'static str,
    divvy_version: String,
    total: Amounts,
    allocated: Amounts,
    offered: Amounts,
    attributes: BTreeMap<String, String>,
}

/// The agents by host name; those that have not come back after a change of master are last.
#[must_use]
pub fn rows(answer: GetAgents) -> Vec<AgentRow> {
    let mut rows: Vec<AgentRow> = answer.agents.into_iter().map(AgentRow::of).collect();
    rows.sort_by(|a, b| (&a.hostname, &a.id).cmp(&(&b.hostname, &b.id)));
    rows.extend(answer.recovered_agents.into_iter().map(|info| {
        let agent = Agent { total_resources: info.resources.clone(), agent_info: info, ..Agent::default() };
        AgentRow { state: "recovering", ..AgentRow::of(agent) }
    }));
    rows
}

impl AgentRow {
    fn of(agent: Agent) -> Self {
        let info = agent.agent_info;
        let state = match (agent.deactivated.unwrap_or(false), agent.active) {
            (true, _) => "deactivated",
            (false, true) => "active",
            (false, false) => "disconnected",
        };
        // "slave(1)@10.0.0.7:5051"; an agent that has not come back is known by its name only.
        let address = match agent.pid.as_deref().and_then(|pid| pid.rsplit_once('@')) {
            Some((_, address)) => address.to_owned(),
            None => format!("{}:{}", info.hostname, info.port()),
        };
        Self {
            address,
            id: info.id.map(|id| id.value).unwrap_or_default(),
            hostname: info.hostname,
            state,
            divvy_version: agent.version,
            total: Amounts::read(&agent.total_resources),
            allocated: Amounts::read(&agent.allocated_resources),
            offered: Amounts::read(&agent.offered_resources),
            attributes: info.attributes.iter().map(|attribute| (attribute.name.clone(), value(attribute))).collect(),
        }
    }
}

fn value(attribute: &v1::Attribute) -> String {
    let range = |range: &v1::value::Range| format!("{}-{}", range.begin, range.end);
    match (&attribute.text, &attribute.scalar, &attribute.ranges, &attribute.set) {
        (Some(text), ..) => text.value.clone(),
        (_, Some(scalar), ..) => scalar.value.to_string(),
        (_, _, Some(ranges), _) => format!("[{}]", ranges.range.iter().map(range).collect::<Vec<_>>().join(",")),
        (_, _, _, Some(set)) => format!("{{{}}}", set.item.join(",")),
        (None, None, None, None) => String::new(),
    }
}

impl Listed for AgentRow {
    const COLUMNS: &'static [&'static str] = &["ID", "HOST", "ADDRESS", "STATE", "CPUS", "MEM", "ATTRIBUTES"];

    fn cells(&self) -> Vec<String> {
        let [cpus, mem] = self.allocated.of(&self.total);
        let attributes: Vec<String> = self.attributes.iter().map(|(name, value)| format!("{name}:{value}")).collect();
        let (id, hostname, address) = (self.id.clone(), self.hostname.clone(), self.address.clone());
        vec![id, hostname, address, self.state.to_owned(), cpus, mem, attributes.join(";")]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Resources;

    fn agent(hostname: &str, active: bool) -> Agent {
        let text = v1::value::Text { value: "r1".to_owned() };
        let rack = v1::Attribute { name: "rack".to_owned(), text: Some(text), ..v1::Attribute::default() };
        Agent {
            agent_info: v1::AgentInfo {
                hostname: hostname.to_owned(),
                id: Some(v1::AgentId { value: format!("id-of-{hostname}") }),
                attributes: vec![rack],
                ..v1::AgentInfo::default()
            },
            active,
            pid: Some("slave(1)@10.0.0.7:5051".to_owned()),
            total_resources: Resources::cpus_mem(4.0, 1024.0).to_proto(),
            allocated_resources: Resources::cpus_mem(0.5, 128.0).to_proto(),
            ..Agent::default()
        }
    }

    #[test]
    fn agents_are_listed_by_host_with_what_is_used() {
        let rows = rows(GetAgents { agents: vec![agent("b", false), agent("a", true)], recovered_agents: vec![] });
        let cells: Vec<_> = rows.iter().map(Listed::cells).collect();
        assert_eq!(cells[0], ["id-of-a", "a", "10.0.0.7:5051", "active", "0.5/4", "128/1024", "rack:r1"]);
        assert_eq!(cells[1][..4], ["id-of-b", "b", "10.0.0.7:5051", "disconnected"]);
    }

    #[test]
    fn an_agent_that_has_not_come_back_yet_is_listed_as_such() {
        let info = v1::AgentInfo { hostname: "c".to_owned(), ..v1::AgentInfo::default() };
        let rows = rows(GetAgents { agents: vec![agent("z", true)], recovered_agents: vec![info] });
        assert_eq!((rows[1].address.as_str(), rows[1].state), ("c:5051", "recovering"));
    }
}
