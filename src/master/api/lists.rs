//! The operator API's large answers, in parts.
//!
//! A [`Pager`] reads a snapshot item by item and returns responses of about the requested size. The concatenated lists
//! of all parts are the complete answer.

use std::{collections::VecDeque, sync::Arc};

use prost::Message as _;

use super::{render, views::View};
use crate::{
    master::core::{FrameworkBucket, TaskKey},
    proto::v1::{
        self,
        master::{
            Response as Reply,
            call::Type,
            response::{self, get_agents, get_frameworks},
        },
    },
};

/// Encoded bytes that a list adds to each item.
const FRAMING_BYTES: usize = 4;

/// The lists that answers are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum List {
    Tasks,
    Orphans,
    CompletedTasks,
    Frameworks,
    CompletedFrameworks,
    Agents,
    RecoveredAgents,
}

const TASKS: [List; 3] = [List::Tasks, List::Orphans, List::CompletedTasks];
const FRAMEWORKS: [List; 2] = [List::Frameworks, List::CompletedFrameworks];
const AGENTS: [List; 2] = [List::Agents, List::RecoveredAgents];

fn lists_of(kind: Type) -> Vec<List> {
    match kind {
        Type::GetTasks => TASKS.into(),
        Type::GetFrameworks => FRAMEWORKS.into(),
        Type::GetAgents => AGENTS.into(),
        Type::GetState => TASKS.into_iter().chain(FRAMEWORKS).chain(AGENTS).collect(),
        _ => Vec::new(),
    }
}

/// An element of one of the lists.
#[derive(Debug)]
enum Item {
    Task(v1::Task),
    Unreachable(v1::Task),
    Orphan(v1::Task),
    CompletedTask(v1::Task),
    Framework(Box<get_frameworks::Framework>),
    CompletedFramework(Box<get_frameworks::Framework>),
    Agent(Box<get_agents::Agent>),
    RecoveredAgent(Box<v1::AgentInfo>),
}

/// The position in an answer.
#[derive(Debug)]
pub(super) struct Pager {
    master: Arc<str>,
    kind: Type,
    lists: VecDeque<List>,
    /// The index of the agent or framework in the current list,
    at: usize,
    /// and of the task there: the last key listed, or how many were listed.
    last: Option<TaskKey>,
    within: usize,
    /// Items to return before any other.
    ready: VecDeque<Item>,
    departed: Vec<get_agents::Departed>,
}

impl Pager {
    /// The answer to a call of this kind; `departed` belongs to one for agents.
    pub(super) fn new(master: Arc<str>, kind: Type, departed: Vec<get_agents::Departed>) -> Self {
        let (lists, ready) = (lists_of(kind).into(), VecDeque::new());
        Self { master, kind, lists, at: 0, last: None, within: 0, ready, departed }
    }

    /// Whether the answer to a call of this kind has lists.
    pub(super) fn has_lists(kind: Type) -> bool {
        !lists_of(kind).is_empty()
    }

    /// The answer to a call of this kind where all lists are empty.
    pub(super) fn empty(kind: Type) -> Reply {
        Parts::default().reply(kind)
    }

    /// The next part: items of about `bytes` bytes in all, and at least one. `None` after the last.
    pub(super) fn part(&mut self, view: &View, bytes: usize) -> Option<Reply> {
        let mut parts = Parts::default();
        parts.agents.departed = std::mem::take(&mut self.departed);
        let mut items = parts.agents.departed.len();
        let mut size = parts.agents.encoded_len();
        while size < bytes
            && let Some(item) = self.next(view)
        {
            size += item.encoded_len() + FRAMING_BYTES;
            items += 1;
            parts.add(item);
        }
        (items > 0).then(|| parts.reply(self.kind))
    }

    fn next(&mut self, view: &View) -> Option<Item> {
        loop {
            if let Some(item) = self.ready.pop_front() {
                return Some(item);
            }
            let list = *self.lists.front()?;
            let found = match list {
                List::Tasks => self.next_task(view),
                List::Orphans => self.next_orphans(view),
                List::CompletedTasks => self.next_completed(view),
                List::Frameworks | List::CompletedFrameworks => self.next_framework(view, list),
                List::Agents => self.next_agent(view),
                List::RecoveredAgents => self.next_recovered(view),
            };
            match found {
                Some(item) => return Some(item),
                None if !self.ready.is_empty() => {}
                None => {
                    self.lists.pop_front();
                    (self.at, self.last, self.within) = (0, None, 0);
                }
            }
        }
    }

    fn next_task(&mut self, view: &View) -> Option<Item> {
        loop {
            let agent = view.snapshot.agents.get(self.at)?;
            if let Some((key, task)) = agent.tasks.after(self.last) {
                self.last = Some(key);
                let task = render::task(task, &agent.id, &render::framework_id(&view.snapshot, task));
                return Some(if render::is_reachable(agent) { Item::Task(task) } else { Item::Unreachable(task) });
            }
            (self.at, self.last) = (self.at + 1, None);
        }
    }

    /// The orphans of one agent become ready together.
    fn next_orphans(&mut self, view: &View) -> Option<Item> {
        while self.ready.is_empty() {
            let agent = view.snapshot.agents.get(self.at)?;
            self.at += 1;
            self.ready.extend(render::orphans(agent).map(Item::Orphan));
        }
        self.ready.pop_front()
    }

    fn next_completed(&mut self, view: &View) -> Option<Item> {
        loop {
            let (present, completed) = (&view.snapshot.frameworks, &view.snapshot.completed);
            let framework = present.iter().chain(completed).nth(self.at)?;
            if let Some(entry) = framework.completed.get(self.within) {
                self.within += 1;
                return Some(Item::CompletedTask(render::task(&entry.1, &entry.0, &framework.id)));
            }
            (self.at, self.within) = (self.at + 1, 0);
        }
    }

    fn next_framework(&mut self, view: &View, list: List) -> Option<Item> {
        let completed = list == List::CompletedFrameworks;
        let frameworks = if completed { &view.snapshot.completed } else { &view.snapshot.frameworks };
        let framework: &FrameworkBucket = frameworks.get(self.at)?;
        self.at += 1;
        let contents = view.by_framework.get(framework.key);
        let shown = Box::new(render::framework(&view.snapshot, &self.master, framework, contents));
        Some(if completed { Item::CompletedFramework(shown) } else { Item::Framework(shown) })
    }

    fn next_agent(&mut self, view: &View) -> Option<Item> {
        loop {
            let agent = view.snapshot.agents.get(self.at)?;
            self.at += 1;
            if render::is_reachable(agent) {
                return Some(Item::Agent(Box::new(render::agent(agent))));
            }
        }
    }

    fn next_recovered(&mut self, view: &View) -> Option<Item> {
        let id = view.snapshot.recovered.get(self.at)?;
        self.at += 1;
        let id = Some(v1::AgentId { value: id.clone() });
        Some(Item::RecoveredAgent(Box::new(v1::AgentInfo { id, ..v1::AgentInfo::default() })))
    }
}

impl Item {
    fn encoded_len(&self) -> usize {
        match self {
            Self::Task(task) | Self::Unreachable(task) | Self::Orphan(task) | Self::CompletedTask(task) => {
                task.encoded_len()
            }
            Self::Framework(framework) | Self::CompletedFramework(framework) => framework.encoded_len(),
            Self::Agent(agent) => agent.encoded_len(),
            Self::RecoveredAgent(agent) => agent.encoded_len(),
        }
    }
}

/// The lists of one part.
#[derive(Debug, Default)]
struct Parts {
    tasks: response::GetTasks,
    frameworks: response::GetFrameworks,
    agents: response::GetAgents,
}

impl Parts {
    #[expect(deprecated, reason = "Mesos no longer uses this field; it holds divvy's orphans")]
    fn add(&mut self, item: Item) {
        match item {
            Item::Task(task) => self.tasks.tasks.push(task),
            Item::Unreachable(task) => self.tasks.unreachable_tasks.push(task),
            Item::Orphan(task) => self.tasks.orphan_tasks.push(task),
            Item::CompletedTask(task) => self.tasks.completed_tasks.push(task),
            Item::Framework(framework) => self.frameworks.frameworks.push(*framework),
            Item::CompletedFramework(framework) => self.frameworks.completed_frameworks.push(*framework),
            Item::Agent(agent) => self.agents.agents.push(*agent),
            Item::RecoveredAgent(agent) => self.agents.recovered_agents.push(*agent),
        }
    }

    fn reply(self, kind: Type) -> Reply {
        let mut reply = Reply::default();
        let Self { tasks, frameworks, agents } = self;
        match kind {
            Type::GetTasks => {
                reply.set_type(response::Type::GetTasks);
                reply.get_tasks = Some(tasks);
            }
            Type::GetFrameworks => {
                reply.set_type(response::Type::GetFrameworks);
                reply.get_frameworks = Some(frameworks);
            }
            Type::GetAgents => {
                reply.set_type(response::Type::GetAgents);
                reply.get_agents = Some(agents);
            }
            _ => {
                reply.set_type(response::Type::GetState);
                reply.get_state = Some(response::GetState {
                    get_tasks: Some(tasks),
                    get_executors: Some(response::GetExecutors::default()),
                    get_frameworks: Some(frameworks),
                    get_agents: Some(agents),
                });
            }
        }
        reply
    }
}

#[cfg(test)]
#[path = "lists_tests.rs"]
mod tests;
