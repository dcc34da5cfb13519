//! Validation of agents' descriptions and of the task statuses that they report.

use super::sizes::{bounded, labels, text};
use super::{Invalid, ensure};
use crate::proto::v1::{AgentInfo, TaskStatus};
use crate::types::limits::{HOSTNAME_BYTES, ID_BYTES, NAME_BYTES, STATUS_BYTES};
use crate::types::{AttributeError, Attributes, Resources, validate_id};

/// Validates an agent's description and returns its resources. Reservations name roles like those of frameworks.
///
/// # Errors
/// The first broken rule; the path is relative to the description.
pub fn agent_info(info: &AgentInfo) -> Result<Resources, Invalid> {
    text("hostname", &info.hostname, HOSTNAME_BYTES)?;
    if let Some(id) = info.id.as_ref().filter(|id| !id.as_str().is_empty()) {
        validate_id("agent id", id.as_str()).map_err(|error| Invalid::from_id("id", &error))?;
    }
    let port = info.port();
    ensure(u16::try_from(port).is_ok(), "port", format_args!("{port} is no port; ports go up to 65535"))?;
    if let Some(fault) = info.domain.as_ref().and_then(|domain| domain.fault_domain.as_ref()) {
        text("domain.fault_domain.region.name", &fault.region.name, NAME_BYTES)?;
        text("domain.fault_domain.zone.name", &fault.zone.name, NAME_BYTES)?;
    }
    let wrong = |error: AttributeError| Invalid::new("attributes", error.to_string());
    Attributes::from_proto(&info.attributes).map_err(wrong)?;
    Resources::from_proto(&info.resources).map_err(|error| Invalid::from(error).under("resources"))
}

/// Validates the sizes of a task status that an agent reports.
///
/// # Errors
/// The first broken rule; the path is relative to the status.
pub fn task_status(status: &TaskStatus) -> Result<(), Invalid> {
    bounded("", "bytes", prost::Message::encoded_len(status), STATUS_BYTES)?;
    text("task_id", status.task_id.as_str(), ID_BYTES)?;
    text("agent_id", status.agent_id.as_ref().map_or("", |id| id.as_str()), ID_BYTES)?;
    let uuid = status.uuid.as_ref().map_or(16, bytes::Bytes::len);
    ensure(uuid == 16, "uuid", format_args!("{uuid} bytes are no uuid; it has 16"))?;
    labels("labels", status.labels.as_ref())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::proto::v1::{self, AgentId};
    use crate::types::limits::{ATTRIBUTES, LABELS, RESOURCES};

    fn agent() -> AgentInfo {
        let resources = Resources::cpus_mem(1.0, 64.0).to_proto();
        AgentInfo { hostname: "h".to_owned(), resources, ..AgentInfo::default() }
    }

    fn refused(info: &AgentInfo) -> String {
        agent_info(info).unwrap_err().to_string()
    }

    #[test]
    fn an_agents_description_stays_within_the_limits() {
        assert_eq!(agent_info(&agent()), Ok(Resources::cpus_mem(1.0, 64.0)));
        let name = |bytes| AgentInfo { hostname: "h".repeat(bytes), ..agent() };
        assert!(agent_info(&name(HOSTNAME_BYTES)).is_ok());
        assert_eq!(refused(&name(HOSTNAME_BYTES + 1)), "hostname: has 256 bytes; at most 255 are accepted");
        let attributes = |count| {
            let attribute = "a:x".parse::<Attributes>().unwrap().to_proto().remove(0);
            AgentInfo { attributes: vec![attribute; count], ..agent() }
        };
        assert!(agent_info(&attributes(ATTRIBUTES)).is_ok());
        assert!(refused(&attributes(ATTRIBUTES + 1)).contains("at most 1024 are accepted"));
        assert!(refused(&AgentInfo { port: Some(65_536), ..agent() }).starts_with("port: "));
        assert!(refused(&AgentInfo { id: Some(AgentId::from("a/b")), ..agent() }).starts_with("id: "));
    }

    #[test]
    #[expect(deprecated, reason = "the old format has the role in the item itself")]
    fn the_roles_of_an_agents_reservations_are_roles_like_any() {
        let reserved = |role: &str| {
            let mut info = agent();
            info.resources[1].role = Some(role.to_owned());
            info
        };
        assert!(agent_info(&reserved("a/b")).is_ok());
        let deep = refused(&reserved(&vec!["a"; 16_384].join("/")));
        assert!(deep.starts_with("resources[1].role: role `a/a/"), "{deep}");
        assert!(deep.len() < 250, "{deep}");
    }

    #[test]
    fn a_list_of_resources_has_a_limit_and_is_read_in_one_walk() {
        let with = |count: usize| {
            let one = |number: usize| v1::Resource { name: format!("r{number}"), ..agent().resources.remove(0) };
            AgentInfo { resources: (0..count).rev().map(one).collect(), ..agent() }
        };
        assert_eq!(agent_info(&with(RESOURCES)).unwrap().len(), RESOURCES);
        assert_eq!(refused(&with(RESOURCES + 1)), "resources: has 4097 items; at most 4096 are accepted");
    }

    #[test]
    fn a_status_has_a_size_a_uuid_and_so_many_labels() {
        let status = |uuid: usize, labels: usize| {
            let label = v1::Label { key: "k".to_owned(), value: None };
            TaskStatus {
                uuid: Some(Bytes::from(vec![1; uuid])),
                labels: Some(v1::Labels { labels: vec![label; labels] }),
                ..TaskStatus::default()
            }
        };
        assert_eq!(task_status(&status(16, LABELS)), Ok(()));
        assert_eq!(task_status(&status(17, 0)).unwrap_err().field, "uuid");
        assert_eq!(task_status(&status(16, LABELS + 1)).unwrap_err().field, "labels");
        let large = TaskStatus { data: Some(Bytes::from(vec![0; STATUS_BYTES])), ..TaskStatus::default() };
        assert_eq!(task_status(&large).unwrap_err().field, "");
    }
}
