//! `divvy agents`.

use std::{collections::BTreeMap, time::Duration};

use serde::Serialize;

use super::table::{Amounts, Listed, age};
use crate::{
    proto::v1::{
        self,
        master::response::{
            GetAgents,
            get_agents::{Agent, Departed},
        },
    },
    types::HostPort,
};

/// An agent in the list.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AgentRow {
    id: String,
    hostname: String,
    /// The agent's address as the master sees it.
    address: String,
    state: &'static str,
    /// Since when the agent is unreachable or gone, in seconds since 1970.
    since: Option<f64>,
    #[serde(skip)]
    age: Option<f64>,
    divvy_version: String,
    total: Amounts,
    allocated: Amounts,
    offered: Amounts,
    attributes: BTreeMap<String, String>,
}

/// The agents by host name; after them those that have not re-registered after a change of master, those that are
/// unreachable, and with `all` those marked gone.
#[must_use]
pub fn rows(answer: GetAgents, all: bool, now_secs: f64) -> Vec<AgentRow> {
    let mut rows: Vec<AgentRow> = answer.agents.into_iter().map(AgentRow::of).collect();
    rows.sort_by(|a, b| (&a.hostname, &a.id).cmp(&(&b.hostname, &b.id)));
    rows.extend(answer.recovered_agents.into_iter().map(|info| {
        let agent = Agent { total_resources: info.resources.clone(), agent_info: info, ..Agent::default() };
        AgentRow { state: "recovering", ..AgentRow::of(agent) }
    }));
    let departed = answer.departed.into_iter().filter(|agent| all || !agent.gone());
    rows.extend(departed.map(|agent| AgentRow::departed(&agent, now_secs)));
    rows
}

impl AgentRow {
    fn departed(agent: &Departed, now_secs: f64) -> Self {
        let since = Duration::from_nanos(agent.since.nanoseconds.unsigned_abs()).as_secs_f64();
        Self {
            id: agent.agent_id.value.clone(),
            hostname: agent.hostname().to_owned(),
            address: String::new(),
            state: if agent.gone() { "gone" } else { "unreachable" },
            since: Some(since),
            age: Some(now_secs - since),
            divvy_version: String::new(),
            total: Amounts::default(),
            allocated: Amounts::default(),
            offered: Amounts::default(),
            attributes: BTreeMap::new(),
        }
    }

    fn of(agent: Agent) -> Self {
        let info = agent.agent_info;
        let state = match (agent.deactivated.unwrap_or(false), agent.active) {
            (true, _) => "deactivated",
            (false, true) => "active",
            (false, false) => "disconnected",
        };
        // "slave(1)@10.0.0.7:5051"; an agent that has not re-registered has only its host name.
        let address = match agent.pid.as_deref().and_then(|pid| pid.rsplit_once('@')) {
            Some((_, address)) => address.to_owned(),
            None => HostPort(&info.hostname, info.port()).to_string(),
        };
        Self {
            address,
            id: info.id.map(|id| id.value).unwrap_or_default(),
            hostname: info.hostname,
            state,
            since: None,
            age: None,
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
    const COLUMNS: &'static [&'static str] = &["ID", "HOST", "ADDRESS", "STATE", "SINCE", "CPUS", "MEM", "ATTRIBUTES"];

    fn cells(&self) -> Vec<String> {
        let [cpus, mem] = self.allocated.of(&self.total);
        let attributes: Vec<String> = self.attributes.iter().map(|(name, value)| format!("{name}:{value}")).collect();
        let (id, hostname, address) = (self.id.clone(), self.hostname.clone(), self.address.clone());
        let since = self.age.map(age).unwrap_or_default();
        vec![id, hostname, address, self.state.to_owned(), since, cpus, mem, attributes.join(";")]
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
    fn agents_are_listed_by_host_with_their_used_resources() {
        let agents = vec![agent("b", false), agent("a", true)];
        let rows = rows(GetAgents { agents, ..GetAgents::default() }, true, 0.0);
        let cells: Vec<_> = rows.iter().map(Listed::cells).collect();
        assert_eq!(cells[0], ["id-of-a", "a", "10.0.0.7:5051", "active", "", "0.5/4", "128/1024", "rack:r1"]);
        assert_eq!(cells[1][..4], ["id-of-b", "b", "10.0.0.7:5051", "disconnected"]);
    }

    #[test]
    fn an_agent_that_has_not_re_registered_is_listed_as_recovering() {
        let info = v1::AgentInfo { hostname: "c".to_owned(), ..v1::AgentInfo::default() };
        let agents = vec![agent("z", true)];
        let rows = rows(GetAgents { agents, recovered_agents: vec![info], ..GetAgents::default() }, false, 0.0);
        assert_eq!((rows[1].address.as_str(), rows[1].state), ("c:5051", "recovering"));
    }

    #[test]
    fn an_ipv6_address_has_brackets_wherever_it_comes_from() {
        let info = v1::AgentInfo { hostname: "::1".to_owned(), port: Some(5051), ..v1::AgentInfo::default() };
        let agents = vec![Agent { pid: Some("slave(1)@[::1]:36931".to_owned()), ..agent("z", true) }];
        let rows = rows(GetAgents { agents, recovered_agents: vec![info], ..GetAgents::default() }, false, 0.0);
        assert_eq!([&rows[0].address, &rows[1].address], ["[::1]:36931", "[::1]:5051"]);
    }

    #[test]
    fn an_unreachable_agent_is_listed_with_its_age_and_a_gone_one_only_with_all() {
        let departed = |id: &str, gone| Departed {
            agent_id: v1::AgentId { value: id.to_owned() },
            hostname: Some("d".to_owned()),
            since: v1::TimeInfo { nanoseconds: 100_000_000_000 },
            gone: Some(gone),
        };
        let answer = || GetAgents { departed: vec![departed("u", false), departed("g", true)], ..GetAgents::default() };
        let cells = |all| rows(answer(), all, 160.0).iter().map(|row| row.cells()[..5].to_vec()).collect::<Vec<_>>();
        assert_eq!(cells(false), [["u", "d", "", "unreachable", "60s"]]);
        assert_eq!(cells(true)[1], ["g", "d", "", "gone", "60s"]);
    }
}
