//! A container is started at most once ever, and no task runs in two containers at once.

use std::collections::BTreeMap;

use super::{Fact, Invariant, Known};

#[derive(Debug, Default)]
pub(super) struct StartedOnce {
    /// The containers in which each task of each framework runs, and where.
    running: BTreeMap<(String, String), BTreeMap<String, usize>>,
}

impl Invariant for StartedOnce {
    fn name(&self) -> &'static str {
        "started_once"
    }

    fn observe(&mut self, known: &Known, fact: &Fact) -> Result<(), String> {
        match fact {
            Fact::ProcessStarted { agent, container } => self.started(known, *agent, container),
            Fact::ProcessEnded { container, .. } => {
                if let Some(one) = known.containers.get(container)
                    && let Some(running) = self.running.get_mut(&(one.framework.clone(), one.task.clone()))
                {
                    running.remove(container);
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

impl StartedOnce {
    fn started(&mut self, known: &Known, agent: usize, container: &String) -> Result<(), String> {
        let Some(this) = known.containers.get(container) else {
            return Err(format!("agent {agent} started {container}, which no master launched"));
        };
        if this.started > 1 {
            return Err(format!("agent {agent} started {container} {} times", this.started));
        }
        if this.agent != agent {
            return Err(format!("agent {agent} started {container}, which was launched on agent {}", this.agent));
        }
        let running = self.running.entry((this.framework.clone(), this.task.clone())).or_default();
        running.insert(container.clone(), agent);
        match running.iter().find(|(id, _)| *id != container) {
            None => Ok(()),
            Some((id, other)) => {
                Err(format!("{} runs as {container} on agent {agent} and as {id} on agent {other}", this.task))
            }
        }
    }
}
