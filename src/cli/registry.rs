//! `divvy-master backup`, `divvy-master restore` and `divvy backup`: the master's durable facts in a file.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;
use clap::Args;

use super::{Failure, operator::Operator, output};
use crate::{
    master::registry::{self, Backup, Embedded},
    transport::{clock::Clock, connect::Addresses},
};

/// The arguments of `divvy-master backup`.
#[derive(Args, Clone, Debug)]
pub struct BackupArgs {
    /// The directory of the registry
    #[arg(long, env = "DIVVY_WORK_DIR", value_name = "DIR", default_value = "divvy-master")]
    work_dir: PathBuf,
    /// The file to write; it must not exist
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
}

/// The arguments of `divvy-master restore`.
#[derive(Args, Clone, Debug)]
pub struct RestoreArgs {
    /// The file that a backup wrote
    #[arg(long, value_name = "FILE")]
    from: PathBuf,
    /// The directory for the registry; created if it does not exist
    #[arg(long, env = "DIVVY_WORK_DIR", value_name = "DIR", default_value = "divvy-master")]
    work_dir: PathBuf,
    /// Rename an existing registry first, even one that cannot be read
    #[arg(long)]
    force: bool,
}

/// The arguments of `divvy backup`.
#[derive(Args, Clone, Debug)]
pub struct RemoteBackupArgs {
    /// The file to write; it must not exist
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
}

/// Writes the registry of a stopped master to a file.
///
/// # Errors
/// A registry that is in use, missing or not readable; a file that cannot be written.
pub fn backup(args: &BackupArgs) -> Result<ExitCode, Failure> {
    let registry = Embedded::open_existing(&args.work_dir).context("use `divvy backup` for a running master")?;
    let (state, epoch) = registry.peek().map_err(anyhow::Error::from)?;
    write(&Backup::new(state, epoch, Clock::system().now().wall_ns), &args.to)
}

/// Creates a registry from a backup.
///
/// # Errors
/// A backup that cannot be read, an existing registry without `--force`, a directory that cannot be written.
pub fn restore(args: &RestoreArgs) -> Result<ExitCode, Failure> {
    let from = || format!("cannot restore from {}", args.from.display());
    let backup = Backup::read_from(&args.from).with_context(from)?;
    let now_ns = Clock::system().now().wall_ns;
    let restored = registry::restore(&backup, &args.work_dir, args.force, now_ns).with_context(from)?;
    let aside = restored.aside.map(|path| format!("; what was there is kept in {}", path.display()));
    output::print(&format!(
        "restored {} agents and {} removed frameworks to {}, epoch {}{}",
        backup.state.agents.len(),
        backup.state.removed_frameworks.len(),
        args.work_dir.display(),
        restored.epoch,
        aside.unwrap_or_default()
    ))?;
    Ok(ExitCode::SUCCESS)
}

/// Writes the registry of a running master to a file.
///
/// # Errors
/// A master that does not answer, an answer that is damaged, a file that cannot be written.
pub async fn remote_backup(args: &RemoteBackupArgs, master: &Addresses) -> Result<ExitCode, Failure> {
    let bytes = Operator::connect(master).await?.backup().await?;
    let backup = Backup::decode(&bytes).context("what the master sent cannot be read")?;
    write(&backup, &args.to)
}

fn write(backup: &Backup, path: &Path) -> Result<ExitCode, Failure> {
    backup.write_to(path).map_err(anyhow::Error::from)?;
    let (agents, frameworks) = (backup.state.agents.len(), backup.state.removed_frameworks.len());
    let to = path.display();
    output::print(&format!(
        "wrote {agents} agents and {frameworks} removed frameworks of epoch {} to {to}",
        backup.epoch
    ))?;
    Ok(ExitCode::SUCCESS)
}
