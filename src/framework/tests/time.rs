//! A driver in surroundings that are not the host's.

use std::sync::Mutex;

use futures::future::BoxFuture;
use rand::Rng as _;

use super::{
    super::environment::{CallFrames, Environment, EventFrames, Gone},
    *,
};
use crate::types::Now;

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
