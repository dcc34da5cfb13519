//! `divvy agents gone`: marks an agent gone for good, which ends its tasks.

use std::process::ExitCode;

use clap::Args;

use super::{Failure, operator::Operator, output};
use crate::{
    proto::v1::master::response::{GetAgents, GetTasks},
    transport::connect::Addresses,
};

/// The arguments of `divvy agents gone`.
#[derive(Args, Debug)]
pub struct GoneArgs {
    /// The agent's id, as `divvy agents` shows it
    #[arg(value_name = "ID")]
    agent_id: String,
    /// Mark the agent; without this only the effect is shown
    #[arg(long, short)]
    yes: bool,
}

/// Marks the agent gone, or shows the effect without `--yes`.
///
/// # Errors
/// No master answers, the agent is unknown, or `--yes` is missing.
pub async fn mark(args: &GoneArgs, master: &Addresses) -> Result<ExitCode, Failure> {
    let mut operator = Operator::connect(master).await?;
    let agents = operator.agents().await?;
    let id = &args.agent_id;
    let Some(known) = AgentState::find(&agents, id) else {
        let text = format!("no agent {id} is known to the master; `divvy agents --all` lists those that are");
        return Err(Failure::Failed(anyhow::anyhow!(text)));
    };
    if known == AgentState::Gone {
        return print_result(&format!("agent {id} is marked gone already"));
    }
    if !args.yes {
        let tasks = tasks_on(&operator.tasks().await?, id);
        let text = format!(
            "marking agent {id} gone ends what it runs (tasks: {tasks}) as TASK_GONE_BY_OPERATOR, and it can never \
             register again; add --yes to do it"
        );
        return Err(Failure::Usage(text));
    }
    operator.mark_gone(id).await?;
    print_result(&format!("agent {id} is marked gone"))
}

fn print_result(text: &str) -> Result<ExitCode, Failure> {
    output::print(text)?;
    Ok(ExitCode::SUCCESS)
}

/// The state of an agent that the master has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AgentState {
    Present,
    Gone,
}

impl AgentState {
    fn find(agents: &GetAgents, id: &str) -> Option<Self> {
        let present = agents.agents.iter().map(|agent| &agent.agent_info).chain(&agents.recovered_agents);
        if present.filter_map(|info| info.id.as_ref()).any(|one| one.value == id) {
            return Some(Self::Present);
        }
        let departed = agents.departed.iter().find(|agent| agent.agent_id.value == id)?;
        Some(if departed.gone() { Self::Gone } else { Self::Present })
    }
}

/// How many tasks on this agent have not ended.
fn tasks_on(tasks: &GetTasks, id: &str) -> usize {
    tasks.tasks.iter().chain(&tasks.unreachable_tasks).filter(|task| task.agent_id.value == id).count()
}
