//! `divvy frameworks`.

use serde::Serialize;

use super::table::{Amounts, Listed};
use crate::proto::v1::master::response::{GetFrameworks, get_frameworks::Framework};

/// A framework in the list.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FrameworkRow {
    id: String,
    name: String,
    user: String,
    roles: Vec<String>,
    hostname: String,
    state: &'static str,
    allocated: Amounts,
    offered: Amounts,
}

/// The frameworks that have not ended, or `all` that the master has, by name.
#[must_use]
pub fn rows(answer: GetFrameworks, all: bool) -> Vec<FrameworkRow> {
    let completed = if all { answer.completed_frameworks } else { Vec::new() };
    let current = answer.frameworks.into_iter().map(|framework| FrameworkRow::of(framework, false));
    let mut rows: Vec<FrameworkRow> =
        current.chain(completed.into_iter().map(|framework| FrameworkRow::of(framework, true))).collect();
    rows.sort_by(|a, b| (&a.name, &a.id).cmp(&(&b.name, &b.id)));
    rows
}

impl FrameworkRow {
    fn of(framework: Framework, completed: bool) -> Self {
        let info = framework.framework_info;
        let state = match (completed, framework.connected, framework.active) {
            (true, ..) => "completed",
            (false, false, _) => "disconnected",
            (false, true, false) => "inactive",
            (false, true, true) => "active",
        };
        let roles = if info.roles.is_empty() { vec![info.role().to_owned()] } else { info.roles.clone() };
        Self {
            id: info.id.map(|id| id.value).unwrap_or_default(),
            name: info.name,
            user: info.user,
            roles,
            hostname: info.hostname.unwrap_or_default(),
            state,
            allocated: Amounts::read(&framework.allocated_resources),
            offered: Amounts::read(&framework.offered_resources),
        }
    }
}

impl Listed for FrameworkRow {
    const COLUMNS: &'static [&'static str] = &["ID", "NAME", "USER", "ROLES", "STATE", "CPUS", "MEM"];

    fn cells(&self) -> Vec<String> {
        let [cpus, mem] = self.allocated.cpus_and_mem();
        let (id, name, user) = (self.id.clone(), self.name.clone(), self.user.clone());
        vec![id, name, user, self.roles.join(","), self.state.to_owned(), cpus, mem]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        proto::v1::{FrameworkId, FrameworkInfo},
        types::Resources,
    };

    fn framework(name: &str, connected: bool) -> Framework {
        Framework {
            framework_info: FrameworkInfo {
                id: Some(FrameworkId { value: format!("id-of-{name}") }),
                name: name.to_owned(),
                user: "me".to_owned(),
                ..FrameworkInfo::default()
            },
            active: true,
            connected,
            allocated_resources: Resources::cpus_mem(2.0, 256.0).to_proto(),
            ..Framework::default()
        }
    }

    #[test]
    fn frameworks_are_listed_by_name_with_their_resources() {
        let answer = || GetFrameworks {
            frameworks: vec![framework("web", true), framework("cron", false)],
            completed_frameworks: vec![framework("batch", true)],
            ..GetFrameworks::default()
        };
        let cells: Vec<_> = rows(answer(), false).iter().map(Listed::cells).collect();
        assert_eq!(cells[0], ["id-of-cron", "cron", "me", "*", "disconnected", "2", "256"]);
        assert_eq!(cells[1][4], "active");
        assert_eq!(rows(answer(), true)[0].state, "completed");
    }
}
