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

use self::fake_master::{FakeMaster, Session};
use super::*;
use crate::proto::v1::{FrameworkId, MasterInfo, Offer, TaskStatus};

/// How long anything may take before a test gives up on it.
const LIMIT: Duration = Duration::from_secs(20);

/// What becomes of a status that is told.
#[derive(Clone, Copy, PartialEq)]
enum Mood {
    Take,
    Fail,
    Panic,
}

/// A scheduler that tells the test what it is told.
struct Recorder {
    seen: mpsc::Sender<SchedulerEvent>,
    moods: mpsc::Receiver<Mood>,
}

/// The test's end of a recorder.
struct Ear {
    seen: mpsc::Receiver<SchedulerEvent>,
    moods: mpsc::Sender<Mood>,
}

fn recorder() -> (Recorder, Ear) {
    let (to, seen) = mpsc::channel(4096);
    let (moods, from) = mpsc::channel(64);
    (Recorder { seen: to, moods: from }, Ear { seen, moods })
}

impl Ear {
    async fn next(&mut self) -> SchedulerEvent {
        let next = tokio::time::timeout(LIMIT, self.seen.recv()).await;
        next.expect("something was told within the limit").expect("the scheduler lives")
    }

    async fn status(&mut self) -> TaskStatus {
        match self.next().await {
            SchedulerEvent::StatusUpdate(status) => *status,
            other => panic!("expected a status, was told {other:?}"),
        }
    }

    fn nothing_more(&mut self) {
        assert_eq!(self.seen.try_recv().ok(), None);
    }

    /// The next status meets this mood.
    fn mood(&self, mood: Mood) {
        self.moods.try_send(mood).expect("room for a mood");
    }
}

impl Recorder {
    fn tell(&self, event: SchedulerEvent) -> Result<()> {
        self.seen.try_send(event).map_err(|_full| "the test does not listen".into())
    }
}

#[async_trait]
impl Scheduler for Recorder {
    async fn registered(&mut self, _: &SchedulerDriver, framework_id: FrameworkId, master: MasterInfo) -> Result<()> {
        self.tell(SchedulerEvent::Registered { framework_id, master: Box::new(master) })
    }

    async fn reregistered(&mut self, _: &SchedulerDriver, master: MasterInfo) -> Result<()> {
        self.tell(SchedulerEvent::Reregistered { master: Box::new(master) })
    }

    async fn disconnected(&mut self, _: &SchedulerDriver) -> Result<()> {
        self.tell(SchedulerEvent::Disconnected)
    }

    async fn resource_offers(&mut self, _: &SchedulerDriver, offers: Vec<Offer>) -> Result<()> {
        self.tell(SchedulerEvent::ResourceOffers(offers))
    }

    async fn status_update(&mut self, _: &SchedulerDriver, status: TaskStatus) -> Result<()> {
        self.tell(SchedulerEvent::StatusUpdate(Box::new(status)))?;
        match self.moods.try_recv().unwrap_or(Mood::Take) {
            Mood::Take => Ok(()),
            Mood::Fail => Err("not in the mood".into()),
            Mood::Panic => panic!("not in the mood at all"),
        }
    }

    async fn refused(&mut self, _: &SchedulerDriver, refusal: Refusal) -> Result<()> {
        self.tell(SchedulerEvent::Refused(refusal))
    }

    async fn error(&mut self, _: &SchedulerDriver, message: String) -> Result<()> {
        self.tell(SchedulerEvent::Error(message))
    }
}

/// A driver whose tasks need not have been launched by it.
fn describe(master: &FakeMaster) -> DriverBuilder {
    let framework = SchedulerDriver::builder(FrameworkInfo::new("test"));
    framework.master(master.address()).unknown_tasks(UnknownTasks::Adopt)
}

/// A started driver whose subscription was taken, and told.
async fn subscribed(master: &mut FakeMaster) -> (SchedulerDriver, Ear, Session) {
    let (scheduler, mut ear) = recorder();
    let driver = describe(master).build(scheduler).expect("a driver");
    driver.start().expect("started");
    let mut session = master.session().await;
    session.subscribe().await;
    assert!(matches!(ear.next().await, SchedulerEvent::Registered { .. }));
    (driver, ear, session)
}

/// Waits for the driver's end with a limit.
async fn join(driver: &SchedulerDriver) -> Result<(), DriverError> {
    tokio::time::timeout(LIMIT, driver.join()).await.expect("the driver ends within the limit")
}
