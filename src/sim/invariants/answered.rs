//! A framework that reconciles all its tasks is sent the state of each, as soon as it has room.
//!
//! A framework that subscribes is sent its unacknowledged statuses in the same way.

use std::collections::{BTreeMap, BTreeSet};

use super::{Fact, Invariant, Known, View};
use crate::{
    master::core::{Call, Presence, SessionId, Snapshot},
    proto::v1::TaskState,
    sim::nodes::Node,
};

/// The bound, in time and in turns, for a framework with room.
const BOUND_NS: u64 = 2_000_000_000;
const TURNS: u64 = 256;

#[derive(Debug, Default)]
pub(super) struct Answered {
    /// Sessions that have ended: calls that still arrive in them have no effect.
    over: BTreeSet<SessionId>,
    /// The tasks whose states each session has to be sent.
    open: BTreeMap<SessionId, Open>,
    /// Sessions whose tasks are to be looked up; true for all tasks, false for those with an unacknowledged status.
    asked: Vec<(SessionId, bool)>,
    /// Statuses sent in the step of the call, before the tasks were looked up.
    sent: Vec<(SessionId, String)>,
}

#[derive(Debug, Default)]
struct Open {
    framework: String,
    tasks: BTreeSet<String>,
    /// Since when it has had room for all.
    since_ns: u64,
}

impl Answered {
    fn look_up(&mut self, known: &Known, snapshot: &Snapshot) {
        for (session, all) in std::mem::take(&mut self.asked) {
            let Some(framework) = known.frameworks.get(&session).or_else(|| known.subscribing.get(&session)) else {
                continue;
            };
            if !all {
                // It has replaced any other session of the framework, whose calls are void.
                self.open.retain(|other, open| *other == session || open.framework != *framework);
            }
            let mut tasks = BTreeSet::new();
            for agent in &snapshot.agents {
                let connected = agent.presence == Presence::Connected;
                for task in agent.tasks.values().filter(|task| is_of(snapshot, framework, task)) {
                    let waits = if all { connected && is_live(task.state) } else { task.unacknowledged.is_some() };
                    if waits {
                        tasks.insert(task.id.to_string());
                    }
                }
            }
            for (_, task) in self.sent.iter().filter(|(of, _)| *of == session) {
                tasks.remove(task);
            }
            let framework = framework.clone();
            let open = self.open.entry(session).or_default();
            open.tasks.extend(tasks);
            (open.framework, open.since_ns) = (framework, known.now_ns);
        }
        self.sent.clear();
    }
}

fn is_of(snapshot: &Snapshot, framework: &str, task: &crate::master::core::Task) -> bool {
    snapshot.frameworks.iter().any(|one| one.key == task.framework && *one.id == *framework)
}

fn is_live(state: TaskState) -> bool {
    !state.is_terminal() && state != TaskState::TaskUnreachable
}

impl Invariant for Answered {
    fn name(&self) -> &'static str {
        "answered"
    }

    fn observe(&mut self, _known: &Known, fact: &Fact) -> Result<(), String> {
        match fact {
            Fact::MasterStarted { .. } => *self = Self::default(),
            Fact::SessionEnded { session } | Fact::SessionDropped { session } => {
                self.over.insert(*session);
                self.open.remove(session);
            }
            Fact::Called { session, call: Call::Reconcile { tasks } }
                if tasks.is_empty() && !self.over.contains(session) =>
            {
                self.asked.push((*session, true));
            }
            Fact::FrameworkSubscribed { session, .. } => self.asked.push((*session, false)),
            Fact::StatusQueued { session, status } => {
                if let Some(open) = self.open.get_mut(session) {
                    open.tasks.remove(&status.task_id.value);
                }
                if !self.asked.is_empty() {
                    self.sent.push((*session, status.task_id.value.clone()));
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn inspect(&mut self, known: &Known, view: &View<'_>) -> Result<(), String> {
        let Some(snapshot) = view.snapshot else { return Ok(()) };
        self.look_up(known, snapshot);
        let stopped = view.world.paused(Node::Master).is_some();
        for (session, open) in &mut self.open {
            if open.tasks.is_empty() {
                continue;
            }
            let is_there = |id: &String| {
                let all = snapshot.agents.iter().flat_map(|agent| agent.tasks.values());
                let mut same = all.filter(|task| *task.id == **id && is_of(snapshot, &open.framework, task));
                same.any(|task| is_live(task.state))
            };
            open.tasks.retain(is_there);
            if stopped || view.world.is_reader_behind(*session) {
                open.since_ns = known.now_ns;
            }
            if known.now_ns > open.since_ns + BOUND_NS + known.turn_ns * TURNS
                && let Some(task) = open.tasks.first()
            {
                return Err(format!(
                    "{} reconciled in {session:?}, and is not sent the state of {task}",
                    open.framework
                ));
            }
        }
        Ok(())
    }
}
