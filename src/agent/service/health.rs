//! The health of an agent for operators: its problems, in `/health`, in `/metrics` and in the log.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::agent::core::{Agent, Problem};
use crate::agent::log::LogError;
use crate::transport::clock::Clock;

/// The agent's health; clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Health {
    shared: Arc<Mutex<Condition>>,
}

#[derive(Debug, Default)]
struct Condition {
    problems: Vec<Problem>,
    tasks: usize,
    is_registered: bool,
    /// Why records cannot be written at the moment.
    stuck: Option<String>,
}

impl Health {
    /// Updates the health from the agent. New and resolved problems are logged.
    pub(super) fn report(&self, clock: &Clock, agent: &Agent) {
        let problems = agent.problems();
        let mut condition = self.lock();
        for problem in problems.iter().filter(|problem| !condition.problems.contains(problem)) {
            tracing::error!("{}", describe(problem));
        }
        for problem in condition.problems.iter().filter(|problem| !problems.contains(problem)) {
            let since_ns = match problem {
                Problem::SilentSupervisor { since_ns, .. } | Problem::DiskFull { since_ns, .. } => *since_ns,
            };
            tracing::info!(after = ?clock.now().since(since_ns), "no longer: {}", describe(problem));
        }
        let (tasks, is_registered) = (agent.task_count(), agent.is_registered());
        *condition = Condition { problems, tasks, is_registered, stuck: None };
    }

    /// Reports that records wait for disk space.
    pub(super) fn report_stuck(&self, error: &LogError) {
        let mut condition = self.lock();
        if condition.stuck.is_none() {
            tracing::error!(%error, "the agent waits until there is room");
            condition.stuck = Some(format!("{error}: the agent waits until there is room"));
        }
    }

    /// The body of `/health`.
    pub(super) fn document(&self) -> String {
        let condition = self.lock();
        let problems = condition.problems.iter().map(describe).chain(condition.stuck.clone());
        let problems: Vec<serde_json::Value> = problems.map(serde_json::Value::from).collect();
        serde_json::json!({ "healthy": problems.is_empty(), "problems": problems }).to_string()
    }

    /// The body of `/metrics`, in the Prometheus text format.
    pub(super) fn metrics(&self) -> String {
        let condition = self.lock();
        let silent = condition.problems.iter().filter(|it| matches!(it, Problem::SilentSupervisor { .. })).count();
        let full = condition.problems.iter().filter(|it| matches!(it, Problem::DiskFull { .. })).count();
        let mut text = String::new();
        for (name, help, value) in [
            ("registered", "Whether a master has the agent", usize::from(condition.is_registered)),
            ("tasks", "Tasks that run or have a status that is not acknowledged", condition.tasks),
            ("supervisors_silent", "Supervisors that are alive and do not answer", silent),
            ("disk_full", "Whether no tasks are accepted because the disk is full", full),
            ("log_waits_for_room", "Whether records wait for disk space", usize::from(condition.stuck.is_some())),
        ] {
            // Writing to a string does not fail.
            let _ = writeln!(
                text,
                "# HELP divvy_agent_{name} {help}.\n# TYPE divvy_agent_{name} gauge\ndivvy_agent_{name} {value}"
            );
        }
        text
    }

    fn lock(&self) -> MutexGuard<'_, Condition> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn describe(problem: &Problem) -> String {
    match problem {
        Problem::SilentSupervisor { supervisor, text, .. } => format!(
            "supervisor {} is alive and does not answer ({text}): its tasks keep their last known state and kills \
             wait; --recover=cleanup ends them",
            supervisor.0
        ),
        Problem::DiskFull { text, .. } => {
            format!("the disk of the work directory is full ({text}): no tasks are accepted until there is room")
        }
    }
}
