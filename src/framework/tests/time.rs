//! A driver in an environment other than the host.

use std::sync::Mutex;

use futures::{StreamExt as _, future::BoxFuture};
use rand::Rng as _;

use super::{
    super::environment::{CallFrames, Environment, EventFrames, Gone},
    *,
};
use crate::{proto::ext::Events, types::Now};

/// An environment whose clock advances only by sleeping, which returns at once.
#[derive(Debug, Default)]
struct VirtualClock {
    now: Mutex<Now>,
}

impl Environment for VirtualClock {
    fn now(&self) -> Now {
        *self.now.lock().expect("no panic while locked")
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let mut now = self.now.lock().expect("no panic while locked");
        *now = now.advanced(duration);
        Box::pin(std::future::ready(()))
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        tokio::spawn(task);
    }

    fn seed(&self) -> u64 {
        7
    }

    fn identity(&self) -> [u8; 16] {
        [7; 16]
    }

    fn can_spawn(&self) -> bool {
        true
    }

    fn attach(&self, _: String, _: CallFrames) -> BoxFuture<'static, Result<EventFrames, Gone>> {
        Box::pin(std::future::ready(Err(Gone { reason: "there is no network".into(), leader: None })))
    }

    fn user(&self) -> String {
        "ann".into()
    }
}

/// An environment with a stopped clock, and a scripted master.
#[derive(Debug)]
pub(super) struct StoppedClock {
    frames: Mutex<Option<mpsc::Receiver<Result<Events, Gone>>>>,
}

impl StoppedClock {
    pub(super) fn new(frames: mpsc::Receiver<Result<Events, Gone>>) -> Self {
        Self { frames: Mutex::new(Some(frames)) }
    }
}

impl Environment for StoppedClock {
    fn now(&self) -> Now {
        Now::default()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        if duration.is_zero() { Box::pin(std::future::ready(())) } else { Box::pin(std::future::pending()) }
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        tokio::spawn(task);
    }

    fn seed(&self) -> u64 {
        7
    }

    fn identity(&self) -> [u8; 16] {
        [7; 16]
    }

    fn can_spawn(&self) -> bool {
        true
    }

    fn attach(&self, _: String, calls: CallFrames) -> BoxFuture<'static, Result<EventFrames, Gone>> {
        tokio::spawn(calls.for_each(|_| std::future::ready(())));
        let frames = self.frames.lock().expect("no panic while locked").take().expect("it is attached once");
        let events = futures::stream::unfold(frames, |mut frames| async { Some((frames.recv().await?, frames)) });
        Box::pin(std::future::ready(Ok::<EventFrames, Gone>(Box::pin(events))))
    }

    fn user(&self) -> String {
        "ann".into()
    }
}

fn in_virtual_time() -> SchedulerDriver {
    let described = SchedulerDriver::builder(FrameworkInfo::new("test")).environment(Arc::new(VirtualClock::default()));
    described.build(recorder().0).expect("a driver")
}

#[tokio::test]
async fn time_and_timers_come_from_the_environment() {
    let driver = in_virtual_time();
    assert_eq!(driver.now(), Now::default());
    driver.sleep(Duration::from_hours(1)).await;
    assert_eq!(driver.now(), Now::default().advanced(Duration::from_hours(1)));
}

#[test]
fn random_numbers_depend_on_the_seed_and_differ_at_every_call() {
    let (one, other) = (in_virtual_time(), in_virtual_time());
    let first: u64 = one.rng().random();
    assert_eq!(first, other.rng().random::<u64>());
    assert_ne!(first, one.rng().random::<u64>());
}
