//! `divvy`: its commands.

use std::{future::Future, process::ExitCode};

use clap::{Args, Parser, Subcommand};

use super::{
    Failure, Program, agents, allocate, frameworks, gone, local, logging,
    operator::Operator,
    registry::{RemoteBackupArgs, remote_backup},
    run,
    settings::{ClientArgs, ClientSettings},
    table, tasks,
};
use crate::transport::clock::Clock;

/// Use a cluster from the shell.
#[derive(Debug, Parser)]
#[command(name = "divvy", version, arg_required_else_help = true)]
pub struct Divvy {
    #[command(flatten)]
    client: ClientArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start a master and agents in this process, until Ctrl-C
    Local(local::LocalArgs),
    /// Run a command on the cluster, show its output, and end with its exit code
    Run(run::RunArgs),
    /// List the agents, or mark one gone
    Agents(AgentsArgs),
    /// List the tasks that have not ended
    #[command(visible_alias = "ps")]
    Tasks(ListAllArgs),
    /// List the frameworks that have not ended
    Frameworks(ListAllArgs),
    /// Write the running master's registry to a file, for `divvy-master restore`
    Backup(RemoteBackupArgs),
    /// Place tasks of a file on offers of a file and explain why the rest does not fit; needs no cluster
    Allocate(allocate::AllocateArgs),
}

#[derive(Args, Debug)]
struct ListArgs {
    /// Print a JSON array instead of a table
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
struct AgentsArgs {
    #[command(flatten)]
    list: ListArgs,
    /// Include agents marked gone, as far as the master still has them
    #[arg(long, short)]
    all: bool,
    #[command(subcommand)]
    command: Option<AgentsCommand>,
}

#[derive(Debug, Subcommand)]
enum AgentsCommand {
    /// Mark an agent gone for good: its tasks end as gone by operator, and it can never register again
    Gone(gone::GoneArgs),
}

#[derive(Args, Debug)]
struct ListAllArgs {
    #[command(flatten)]
    list: ListArgs,
    /// Include those that have ended, as far as the master still has them
    #[arg(long, short)]
    all: bool,
}

impl Program for Divvy {
    const NAME: &'static str = "divvy";

    fn run(self) -> Result<ExitCode, Failure> {
        let settings = self.client.resolve()?;
        let fallback = if matches!(self.command, Command::Local(_)) { "info" } else { "warn" };
        logging::start(settings.log.as_deref(), fallback, settings.log_format)?;
        match self.command {
            Command::Local(args) => block_on(local::serve(args)),
            Command::Run(args) => block_on(run::run(args, settings.master)),
            Command::Agents(AgentsArgs { command: Some(AgentsCommand::Gone(args)), .. }) => {
                block_on(async { gone::mark(&args, &settings.master).await })
            }
            Command::Agents(AgentsArgs { list, all, command: None }) => block_on(list_agents(settings, list, all)),
            Command::Tasks(args) => block_on(list_tasks(settings, args)),
            Command::Frameworks(args) => block_on(list_frameworks(settings, args)),
            Command::Backup(args) => block_on(async { remote_backup(&args, &settings.master).await }),
            Command::Allocate(args) => allocate::run(&args),
        }
    }
}

async fn list_agents(settings: ClientSettings, args: ListArgs, all: bool) -> Result<ExitCode, Failure> {
    let answer = Operator::connect(&settings.master).await?.agents().await?;
    table::print(&agents::rows(answer, all, Clock::system().now().wall_secs()), args.json)?;
    Ok(ExitCode::SUCCESS)
}

async fn list_tasks(settings: ClientSettings, args: ListAllArgs) -> Result<ExitCode, Failure> {
    let mut operator = Operator::connect(&settings.master).await?;
    let (tasks, agents) = (operator.tasks().await?, operator.agents().await?);
    let rows = tasks::rows(tasks, &agents, args.all, Clock::system().now().wall_secs());
    table::print(&rows, args.list.json)?;
    Ok(ExitCode::SUCCESS)
}

async fn list_frameworks(settings: ClientSettings, args: ListAllArgs) -> Result<ExitCode, Failure> {
    let answer = Operator::connect(&settings.master).await?.frameworks().await?;
    table::print(&frameworks::rows(answer, args.all), args.list.json)?;
    Ok(ExitCode::SUCCESS)
}

fn block_on(work: impl Future<Output = Result<ExitCode, Failure>>) -> Result<ExitCode, Failure> {
    super::runtime()?.block_on(work)
}
