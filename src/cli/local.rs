//! `divvy local`: a cluster in one process.

use std::{net::SocketAddr, path::PathBuf, process::ExitCode};

use clap::Args;

use super::{Failure, SettingsError, announce, signals::Stop};
use crate::{cli::settings, local::LocalCluster};

/// Starts a master and agents in this process. Their tasks are real processes and end with it.
#[derive(Args, Clone, Debug)]
pub struct LocalArgs {
    /// How many agents
    #[arg(long, default_value_t = 1, value_name = "N")]
    agents: usize,
    /// Address and port of the master; port 0 picks a free one [default: 127.0.0.1:5050]
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Option<String>,
    /// What each agent offers, for example 'cpus:4;mem:1024', as a JSON array of Mesos' resources, or the absolute path
    /// of a file with either. What is not named is detected, zero of a name means none [default: all that this host
    /// has, each of them]
    #[arg(long, value_name = "TEXT|JSON|FILE")]
    resources: Option<String>,
    /// The folder for all files, which is kept [default: a new folder that is removed at the end]
    #[arg(long, value_name = "DIR")]
    work_dir: Option<PathBuf>,
    /// Serve on an address that other hosts can reach although there is no authentication yet
    #[arg(long)]
    insecure: bool,
}

/// Runs the cluster until Ctrl-C.
///
/// # Errors
/// Invalid settings, a port in use, a folder that cannot be created.
pub async fn serve(args: LocalArgs) -> Result<ExitCode, Failure> {
    if args.agents == 0 {
        return Err(SettingsError::invalid("--agents", "0", "it has to be at least 1").into());
    }
    let listen = settings::listen_address(args.listen.as_deref(), SocketAddr::from(([127, 0, 0, 1], 5050)))?;
    let resources = settings::resources(args.resources.as_deref(), None)?;
    let mut stop = Stop::listen()?;
    let builder = LocalCluster::builder().agents(args.agents).listen(listen).insecure(args.insecure);
    let mut builder = builder.resources(resources);
    if let Some(directory) = args.work_dir {
        builder = builder.work_dir(directory);
    }
    let mut cluster = builder.start().await.map_err(anyhow::Error::from)?;
    // If its address cannot be printed, the cluster cannot be used.
    let failure = if let Err(failure) = announce("divvy local", &cluster.master()) {
        Some(failure)
    } else {
        tokio::select! {
            _ = stop.requested() => None,
            reason = cluster.failed() => Some(Failure::Failed(anyhow::anyhow!("{reason}"))),
        }
    };
    cluster.stop().await;
    failure.map_or(Ok(ExitCode::SUCCESS), Err)
}
