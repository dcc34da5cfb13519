//! The connection is cut after the first message, the second, and so on: each time every task is reported to its end,
//! once.

use std::collections::{BTreeMap, VecDeque};

use super::{
    fake_master::{launched, offer, status, update},
    *,
};
use crate::{
    allocator::{TaskRequest, place},
    proto::v1::{
        TaskId, TaskState,
        scheduler::{Call, Event, call::Type},
        task_status::Reason,
    },
};

/// Launches a task, and another one whenever one did not run.
struct RelaunchingScheduler {
    wanted: TaskRequest,
    seen: mpsc::Sender<TaskStatus>,
}

#[async_trait]
impl Scheduler for RelaunchingScheduler {
    async fn resource_offers(&mut self, driver: &SchedulerDriver, offers: Vec<Offer>) -> Result<()> {
        let plan = place(&offers, std::slice::from_ref(&self.wanted));
        self.wanted.count -= plan.placed();
        driver.apply_refusing(plan, Duration::ZERO).await
    }

    async fn status_update(&mut self, driver: &SchedulerDriver, status: TaskStatus) -> Result<()> {
        let state = status.state();
        if matches!(state, TaskState::TaskDropped | TaskState::TaskGone) {
            self.wanted.count += 1;
            driver.revive_offers(&[]).await?;
        }
        Ok(self.seen.try_send(status)?)
    }
}

/// What a master and an agent keep across connections: tasks, and statuses that are not acknowledged.
#[derive(Default)]
struct World {
    tasks: BTreeMap<TaskId, VecDeque<TaskState>>,
    offers: u32,
    messages: usize,
}

impl World {
    /// The events with which the master answers a call.
    fn answer(&mut self, call: &Call) -> Vec<Event> {
        match call.r#type() {
            Type::Subscribe => {
                let mut events = vec![self.offer()];
                events.extend(self.tasks.iter().filter_map(|(task_id, states)| head(task_id, states)));
                events
            }
            Type::Accept => {
                let fresh = launched(call).into_iter().map(|task_id| (task_id, STATES.into()));
                self.tasks.extend(fresh);
                let statuses = launched(call).into_iter().filter_map(|task_id| head(&task_id, &self.tasks[&task_id]));
                statuses.collect()
            }
            Type::Acknowledge => {
                let acknowledged = call.acknowledge.clone().expect("a body");
                let states = self.tasks.get_mut(&acknowledged.task_id).expect("a task");
                let uuid = u128::from_be_bytes(acknowledged.uuid[..].try_into().expect("16 bytes"));
                states.pop_front_if(|state| *state as u128 == uuid);
                head(&acknowledged.task_id, states).into_iter().collect()
            }
            Type::Reconcile => {
                let asked = call.reconcile.iter().flat_map(|reconcile| &reconcile.tasks);
                let unknown = asked.filter(|task| !self.tasks.contains_key(&task.task_id));
                unknown.map(|task| update(gone(&task.task_id))).collect()
            }
            Type::Decline | Type::Revive => vec![self.offer()],
            other => panic!("unexpected call {other:?}"),
        }
    }

    fn offer(&mut self) -> Event {
        self.offers += 1;
        offer(&format!("O{}", self.offers))
    }

    fn is_done(&self) -> bool {
        !self.tasks.is_empty() && self.tasks.values().all(VecDeque::is_empty)
    }
}

const STATES: [TaskState; 3] = [TaskState::TaskStarting, TaskState::TaskRunning, TaskState::TaskFinished];

/// The status that the agent sends until it is acknowledged.
fn head(task_id: &TaskId, states: &VecDeque<TaskState>) -> Option<Event> {
    states.front().map(|state| status(task_id, *state, *state as u128))
}

fn gone(task_id: &TaskId) -> TaskStatus {
    TaskStatus::new(task_id.clone(), TaskState::TaskGone).with_reason(Reason::Reconciliation)
}

/// Serves one connection until the world is done or `limit` messages were exchanged in all; true when it is done.
async fn serve(world: &mut World, session: &mut FakeSession, limit: usize) -> bool {
    while world.messages < limit {
        let Some((seq, call)) = session.try_call().await else { return false };
        world.messages += 1;
        let subscribing = call.r#type() == Type::Subscribe;
        let answer = world.answer(&call);
        if subscribing && world.messages < limit {
            session.answer_subscribe().await;
        }
        for event in answer {
            if world.messages >= limit {
                return false;
            }
            world.messages += 1;
            session.send([event]).await;
        }
        session.applied(seq).await;
        if world.is_done() {
            return true;
        }
    }
    false
}

#[tokio::test]
async fn a_link_cut_after_any_message_loses_nothing_and_repeats_nothing() {
    for cut in 1..24 {
        let mut master = FakeMaster::start().await;
        let (to, mut seen) = mpsc::channel(64);
        let wanted = TaskRequest::command("t", "true").cpus(1.0);
        let driver = describe(&master).seed(cut).build(RelaunchingScheduler { wanted, seen: to }).unwrap();
        driver.start().unwrap();
        let mut world = World::default();
        let mut session = master.session().await;
        let mut done = serve(&mut world, &mut session, usize::try_from(cut).expect("small")).await;
        while !done {
            drop(session);
            session = master.session().await;
            done = serve(&mut world, &mut session, usize::MAX).await;
        }
        driver.stop_failover().await.unwrap();
        drop(session);
        join(&driver).await.unwrap();
        let mut reported: BTreeMap<TaskId, Vec<TaskState>> = BTreeMap::new();
        while let Ok(status) = seen.try_recv() {
            reported.entry(status.task_id.clone()).or_default().push(status.state());
        }
        for (task_id, states) in &reported {
            let expected: &[TaskState] = if world.tasks.contains_key(task_id) { &STATES } else { &states[..1] };
            assert_eq!(states, expected, "cut after {cut} messages, task {task_id}");
        }
        assert_eq!(world.tasks.len(), 1, "cut after {cut} messages: one task ran, {reported:?}");
    }
}
