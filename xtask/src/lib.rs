//! Generates `src/proto/` from `proto/`, without protoc. The result is checked in, so that a build of the library runs
//! no build script; a test here generates again and compares. [`chores`] holds the other commands,
//! [`instructions`] the limits on instruction counts, [`upgrade`] upgrades of running clusters from earlier commits.

pub mod chores;
pub mod fuzz;
pub mod instructions;
pub mod mutants;
mod packages;
pub mod shapes;
pub mod upgrade;

use std::path::{Path, PathBuf};

use anyhow::Context as _;

/// Submessages that are large and mostly absent: boxed, so that a `TaskInfo` without them stays small.
const BOXED: &[&str] = &[
    ".divvy.v1.TaskInfo.executor",
    ".divvy.v1.TaskInfo.command",
    ".divvy.v1.TaskInfo.container",
    ".divvy.v1.TaskInfo.health_check",
    ".divvy.v1.TaskInfo.check",
    ".divvy.v1.TaskInfo.discovery",
    ".divvy.v1.TaskInfo.partition_policy",
    ".divvy.v1.ExecutorInfo.command",
    ".divvy.v1.ExecutorInfo.container",
    ".divvy.v1.ExecutorInfo.discovery",
    ".divvy.v1.Task.container",
    ".divvy.v1.Task.discovery",
    ".divvy.v1.Task.health_check",
    ".divvy.v1.TaskStatus.check_status",
    ".divvy.v1.TaskStatus.container_status",
    ".divvy.v1.TaskStatus.limitation",
    ".divvy.v1.HealthCheck.command",
    ".divvy.v1.HealthCheck.http",
    ".divvy.v1.CheckInfo.command",
    ".divvy.v1.ContainerInfo.docker",
    ".divvy.v1.ContainerInfo.mesos",
    ".divvy.v1.ContainerInfo.linux_info",
    ".divvy.v1.Resource.disk",
    ".divvy.v1.Resource.reservation",
    ".divvy.v1.Volume.source",
    ".divvy.v1.Volume.image",
    ".divvy.v1.Resource.DiskInfo.volume",
    ".divvy.v1.Resource.DiskInfo.source",
    ".divvy.v1.Environment.Variable.secret",
    ".divvy.v1.Offer.url",
    ".divvy.v1.Offer.domain",
    ".divvy.v1.Offer.unavailability",
    ".divvy.v1.Offer.Operation.launch_group",
    ".divvy.v1.Offer.Operation.grow_volume",
    ".divvy.v1.Offer.Operation.shrink_volume",
    ".divvy.v1.Offer.Operation.create_disk",
    ".divvy.v1.Offer.Operation.destroy_disk",
    ".divvy.v1.Operation.info",
    ".divvy.v1.scheduler.Call.subscribe",
    ".divvy.v1.scheduler.Call.accept",
    ".divvy.v1.scheduler.Call.update_framework",
    ".divvy.v1.scheduler.Call.acknowledge_operation_status",
    ".divvy.v1.scheduler.Event.subscribed",
    ".divvy.v1.scheduler.Event.update",
    ".divvy.v1.scheduler.Event.update_operation_status",
    ".divvy.v1.scheduler.Event.message",
    ".divvy.v1.scheduler.Event.failure",
    ".divvy.internal.AgentMessage.kind.register",
    ".divvy.internal.AgentMessage.kind.update",
    ".divvy.internal.MasterMessage.kind.registered",
    ".divvy.internal.MasterMessage.kind.update_framework",
    ".divvy.internal.AgentRecord.kind.framework",
    ".divvy.internal.AgentRecord.kind.status",
];

/// Messages that are ids, which are ordered.
const IDS: &[&str] = &[
    ".divvy.v1.FrameworkID",
    ".divvy.v1.OfferID",
    ".divvy.v1.AgentID",
    ".divvy.v1.TaskID",
    ".divvy.v1.ExecutorID",
    ".divvy.v1.ResourceProviderID",
    ".divvy.v1.OperationID",
];

/// Every schema file, relative to `proto/`.
const FILES: &[&str] = &[
    "divvy/v1/types.proto",
    "divvy/v1/maintenance.proto",
    "divvy/v1/quota.proto",
    "divvy/v1/allocator.proto",
    "divvy/v1/resource_provider.proto",
    "divvy/v1/scheduler.proto",
    "divvy/v1/executor.proto",
    "divvy/v1/master.proto",
    "divvy/v1/agent.proto",
    "divvy/ext/partition.proto",
    "divvy/ext/process.proto",
    "divvy/ext/registry.proto",
    "divvy/ext/scheduler.proto",
    "divvy/ext/sandbox.proto",
    "divvy/internal/agent.proto",
    "divvy/internal/supervisor.proto",
    "divvy/internal/records.proto",
];

/// The root of the repository.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Writes one Rust file per package to `out`.
///
/// # Errors
/// A schema that does not compile, or a file that cannot be written.
pub fn generate(out: &Path) -> anyhow::Result<()> {
    let include = root().join("proto");
    let descriptors = protox::compile(FILES.iter().map(|file| include.join(file)), [&include])?;
    std::fs::write(out.join("shapes.rs"), shapes::generate(&descriptors)?)?;
    let mut config = tonic_prost_build::configure()
        .codec_path("crate::proto::codec::Codec")
        .out_dir(out)
        .emit_rerun_if_changed(false)
        .bytes(".")
        .btree_map(".")
        .client_mod_attribute(".", "#[cfg(feature = \"framework\")]")
        .server_mod_attribute(".", "#[cfg(feature = \"server\")]");
    for id in IDS {
        config = config.type_attribute(id, "#[derive(PartialOrd, Ord)]");
    }
    for path in BOXED {
        config = config.boxed(path);
    }
    config.compile_fds(descriptors).context("generating Rust from proto/")
}
