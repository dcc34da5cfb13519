//! Finding the leading master.

use super::*;

fn driver_of(masters: &[&str]) -> SchedulerDriver {
    let framework = SchedulerDriver::builder(FrameworkInfo::new("test")).master(masters.join(","));
    let driver = framework.build(recorder().0).expect("a driver");
    driver.start().expect("started");
    driver
}

/// An address without a listener.
async fn unused_address() -> String {
    FakeMaster::start().await.address()
}

#[tokio::test]
async fn the_leader_named_by_another_master_is_found() {
    let mut leader = FakeMaster::start().await;
    let follower = FakeMaster::following(&leader.address()).await;
    let _driver = driver_of(&[&follower.address()]);
    leader.session().await.subscribe().await;
}

#[tokio::test]
async fn the_second_master_of_a_list_is_tried_when_the_first_is_down() {
    let mut there = FakeMaster::start().await;
    let _driver = driver_of(&[&unused_address().await, &there.address()]);
    there.session().await.subscribe().await;
}

#[tokio::test]
async fn a_master_that_ceases_to_lead_passes_the_framework_on() {
    let (mut first, mut second) = (FakeMaster::start().await, FakeMaster::start().await);
    let (_driver, mut recording, session) = subscribed(&mut first).await;
    session.hand_over(&second).await;
    let subscribe = second.session().await.subscribe().await;
    assert_eq!(subscribe.framework_info.id, Some("F1".into()));
    assert_eq!(recording.next().await, SchedulerEvent::Disconnected);
    assert!(matches!(recording.next().await, SchedulerEvent::Reregistered { .. }));
}

#[tokio::test]
async fn masters_that_name_one_another_do_not_keep_the_driver_in_a_loop() {
    let mut leader = FakeMaster::start().await;
    let dead = unused_address().await;
    let first = FakeMaster::following(&dead).await;
    let second = FakeMaster::following(&first.address()).await;
    let _driver = driver_of(&[&second.address(), &first.address(), &leader.address()]);
    leader.session().await.subscribe().await;
}

#[tokio::test]
async fn a_hint_that_is_no_address_is_ignored() {
    let mut leader = FakeMaster::start().await;
    let confused = FakeMaster::following("over there").await;
    let _driver = driver_of(&[&confused.address(), &leader.address()]);
    leader.session().await.subscribe().await;
}

#[tokio::test]
async fn a_lost_stream_is_reported_and_followed_by_another() {
    let mut master = FakeMaster::start().await;
    let (_driver, mut recording, session) = subscribed(&mut master).await;
    drop(session);
    assert_eq!(recording.next().await, SchedulerEvent::Disconnected);
    let subscribe = master.session().await.subscribe().await;
    assert_eq!(subscribe.framework_info.id, Some("F1".into()));
    assert!(matches!(recording.next().await, SchedulerEvent::Reregistered { .. }));
}
