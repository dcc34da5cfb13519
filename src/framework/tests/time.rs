//! A driver in surroundings that are not the host's.

use std::sync::Mutex;

use futures::{StreamExt as _, future::BoxFuture};
use rand::Rng as _;

use super::{
    super::environment::{CallFrames, Environment, EventFrames, Gone},
    *,
};
use crate::{proto::ext::Events, types::Now};

/// Time that moves only by sleeping, which takes none.
#[derive(Debug, Default)]
struct Virtual {
    now: Mutex<Now>,
}

impl Environment for Virtual {
    fn now(&self) -> Now {
        *self.now.lock().expect("nobody panics with it")
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let mut now = self.now.lock().expect("nobody panics with it");
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
        "nobody".into()
    }
}

/// Time that does not pass at all, and a master that says what it is given to say.
#[derive(Debug)]
pub(super) struct Still {
    says: Mutex<Option<mpsc::Receiver<Result<Events, Gone>>>>,
}

impl Still {
    pub(super) fn new(says: mpsc::Receiver<Result<Events, Gone>>) -> Self {
        Self { says: Mutex::new(Some(says)) }
    }
}

impl Environment for Still {
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
        let says = self.says.lock().expect("nobody panics with it").take().expect("it is attached once");
        let events = futures::stream::unfold(says, |mut says| async { Some((says.recv().await?, says)) });
        Box::pin(std::future::ready(Ok::<EventFrames, Gone>(Box::pin(events))))
    }

    fn user(&self) -> String {
        "nobody".into()
    }
}

fn in_virtual_time() -> SchedulerDriver {
    let described = SchedulerDriver::builder(FrameworkInfo::new("test")).environment(Arc::new(Virtual::default()));
    described.build(recorder().0).expect("a driver")
}

#[tokio::test]
async fn time_and_timers_come_from_the_surroundings() {
    let driver = in_virtual_time();
    assert_eq!(driver.now(), Now::default());
    driver.sleep(Duration::from_hours(1)).await;
    assert_eq!(driver.now(), Now::default().advanced(Duration::from_hours(1)));
}

#[test]
fn chance_comes_from_the_seed_and_differs_at_every_call() {
    let (one, other) = (in_virtual_time(), in_virtual_time());
    let first: u64 = one.rng().random();
    assert_eq!(first, other.rng().random::<u64>());
    assert_ne!(first, one.rng().random::<u64>());
}
