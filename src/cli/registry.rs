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

/// What `divvy-master backup` is told.
#[derive(Args, Clone, Debug)]
pub struct BackupArgs {
    /// Where the registry is kept
    #[arg(long, env = "DIVVY_WORK_DIR", value_name = "DIR", default_value = "divvy-master")]
    work_dir: PathBuf,
    /// The file to write; it must not exist
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
}

/// What `divvy-master restore` is told.
#[derive(Args, Clone, Debug)]
pub struct RestoreArgs {
    /// The file that a backup wrote
    #[arg(long, value_name = "FILE")]
    from: PathBuf,
    /// Where the registry is to be; made if it is not there
    #[arg(long, env = "DIVVY_WORK_DIR", value_name = "DIR", default_value = "divvy-master")]
    work_dir: PathBuf,
    /// Put a registry that is there aside, even one that cannot be read
    #[arg(long)]
    force: bool,
}

/// What `divvy backup` is told.
#[derive(Args, Clone, Debug)]
pub struct RemoteBackupArgs {
    /// The file to write; it must not exist
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
}

/// Writes the registry of a stopped master to a file.
///
/// # Errors
/// A registry that is in use, not there or not readable; a file that cannot be written.
pub fn backup(args: &BackupArgs) -> Result<ExitCode, Failure> {
    let registry = Embedded::open_existing(&args.work_dir).context("a running master is asked by `divvy backup`")?;
    let (state, epoch) = registry.peek().map_err(anyhow::Error::from)?;
    write(&Backup::new(state, epoch, Clock::system().now().wall_ns), &args.to)
}

/// Makes a registry out of a backup.
///
/// # Errors
/// A backup that cannot be read, a registry in place without `--force`, a directory that cannot be written.
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
