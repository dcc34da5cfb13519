//! Starting, stopping, and failover to another instance.

use super::{fake_master::error, *};
use crate::proto::v1::scheduler::call::Type;

#[tokio::test]
async fn a_teardown_is_sent_to_the_master_and_joined_when_confirmed() {
    let mut master = FakeMaster::start().await;
    let (driver, mut recording, mut session) = subscribed(&mut master).await;
    driver.stop_teardown().await.unwrap();
    let (seq, call) = session.call().await;
    assert_eq!(call.r#type(), Type::Teardown);
    session.applied(seq).await;
    assert!(session.is_closed().await);
    drop(session);
    join(&driver).await.unwrap();
    recording.nothing_more();
    assert!(matches!(driver.revive_offers(&[]).await, Err(DriverError::Ended)));
}

#[tokio::test]
async fn a_failover_sends_the_calls_made_before_and_no_teardown() {
    let mut master = FakeMaster::start().await;
    let (driver, _ear, mut session) = subscribed(&mut master).await;
    driver.kill_task(&"t1".into()).await.unwrap();
    driver.stop_failover().await.unwrap();
    session.expect(Type::Kill).await;
    assert!(session.is_closed().await);
    drop(session);
    join(&driver).await.unwrap();
}

#[tokio::test]
async fn all_calls_made_before_a_failover_reach_the_master_however_many() {
    const CALLS: usize = 10_000;
    let mut master = FakeMaster::start().await;
    let (driver, _ear, mut session) = subscribed(&mut master).await;
    let caller = driver.clone();
    let calling = tokio::spawn(async move {
        for task in 0..CALLS {
            caller.kill_task(&format!("t{task}").into()).await.unwrap();
        }
        caller.stop_failover().await.unwrap();
    });
    for task in 0..CALLS {
        assert_eq!(session.expect(Type::Kill).await.kill.unwrap().task_id.value, format!("t{task}"));
    }
    assert!(session.is_closed().await);
    drop(session);
    calling.await.unwrap();
    join(&driver).await.unwrap();
}

#[tokio::test]
async fn a_successor_registers_with_the_framework_id() {
    let mut master = FakeMaster::start().await;
    let (driver, _ear, session) = subscribed(&mut master).await;
    let id = driver.framework_id().expect("registered");
    driver.stop_failover().await.unwrap();
    drop(session);
    join(&driver).await.unwrap();
    let successor = SchedulerDriver::builder(FrameworkInfo::new("test").with_id(id.clone()));
    let successor = successor.master(master.address()).build(recorder().0).unwrap();
    successor.start().unwrap();
    let subscribe = master.session().await.subscribe().await;
    assert_eq!(subscribe.framework_info.id, Some(id));
}

#[tokio::test]
async fn an_abort_ends_the_driver() {
    let mut master = FakeMaster::start().await;
    let (driver, _ear, session) = subscribed(&mut master).await;
    driver.abort().await.unwrap();
    drop(session);
    join(&driver).await.unwrap();
}

#[tokio::test]
async fn a_driver_can_be_started_and_stopped_a_hundred_times_in_one_process() {
    let mut master = FakeMaster::start().await;
    for round in 0..100 {
        let (driver, _ear, mut session) = subscribed(&mut master).await;
        if round % 2 == 0 {
            driver.stop_failover().await.unwrap();
        } else {
            driver.stop_teardown().await.unwrap();
            let (seq, _) = session.call().await;
            session.applied(seq).await;
        }
        assert!(session.is_closed().await);
        drop(session);
        join(&driver).await.unwrap();
    }
    let alive = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    assert!(alive < 20, "{alive} tasks are left behind");
}

#[tokio::test]
async fn a_driver_starts_once_and_is_joined_only_after() {
    let mut master = FakeMaster::start().await;
    let driver = describe(&master).build(recorder().0).unwrap();
    assert!(matches!(driver.join().await, Err(DriverError::NotStarted)));
    assert!(matches!(driver.revive_offers(&[]).await, Err(DriverError::NotStarted)));
    assert!(matches!(driver.stop_teardown().await, Err(DriverError::NotStarted)));
    driver.start().unwrap();
    assert!(matches!(driver.start(), Err(DriverError::Started)));
    master.session().await.subscribe().await;
}

#[test]
fn a_driver_outside_a_runtime_is_not_started() {
    let driver = SchedulerDriver::builder(FrameworkInfo::new("test")).build(recorder().0).unwrap();
    assert!(matches!(driver.start(), Err(DriverError::NoRuntime)));
}

#[test]
fn a_driver_with_an_invalid_configuration_is_not_built() {
    let build = |info: FrameworkInfo, master: &str| {
        let error = SchedulerDriver::builder(info).master(master).build(recorder().0).unwrap_err();
        error.to_string()
    };
    let text = build(FrameworkInfo::new("test"), "localhost");
    assert!(text.contains("localhost") && text.contains("HOST:PORT"), "{text}");
    let text = build(FrameworkInfo::new("test").with_role("a b"), "a:1");
    assert!(text.starts_with("framework_info.roles"), "{text}");
}

#[tokio::test]
async fn an_older_instance_that_was_replaced_receives_an_error_and_makes_no_further_call() {
    let mut master = FakeMaster::start().await;
    let (driver, mut recording, session) = subscribed(&mut master).await;
    session.send([error("Framework failed over")]).await;
    assert_eq!(recording.next().await, SchedulerEvent::Error("Framework failed over".into()));
    drop(session);
    for outcome in [
        join(&driver).await,
        driver.kill_task(&"t1".into()).await.map(drop),
        driver.revive_offers(&[]).await.map(drop),
        driver.stop_teardown().await.map(drop),
    ] {
        let error = outcome.expect_err("another instance has the framework");
        assert!(matches!(&error, DriverError::Failed(message) if message == "Framework failed over"), "{error}");
    }
    assert!(master.is_idle().await, "the older instance must not reconnect and replace the newer one");
}

#[tokio::test]
async fn no_callback_runs_after_a_stop_even_if_the_master_sends_an_error_then() {
    let mut master = FakeMaster::start().await;
    let (driver, mut recording, session) = subscribed(&mut master).await;
    drop(session);
    assert_eq!(recording.next().await, SchedulerEvent::Disconnected);
    driver.stop_teardown().await.expect("stopping");
    let mut again = master.session().await;
    again.expect(Type::Subscribe).await;
    again.send([error("Framework failed over")]).await;
    assert!(matches!(join(&driver).await, Err(DriverError::Failed(_))));
    recording.nothing_more();
}

#[tokio::test]
async fn an_instance_keeps_its_name_and_another_with_the_same_seed_has_another() {
    let mut master = FakeMaster::start().await;
    let mut names = Vec::new();
    for _ in 0..2 {
        let driver = describe(&master).seed(7).build(recorder().0).expect("a driver");
        driver.start().expect("started");
        let mut session = master.session().await;
        let name = session.subscribe().await.instance.expect("the name of the instance");
        drop(session);
        let mut again = master.session().await;
        assert_eq!(again.subscribe().await.instance.as_ref(), Some(&name), "it is the same instance");
        names.push((name, driver.mint("web", 0)));
        driver.abort().await.expect("aborted");
    }
    assert_ne!(names[0].0, names[1].0, "the master has to distinguish them");
    assert_ne!(names[0].1, names[1].1, "their tasks must not have the same ids");
}

/// Stops the driver from within a callback and returns later.
struct StoppingScheduler(Arc<AtomicUsize>);

#[async_trait]
impl Scheduler for StoppingScheduler {
    async fn resource_offers(&mut self, _: &SchedulerDriver, _: Vec<Offer>) -> Result<()> {
        Ok(())
    }

    async fn registered(&mut self, driver: &SchedulerDriver, _: FrameworkId, _: MasterInfo) -> Result<()> {
        driver.stop_failover().await?;
        for _ in 0..1000 {
            tokio::task::yield_now().await;
        }
        self.0.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

#[tokio::test]
async fn a_callback_that_stops_the_driver_runs_to_its_end_before_join_returns() {
    let mut master = FakeMaster::start().await;
    let ended = Arc::new(AtomicUsize::new(0));
    let driver = describe(&master).build(StoppingScheduler(Arc::clone(&ended))).unwrap();
    driver.start().unwrap();
    master.session().await.subscribe().await;
    join(&driver).await.unwrap();
    assert_eq!(ended.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_spawned_task_ends_with_the_driver() {
    let mut master = FakeMaster::start().await;
    let (driver, _ear, session) = subscribed(&mut master).await;
    let (held, mut watched) = mpsc::channel::<()>(1);
    driver.spawn(async move {
        let _held = held;
        std::future::pending::<()>().await;
    });
    driver.stop_failover().await.unwrap();
    drop(session);
    join(&driver).await.unwrap();
    let gone = tokio::time::timeout(LIMIT, watched.recv()).await.expect("the task ends within the limit");
    assert_eq!(gone, None);
}
