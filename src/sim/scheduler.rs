//! The workload: a scheduler that launches a number of tasks where they fit.
//!
//! Sometimes it misbehaves as real ones do: it ignores an offer, uses one twice, needs too much, kills, fails or hangs. It
//! stores a launch before it makes it, and a state when its callback accepted it; the next instance reads that.

use std::{collections::BTreeMap, time::Duration};

use rand::Rng as _;

use super::{
    chance::percent,
    queue::Event,
    world::{Phase, World},
};
use crate::{
    framework::{SchedulerEvent, core::Request},
    proto::v1::{self, AgentId, Filters, FrameworkId, Offer, TaskId, TaskInfo, TaskState},
    types::{Milli, Resources},
};

/// A task without a status for so long is reconciled.
const QUIET: Duration = Duration::from_secs(30);

/// The most tasks in a burst, and the most data of each.
const MOST_AT_ONCE: usize = 16;
const MOST_DATA: usize = 2 << 10;

/// The disk of a scheduler.
#[derive(Debug, Default)]
pub(super) struct Store {
    pub(super) framework_id: Option<FrameworkId>,
    pub(super) tasks: BTreeMap<String, StoredTask>,
}

/// A task and its state at its scheduler.
#[derive(Clone, Debug)]
pub(super) struct StoredTask {
    pub(super) resources: Resources,
    /// Where it was launched.
    pub(super) launched: Option<AgentId>,
    pub(super) state: TaskState,
    pub(super) over: bool,
    last_received_ns: u64,
    /// The life in which the scheduler last requested its kill.
    killed_in: Option<u64>,
}

impl Store {
    fn waiting(&self) -> impl Iterator<Item = (&String, &StoredTask)> {
        self.tasks.iter().filter(|(_, task)| task.launched.is_none())
    }
}

/// Whether no status is expected after this state.
pub(super) fn is_last(state: TaskState) -> bool {
    match state {
        TaskState::TaskStaging
        | TaskState::TaskStarting
        | TaskState::TaskRunning
        | TaskState::TaskKilling
        | TaskState::TaskUnreachable => false,
        TaskState::TaskFinished
        | TaskState::TaskFailed
        | TaskState::TaskKilled
        | TaskState::TaskError
        | TaskState::TaskLost
        | TaskState::TaskDropped
        | TaskState::TaskGone
        | TaskState::TaskGoneByOperator
        | TaskState::TaskUnknown => true,
    }
}

impl World {
    /// Adds tasks for the framework to launch.
    pub(super) fn add_tasks(&mut self, index: usize, count: u32) {
        for _ in 0..count {
            let small = if self.frameworks[index].plan.bursts { 10 } else { 1 };
            let cpus = self.chance.workload.random_range(100..=1_000) / small;
            let mem = (self.chance.workload.random_range(32..=512) / small).max(4);
            let resources =
                Resources::from_scalars(&[("cpus", Milli::from_raw(cpus)), ("mem", Milli::from_units(mem))]);
            let store = &mut self.frameworks[index].store;
            let id = format!("f{index}-t{}", store.tasks.len());
            let task = StoredTask {
                resources,
                launched: None,
                state: TaskState::TaskStaging,
                over: false,
                last_received_ns: 0,
                killed_in: None,
            };
            store.tasks.insert(id, task);
        }
    }

    /// Runs the body of a callback: the calls it makes.
    pub(super) fn run_callback(&mut self, index: usize, event: SchedulerEvent) {
        match event {
            SchedulerEvent::Registered { framework_id, .. } => {
                self.frameworks[index].store.framework_id = Some(framework_id);
                self.reconcile_quiet(index, Duration::ZERO);
                self.send_demand(index);
                self.repeat_kills(index, None);
            }
            SchedulerEvent::Reregistered { .. } => self.reconcile_quiet(index, Duration::ZERO),
            SchedulerEvent::ResourceOffers(offers) => {
                for offer in offers {
                    self.answer_offer(index, &offer);
                }
            }
            SchedulerEvent::StatusUpdate(status) => {
                if !is_last(status.state()) {
                    self.repeat_kills(index, Some(&status.task_id.value));
                }
            }
            SchedulerEvent::Disconnected
            | SchedulerEvent::OfferRescinded(_)
            | SchedulerEvent::FrameworkMessage { .. }
            | SchedulerEvent::AgentLost(_)
            | SchedulerEvent::ExecutorLost { .. }
            | SchedulerEvent::UnknownTask(_)
            | SchedulerEvent::Refused(_)
            | SchedulerEvent::InDoubt(_)
            | SchedulerEvent::Error(_) => {}
        }
    }

    fn answer_offer(&mut self, index: usize, offer: &Offer) {
        if self.frameworks[index].process.is_none() {
            return;
        }
        let careless = self.misbehaviour().callback_hangs;
        if careless && percent(&mut self.chance.workload, 5) {
            return;
        }
        let offered = offer.resources().expect("the master offers what can be read");
        let (chosen, rest) = self.choose(index, offered);
        let filters = self.filters();
        if chosen.is_empty() {
            self.make_call(index, Request::Decline { offer_ids: vec![offer.id.clone()], filters });
            return self.suppress_if_done(index);
        }
        let mut infos = Vec::new();
        for id in &chosen {
            infos.push(self.launch_task(index, id, offer));
        }
        let bad = self.misbehaviour().bad_tasks;
        if bad && percent(&mut self.chance.workload, 10) {
            infos.push(self.oversized_task(index, offer, &rest));
        }
        let operations = vec![launch(infos)];
        let offer_ids = vec![offer.id.clone()];
        let alive = self.make_call(index, Request::Accept { offer_ids: offer_ids.clone(), operations, filters });
        let bursts = self.frameworks[index].plan.bursts;
        if alive && bad && percent(&mut self.chance.workload, if bursts { 30 } else { 10 }) {
            let count = if bursts { MOST_AT_ONCE } else { 1 };
            let again = (0..count).map(|_| self.oversized_task(index, offer, &Resources::default())).collect();
            self.make_call(index, Request::Accept { offer_ids, operations: vec![launch(again)], filters: None });
        }
        self.suppress_if_done(index);
    }

    /// The waiting tasks that fit, and what they leave.
    fn choose(&mut self, index: usize, offered: Resources) -> (Vec<String>, Resources) {
        let most = if self.frameworks[index].plan.bursts { MOST_AT_ONCE } else { 4 };
        let most = self.chance.workload.random_range(1..=most);
        let (mut rest, mut chosen) = (offered, Vec::new());
        for (id, task) in self.frameworks[index].store.waiting() {
            if chosen.len() == most {
                break;
            }
            if let Some(left) = rest.checked_sub(&task.resources) {
                rest = left;
                chosen.push(id.clone());
            }
        }
        (chosen, rest)
    }

    fn launch_task(&mut self, index: usize, id: &str, offer: &Offer) -> TaskInfo {
        let now_ns = self.now_ns;
        let role = offer.allocation_info.as_ref().and_then(|info| info.role.clone());
        let task = self.frameworks[index].store.tasks.get_mut(id).expect("chosen from the store");
        task.launched = Some(offer.agent_id.clone());
        task.last_received_ns = now_ns;
        let mut info = TaskInfo::shell("task", "true").with_id(id).with_agent(offer.agent_id.clone());
        info.resources = task.resources.to_proto_as(role.as_deref(), true);
        if self.frameworks[index].plan.bursts {
            let bytes = self.chance.workload.random_range(0..=MOST_DATA);
            info.data = Some(vec![0; bytes].into());
        }
        info
    }

    /// Creates a task that needs more than the offer has.
    fn oversized_task(&mut self, index: usize, offer: &Offer, rest: &Resources) -> TaskInfo {
        let store = &mut self.frameworks[index].store;
        let id = format!("f{index}-t{}", store.tasks.len());
        let mut resources = rest.clone();
        resources += &Resources::cpus_mem(1.0, 64.0);
        let task = StoredTask {
            resources,
            launched: None,
            state: TaskState::TaskStaging,
            over: false,
            last_received_ns: 0,
            killed_in: None,
        };
        store.tasks.insert(id.clone(), task);
        self.launch_task(index, &id, offer)
    }

    fn filters(&mut self) -> Option<Filters> {
        let seconds = [None, Some(0.0), Some(0.5), Some(3.0), Some(20.0)][self.chance.workload.random_range(0..5)];
        seconds.map(|refuse_seconds| Filters { refuse_seconds: Some(refuse_seconds) })
    }

    fn suppress_if_done(&mut self, index: usize) {
        let node = &self.frameworks[index];
        if node.plan.suppresses && node.process.is_some() && node.store.waiting().next().is_none() {
            self.make_call(index, Request::Suppress { roles: Vec::new() });
        }
    }

    /// Revives offers, because there are tasks to launch.
    pub(super) fn revive(&mut self, index: usize) {
        self.send_demand(index);
        self.make_call(index, Request::Revive { roles: Vec::new() });
    }

    fn send_demand(&mut self, index: usize) {
        let node = &self.frameworks[index];
        if !node.plan.requests {
            return;
        }
        let mut total = Resources::default();
        for (_, task) in node.store.waiting() {
            total += &task.resources;
        }
        let requests = vec![v1::Request { agent_id: None, resources: total.to_proto() }];
        self.make_call(index, Request::Demand { requests });
    }

    /// Stores a state that the callback accepted.
    pub(super) fn store_status(&mut self, index: usize, event: &SchedulerEvent) {
        let now_ns = self.now_ns;
        if let SchedulerEvent::StatusUpdate(status) = event
            && let Some(task) = self.frameworks[index].store.tasks.get_mut(&status.task_id.value)
        {
            task.state = status.state();
            task.over = is_last(task.state);
            task.last_received_ns = now_ns;
        }
    }

    pub(super) fn acknowledge_explicitly(&mut self, index: usize, event: &SchedulerEvent) {
        if let SchedulerEvent::StatusUpdate(status) = event
            && self.frameworks[index].plan.explicit
            && let (Some(agent_id), Some(uuid)) = (status.agent_id.clone(), status.uuid.clone())
        {
            self.make_call(index, Request::Acknowledge { task_id: status.task_id.clone(), agent_id, uuid });
        }
    }

    /// Reconciles tasks without a status for `quiet`.
    fn reconcile_quiet(&mut self, index: usize, quiet: Duration) {
        let now_ns = self.now_ns;
        let quiet_ns = u64::try_from(quiet.as_nanos()).unwrap_or(u64::MAX);
        let mut tasks = Vec::new();
        for (id, task) in &mut self.frameworks[index].store.tasks {
            if !task.over && task.launched.is_some() && now_ns.saturating_sub(task.last_received_ns) >= quiet_ns {
                task.last_received_ns = now_ns;
                tasks.push((TaskId { value: id.clone() }, task.launched.clone()));
            }
        }
        if !tasks.is_empty() {
            self.make_call(index, Request::Reconcile { tasks });
        }
    }

    pub(super) fn chores(&mut self, index: usize, life: u64) {
        if self.frameworks[index].life != life || self.frameworks[index].process.is_none() {
            return;
        }
        self.reconcile_quiet(index, QUIET);
        if self.plan.pace > 1 && self.phase == Phase::Faults && percent(&mut self.chance.workload, 2) {
            let count = self.chance.workload.random_range(1..=4);
            self.add_tasks(index, count);
            self.revive(index);
        }
        if self.frameworks[index].plan.bursts && percent(&mut self.chance.workload, 50) {
            self.make_call(index, Request::Reconcile { tasks: Vec::new() });
        }
        self.after(Duration::from_secs(10), Event::Chores { framework: index, life });
    }

    /// Kills one of the framework's tasks.
    pub(super) fn kill_one(&mut self, index: usize) {
        let live = self.frameworks[index].store.tasks.iter().filter(|(_, it)| it.launched.is_some() && !it.over);
        let live: Vec<String> = live.map(|(id, _)| id.clone()).collect();
        if live.is_empty() {
            return;
        }
        let id = live[self.chance.faults.random_range(0..live.len())].clone();
        self.kill(index, id);
    }

    /// Stores the kill, then sends it: the driver keeps it for one life only, the scheduler for longer.
    fn kill(&mut self, index: usize, id: String) {
        let node = &mut self.frameworks[index];
        let life = node.life;
        if let Some(task) = node.store.tasks.get_mut(&id) {
            task.killed_in = Some(life);
            self.make_call(index, Request::Kill { task_id: TaskId { value: id }, policy: None });
        }
    }

    /// Repeats kills of an earlier life for tasks that still run.
    fn repeat_kills(&mut self, index: usize, of: Option<&str>) {
        let node = &self.frameworks[index];
        let earlier = |(id, task): &(&String, &StoredTask)| {
            let wanted = task.killed_in.is_some_and(|life| life != node.life);
            wanted && of.map_or(!task.over, |of| of == id.as_str())
        };
        let ids: Vec<String> = node.store.tasks.iter().filter(earlier).map(|(id, _)| id.clone()).collect();
        for id in ids {
            self.kill(index, id);
        }
    }
}

fn launch(task_infos: Vec<TaskInfo>) -> v1::offer::Operation {
    let mut operation = v1::offer::Operation {
        launch: Some(v1::offer::operation::Launch { task_infos }),
        ..v1::offer::Operation::default()
    };
    operation.set_type(v1::offer::operation::Type::Launch);
    operation
}
