//! Finding the master that leads.

use super::*;

fn driver_of(masters: &[&str]) -> SchedulerDriver {
    let framework = SchedulerDriver::builder(FrameworkInfo::new("test")).master(masters.join(","));
    let driver = framework.build(recorder().0).expect("a driver");
    driver.start().expect("started");
    driver
}

/// An address where nobody listens.
async fn nowhere() -> String {
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
async fn the_second_master_of_a_list_is_tried_when_the_first_is_not_there() {
    let mut there = FakeMaster::start().await;
    let _driver = driver_of(&[&nowhere().await, &there.address()]);
    there.session().await.subscribe().await;
}

#[tokio::test]
async fn a_master_that_ceases_to_lead_passes_the_framework_on() {
    let (mut first, mut second) = (FakeMaster::start().await, FakeMaster::start().await);
    let (_driver, mut ear, session) = subscribed(&mut first).await;
    session.hand_over(&second).await;
    let subscribe = second.session().await.subscribe().await;
    assert_eq!(subscribe.framework_info.id, Some("F1".into()));
    assert_eq!(ear.next().await, SchedulerEvent::Disconnected);
    assert!(matches!(ear.next().await, SchedulerEvent::Reregistered { .. }));
}

#[tokio::test]
async fn masters_that_name_one_another_do_not_hold_the_driver_in_a_circle() {
    let mut leader = FakeMaster::start().await;
    let dead = nowhere().await;
    let first = FakeMaster::following(&dead).await;
    let second = FakeMaster::following(&first.address()).await;
    let _driver = driver_of(&[&second.address(), &first.address(), &leader.address()]);
    leader.session().await.subscribe().await;
}

#[tokio::test]
async fn a_hint_that_is_no_address_is_as_good_as_none() {
    let mut leader = FakeMaster::start().await;
    let confused = FakeMaster::following("over there").await;
    let _driver = driver_of(&[&confused.address(), &leader.address()]);
    leader.session().await.subscribe().await;
}

#[tokio::test]
async fn a_broken_stream_is_told_and_followed_by_another() {
    let mut master = FakeMaster::start().await;
    let (_driver, mut ear, session) = subscribed(&mut master).await;
    drop(session);
    assert_eq!(ear.next().await, SchedulerEvent::Disconnected);
    let subscribe = master.session().await.subscribe().await;
    assert_eq!(subscribe.framework_info.id, Some("F1".into()));
    assert!(matches!(ear.next().await, SchedulerEvent::Reregistered { .. }));
}
