//! `divvy-master`: offers the agents' resources.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use super::{
    Failure, Program, announce_if_possible, logging,
    registry::{self, BackupArgs, RestoreArgs},
    runtime,
    settings::{MasterArgs, MasterSettings},
    signals::Stop,
};
use crate::master::{Master, Options};

/// Offer the agents' resources to frameworks.
#[derive(Debug, Parser)]
#[command(name = "divvy-master", version, args_conflicts_with_subcommands = true)]
pub struct DivvyMaster {
    #[command(flatten)]
    args: MasterArgs,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write the registry of a stopped master to a file; for a running one use `divvy backup`
    Backup(BackupArgs),
    /// Create the registry of a stopped master from a backup
    Restore(RestoreArgs),
}

/// How many pings may stay unanswered; the timeout is divided among them.
const PINGS: u32 = 5;

impl Program for DivvyMaster {
    const NAME: &'static str = "divvy-master";

    fn run(self) -> Result<ExitCode, Failure> {
        match self.command {
            Some(Command::Backup(args)) => return registry::backup(&args),
            Some(Command::Restore(args)) => return registry::restore(&args),
            None => {}
        }
        let settings = self.args.resolve()?;
        logging::start(settings.log.as_deref(), "info", settings.log_format)?;
        runtime()?.block_on(serve(settings))
    }
}

async fn serve(settings: MasterSettings) -> Result<ExitCode, Failure> {
    let mut stop = Stop::listen()?;
    let mut master = Master::start(options(settings)).await.map_err(anyhow::Error::from)?;
    announce_if_possible(DivvyMaster::NAME, &master.address().to_string());
    tokio::select! {
        _ = stop.requested() => {}
        reason = master.failed() => return Err(anyhow::anyhow!("{reason}").into()),
    }
    tracing::info!("stopping; agents and frameworks continue and look for the next master");
    master.stop().await;
    Ok(ExitCode::SUCCESS)
}

fn options(settings: MasterSettings) -> Options {
    let preset = Options::default();
    let (ping_interval, pings_missed) = match settings.agent_ping_timeout {
        Some(timeout) => (timeout / PINGS, PINGS),
        None => (preset.agent_ping_interval, preset.agent_pings_missed),
    };
    Options {
        listen: settings.listen,
        work_dir: Some(settings.work_dir),
        hostname: settings.hostname,
        insecure: settings.insecure,
        offer_timeout: settings.offer_timeout,
        agent_ping_interval: ping_interval,
        agent_pings_missed: pings_missed,
        agent_reregister_timeout: settings.agent_reregister_timeout.unwrap_or(preset.agent_reregister_timeout),
        agent_removal_rate: settings.agent_removal_rate,
        registry_gc_interval: settings.registry_gc_interval.unwrap_or(preset.registry_gc_interval),
        registry_max_agent_age: settings.registry_max_agent_age.unwrap_or(preset.registry_max_agent_age),
        registry_max_agents: settings.registry_max_agents.unwrap_or(preset.registry_max_agents),
        peer_stall_timeout: settings.peer_stall_timeout.unwrap_or(preset.peer_stall_timeout),
        max_completed_frameworks: settings.max_completed_frameworks.unwrap_or(preset.max_completed_frameworks),
        max_completed_tasks_per_framework: settings
            .max_completed_tasks_per_framework
            .unwrap_or(preset.max_completed_tasks_per_framework),
        ..preset
    }
}
