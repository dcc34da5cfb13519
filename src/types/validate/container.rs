//! Validation of containers: each volume has one origin, and a DOCKER container has its `docker` part.

use super::command::secret;
use super::sizes::bounded;
use super::{Invalid, each, ensure, inside};
use crate::proto::v1::{ContainerInfo, Volume, container_info, volume};
use crate::types::limits::VOLUMES;

/// Rule: volumes have one origin each, and a DOCKER container has its `docker` part.
pub(super) fn container(container: &ContainerInfo) -> Result<(), Invalid> {
    bounded("volumes", "volumes", container.volumes.len(), VOLUMES)?;
    each("volumes", &container.volumes, self::volume)?;
    match container_info::Type::try_from(container.r#type) {
        Err(error) => Err(Invalid::new("type", error.to_string())),
        Ok(container_info::Type::Mesos) => Ok(()),
        Ok(container_info::Type::Docker) => {
            let docker = container.docker.as_deref().ok_or_else(|| Invalid::missing("docker"))?;
            each("docker.parameters", &docker.parameters, |parameter| {
                ensure(parameter.key != "name", "key", "`name` must not be set; the agent names the container")
            })
        }
    }
}

fn volume(volume: &Volume) -> Result<(), Invalid> {
    let origins = [volume.host_path.is_some(), volume.image.is_some(), volume.source.is_some()];
    let count = origins.into_iter().filter(|given| *given).count();
    ensure(count == 1, "", "must have exactly one of `host_path`, `image` and `source`")?;
    inside("source", volume.source.as_deref(), source)
}

fn source(source: &volume::Source) -> Result<(), Invalid> {
    use volume::source::Type;
    match Type::try_from(source.r#type.unwrap_or_default()).unwrap_or(Type::Unknown) {
        Type::Unknown => Err(Invalid::new("type", "is missing or unknown")),
        Type::DockerVolume => ensure(source.docker_volume.is_some(), "docker_volume", "is missing"),
        Type::HostPath => ensure(source.host_path.is_some(), "host_path", "is missing"),
        Type::SandboxPath => ensure(source.sandbox_path.is_some(), "sandbox_path", "is missing"),
        Type::Secret => {
            let given = source.secret.as_ref().ok_or_else(|| Invalid::missing("secret"))?;
            secret(given).map_err(|error| error.under("secret"))
        }
        Type::CsiVolume => ensure(source.csi_volume.is_some(), "csi_volume", "is missing"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::v1::{Image, Parameter};

    fn mesos(volumes: Vec<Volume>) -> ContainerInfo {
        ContainerInfo { r#type: container_info::Type::Mesos.into(), volumes, ..ContainerInfo::default() }
    }

    fn from_source(kind: Option<i32>) -> Volume {
        let source = volume::Source { r#type: kind, ..volume::Source::default() };
        Volume { source: Some(Box::new(source)), ..Volume::default() }
    }

    #[test]
    fn a_volume_comes_from_one_place() {
        let host = Volume { host_path: Some("/data".to_owned()), ..Volume::default() };
        assert_eq!(container(&mesos(vec![host.clone()])), Ok(()));
        let both = Volume { image: Some(Box::new(Image::default())), ..host.clone() };
        for wrong in [Volume::default(), both] {
            let error = container(&mesos(vec![host.clone(), wrong])).unwrap_err();
            assert_eq!(error.field, "volumes[1]");
        }
    }

    #[test]
    fn the_origin_of_a_volume_is_the_one_its_type_names() {
        for kind in [None, Some(0), Some(1), Some(2), Some(3), Some(4), Some(5), Some(6)] {
            assert!(container(&mesos(vec![from_source(kind)])).is_err(), "{kind:?}");
        }
        let mut sandbox = from_source(Some(2));
        sandbox.source.as_mut().unwrap().sandbox_path = Some(volume::source::SandboxPath::default());
        assert_eq!(container(&mesos(vec![sandbox])), Ok(()));
    }

    #[test]
    fn docker_has_its_part_and_no_name() {
        let kind = container_info::Type::Docker.into();
        let bare = ContainerInfo { r#type: kind, ..ContainerInfo::default() };
        assert_eq!(container(&bare).unwrap_err().to_string(), "docker: is missing");
        let parameter = |key: &str| Parameter { key: key.to_owned(), value: "x".to_owned() };
        let with = |key| {
            let parameters = vec![parameter("env"), parameter(key)];
            let docker = container_info::DockerInfo { parameters, ..container_info::DockerInfo::default() };
            container(&ContainerInfo { docker: Some(Box::new(docker)), ..bare.clone() })
        };
        assert_eq!(with("label"), Ok(()));
        assert_eq!(with("name").unwrap_err().field, "docker.parameters[1].key");
        assert!(container(&ContainerInfo { r#type: 9, ..ContainerInfo::default() }).is_err());
    }
}
