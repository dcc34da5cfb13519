//! The same events as a stream.

use futures::{FutureExt as _, StreamExt as _};

use super::{
    fake_master::{error, offer, status, subscribed},
    time::StoppedClock,
    *,
};
use crate::proto::{
    ext::Events,
    v1::{TaskId, TaskState, scheduler::call::Type},
};

async fn next(events: &mut EventStream) -> SchedulerEvent {
    let next = tokio::time::timeout(LIMIT, events.next()).await;
    next.expect("an event within the limit").expect("the stream has not ended")
}

#[tokio::test]
async fn a_status_is_acknowledged_when_the_next_event_is_requested() {
    let mut master = FakeMaster::start().await;
    let (driver, mut events) = describe(&master).stream().unwrap();
    driver.start().unwrap();
    let mut session = master.session().await;
    session.subscribe().await;
    assert!(matches!(next(&mut events).await, SchedulerEvent::Registered { .. }));
    session.send([status(&TaskId::from("t1"), TaskState::TaskRunning, 1)]).await;
    assert!(matches!(next(&mut events).await, SchedulerEvent::StatusUpdate(_)));
    driver.kill_task(&TaskId::from("x")).await.unwrap();
    session.expect(Type::Kill).await;
    session.send([offer("O1")]).await;
    assert!(matches!(next(&mut events).await, SchedulerEvent::ResourceOffers(_)));
    session.expect(Type::Acknowledge).await;
}

#[tokio::test]
async fn offers_are_declined_while_the_stream_is_not_read() {
    let mut master = FakeMaster::start().await;
    let (driver, events) = describe(&master).offer_hold(Duration::from_millis(50)).stream().unwrap();
    driver.start().unwrap();
    let mut session = master.session().await;
    session.subscribe().await;
    session.send([offer("O1")]).await;
    session.expect(Type::Decline).await;
    drop(events);
}

#[tokio::test]
async fn the_stream_ends_with_the_driver() {
    let mut master = FakeMaster::start().await;
    let (driver, mut events) = describe(&master).stream().unwrap();
    driver.start().unwrap();
    let mut session = master.session().await;
    session.subscribe().await;
    next(&mut events).await;
    driver.stop_failover().await.unwrap();
    drop(session);
    assert_eq!(tokio::time::timeout(LIMIT, events.next()).await.expect("an end within the limit"), None);
    join(&driver).await.unwrap();
}

#[tokio::test]
async fn dropping_the_stream_leaves_the_framework_to_a_successor() {
    let mut master = FakeMaster::start().await;
    let (driver, events) = describe(&master).stream().unwrap();
    driver.start().unwrap();
    let mut session = master.session().await;
    drop(events);
    session.subscribe().await;
    assert!(session.is_closed().await);
    drop(session);
    join(&driver).await.unwrap();
}

#[tokio::test]
async fn a_driver_is_joined_though_the_stream_is_not_read_to_its_end() {
    let mut master = FakeMaster::start().await;
    let (driver, mut events) = describe(&master).stream().unwrap();
    driver.start().unwrap();
    let mut session = master.session().await;
    session.subscribe().await;
    session.send([status(&TaskId::from("t1"), TaskState::TaskRunning, 1)]).await;
    assert!(matches!(next(&mut events).await, SchedulerEvent::Registered { .. }));
    assert!(matches!(next(&mut events).await, SchedulerEvent::StatusUpdate(_)));
    driver.stop_teardown().await.unwrap();
    let (seq, call) = session.call().await;
    assert_eq!(call.r#type(), Type::Teardown);
    session.applied(seq).await;
    drop(session);
    // The driver would wait five seconds for a callback.
    let joined = tokio::time::timeout(Duration::from_secs(3), driver.join()).await;
    joined.expect("the driver waits for no reader").unwrap();
    drop(events);
}

#[tokio::test]
async fn the_final_error_of_a_master_stays_in_the_stream_and_does_not_delay_the_end() {
    let mut master = FakeMaster::start().await;
    let (driver, mut events) = describe(&master).stream().unwrap();
    driver.start().unwrap();
    let mut session = master.session().await;
    session.subscribe().await;
    assert!(matches!(next(&mut events).await, SchedulerEvent::Registered { .. }));
    session.send([offer("O1")]).await;
    assert!(matches!(next(&mut events).await, SchedulerEvent::ResourceOffers(_)));
    assert!(events.next().now_or_never().is_none());
    session.send([error("Framework failed over")]).await;
    drop(session);
    let joined =
        tokio::time::timeout(Duration::from_secs(3), driver.join()).await.expect("the driver waits for no reader");
    assert!(matches!(joined, Err(DriverError::Failed(_))));
    assert_eq!(next(&mut events).await, SchedulerEvent::Error("Framework failed over".into()));
    assert_eq!(tokio::time::timeout(LIMIT, events.next()).await.expect("an end within the limit"), None);
}

/// The end of the driver must not wait: the clock is stopped.
#[tokio::test]
async fn a_reader_that_has_not_completed_an_event_does_not_delay_the_end_after_an_error() {
    for taken in [true, false] {
        let (frames, received) = mpsc::channel(8);
        let stopped = Arc::new(StoppedClock::new(received));
        let described = SchedulerDriver::builder(FrameworkInfo::new("test")).unknown_tasks(UnknownTasks::Adopt);
        let (driver, mut events) = described.environment(stopped).stream().expect("a driver");
        driver.start().expect("started");
        let script = [subscribed(), offer("O1"), status(&"t1".into(), TaskState::TaskRunning, 1)];
        frames.send(Ok(Events { version: 1, events: script.into(), ..Events::default() })).await.expect("received");
        if taken {
            assert!(matches!(next(&mut events).await, SchedulerEvent::Registered { .. }));
        }
        let last = vec![error("Framework failed over")];
        frames.send(Ok(Events { version: 1, events: last, ..Events::default() })).await.expect("received");
        drop(frames);
        let joined = join(&driver).await;
        assert!(matches!(joined, Err(DriverError::Failed(_))), "taken: {taken}: {joined:?}");
        let rest: Vec<SchedulerEvent> = events.collect().await;
        assert_eq!(rest.last(), Some(&SchedulerEvent::Error("Framework failed over".into())), "{rest:?}");
    }
}

#[tokio::test]
async fn a_status_that_the_reader_did_not_complete_is_delivered_again() {
    let mut master = FakeMaster::start().await;
    let (driver, mut events) = describe(&master).stream().unwrap();
    driver.start().unwrap();
    let mut session = master.session().await;
    session.subscribe().await;
    assert!(matches!(next(&mut events).await, SchedulerEvent::Registered { .. }));
    session.send([status(&TaskId::from("t1"), TaskState::TaskRunning, 1)]).await;
    let first = next(&mut events).await;
    events.redeliver();
    assert_eq!(next(&mut events).await, first);
    assert!(events.next().now_or_never().is_none());
    session.expect(Type::Acknowledge).await;
    assert_eq!(driver.counts().redelivered, 1);
}
