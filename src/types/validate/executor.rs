//! Validation of executors in LAUNCH: custom, complete, and equal to any running one of that id.

use super::sizes::{labels, optional};
use super::{Invalid, command, container, ensure, inside, resources};
use crate::proto::v1::{ExecutorInfo, FrameworkId, executor_info};
use crate::types::limits::NAME_BYTES;
use crate::types::{Resources, quoted, validate_id};

/// Validates an executor by itself.
pub(super) fn executor(info: &ExecutorInfo, framework: &FrameworkId) -> Result<Resources, Invalid> {
    kind(info)?;
    validate_id("executor id", info.executor_id.as_str()).map_err(|error| Invalid::from_id("executor_id", &error))?;
    optional("name", info.name.as_ref(), NAME_BYTES)?;
    labels("labels", info.labels.as_ref())?;
    let grace = info.shutdown_grace_period.is_none_or(|grace| !grace.is_negative());
    ensure(grace, "shutdown_grace_period", "must not be negative")?;
    inside("command", info.command.as_deref(), command::command)?;
    inside("container", info.container.as_deref(), container::container)?;
    match &info.framework_id {
        Some(id) if id != framework => Err(Invalid::new(
            "framework_id",
            format!("wrong framework `{}`, expected `{}`", quoted(id), quoted(framework)),
        )),
        Some(_) | None => resources::resources(&info.resources),
    }
}

/// Validates an executor in LAUNCH, which is always custom.
pub(super) fn launched(info: &ExecutorInfo, resources: &Resources) -> Result<(), Invalid> {
    let own = info.r#type.is_none_or(|kind| kind == i32::from(executor_info::Type::Custom));
    ensure(own, "type", "must be CUSTOM or left out in LAUNCH; a DEFAULT executor takes LAUNCH_GROUP")?;
    ensure(info.command.is_some(), "command", "is missing")?;
    ensure(resources.shared().is_empty(), "resources", "an executor must not have shared resources")?;
    let linux = info.container.as_ref().and_then(|container| container.linux_info.as_ref());
    let shares = linux.is_some_and(|linux| linux.share_cgroups == Some(true));
    ensure(!shares, "container.linux_info.share_cgroups", "must not be true on an executor")
}

/// Returns an executor as an agent stores it: with the framework's id, and the default type filled in.
#[must_use]
pub fn complete_executor(mut info: ExecutorInfo, framework: &FrameworkId) -> ExecutorInfo {
    info.framework_id.get_or_insert_with(|| framework.clone());
    info.r#type.get_or_insert_with(|| executor_info::Type::Custom.into());
    info
}

/// Validates that a task names an executor as it already runs on the agent.
///
/// # Errors
/// The fields that differ.
pub fn same_executor(running: &ExecutorInfo, named: &ExecutorInfo) -> Result<(), Invalid> {
    let pairs = [
        ("type", running.r#type == named.r#type),
        ("framework_id", running.framework_id == named.framework_id),
        ("command", running.command == named.command),
        ("container", running.container == named.container),
        ("resources", Resources::from_proto(&running.resources) == Resources::from_proto(&named.resources)),
        ("name", running.name == named.name),
        ("data", running.data == named.data),
        ("discovery", running.discovery == named.discovery),
        ("shutdown_grace_period", running.shutdown_grace_period == named.shutdown_grace_period),
        ("labels", running.labels == named.labels),
    ];
    let differing: Vec<&str> = pairs.iter().filter(|(_, same)| !same).map(|(field, _)| *field).collect();
    if differing.is_empty() {
        return Ok(());
    }
    let id = &named.executor_id;
    let text = format!("executor `{}` already runs on that agent with another {}", quoted(id), differing.join(", "));
    Err(Invalid::new("executor", text))
}

fn kind(info: &ExecutorInfo) -> Result<(), Invalid> {
    use executor_info::Type;
    let Some(number) = info.r#type else { return Ok(()) };
    match Type::try_from(number).unwrap_or(Type::Unknown) {
        Type::Unknown => Err(Invalid::new("type", "must be DEFAULT or CUSTOM")),
        Type::Custom => ensure(info.command.is_some(), "command", "must be set in an executor of type CUSTOM"),
        Type::Default => {
            ensure(info.command.is_none(), "command", "must not be set in an executor of type DEFAULT")?;
            let Some(container) = info.container.as_deref() else { return Ok(()) };
            let mesos = container.r#type == i32::from(crate::proto::v1::container_info::Type::Mesos);
            ensure(mesos, "container.type", "must be MESOS in an executor of type DEFAULT")?;
            let image = container.mesos.as_ref().is_some_and(|mesos| mesos.image.is_some());
            ensure(!image, "container.mesos.image", "must not be set in an executor of type DEFAULT")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::v1::{CommandInfo, ContainerInfo, DurationInfo, LinuxInfo};

    fn custom() -> ExecutorInfo {
        ExecutorInfo::custom("e", CommandInfo::in_shell("run")).with_resources(&Resources::cpus_mem(0.1, 32.0))
    }

    fn checked(info: &ExecutorInfo) -> Result<Resources, String> {
        executor(info, &"F".into()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_complete_executor_is_valid_and_its_resources_are_returned() {
        assert_eq!(checked(&custom()), Ok(Resources::cpus_mem(0.1, 32.0)));
        assert_eq!(launched(&custom(), &Resources::new()), Ok(()));
        assert!(checked(&ExecutorInfo { framework_id: Some("F".into()), ..custom() }).is_ok());
    }

    #[test]
    fn each_broken_rule_is_named() {
        let negative = Some(DurationInfo { nanoseconds: -1 });
        let default = Some(executor_info::Type::Default.into());
        for (info, error) in [
            (ExecutorInfo { r#type: Some(9), ..custom() }, "type: must be DEFAULT or CUSTOM"),
            (ExecutorInfo { command: None, ..custom() }, "command: must be set in an executor of type CUSTOM"),
            (ExecutorInfo { r#type: default, ..custom() }, "command: must not be set in an executor of type DEFAULT"),
            (ExecutorInfo { executor_id: "".into(), ..custom() }, "executor_id: executor id `` must not be empty"),
            (
                ExecutorInfo { shutdown_grace_period: negative, ..custom() },
                "shutdown_grace_period: must not be negative",
            ),
            (
                ExecutorInfo { framework_id: Some("G".into()), ..custom() },
                "framework_id: wrong framework `G`, expected `F`",
            ),
        ] {
            assert_eq!(checked(&info).unwrap_err(), error);
        }
    }

    #[test]
    fn launch_takes_only_executors_of_the_frameworks_own() {
        let default = ExecutorInfo { r#type: Some(executor_info::Type::Default.into()), command: None, ..custom() };
        assert!(checked(&default).is_ok());
        assert_eq!(launched(&default, &Resources::new()).unwrap_err().field, "type");
        let untyped = ExecutorInfo { r#type: None, command: None, ..custom() };
        assert_eq!(launched(&untyped, &Resources::new()).unwrap_err().field, "command");
        let linux = LinuxInfo { share_cgroups: Some(true), ..LinuxInfo::default() };
        let container = ContainerInfo { linux_info: Some(Box::new(linux)), ..ContainerInfo::default() };
        let sharing = ExecutorInfo { container: Some(Box::new(container)), ..custom() };
        assert_eq!(launched(&sharing, &Resources::new()).unwrap_err().field, "container.linux_info.share_cgroups");
    }

    #[test]
    fn a_running_executor_is_named_as_it_runs() {
        let running = complete_executor(custom(), &"F".into());
        let untyped = ExecutorInfo { r#type: None, ..custom() };
        assert_eq!(same_executor(&running, &complete_executor(untyped, &"F".into())), Ok(()));
        let other = ExecutorInfo { name: Some("x".to_owned()), ..running.clone() }.with_resources(&Resources::new());
        assert_eq!(
            same_executor(&running, &other).unwrap_err().to_string(),
            "executor: executor `e` already runs on that agent with another resources, name"
        );
    }
}
