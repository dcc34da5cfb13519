//! `divvy-agent`: runs tasks on this host.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::Context;
use clap::{Parser, Subcommand};

use super::{
    Failure, Program, announce_if_possible, logging, output, runtime,
    settings::{AgentArgs, AgentSettings},
    signals::Stop,
};
use crate::agent::{Agent, Ended, Options, SupervisorMode, supervisor};

/// Offer this host's resources to a master, and run the tasks that it sends.
///
/// The tasks outlive this program: they continue however it ends, and it recovers them when it is started again in the
/// same work directory.
#[derive(Debug, Parser)]
#[command(name = "divvy-agent", version)]
pub struct DivvyAgent {
    #[command(flatten)]
    args: AgentArgs,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start and reap processes for an agent; agents start this themselves
    #[command(hide = true)]
    Supervise {
        /// The supervisor's own directory
        #[arg(long, value_name = "DIR")]
        directory: PathBuf,
        /// How long to run without an agent and without containers, in milliseconds
        #[arg(long, value_name = "MS")]
        idle_ms: Option<u64>,
    },
}

/// The exit code of an agent that does not start because of `--recover=strict`: a retry does not help.
const DAMAGED: u8 = 3;

impl Program for DivvyAgent {
    const NAME: &'static str = "divvy-agent";

    fn run(self) -> Result<ExitCode, Failure> {
        if let Some(Command::Supervise { directory, idle_ms }) = self.command {
            // Before any other thread starts, and without a runtime: this process stays small.
            logging::start(None, "info", logging::LogFormat::Text)?;
            return Ok(supervisor::run(&directory, idle_ms.map_or(supervisor::IDLE, Duration::from_millis)));
        }
        let settings = self.args.resolve()?;
        logging::start(settings.log.as_deref(), "info", settings.log_format)?;
        runtime()?.block_on(serve(settings))
    }
}

async fn serve(settings: AgentSettings) -> Result<ExitCode, Failure> {
    let mut stop = Stop::listen()?;
    let agent = match Agent::start(options(settings)?).await {
        Err(error) if error.is_damage() => {
            output::note(format_args!("{}: {error}", DivvyAgent::NAME));
            return Ok(ExitCode::from(DAMAGED));
        }
        started => started.map_err(anyhow::Error::from)?,
    };
    announce_if_possible(DivvyAgent::NAME, &agent.address().to_string());
    let ended = tokio::select! {
        _ = stop.requested() => {
            tracing::info!("stopping; tasks continue, and the next agent in this work directory recovers them");
            agent.stop().await
        }
        ended = agent.join() => ended,
    };
    match ended.map_err(anyhow::Error::from)? {
        Ended::Stopped | Ended::ShutDown => Ok(ExitCode::SUCCESS),
        Ended::Gone => Err(anyhow::anyhow!("an operator marked this agent gone; its tasks were ended").into()),
        Ended::Refused(text) => Err(anyhow::anyhow!("the master refuses this agent: {text}").into()),
    }
}

fn options(settings: AgentSettings) -> anyhow::Result<Options> {
    let program = std::env::current_exe().context("cannot find the executable of this program")?;
    let preset = Options::new(settings.master.to_string(), settings.work_dir, SupervisorMode::Process { program });
    Ok(Options {
        listen: settings.listen,
        hostname: settings.hostname,
        resources: settings.resources,
        attributes: settings.attributes,
        insecure: settings.insecure,
        recover: settings.recover,
        supervisor_idle: settings.supervisor_idle,
        peer_stall_timeout: settings.peer_stall_timeout.unwrap_or(preset.peer_stall_timeout),
        ..preset
    })
}
