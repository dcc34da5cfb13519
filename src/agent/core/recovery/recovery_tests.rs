//! Recovery of a restarted agent from its log, its supervisors and its disk.

use std::time::Duration;

use prost::Message as _;

use crate::agent::core::tests::fixture::{
    FRAMEWORK, Fixture, ONE, exit, found, id, in_short, registered_by, started, task,
};
use crate::agent::core::*;
use crate::proto::internal::agent_record::Kind;
use crate::proto::internal::{self as wire, supervisor_event};
use crate::proto::v1::framework_info::capability::Type as Capability;
use crate::proto::v1::task_status::Reason;
use crate::proto::v1::{self, TaskState};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_container_without_a_record_is_killed_and_dropped() {
    let mut agent = Fixture::recovered(&[]);
    agent.take();
    agent.welcome(&["stray"], &[("old", 0)]);
    assert_eq!(agent.effects(), ["supervise 1: signal stray 9 tree", "supervise 1: forget old"]);
}

#[test]
fn a_log_with_a_record_of_it_twice_or_elsewhere_is_read_too() {
    let mut agent = Fixture::registered(&[]);
    for container in ["c1", "c2", "c3"] {
        agent.running_and_known(container);
    }
    agent.exited("c1", 0);
    agent.kill("c2", Some(SECOND));
    agent.exited("c3", 1);
    agent.acknowledge("c3");
    let mut log = agent.log;
    log.push(record(Kind::FrameworkForgotten(FRAMEWORK.to_owned())));
    for (from, record) in log.iter().enumerate() {
        for to in 0..=log.len() {
            let mut twice = log.clone();
            twice.insert(to, record.clone());
            // The agent checks all its invariants after every input.
            Fixture::recovered(&twice).welcome(&["c1", "c2", "c3"], &[]);
            twice.remove(if to <= from { from + 1 } else { from });
            Fixture::recovered(&twice).welcome(&[], &[("c1", 0), ("c2", 0), ("c3", 0)]);
        }
    }
}

#[test]
fn the_agent_does_not_register_before_containers_without_a_record_have_ended() {
    let mut agent = Fixture::recovered(&[]);
    agent.welcome(&["stray", "other"], &[]);
    agent.exited("stray", 9);
    agent.supervised(supervisor_event::Kind::StartFailed(wire::StartFailed {
        container_id: "unknown".to_owned(),
        ..Default::default()
    }));
    agent.take();
    agent.pass(9 * SECOND);
    assert_eq!(agent.effects(), Vec::<String>::new());
    agent.exited("other", 9);
    assert_eq!(agent.effects(), ["supervise 1: forget other"]);
    agent.pass_to_deadline();
    assert_eq!(agent.effects(), ["attach 1"]);
}

#[test]
fn a_container_without_a_record_that_does_not_die_delays_the_agent_for_a_limited_time() {
    let mut agent = Fixture::recovered(&[]);
    agent.welcome(&["stuck"], &[]);
    agent.take();
    agent.pass(10 * SECOND);
    agent.pass_to_deadline();
    assert_eq!(agent.effects(), ["attach 1"]);
}

#[test]
fn a_restarted_agent_waits_for_a_launch_that_is_under_way() {
    let mut agent = Fixture::registered(&[]);
    for container in ["c1", "c2"] {
        agent.run(container, &task(container));
        agent.give(Input::StepDone { container: id(container), step: Step::Sandbox });
    }
    let mut again = Fixture::recovered(&agent.log);
    again.welcome_starting(&["c1", "unrecorded"]);
    let expected = ["supervise 1: signal unrecorded 9 tree", "persist status c2 LOST"];
    assert_eq!(again.effects(), expected, "an unrecorded one is killed as soon as it starts, and c2 is nowhere");
    again.supervised(supervisor_event::Kind::Started(started("c1")));
    assert_eq!(again.effects(), ["persist status c1 RUNNING + started c1"]);
    again.supervised(supervisor_event::Kind::StartFailed(wire::StartFailed {
        container_id: "unrecorded".to_owned(),
        ..Default::default()
    }));
    assert_eq!(again.effects(), Vec::<String>::new());
    assert!(again.harness.core.is_live(&id("c1")));
}

#[test]
fn a_supervisor_that_an_earlier_agent_retired_receives_no_starts() {
    let mut agent = Fixture::recovered(&[]);
    let welcome = wire::SupervisorWelcome { version: 2, retired: true, ..Default::default() };
    agent.supervised(supervisor_event::Kind::Welcome(welcome));
    agent.register();
    agent.run("c1", &task("c1"));
    agent.take();
    agent.give(Input::StepDone { container: id("c1"), step: Step::Sandbox });
    assert_eq!(agent.effects(), Vec::<String>::new(), "it waits for one that takes starts");
    let event =
        wire::SupervisorEvent { kind: Some(supervisor_event::Kind::Welcome(wire::SupervisorWelcome::default())) };
    agent.give(Input::Supervised { supervisor: SupervisorId(2), event });
    assert_eq!(agent.effects(), ["persist starts go to pid 0", "supervise 2: start c1"]);
}

#[test]
fn an_agent_that_stops_retires_its_supervisors_if_they_run_nothing() {
    let mut agent = Fixture::registered(&[]);
    agent.running_and_known("c1");
    agent.give(Input::Stopping);
    assert_eq!(agent.effects(), Vec::<String>::new());
    agent.exited("c1", 0);
    agent.acknowledge("c1");
    agent.take();
    agent.give(Input::Stopping);
    assert_eq!(agent.effects(), ["supervise 1: retire"]);
    Fixture::recovered(&agent.log).give(Input::Stopping);
}

#[test]
fn what_damaged_records_do_not_contain_is_reported_as_lost_with_that_reason() {
    for (capabilities, state) in
        [(vec![], TaskState::TaskLost), (vec![Capability::PartitionAware], TaskState::TaskGone)]
    {
        let mut agent = Fixture::registered(&capabilities);
        agent.running_and_known("c1");
        agent.running_and_known("c2");
        let found = Found { loss: Some("the log was damaged".to_owned()), ..found(&[ONE]) };
        let mut again = Fixture::recovered_at(&agent.log, agent.now, found);
        again.welcome(&[], &[("c2", 0)]);
        assert_eq!(again.status("c1").state(), state);
        assert_eq!(again.status("c1").reason, Some(Reason::AgentRestarted as i32));
        let text = "the log was damaged; what became of the task is not known";
        assert_eq!(again.status("c1").message.unwrap(), text);
        assert_eq!(again.status("c2").state(), TaskState::TaskFinished, "what is known is reported as it was");
        let session = again.attach();
        let mut message = registered_by(1);
        if let Some(wire::master_message::Kind::Registered(registered)) = &mut message.kind {
            let container_id = "c9".to_owned();
            registered.missing = vec![wire::MissingTask { container_id, ..wire::MissingTask::default() }];
        }
        again.give(Input::Received { session, message });
        let text = "the log was damaged; the agent knows nothing of the task";
        assert_eq!(again.status("c9").message.unwrap(), text);
    }
}

#[test]
fn after_a_restart_of_the_agent_running_tasks_run_on_and_ended_ones_are_reported() {
    let mut agent = Fixture::registered(&[]);
    for container in ["c1", "c2", "c3"] {
        agent.running_and_known(container);
    }
    agent.running("c4");
    agent.run("c5", &task("c5"));
    let mut again = Fixture::recovered(&agent.log);
    again.welcome(&["c1", "c4"], &[("c2", 3)]);
    assert_eq!(again.effects(), ["persist status c2 FAILED", "persist status c3 FAILED", "persist status c5 LOST"]);
    assert_eq!(again.status("c3").reason, Some(Reason::ExecutorTerminated as i32));
    assert_eq!(again.status("c5").message.unwrap(), "the launch was cut off by an agent restart");
    let session = again.attach();
    again.give(Input::Received { session, message: registered_by(1) });
    let expected = [
        "attach 1",
        "send 1: register [c1 RUNNING, c2 FAILED, c3 FAILED, c4 RUNNING, c5 LOST]",
        "send 1: update c2 FAILED of FAILED",
        "send 1: update c3 FAILED of FAILED",
        "send 1: update c4 RUNNING of RUNNING",
        "send 1: update c5 LOST of LOST",
    ];
    assert_eq!(again.effects(), expected);
}

#[test]
fn a_kill_continues_after_a_restart_with_the_rest_of_its_grace_period() {
    let mut agent = Fixture::registered(&[]);
    agent.running_and_known("c1");
    agent.kill("c1", Some(10 * SECOND));
    let later = agent.now.advanced(4 * SECOND);
    let mut again = Fixture::recovered_at(&agent.log, later, found(&[ONE]));
    again.welcome(&["c1"], &[]);
    assert_eq!(again.effects(), ["supervise 1: signal c1 15 tree"]);
    again.give(Input::Detached { session: SessionId(9), leader: None });
    again.now = later.advanced(6 * SECOND);
    again.give(Input::Tick);
    assert!(again.effects().contains(&"supervise 1: signal c1 9 tree".to_owned()));
}

#[test]
fn after_a_restart_of_the_host_no_task_is_reported_as_running() {
    for (capabilities, state) in
        [(vec![], TaskState::TaskLost), (vec![Capability::PartitionAware], TaskState::TaskGone)]
    {
        let mut agent = Fixture::registered(&capabilities);
        agent.running_and_known("c1");
        let found = Found { boot_id: "another".to_owned(), ..found(&[]) };
        let mut again = Fixture::recovered_at(&agent.log, agent.now, found);
        assert_eq!(again.status("c1").state(), state);
        assert_eq!(again.status("c1").message.unwrap(), "the host restarted");
        again.take();
        again.register();
        assert_eq!(again.effects().last().unwrap(), "persist identity S0 another");
    }
}

#[test]
fn what_a_dead_supervisor_recorded_before_the_host_went_down_still_counts() {
    let mut agent = Fixture::registered(&[Capability::PartitionAware]);
    agent.running_and_known("c1");
    agent.running_and_known("c2");
    let left = FoundSupervisor { id: ONE, died: true };
    let found = Found { boot_id: "another".to_owned(), supervisors: vec![left], ..Found::default() };
    let mut again = Fixture::recovered_at(&agent.log, agent.now, found);
    let mut lost = exit("c2", 0);
    lost.status = Some(wire::exited::Status::Lost("the host was restarted".to_owned()));
    let exited = vec![exit("c1", 0), lost];
    again.supervised(supervisor_event::Kind::Welcome(wire::SupervisorWelcome { exited, ..Default::default() }));
    let ends = ["persist status c1 FINISHED", "persist status c2 GONE", "persist supervisor ended pid 1"];
    assert_eq!(again.effects(), ends);
    again.register();
    again.run("c3", &task("c3"));
    again.take();
    again.give(Input::StepDone { container: id("c3"), step: Step::Sandbox });
    assert_eq!(again.effects(), Vec::<String>::new(), "the dead start nothing");
}

#[test]
fn the_agent_does_not_register_before_every_supervisor_has_answered() {
    let mut agent = Fixture::recovered_at(&[], Now::default(), found(&[ONE, SupervisorId(2)]));
    agent.welcome(&[], &[]);
    assert_eq!(agent.harness.core.deadline(), None);
    agent.give(Input::SupervisorEnded { supervisor: SupervisorId(2) });
    assert!(agent.harness.core.deadline().is_some());
}

#[test]
fn a_snapshot_describes_the_same_agent_as_the_whole_log() {
    let mut agent = Fixture::registered(&[Capability::TaskKillingState]);
    for container in ["c1", "c2", "c3", "c4"] {
        agent.running_and_known(container);
    }
    agent.kill("c2", None);
    agent.exited("c3", 1);
    agent.running("c5");
    agent.run("c6", &task("c6"));
    agent.exited("c4", 0);
    agent.acknowledge("c4");
    let describe = |log: &[wire::AgentRecord]| {
        let mut again = Fixture::recovered(log);
        again.welcome(&["c1", "c2", "c5"], &[]);
        again.register();
        again.take().iter().map(in_short).collect::<Vec<_>>()
    };
    let snapshot = agent.harness.core.snapshot();
    assert!(snapshot.len() < agent.log.len());
    assert_eq!(describe(&snapshot), describe(&agent.log));
    assert_eq!(Fixture::recovered(&snapshot).harness.core.snapshot(), snapshot);
}

#[test]
fn sandboxes_are_kept_by_age_and_survive_a_restart() {
    let mut agent = Fixture::registered(&[]);
    agent.running_and_known("c1");
    agent.exited("c1", 0);
    agent.acknowledge("c1");
    agent.take();
    let found = Found { sandboxes: vec![(id("c1"), agent.now.wall_ns), (id("old"), 0)], ..found(&[ONE]) };
    let now = Now { mono_ns: 5, wall_ns: 8 * 24 * 3_600_000_000_000 };
    let mut again = Fixture::recovered_at(&agent.log, now, found);
    again.welcome(&[], &[]);
    again.give(Input::Tick);
    assert_eq!(again.effects(), ["remove sandbox c1", "remove sandbox old"]);
}

#[test]
fn a_launch_that_a_power_cut_took_and_whose_sandbox_it_left_is_reported_as_lost() {
    let found = Found { sandboxes: vec![(id("c9"), 0)], ..found(&[ONE]) };
    let mut agent = Fixture::recovered_at(&[], Now::default(), found);
    agent.welcome(&[], &[]);
    let session = agent.attach();
    let mut message = registered_by(1);
    if let Some(wire::master_message::Kind::Registered(registered)) = &mut message.kind {
        let container_id = "c9".to_owned();
        registered.missing = vec![wire::MissingTask { container_id, ..wire::MissingTask::default() }];
    }
    agent.give(Input::Received { session, message });
    agent.harness.core.check();
    agent.take();
    agent.acknowledge("c9");
    assert_eq!(agent.effects(), ["persist acknowledged c9 + forgotten c9"]);
    assert!(agent.harness.core.deadline().is_some(), "the sandbox is kept for its time");
}

#[test]
fn a_container_that_a_log_names_twice_is_the_later_task_and_has_one_name() {
    let accepted = |task_id: &str| {
        let info = v1::TaskInfo { task_id: v1::TaskId { value: task_id.to_owned() }, ..task("c1") };
        let task_info = info.encode_to_vec().into();
        let (framework_id, container_id) = (FRAMEWORK.to_owned(), "c1".to_owned());
        let rest = wire::TaskAccepted::default();
        record(agent_record::Kind::Accepted(wire::TaskAccepted { framework_id, container_id, task_info, ..rest }))
    };
    let fixture = Fixture::recovered(&[accepted("first"), accepted("second")]);
    fixture.harness.core.check();
    assert_eq!(fixture.harness.core.tasks[&id("c1")].name.value, "second");
}

#[test]
fn a_launch_that_a_power_cut_took_may_have_run_so_it_is_gone_and_not_dropped() {
    let mut agent = Fixture::registered(&[Capability::PartitionAware]);
    let before = agent.log.clone();
    agent.running_and_known("c1");
    let found = Found { boot_id: "another".to_owned(), ..found(&[]) };
    // The agent is killed once more before a master has received the state after the restart.
    let log = Fixture::recovered_at(&before, agent.now, found.clone()).log;
    let mut again = Fixture::recovered_at(&log, agent.now, found);
    let session = again.attach();
    let mut message = registered_by(1);
    if let Some(wire::master_message::Kind::Registered(registered)) = &mut message.kind {
        let state = TaskState::TaskDropped as i32;
        let container_id = "c1".to_owned();
        registered.missing = vec![wire::MissingTask { container_id, state, ..wire::MissingTask::default() }];
    }
    again.give(Input::Received { session, message });
    assert_eq!(again.status("c1").state(), TaskState::TaskGone);
    assert_eq!(again.status("c1").message.unwrap(), "the host restarted; the agent knows nothing of the task");
    assert_eq!(again.effects().last().unwrap(), "persist identity S0 another", "the restart is recorded only now");
}

#[test]
fn the_work_directory_is_written_down_when_it_is_another_and_stays_known_where_it_cannot_be_found_out() {
    let place = |inode| Some(wire::WorkDirIdentity { path: b"/work".to_vec().into(), device: 1, inode });
    let run = |log: &[AgentRecord], work_dir| {
        let agent = Fixture::recovered_at(log, Fixture::recovered(&[]).now, Found { work_dir, ..found(&[]) });
        let written = agent.log[log.len()..].iter().any(|record| matches!(record.kind, Some(Kind::Identity(_))));
        (written, agent.harness.core.identity(), agent.log.clone())
    };
    let of = |kind: &Kind| match kind {
        Kind::Identity(identity) => identity.work_dir.as_ref().map(|it| it.inode),
        other => panic!("{other:?} is no identity"),
    };
    let (_, first, log) = run(&[], place(7));
    assert_eq!(of(&first), Some(7));
    let (written, same, log) = run(&log, place(7));
    assert_eq!((written, of(&same)), (false, Some(7)), "nothing changed");
    let (written, unknown, log) = run(&log, None);
    assert_eq!((written, of(&unknown)), (false, Some(7)), "it cannot be found out");
    let (written, moved, _) = run(&log, place(8));
    assert_eq!((written, of(&moved)), (true, Some(8)));
}
