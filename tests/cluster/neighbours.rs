//! A framework that blocks does not affect another, nor does an earlier cluster in the process.

use divvy::{
    framework::{Result, Scheduler, SchedulerDriver},
    local::LocalCluster,
    proto::v1::{FrameworkInfo, Offer, TaskState},
};

use super::{
    part::until,
    scheduler::{ended, start, states},
};

/// Receives offers and never returns from the callback.
struct Sleeper;

#[async_trait::async_trait]
impl Scheduler for Sleeper {
    async fn resource_offers(&mut self, _driver: &SchedulerDriver, _offers: Vec<Offer>) -> Result<()> {
        std::future::pending().await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scheduler_that_sleeps_for_ever_on_its_offers_does_not_stop_another() {
    let cluster = LocalCluster::builder().agents(1).resources("cpus:2;mem:256").start().await.expect("starts");
    let info = FrameworkInfo::new("sleeper");
    let sleeper = SchedulerDriver::builder(info).master(cluster.master()).build(Sleeper).expect("valid");
    sleeper.start().expect("starts");
    until("the sleeper to be registered", || sleeper.framework_id().ok_or("it is not"));
    let commands = (0..4).map(|number| (format!("t{number}"), "true".to_owned())).collect();
    let (worker, received) = start(&cluster.master(), "cpus:1;mem:64", commands);
    until("the worker's tasks to end", || match ended(&received) {
        (4, _) => Ok(()),
        other => Err(other),
    });
    assert!(states(&received, "t0").contains(&TaskState::TaskFinished));
    worker.stop_teardown().await.expect("stops");
    worker.join().await.expect("joins");
    sleeper.abort().await.expect("aborts");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_can_be_started_and_stopped_again_and_again_in_one_process() {
    for _ in 0..5 {
        let cluster = LocalCluster::builder().agents(2).resources("cpus:1;mem:64").start().await.expect("starts");
        let commands = vec![("t".to_owned(), "true".to_owned())];
        let (driver, received) = start(&cluster.master(), "cpus:1;mem:32", commands);
        until("the task to end", || if ended(&received).0 == 1 { Ok(()) } else { Err(ended(&received)) });
        driver.stop_teardown().await.expect("stops");
        driver.join().await.expect("joins");
        cluster.stop().await;
    }
}
