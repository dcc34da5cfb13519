//! The messages between a driver and its master, one by one.

use super::{
    fake_master::{launched, offer, status},
    *,
};
use crate::{
    allocator::{TaskRequest, place},
    proto::v1::{
        TaskId, TaskInfo, TaskState, framework_info::capability::Type as Capability, scheduler::call::Type,
        task_status::Reason,
    },
    types::Resources,
};

fn task(id: &str) -> TaskInfo {
    TaskInfo::shell("t", "true").with_id(id).with_resources(&Resources::cpus_mem(1.0, 32.0))
}

async fn offers(recording: &mut Recording) -> Vec<Offer> {
    match recording.next().await {
        SchedulerEvent::ResourceOffers(offers) => offers,
        other => panic!("expected offers, received {other:?}"),
    }
}

#[tokio::test]
async fn a_driver_subscribes_with_the_defaults_of_unset_fields() {
    let mut master = FakeMaster::start().await;
    let driver = describe(&master).build(recorder().0).unwrap();
    driver.start().unwrap();
    let subscribe = master.session().await.subscribe().await;
    assert_eq!((subscribe.framework_info.checkpoint, &subscribe.framework_info.id), (Some(true), &None));
    assert_eq!(subscribe.framework_info.roles, ["*"]);
    assert_eq!(subscribe.framework_info.failover_timeout, Some(7.0 * 24.0 * 3600.0));
    assert!(subscribe.framework_info.has(Capability::PartitionAware));
}

#[tokio::test]
async fn a_plan_is_launched_and_its_statuses_are_acknowledged_after_the_callback() {
    let mut master = FakeMaster::start().await;
    let (driver, mut recording, mut session) = subscribed(&mut master).await;
    session.send([offer("O1"), offer("O2")]).await;
    let offers = offers(&mut recording).await;
    let hello = TaskRequest::command("hello", "echo hello").cpus(1.0).mem_mib(32).count(2);
    driver.apply(place(&offers, &[hello])).await.unwrap();
    let launch = session.expect(Type::Accept).await;
    let ids = launched(&launch);
    assert!(ids[0].value.starts_with("hello.0.") && ids[1].value.starts_with("hello.1."), "{ids:?}");
    let used = launch.accept.unwrap().offer_ids;
    if used.len() < 2 {
        let declined = session.expect(Type::Decline).await.decline.unwrap();
        assert_eq!(declined.filters.unwrap().refuse_seconds, Some(5.0));
        assert_ne!(declined.offer_ids, used);
    }
    session.send([status(&ids[0], TaskState::TaskRunning, 1)]).await;
    assert_eq!(recording.status().await.state(), TaskState::TaskRunning);
    let acknowledge = session.expect(Type::Acknowledge).await.acknowledge.unwrap();
    assert_eq!((acknowledge.task_id, &acknowledge.uuid[..]), (ids[0].clone(), &1_u128.to_be_bytes()[..]));
}

#[tokio::test]
async fn a_failed_or_panicking_callback_leaves_the_status_to_be_sent_again() {
    let mut master = FakeMaster::start().await;
    let (driver, mut recording, mut session) = subscribed(&mut master).await;
    let running = status(&TaskId::from("t1"), TaskState::TaskRunning, 1);
    for (outcome, count) in [(Outcome::Fail, 1), (Outcome::Panic, 2)] {
        recording.set_outcome(outcome);
        session.send([running.clone()]).await;
        recording.status().await;
        while driver.counts().callbacks_failed + driver.counts().callbacks_panicked < count {
            tokio::task::yield_now().await;
        }
    }
    session.send([running]).await;
    recording.status().await;
    session.expect(Type::Acknowledge).await;
    driver.kill_task(&TaskId::from("x")).await.unwrap();
    session.expect(Type::Kill).await;
    assert_eq!((driver.counts().callbacks_failed, driver.counts().callbacks_panicked), (1, 1));
}

#[tokio::test]
async fn a_repeated_status_is_delivered_once_and_acknowledged_twice() {
    let mut master = FakeMaster::start().await;
    let (driver, mut recording, mut session) = subscribed(&mut master).await;
    let finished = status(&TaskId::from("t1"), TaskState::TaskFinished, 1);
    session.send([finished.clone()]).await;
    session.expect(Type::Acknowledge).await;
    session.send([finished]).await;
    session.expect(Type::Acknowledge).await;
    recording.status().await;
    recording.nothing_more();
    assert_eq!((driver.counts().repeats, driver.counts().live_tasks), (1, 0));
}

#[tokio::test]
async fn in_explicit_mode_nothing_is_acknowledged_until_the_user_does() {
    let mut master = FakeMaster::start().await;
    let (scheduler, mut recording) = recorder();
    let driver = describe(&master).explicit_acknowledgements().build(scheduler).unwrap();
    driver.start().unwrap();
    let mut session = master.session().await;
    session.subscribe().await;
    session.send([status(&TaskId::from("t1"), TaskState::TaskRunning, 1)]).await;
    recording.next().await;
    let running = recording.status().await;
    driver.kill_task(&running.task_id).await.unwrap();
    session.expect(Type::Kill).await;
    driver.acknowledge(&running).await.unwrap();
    session.expect(Type::Acknowledge).await;
}

#[tokio::test]
async fn an_explicit_acknowledgement_without_explicit_mode_returns_an_error() {
    let master = FakeMaster::start().await;
    let driver = describe(&master).build(recorder().0).unwrap();
    let status = TaskStatus::new("t1", TaskState::TaskRunning);
    let error = driver.acknowledge(&status).await.unwrap_err().to_string();
    assert!(error.contains("explicit_acknowledgements()"), "{error}");
}

#[tokio::test]
async fn a_refused_call_is_reported_with_the_number_that_the_call_returned() {
    let mut master = FakeMaster::start().await;
    let (driver, mut recording, mut session) = subscribed(&mut master).await;
    driver.revive_offers(&[]).await.unwrap();
    session.expect(Type::Revive).await;
    let number = driver.suppress_offers(&["eng"]).await.unwrap();
    let (seq, _) = session.call().await;
    session.refuse(seq, "suppress.roles[0]", "not a role of this framework").await;
    let SchedulerEvent::Refused(refusal) = recording.next().await else { panic!("expected a refusal") };
    assert_eq!((refusal.seq, refusal.field.as_str()), (number, "suppress.roles[0]"));
}

#[tokio::test]
async fn a_call_that_breaks_a_rule_returns_the_field_and_sends_nothing() {
    let mut master = FakeMaster::start().await;
    let (driver, mut recording, mut session) = subscribed(&mut master).await;
    session.send([offer("O1")]).await;
    let offers = offers(&mut recording).await;
    let error = driver.launch_tasks(&[offers[0].id.clone()], vec![task("a/b")], None).await.unwrap_err();
    assert!(error.to_string().starts_with("accept.operations[0].launch.task_infos[0].task_id: "), "{error}");
    driver.launch_tasks(&[offers[0].id.clone()], vec![task("ab")], None).await.unwrap();
    assert_eq!(launched(&session.expect(Type::Accept).await), [TaskId::from("ab")]);
}

#[tokio::test]
async fn a_launch_on_an_offer_that_never_was_is_answered_without_the_master() {
    let mut master = FakeMaster::start().await;
    let (driver, mut recording, _session) = subscribed(&mut master).await;
    driver.launch_tasks(&["O9".into()], vec![task("t1")], None).await.unwrap();
    let status = recording.status().await;
    assert_eq!((status.state(), status.reason()), (TaskState::TaskDropped, Reason::InvalidOffers));
}

#[tokio::test]
async fn many_calls_share_a_frame_and_keep_their_order() {
    let mut master = FakeMaster::start().await;
    let (driver, _ear, mut session) = subscribed(&mut master).await;
    for task in 0..3000 {
        driver.kill_task(&TaskId::from(format!("t{task}"))).await.unwrap();
    }
    for task in 0..3000 {
        let kill = session.expect(Type::Kill).await.kill.unwrap();
        assert_eq!(kill.task_id.value, format!("t{task}"));
    }
}

/// A scheduler whose first callback for offers never returns.
struct HangingScheduler;

#[async_trait]
impl Scheduler for HangingScheduler {
    async fn resource_offers(&mut self, _: &SchedulerDriver, _: Vec<Offer>) -> Result<()> {
        std::future::pending().await
    }
}

#[tokio::test]
async fn offers_are_declined_while_a_callback_hangs() {
    let mut master = FakeMaster::start().await;
    let driver = describe(&master).offer_hold(Duration::from_millis(50)).build(HangingScheduler).unwrap();
    driver.start().unwrap();
    let mut session = master.session().await;
    session.subscribe().await;
    for id in ["O1", "O2"] {
        session.send([offer(id)]).await;
        let decline = session.expect(Type::Decline).await.decline.unwrap();
        assert_eq!(decline.offer_ids, [id.into()]);
    }
}
