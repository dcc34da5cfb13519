//! Each kind of call without a connection to a master.

use super::*;
use crate::proto::v1::{AgentId, ExecutorId, TaskInfo, TaskState, scheduler::call::Type, task_status::Reason};

/// A driver that has lost its connection and reported that.
async fn cut_off(master: &mut FakeMaster) -> (SchedulerDriver, Recording) {
    let (driver, mut recording, session) = subscribed(master).await;
    drop(session);
    assert_eq!(recording.next().await, SchedulerEvent::Disconnected);
    (driver, recording)
}

#[tokio::test]
async fn a_launch_is_refused_at_once_and_its_tasks_are_reported_as_dropped() {
    let mut master = FakeMaster::start().await;
    let (driver, mut recording) = cut_off(&mut master).await;
    let task = TaskInfo::shell("t", "true").with_id("t1");
    let error = driver.launch_tasks(&["O1".into()], vec![task], None).await.unwrap_err();
    assert!(matches!(error, DriverError::Disconnected), "{error}");
    let status = recording.status().await;
    assert_eq!((status.state(), status.reason()), (TaskState::TaskDropped, Reason::MasterDisconnected));
}

#[tokio::test]
async fn declines_and_messages_are_refused_at_once() {
    let mut master = FakeMaster::start().await;
    let (driver, mut recording) = cut_off(&mut master).await;
    let declined = driver.decline_offer(&"O1".into(), None).await;
    let sent = driver.send_framework_message(&AgentId::from("S1"), &ExecutorId::from("E1"), "x").await;
    assert!(matches!((&declined, &sent), (Err(DriverError::Disconnected), Err(DriverError::Disconnected))));
    recording.nothing_more();
}

#[tokio::test]
async fn kills_and_questions_wait_for_a_master() {
    let mut master = FakeMaster::start().await;
    let (driver, _ear) = cut_off(&mut master).await;
    driver.kill_task(&"t1".into()).await.unwrap();
    driver.reconcile_tasks([("t2".into(), None)]).await.unwrap();
    let mut session = master.session().await;
    session.subscribe().await;
    let (_, kill) = session.try_call().await.expect("a call");
    assert_eq!(kill.r#type(), Type::Kill);
    let (_, reconcile) = session.try_call().await.expect("a call");
    let asked: Vec<_> = reconcile.reconcile.unwrap().tasks.into_iter().map(|task| task.task_id.value).collect();
    assert_eq!(asked, ["t1", "t2"], "a task with a pending kill is asked for too");
}

#[tokio::test]
async fn too_many_calls_of_a_kind_are_refused_at_once_and_those_kept_are_sent() {
    const LIMIT: usize = 65_536;
    let mut master = FakeMaster::start().await;
    let (driver, mut recording) = cut_off(&mut master).await;
    let (mut kept, mut refused) = (0, 0);
    while refused == 0 {
        match driver.kill_task(&format!("t{kept}").into()).await {
            Ok(_) => kept += 1,
            Err(error) => {
                assert!(matches!(error, DriverError::Full), "{error}");
                refused += 1;
            }
        }
    }
    assert!(kept >= LIMIT, "{kept} were kept");
    for _ in LIMIT..kept {
        assert!(matches!(recording.next().await, SchedulerEvent::Refused(refusal) if refusal.field == "kill"));
    }
    assert_eq!(driver.counts().lost, 0);
}
