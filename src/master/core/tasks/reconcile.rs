//! Reconciliation: a framework requests the states of its tasks, and the master sends those that it knows.

use std::{collections::VecDeque, sync::Arc};

use crate::{
    master::core::{
        Event, Master, Peer, ReconcileTask, Refusal, Turn,
        agents::Presence,
        keys::{AgentKey, FrameworkKey, TaskKey},
        parted::{Cursor, PartedMap},
        tasks::master_status,
    },
    proto::v1::{self, TaskState},
    types::Now,
};

/// Answers to one framework may take this fraction of a turn's work.
const SHARE_OF_ONE: usize = 2;
/// So many tasks of explicit reconciliation may wait for their answers.
const MOST_NAMED: usize = 65_536;

/// The answers still to be sent to a framework, in pieces as it reads: a call costs no more memory than itself.
///
/// Each run visits all tasks of the framework.
#[derive(Debug, Default)]
pub(in crate::master::core) struct Answers {
    /// The run that resends unacknowledged statuses.
    resends: Cursor,
    /// The run of implicit reconciliation, which sends the state of every task.
    implicit: Cursor,
    /// Another implicit request arrived meanwhile: tasks visited before it are visited again.
    again: bool,
    named: VecDeque<ReconcileTask>,
}

impl Answers {
    fn is_done(&self) -> bool {
        self.resends.is_over() && self.implicit.is_over() && !self.again && self.named.is_empty()
    }

    /// Starts to resend the unacknowledged statuses of all tasks up to this end.
    pub(in crate::master::core) fn resend(&mut self, end: Cursor) {
        self.resends = end;
    }

    fn ask_all(&mut self, end: Cursor) {
        if self.implicit.is_over() {
            self.implicit = end;
        } else {
            self.again = true;
        }
    }

    /// The next step, with these tasks.
    fn next(&mut self, tasks: &PartedMap<Arc<str>, (AgentKey, TaskKey)>) -> Option<Step> {
        if let Some((_, &(agent, task))) = tasks.visit(&mut self.resends) {
            return Some(Step::Resend(agent, task));
        }
        if let Some(query) = self.named.pop_front() {
            return Some(Step::Named(query));
        }
        if self.implicit.is_over() && std::mem::take(&mut self.again) {
            self.implicit = tasks.end();
        }
        tasks.visit(&mut self.implicit).map(|(_, &(agent, task))| Step::State(agent, task))
    }
}

/// One answer.
enum Step {
    /// The unacknowledged status of a task.
    Resend(AgentKey, TaskKey),
    /// The state of a known task.
    State(AgentKey, TaskKey),
    Named(ReconcileTask),
}

impl Master {
    /// Answers an empty list with the state of every task of the framework, any other with those of the named tasks.
    pub(in crate::master::core) fn reconcile(
        &mut self,
        turn: &mut Turn<'_>,
        key: FrameworkKey,
        tasks: Vec<ReconcileTask>,
    ) -> Result<(), Refusal> {
        let Some(framework) = self.frameworks.get_mut(key) else { return Ok(()) };
        let waiting = framework.answers.named.len();
        if waiting + tasks.len() > MOST_NAMED {
            let text = format!(
                "{} tasks are named and the answers for {waiting} are still to be read: at most {MOST_NAMED} may wait",
                tasks.len()
            );
            return Err(Refusal::new("reconcile.tasks", text));
        }
        if tasks.is_empty() {
            framework.answers.ask_all(framework.tasks.end());
        }
        framework.answers.named.extend(tasks);
        self.continue_answers(turn, key);
        Ok(())
    }

    /// Sends the next answers, as many as a turn may take and the framework has room for.
    pub(in crate::master::core) fn continue_answers(&mut self, turn: &mut Turn<'_>, key: FrameworkKey) {
        self.answering.remove(&key);
        for _ in 0..self.config.work_per_turn.div_ceil(SHARE_OF_ONE) {
            let Some(framework) = self.frameworks.get_mut(key) else { return };
            let session = framework.session;
            if session.is_none() || turn.is_over_budget(session) {
                // The answers continue once the framework has read: nothing is due until then.
                return;
            }
            let Some(step) = framework.answers.next(&framework.tasks) else { return };
            self.answer_step(turn, key, step);
        }
        if self.frameworks.get(key).is_some_and(|framework| !framework.answers.is_done()) {
            self.answering.insert(key);
        }
    }

    fn answer_step(&self, turn: &mut Turn<'_>, key: FrameworkKey, step: Step) {
        let framework = &self.frameworks[key];
        match step {
            Step::Resend(agent, task) => {
                if let Some(status) = &self.agents[agent].record.tasks[task].unacknowledged {
                    turn.send_event(framework.session, Event::Updated { status: status.clone() });
                }
            }
            Step::State(agent, task) => {
                if self.agents[agent].record.tasks[task].state != TaskState::TaskUnreachable {
                    self.answer_known(turn, key, agent, task);
                }
            }
            Step::Named(query) => self.answer_named(turn, key, &query),
        }
    }

    /// Continues the answers to frameworks that are within their budget.
    pub(in crate::master::core) fn answers_due(&mut self, turn: &mut Turn<'_>) {
        let waiting = self.answering.len();
        for _ in 0..waiting {
            // Round robin, so that a framework that never stops asking does not starve the others.
            let next = self.answering.range(self.answers_next..).next().or_else(|| self.answering.first()).copied();
            let Some(key) = next.filter(|_| !turn.is_spent()) else { return };
            self.answers_next = FrameworkKey(key.0.wrapping_add(1));
            self.continue_answers(turn, key);
        }
    }

    /// Stops offers to frameworks that went over their budget; resumes offers and answers to those within it again.
    pub(in crate::master::core) fn apply_budget_changes(&mut self) {
        for session in self.outgoing.take_changed() {
            let Some(Peer::Framework(key)) = self.sessions.peer(session) else { continue };
            let is_over = self.outgoing.is_over(session);
            let Some(framework) = self.frameworks.get_mut(key) else { continue };
            framework.is_over_budget = is_over;
            if !is_over && !framework.answers.is_done() {
                self.answering.insert(key);
            }
            self.serve_framework(key);
        }
    }

    /// Reconciles one task; the answer waits while the framework is over its budget.
    pub(in crate::master::core) fn reconcile_one(
        &mut self,
        turn: &mut Turn<'_>,
        key: FrameworkKey,
        query: &ReconcileTask,
    ) {
        let Some(framework) = self.frameworks.get_mut(key) else { return };
        if !turn.is_over_budget(framework.session) {
            self.answer_named(turn, key, query);
        } else if framework.answers.named.len() < MOST_NAMED {
            framework.answers.named.push_back(query.clone());
        }
    }

    fn answer_named(&self, turn: &mut Turn<'_>, framework: FrameworkKey, query: &ReconcileTask) {
        let known = self.frameworks[framework].tasks.get(query.task.as_str()).copied();
        if let Some((agent, key)) = known {
            return self.answer_known(turn, framework, agent, key);
        }
        if let Some(status) = self.unknown_status(framework, query, turn.now) {
            turn.send_event(self.frameworks[framework].session, Event::Updated { status: Arc::new(status) });
        }
    }

    /// Sends the state of a known task, unless it is an end whose status the agent has still to deliver. That status
    /// carries how the process ended, and an answer that overtakes it would replace it.
    fn answer_known(&self, turn: &mut Turn<'_>, framework: FrameworkKey, agent: AgentKey, key: TaskKey) {
        let record = &self.agents[agent].record;
        let task = &record.tasks[key];
        let is_end = task.forwarded.unwrap_or(task.state).is_terminal();
        let is_expected = !matches!(record.presence, Presence::Unreachable { .. });
        let is_sent = task.unacknowledged.as_ref().is_some_and(|sent| sent.state().is_terminal());
        if is_end && !is_sent && is_expected {
            return;
        }
        let status = self.known_status(agent, key, turn.now);
        turn.send_event(self.frameworks[framework].session, Event::Updated { status: Arc::new(status) });
    }

    /// A status with the latest state that the framework was sent, or the current one.
    fn known_status(&self, agent: AgentKey, key: TaskKey, now: Now) -> v1::TaskStatus {
        let record = &self.agents[agent].record;
        let task = &record.tasks[key];
        let state = task.forwarded.unwrap_or(task.state);
        let mut status = master_status(&task.id, Some(&record.id), state, now);
        status.set_reason(v1::task_status::Reason::Reconciliation);
        status.message = Some("Reconciliation: latest task state".to_owned());
        if let Some(sent) = task.unacknowledged.as_ref().filter(|sent| sent.state() == state && state.is_terminal()) {
            status.process_end = sent.process_end;
            status.message.clone_from(&sent.message);
        }
        status.executor_id = Some(v1::ExecutorId { value: task.id.to_string() });
        status.healthy = task.history.last().and_then(|seen| seen.healthy);
        status.container_status = Some(Box::new(v1::ContainerStatus {
            container_id: Some(v1::ContainerId { value: task.container.to_string(), parent: None }),
            ..v1::ContainerStatus::default()
        }));
        if let Presence::Unreachable { since_ns } = record.presence {
            status.unreachable_time = Some(v1::TimeInfo { nanoseconds: since_ns });
        }
        status
    }

    /// A status for a task unknown to this master; `None` while agents that may have it are still expected.
    fn unknown_status(&self, framework: FrameworkKey, query: &ReconcileTask, now: Now) -> Option<v1::TaskStatus> {
        let agent = query.agent.as_deref();
        let expected = match agent {
            Some(agent) => self.recovered.contains(agent),
            None => !self.recovered.is_empty(),
        };
        if expected {
            return None;
        }
        let since_ns = agent.and_then(|agent| self.facts.unreachable.get(agent)).copied();
        let (state, text) = match agent {
            Some(agent) if since_ns.is_some_and(|since_ns| self.counts_as_lost(query, now, agent, since_ns)) => {
                (TaskState::TaskLost, "the agent did not answer for as long as the task's partition policy allows")
            }
            Some(_) if since_ns.is_some() => (TaskState::TaskUnreachable, "the task's agent is unreachable"),
            Some(agent) if self.facts.gone.contains_key(agent) => {
                (TaskState::TaskGoneByOperator, "the task's agent is gone")
            }
            Some(agent) if self.agents.by_id(agent).is_some() => {
                (TaskState::TaskGone, "the task is unknown to the agent")
            }
            Some(_) | None => (TaskState::TaskUnknown, "the task is unknown"),
        };
        let aware = self.frameworks[framework].record.facts.partition_aware;
        let agent: Option<Arc<str>> = agent.map(Arc::from);
        let mut status = master_status(&query.task, agent.as_ref(), state.for_framework(aware), now);
        status.set_reason(v1::task_status::Reason::Reconciliation);
        status.message = Some(format!("Reconciliation: {text}"));
        status.unreachable_time = since_ns.map(|nanoseconds| v1::TimeInfo { nanoseconds });
        Some(status)
    }

    /// Whether a task whose agent is unreachable since then counts as lost by now. A master that was restarted
    /// meanwhile does not know the task and applies the policy that the framework states.
    fn counts_as_lost(&self, query: &ReconcileTask, now: Now, agent: &str, since_ns: i64) -> bool {
        query.lost_after.is_some_and(|time| time <= self.absences.lasted(now, agent, since_ns))
    }
}
