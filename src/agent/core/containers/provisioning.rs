//! Provisioning of a container: the steps before it can start.
//!
//! The steps are data, done in order, one at a time. The step under way can be cancelled: the container then ends when
//! that step has answered. When a step fails or the start is cancelled, the steps done before it are undone in reverse
//! order, and the task's status names the failed step and the error.

use std::fmt;

use super::{Container, Phase};
use crate::agent::core::tasks::statuses::Report;
use crate::agent::core::{Agent, ContainerId, Effect};
use crate::proto::internal::Start;
use crate::proto::v1::TaskState;
use crate::proto::v1::task_status::Reason;
use crate::types::Now;

/// One step of a container's provisioning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Step {
    /// Make the directory that it runs in.
    Sandbox,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sandbox => "make the sandbox",
        })
    }
}

/// The steps of a container that runs a command.
const OF_A_COMMAND: [Step; 1] = [Step::Sandbox];

/// The progress of a container's provisioning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::agent::core) struct Provisioning<S> {
    steps: Vec<S>,
    /// How many are done.
    done: usize,
    cancelled: bool,
}

/// The consequence of a step's outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::agent::core) enum Next<S> {
    /// This step is to be done now.
    Do(S),
    /// All are done.
    Complete,
    /// It was cancelled; these are to be undone, in this order.
    Undo(Vec<S>),
    /// The answer is not for the step under way.
    Nothing,
}

impl<S: Clone + PartialEq> Provisioning<S> {
    pub(in crate::agent::core) fn new(steps: Vec<S>) -> Self {
        Self { steps, done: 0, cancelled: false }
    }

    /// The step under way.
    pub(in crate::agent::core) fn current(&self) -> Option<&S> {
        self.steps.get(self.done)
    }

    /// The step under way is done.
    pub(in crate::agent::core) fn succeed(&mut self, step: &S) -> Next<S> {
        if self.current() != Some(step) {
            return Next::Nothing;
        }
        self.done += 1;
        match self.current() {
            _ if self.cancelled => Next::Undo(self.undo()),
            Some(next) => Next::Do(next.clone()),
            None => Next::Complete,
        }
    }

    /// The step under way failed, and has left nothing behind: the ones before it are to be undone, in this order.
    pub(in crate::agent::core) fn fail(&mut self, step: &S) -> Next<S> {
        if self.current() == Some(step) { Next::Undo(self.undo()) } else { Next::Nothing }
    }

    /// Cancels the provisioning; returns the step under way, once.
    pub(in crate::agent::core) fn cancel(&mut self) -> Option<S> {
        let first = !std::mem::replace(&mut self.cancelled, true);
        self.current().filter(|_| first).cloned()
    }

    fn undo(&mut self) -> Vec<S> {
        let done = self.steps[..self.done].iter().rev().cloned().collect();
        self.steps.clear();
        self.done = 0;
        done
    }
}

impl Agent {
    /// Begins to provision an accepted container.
    pub(in crate::agent::core) fn provision(&mut self, id: &ContainerId, out: &mut Vec<Effect>) {
        let Some(container) = self.containers.get_mut(id) else { return };
        let Phase::Accepted(start) = &mut container.phase else { return };
        let steps = Provisioning::new(OF_A_COMMAND.to_vec());
        let first = steps.current().copied();
        container.phase = Phase::Provisioning(std::mem::take(start), steps);
        match first {
            Some(step) => self.begin_step(id, step, out),
            None => self.provisioned(id, out),
        }
    }

    fn begin_step(&mut self, id: &ContainerId, step: Step, out: &mut Vec<Effect>) {
        let Some(container) = self.containers.get_mut(id) else { return };
        match step {
            Step::Sandbox => container.sandbox = true,
        }
        out.push(Effect::Provision { container: id.clone(), step });
    }

    /// The shell has done a step.
    pub(in crate::agent::core) fn step_done(&mut self, now: Now, id: &ContainerId, step: Step, out: &mut Vec<Effect>) {
        match self.steps_of(id).map(|(_, steps)| steps.succeed(&step)) {
            Some(Next::Do(next)) => self.begin_step(id, next, out),
            Some(Next::Complete) => self.provisioned(id, out),
            Some(Next::Undo(steps)) => self.abandon_start(now, id, &steps, None, out),
            Some(Next::Nothing) | None => {}
        }
    }

    /// The shell could not do a step, or did not because that was cancelled.
    pub(in crate::agent::core) fn step_failed(
        &mut self,
        now: Now,
        id: &ContainerId,
        step: Step,
        text: &str,
        out: &mut Vec<Effect>,
    ) {
        if let Some(Next::Undo(steps)) = self.steps_of(id).map(|(_, steps)| steps.fail(&step)) {
            self.abandon_start(now, id, &steps, Some(format!("cannot {step}: {text}")), out);
        }
    }

    /// Cancels the step under way; the end follows when that has answered.
    pub(in crate::agent::core) fn cancel_provisioning(&mut self, id: &ContainerId, out: &mut Vec<Effect>) {
        if let Some(step) = self.steps_of(id).and_then(|(_, steps)| steps.cancel()) {
            out.push(Effect::CancelStep { container: id.clone(), step });
        }
    }

    /// Undoes the steps of a container that never starts, and reports its end: that of its kill if there is one.
    fn abandon_start(
        &mut self,
        now: Now,
        id: &ContainerId,
        undone: &[Step],
        failure: Option<String>,
        out: &mut Vec<Effect>,
    ) {
        for step in undone {
            match step {
                // Kept as that of any ended container: users look there for the error.
                Step::Sandbox => {}
            }
        }
        let Some(container) = self.containers.get(id) else { return };
        let report = match (&container.kill, failure) {
            (Some(kill), _) => kill.before_start(&container.limits),
            (None, text) => {
                let text = text.unwrap_or_else(|| "it was cancelled".to_owned());
                Report::by_agent(TaskState::TaskFailed, Reason::ContainerLaunchFailed, text)
            }
        };
        self.end(now, id, report, out);
    }

    fn provisioned(&mut self, id: &ContainerId, out: &mut Vec<Effect>) {
        let Some((start, _)) = self.steps_of(id) else { return };
        let start = std::mem::take(start);
        if let Some(container) = self.containers.get_mut(id) {
            container.phase = Phase::Provisioned(start);
        }
        self.start(id, out);
    }

    fn steps_of(&mut self, id: &ContainerId) -> Option<(&mut Box<Start>, &mut Provisioning<Step>)> {
        match self.containers.get_mut(id) {
            Some(Container { phase: Phase::Provisioning(start, steps), .. }) => Some((start, steps)),
            Some(_) | None => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps() -> Provisioning<&'static str> {
        Provisioning::new(vec!["user", "sandbox", "fetch"])
    }

    #[test]
    fn steps_are_done_in_order_and_an_answer_about_another_step_changes_nothing() {
        let mut steps = steps();
        assert_eq!(steps.current(), Some(&"user"));
        assert_eq!(steps.succeed(&"sandbox"), Next::Nothing);
        assert_eq!(steps.fail(&"fetch"), Next::Nothing);
        assert_eq!(steps.succeed(&"user"), Next::Do("sandbox"));
        assert_eq!(steps.succeed(&"user"), Next::Nothing);
        assert_eq!(steps.succeed(&"sandbox"), Next::Do("fetch"));
        assert_eq!(steps.succeed(&"fetch"), Next::Complete);
    }

    #[test]
    fn a_failure_undoes_what_was_done_before_in_reverse_order_and_only_once() {
        let mut steps = steps();
        steps.succeed(&"user");
        steps.succeed(&"sandbox");
        assert_eq!(steps.fail(&"fetch"), Next::Undo(vec!["sandbox", "user"]));
        assert_eq!(steps.fail(&"fetch"), Next::Nothing);
        assert_eq!(steps.succeed(&"fetch"), Next::Nothing);
    }

    #[test]
    fn a_cancelled_step_is_cancelled_once_and_whatever_it_answers_undoes_the_rest() {
        for fails in [false, true] {
            let mut steps = steps();
            steps.succeed(&"user");
            assert_eq!((steps.cancel(), steps.cancel()), (Some("sandbox"), None));
            let (answer, undone) = if fails {
                (steps.fail(&"sandbox"), vec!["user"])
            } else {
                (steps.succeed(&"sandbox"), vec!["sandbox", "user"])
            };
            assert_eq!(answer, Next::Undo(undone));
        }
    }
}
