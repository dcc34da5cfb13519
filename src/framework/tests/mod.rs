//! Drivers against a scripted master over real sockets.

mod conversation;
mod cut_off;
mod cuts;
mod fake_master;
mod leaders;
mod life;
mod streams;
mod time;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use tokio::sync::mpsc;

use self::fake_master::{FakeMaster, FakeSession};
use super::*;
use crate::proto::v1::{FrameworkId, MasterInfo, Offer, TaskStatus};

/// The timeout of every wait in these tests.
const LIMIT: Duration = Duration::from_secs(20);

/// How the callback of a status ends.
#[derive(Clone, Copy, PartialEq)]
enum Outcome {
    Succeed,
    Fail,
    Panic,
}

/// A scheduler that forwards its events to the test.
struct Recorder {
    seen: mpsc::Sender<SchedulerEvent>,
    outcomes: mpsc::Receiver<Outcome>,
}

/// The test's end of a recorder.
struct Recording {
    seen: mpsc::Receiver<SchedulerEvent>,
    outcomes: mpsc::Sender<Outcome>,
}

fn recorder() -> (Recorder, Recording) {
    let (to, seen) = mpsc::channel(4096);
    let (outcomes, from) = mpsc::channel(64);
    (Recorder { seen: to, outcomes: from }, Recording { seen, outcomes })
}

impl Recording {
    async fn next(&mut self) -> SchedulerEvent {
        let next = tokio::time::timeout(LIMIT, self.seen.recv()).await;
        next.expect("an event within the limit").expect("the scheduler is not dropped")
    }

    async fn status(&mut self) -> TaskStatus {
        match self.next().await {
            SchedulerEvent::StatusUpdate(status) => *status,
            other => panic!("expected a status, received {other:?}"),
        }
    }

    fn nothing_more(&mut self) {
        assert_eq!(self.seen.try_recv().ok(), None);
    }

    /// Sets the outcome of the next status.
    fn set_outcome(&self, outcome: Outcome) {
        self.outcomes.try_send(outcome).expect("room for an outcome");
    }
}

impl Recorder {
    fn record(&self, event: SchedulerEvent) -> Result<()> {
        self.seen.try_send(event).map_err(|_full| "the test does not read its events".into())
    }
}

#[async_trait]
impl Scheduler for Recorder {
    async fn registered(&mut self, _: &SchedulerDriver, framework_id: FrameworkId, master: MasterInfo) -> Result<()> {
        self.record(SchedulerEvent::Registered { framework_id, master: Box::new(master) })
    }

    async fn reregistered(&mut self, _: &SchedulerDriver, master: MasterInfo) -> Result<()> {
        self.record(SchedulerEvent::Reregistered { master: Box::new(master) })
    }

    async fn disconnected(&mut self, _: &SchedulerDriver) -> Result<()> {
        self.record(SchedulerEvent::Disconnected)
    }

    async fn resource_offers(&mut self, _: &SchedulerDriver, offers: Vec<Offer>) -> Result<()> {
        self.record(SchedulerEvent::ResourceOffers(offers))
    }

    async fn status_update(&mut self, _: &SchedulerDriver, status: TaskStatus) -> Result<()> {
        self.record(SchedulerEvent::StatusUpdate(Box::new(status)))?;
        match self.outcomes.try_recv().unwrap_or(Outcome::Succeed) {
            Outcome::Succeed => Ok(()),
            Outcome::Fail => Err("the test wants a failure".into()),
            Outcome::Panic => panic!("the test wants a panic"),
        }
    }

    async fn refused(&mut self, _: &SchedulerDriver, refusal: Refusal) -> Result<()> {
        self.record(SchedulerEvent::Refused(refusal))
    }

    async fn error(&mut self, _: &SchedulerDriver, message: String) -> Result<()> {
        self.record(SchedulerEvent::Error(message))
    }
}

/// A driver that adopts unknown tasks.
fn describe(master: &FakeMaster) -> DriverBuilder {
    let framework = SchedulerDriver::builder(FrameworkInfo::new("test"));
    framework.master(master.address()).unknown_tasks(UnknownTasks::Adopt)
}

/// A started driver that is registered.
async fn subscribed(master: &mut FakeMaster) -> (SchedulerDriver, Recording, FakeSession) {
    let (scheduler, mut recording) = recorder();
    let driver = describe(master).build(scheduler).expect("a driver");
    driver.start().expect("started");
    let mut session = master.session().await;
    session.subscribe().await;
    assert!(matches!(recording.next().await, SchedulerEvent::Registered { .. }));
    (driver, recording, session)
}

/// Waits for the driver's end with a limit.
async fn join(driver: &SchedulerDriver) -> Result<(), DriverError> {
    tokio::time::timeout(LIMIT, driver.join()).await.expect("the driver ends within the limit")
}
