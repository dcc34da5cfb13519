//! A container is started at most once ever, and no task runs in two containers at once.

use super::{Fact, Invariant, Known};

#[derive(Debug, Default)]
pub(super) struct StartedOnce;

impl Invariant for StartedOnce {
    fn name(&self) -> &'static str {
        "started_once"
    }

    fn observe(&mut self, known: &Known, fact: &Fact) -> Result<(), String> {
        let Fact::ProcessStarted { agent, container } = fact else { return Ok(()) };
        let Some(this) = known.containers.get(container) else {
            return Err(format!("agent {agent} started {container}, which no master launched"));
        };
        if this.started > 1 {
            return Err(format!("agent {agent} started {container} {} times", this.started));
        }
        if this.agent != *agent {
            return Err(format!("agent {agent} started {container}, which was launched on agent {}", this.agent));
        }
        let same = |id: &String| id != container;
        let twin = known
            .containers
            .iter()
            .find(|(id, one)| same(id) && one.runs() && one.task == this.task && one.framework == this.framework);
        twin.map_or(Ok(()), |(id, one)| {
            Err(format!("{} runs as {container} on agent {agent} and as {id} on agent {}", this.task, one.agent))
        })
    }
}
