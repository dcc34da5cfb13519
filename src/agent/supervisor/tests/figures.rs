//! How fast starts are, beside the bare thing. Asserts nothing: `cargo test --release -- --ignored figures --nocapture`.

use std::{
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
};

use super::*;
use crate::transport::clock::Clock;

const COUNT: u32 = 10_000;
const AT_ONCE: u32 = 64;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "prints figures"]
async fn starts_in_a_second() {
    let clock = Clock::system();
    for _ in 0..2 {
        let bare = measure(clock, || async { bare() }).await;
        for mode in BOTH {
            let mut agent = Agent::new(mode).await;
            let supervised = measure(clock, || async { supervised(&mut agent).await }).await;
            println!("bare {bare:.0}/s, {mode:?} {supervised:.0}/s: {:.0} %", 100.0 * supervised / bare);
        }
    }
}

async fn measure<F: Future<Output = ()>>(clock: Clock, work: impl FnOnce() -> F) -> f64 {
    let before = clock.now();
    work().await;
    f64::from(COUNT) / clock.now().since(before.mono_ns).as_secs_f64()
}

fn bare() {
    let left = AtomicU32::new(COUNT);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
                    assert!(Command::new("/bin/true").status().unwrap().success());
                }
            });
        }
    });
}

async fn supervised(agent: &mut Agent) {
    let folder = agent.folder.path().to_owned();
    let start = |number: u32| {
        let mut start = shell(&folder, &format!("n{number}"), "");
        start.program = "/bin/true".to_owned();
        start.arguments = vec!["true".to_owned()];
        start.stdout = Some(file(&folder.join("stdout")));
        start.stderr = Some(file(&folder.join("stderr")));
        SupervisorRequest { kind: Some(Kind::Start(start)) }
    };
    agent.link.send((0..AT_ONCE).map(start).collect()).await.unwrap();
    let (mut next, mut ended, mut events) = (AT_ONCE, 0, Vec::new());
    while ended < COUNT {
        agent.events.recv_many(&mut events, 256).await;
        let mut requests = Vec::new();
        for event in events.drain(..) {
            if let Some(supervisor_event::Kind::Exited(exited)) = event_kind(&event) {
                ended += 1;
                let forget = Forget { container_id: exited.container_id.clone() };
                requests.push(SupervisorRequest { kind: Some(Kind::Forget(forget)) });
                if next < COUNT {
                    requests.push(start(next));
                    next += 1;
                }
            }
        }
        if !requests.is_empty() {
            agent.link.send(requests).await.unwrap();
        }
    }
}
