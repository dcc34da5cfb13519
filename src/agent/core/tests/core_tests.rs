//! One input at a time into the core, and the exact effects.

use std::time::Duration;

use crate::agent::core::tests::fixture::{FRAMEWORK, Fixture, ONE, exit, id, registered_by, started, task};
use crate::agent::core::*;
use crate::proto::ext::process_end::How;
use crate::proto::internal::{self as wire, master_message, supervisor_event};
use crate::proto::v1::framework_info::capability::Type as Capability;
use crate::proto::v1::task_status::{Reason, Source};
use crate::proto::v1::{self, TaskState};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_task_is_recorded_given_a_sandbox_started_and_reported() {
    let mut agent = Fixture::registered(&[]);
    agent.run("c1", &task("c1"));
    assert_eq!(agent.effects(), ["persist accepted c1", "make the sandbox c1"]);
    agent.give(Input::StepDone { container: id("c1"), step: Step::Sandbox });
    assert_eq!(
        agent.effects(),
        ["persist starts go to pid 1", "supervise 1: start c1"],
        "the first start of a supervisor"
    );
    agent.supervised(supervisor_event::Kind::Started(started("c1")));
    let expected = ["persist status c1 RUNNING + started c1", "send 1: update c1 RUNNING of RUNNING"];
    assert_eq!(agent.effects(), expected);
    let status = agent.status("c1");
    assert_eq!(status.uuid.as_ref().map(prost::bytes::Bytes::len), Some(16));
    assert_eq!(status.agent_id.unwrap().value, "S0");
    assert_eq!(status.executor_id.unwrap().value, "task-c1");
    assert_eq!(status.source, Some(Source::Executor as i32));
    let container = *status.container_status.unwrap();
    assert_eq!((container.container_id.unwrap().value.as_str(), container.executor_pid), ("c1", Some(77)));

    agent.exited("c1", 0);
    assert_eq!(agent.effects(), ["persist status c1 FINISHED"], "one status in flight");
    agent.acknowledge("c1");
    assert_eq!(agent.effects(), ["persist acknowledged c1", "send 1: update c1 FINISHED of FINISHED"]);
    let last = agent.status("c1");
    assert_eq!(last.message.unwrap(), "command exited with status 0");
    assert_eq!(last.process_end.and_then(|end| end.how), Some(How::ExitCode(0)));
    agent.acknowledge("c1");
    assert_eq!(agent.effects(), ["persist acknowledged c1 + forgotten c1", "supervise 1: forget c1"]);
    assert_eq!(agent.harness.core.task_count(), 0);
}

#[test]
fn a_status_in_flight_carries_the_latest_state_when_it_is_sent_again() {
    let mut agent = Fixture::registered(&[]);
    agent.running("c1");
    agent.exited("c1", 3);
    agent.take();
    agent.pass(9 * SECOND);
    assert_eq!(agent.effects(), Vec::<String>::new());
    agent.pass(SECOND);
    assert_eq!(agent.effects(), ["send 1: update c1 RUNNING of FAILED"]);
    agent.pass(19 * SECOND);
    assert_eq!(agent.effects(), Vec::<String>::new(), "the second wait is twice the first");
    agent.pass(SECOND);
    assert_eq!(agent.effects(), ["send 1: update c1 RUNNING of FAILED"]);
}

#[test]
fn a_repeated_launch_changes_nothing() {
    let mut agent = Fixture::registered(&[]);
    agent.running_and_known("c1");
    agent.run("c1", &task("c1"));
    assert_eq!(agent.effects(), Vec::<String>::new());
}

#[test]
fn a_launch_with_an_id_that_is_no_file_name_touches_nothing() {
    let mut agent = Fixture::registered(&[]);
    agent.run("../../etc", &task("c1"));
    assert_eq!(agent.effects(), Vec::<String>::new());
}

#[test]
fn a_task_that_is_refused_fails_before_a_sandbox_is_made() {
    let mut agent = Fixture::registered(&[]);
    let mut with_executor = task("c1");
    with_executor.executor = Some(Box::default());
    agent.run("c1", &with_executor);
    let expected = ["persist accepted c1", "persist status c1 FAILED", "send 1: update c1 FAILED of FAILED"];
    assert_eq!(agent.effects(), expected);
    let status = agent.status("c1");
    assert_eq!(status.reason, Some(Reason::ContainerLaunchFailed as i32));
    assert!(status.message.unwrap().contains("use task.command"));
    agent.acknowledge("c1");
    assert_eq!(agent.effects(), ["persist acknowledged c1 + forgotten c1"]);
}

#[test]
fn a_sandbox_that_cannot_be_made_fails_the_task_with_the_error() {
    let mut agent = Fixture::registered(&[]);
    agent.run("c1", &task("c1"));
    agent.take();
    let text = "cannot make /w/runs/c1: no space left on device (os error 28)".to_owned();
    agent.give(Input::StepFailed { container: id("c1"), step: Step::Sandbox, text: text.clone() });
    assert_eq!(agent.effects(), ["persist status c1 FAILED", "send 1: update c1 FAILED of FAILED"]);
    assert_eq!(agent.status("c1").message, Some(format!("cannot make the sandbox: {text}")));
}

#[test]
fn a_start_that_failed_names_the_step() {
    let mut agent = Fixture::registered(&[]);
    agent.run("c1", &task("c1"));
    agent.give(Input::StepDone { container: id("c1"), step: Step::Sandbox });
    agent.take();
    let failed = wire::StartFailed { container_id: "c1".to_owned(), step: "execute /bin/nope".to_owned(), errno: 2 };
    agent.supervised(supervisor_event::Kind::StartFailed(failed));
    assert_eq!(agent.effects(), ["persist status c1 FAILED", "send 1: update c1 FAILED of FAILED"]);
    let status = agent.status("c1");
    assert_eq!(status.message.unwrap(), "cannot execute /bin/nope: no such file or directory (os error 2)");
}

#[test]
fn a_kill_sends_sigterm_then_sigkill_to_the_whole_container() {
    let mut agent = Fixture::registered(&[Capability::TaskKillingState]);
    agent.running_and_known("c1");
    agent.kill("c1", Some(5 * SECOND));
    let expected = [
        "persist kill c1 5000ms",
        "persist status c1 KILLING",
        "send 1: update c1 KILLING of KILLING",
        "supervise 1: signal c1 15 tree",
    ];
    assert_eq!(agent.effects(), expected);
    agent.pass(5 * SECOND);
    assert_eq!(agent.effects(), ["supervise 1: signal c1 9 tree"]);
    let mut exit = exit("c1", 0);
    exit.status = Some(wire::exited::Status::Signal(9));
    agent.supervised(supervisor_event::Kind::Exited(exit));
    agent.acknowledge("c1");
    assert_eq!(agent.status("c1").message.unwrap(), "killed: command ended by signal SIGKILL (9)");
    assert_eq!(agent.status("c1").state(), TaskState::TaskKilled);
}

#[test]
fn a_repeated_kill_only_shortens_the_grace() {
    let mut agent = Fixture::registered(&[]);
    agent.running_and_known("c1");
    agent.kill("c1", None);
    assert_eq!(agent.effects(), ["persist kill c1 3000ms", "supervise 1: signal c1 15 tree"]);
    agent.kill("c1", Some(60 * SECOND));
    assert_eq!(agent.effects(), Vec::<String>::new());
    agent.kill("c1", Some(SECOND));
    assert_eq!(agent.effects(), ["persist kill c1 1000ms"]);
    agent.pass(SECOND);
    assert_eq!(agent.effects(), ["supervise 1: signal c1 9 tree"]);
}

#[test]
fn a_start_that_is_reported_again_repeats_the_signal_and_does_not_prolong_the_grace() {
    let mut agent = Fixture::registered(&[]);
    agent.running_and_known("c1");
    agent.kill("c1", Some(Duration::from_secs(5)));
    agent.pass(Duration::from_secs(4));
    agent.take();
    agent.supervised(supervisor_event::Kind::Started(started("c1")));
    assert_eq!(agent.effects(), ["supervise 1: signal c1 15 tree"]);
    agent.pass(Duration::from_secs(1));
    assert_eq!(agent.effects(), ["supervise 1: signal c1 9 tree"]);
}

#[test]
fn a_kill_before_the_start_starts_nothing() {
    let mut agent = Fixture::registered(&[]);
    agent.run("c1", &task("c1"));
    agent.take();
    agent.kill("c1", None);
    agent.kill("c1", None);
    assert_eq!(agent.effects(), ["cancel make the sandbox c1"]);
    agent.give(Input::StepDone { container: id("c1"), step: Step::Sandbox });
    assert_eq!(agent.effects(), ["persist status c1 KILLED", "send 1: update c1 KILLED of KILLED"]);
    assert_eq!(agent.status("c1").reason, Some(Reason::TaskKilledDuringLaunch as i32));
}

#[test]
fn a_kill_during_the_start_is_signalled_once_there_is_a_process() {
    let mut agent = Fixture::registered(&[]);
    agent.run("c1", &task("c1"));
    agent.give(Input::StepDone { container: id("c1"), step: Step::Sandbox });
    agent.take();
    agent.kill("c1", None);
    assert_eq!(agent.effects(), ["persist kill c1 3000ms"]);
    agent.supervised(supervisor_event::Kind::Started(started("c1")));
    assert_eq!(agent.effects(), ["persist started c1", "supervise 1: signal c1 15 tree"]);
}

#[test]
fn a_kill_of_an_unknown_task_is_ignored() {
    let mut agent = Fixture::registered(&[]);
    agent.kill("c1", None);
    assert_eq!(agent.effects(), Vec::<String>::new());
}

#[test]
fn a_task_that_exceeds_its_completion_time_fails_with_that_reason() {
    let mut agent = Fixture::registered(&[]);
    let mut limited = task("c1");
    limited.max_completion_time = Some(v1::DurationInfo { nanoseconds: 5_000_000_000 });
    agent.run("c1", &limited);
    agent.give(Input::StepDone { container: id("c1"), step: Step::Sandbox });
    agent.supervised(supervisor_event::Kind::Started(started("c1")));
    agent.acknowledge("c1");
    agent.take();
    agent.pass(5 * SECOND);
    assert_eq!(agent.effects(), ["persist kill c1 3000ms", "supervise 1: signal c1 15 tree"]);
    agent.exited("c1", 0);
    let status = agent.status("c1");
    assert_eq!((status.state(), status.reason), (TaskState::TaskFailed, Some(Reason::MaxCompletionTimeReached as i32)));
    let text = "ended by the agent: it took longer than max_completion_time, 5s: command exited with status 0";
    assert_eq!(status.message.unwrap(), text);
}

#[test]
fn an_acknowledgement_of_another_status_is_ignored() {
    let mut agent = Fixture::registered(&[]);
    agent.running("c1");
    agent.take();
    agent.receive(master_message::Kind::Acknowledge(wire::Acknowledge {
        framework_id: FRAMEWORK.to_owned(),
        task_id: "task-c1".to_owned(),
        uuid: vec![0; 16].into(),
    }));
    assert_eq!(agent.effects(), Vec::<String>::new());
}

#[test]
fn a_task_the_master_launched_that_never_arrived_is_reported_and_not_forgotten() {
    let mut agent = Fixture::recovered(&[]);
    agent.welcome(&[], &[]);
    let session = agent.attach();
    agent.take();
    let mut message = registered_by(1);
    if let Some(master_message::Kind::Registered(registered)) = &mut message.kind {
        registered.missing = vec![wire::MissingTask {
            framework_id: FRAMEWORK.to_owned(),
            task_id: "t".to_owned(),
            container_id: "c9".to_owned(),
            state: TaskState::TaskDropped as i32,
        }];
    }
    agent.give(Input::Received { session, message });
    let expected = [
        "persist! identity S0 boot + epoch 1",
        "persist accepted c9",
        "persist status c9 DROPPED",
        "send 1: update c9 DROPPED of DROPPED",
    ];
    assert_eq!(agent.effects(), expected);
    let status = agent.status("c9");
    assert_eq!((status.reason, status.source), (Some(Reason::Reconciliation as i32), Some(Source::Agent as i32)));
    let again = Fixture::recovered(&agent.log);
    assert_eq!(again.harness.core.task_count(), 1);
}

#[test]
fn a_removed_frameworks_tasks_are_killed_without_status_updates() {
    let mut agent = Fixture::registered(&[]);
    agent.running("c1");
    agent.running_and_known("c2");
    agent.receive(master_message::Kind::ShutdownFramework(wire::ShutdownFramework {
        framework_id: FRAMEWORK.to_owned(),
    }));
    let expected = [
        "persist framework forgotten f",
        "persist kill c1 3000ms",
        "supervise 1: signal c1 15 tree",
        "persist kill c2 3000ms",
        "supervise 1: signal c2 15 tree",
    ];
    assert_eq!(agent.effects(), expected);
    agent.exited("c1", 0);
    assert_eq!(agent.effects(), ["persist forgotten c1", "supervise 1: forget c1", "send 1: orphan gone c1"]);
    let mut again = Fixture::recovered(&agent.log);
    again.welcome(&["c2"], &[]);
    assert_eq!(again.effects(), ["supervise 1: signal c2 15 tree"], "the kill goes on after a restart");
    agent = again;
    agent.exited("c2", 0);
    assert_eq!(agent.effects(), ["persist forgotten c2", "supervise 1: forget c2"]);
}

#[test]
fn an_agent_marked_gone_kills_what_it_runs_and_ends() {
    let mut agent = Fixture::registered(&[]);
    agent.running_and_known("c1");
    agent.receive(master_message::Kind::Gone(wire::Gone {}));
    agent.take();
    agent.exited("c1", 0);
    let expected = [
        "persist forgotten c1",
        "supervise 1: forget c1",
        "send 1: orphan gone c1",
        "supervise 1: retire",
        "stop Gone",
    ];
    assert_eq!(agent.effects(), expected);
}

#[test]
fn an_agent_that_shuts_down_unregisters_when_nothing_runs_any_more() {
    let mut agent = Fixture::registered(&[]);
    agent.give(Input::ShutDown);
    assert_eq!(agent.effects(), ["send 1: unregister", "supervise 1: retire", "stop ShutDown"]);
}

#[test]
fn a_lost_supervisors_tasks_fail_with_that_reason_and_new_ones_wait_for_the_next() {
    let mut agent = Fixture::registered(&[]);
    agent.running_and_known("c1");
    agent.running_and_known("c3");
    agent.give(Input::SupervisorLost { supervisor: ONE, text: "the supervisor ended by signal 9".to_owned() });
    assert_eq!(agent.effects(), Vec::<String>::new(), "what it recorded is reported first");
    agent.welcome(&[], &[("c3", 0)]);
    let expected = [
        "persist status c3 FINISHED",
        "send 1: update c3 FINISHED of FINISHED",
        "persist status c1 FAILED",
        "send 1: update c1 FAILED of FAILED",
    ];
    assert_eq!(agent.effects(), expected);
    assert_eq!(agent.status("c1").reason, Some(Reason::ExecutorTerminated as i32));
    assert_eq!(agent.status("c1").message.unwrap(), "the supervisor ended by signal 9");
    agent.run("c2", &task("c2"));
    agent.give(Input::StepDone { container: id("c2"), step: Step::Sandbox });
    assert_eq!(agent.effects(), ["persist accepted c2", "make the sandbox c2"]);
    let event =
        wire::SupervisorEvent { kind: Some(supervisor_event::Kind::Welcome(wire::SupervisorWelcome::default())) };
    agent.give(Input::Supervised { supervisor: SupervisorId(2), event });
    assert_eq!(agent.effects(), ["persist starts go to pid 0", "supervise 2: start c2"]);
    agent.acknowledge("c3");
    assert_eq!(agent.effects(), ["persist acknowledged c3 + forgotten c3", "supervise 1: forget c3"]);
}

#[test]
fn a_launch_waits_ten_seconds_for_a_supervisor_that_cannot_be_started_and_is_dropped_for_that_reason() {
    let mut agent = Fixture::registered(&[Capability::PartitionAware]);
    agent.give(Input::SupervisorEnded { supervisor: ONE });
    let failed = || Input::NoSupervisor { text: "no space left on device".to_owned() };
    agent.give(failed());
    agent.pass(Duration::from_secs(8));
    agent.run("c1", &task("c1"));
    agent.give(Input::StepDone { container: id("c1"), step: Step::Sandbox });
    agent.run("c2", &task("c2"));
    agent.give(failed());
    assert_eq!(
        agent.effects(),
        ["persist accepted c1", "make the sandbox c1", "persist accepted c2", "make the sandbox c2"],
        "it may work yet"
    );
    agent.pass(Duration::from_secs(2));
    agent.give(failed());
    assert_eq!(agent.effects(), ["persist status c1 DROPPED", "send 1: update c1 DROPPED of DROPPED"]);
    let status = agent.status("c1");
    assert_eq!(status.reason, Some(Reason::ContainerLaunchFailed as i32));
    assert!(status.message.unwrap().ends_with("cannot start one: no space left on device"));
    // A supervisor greets after all, and ends again: the ten seconds begin anew.
    let welcome = supervisor_event::Kind::Welcome(wire::SupervisorWelcome::default());
    let event = wire::SupervisorEvent { kind: Some(welcome) };
    agent.give(Input::Supervised { supervisor: SupervisorId(2), event });
    agent.give(Input::SupervisorEnded { supervisor: SupervisorId(2) });
    agent.give(Input::StepDone { container: id("c2"), step: Step::Sandbox });
    agent.take();
    agent.give(failed());
    assert_eq!(agent.effects(), Vec::<String>::new());
}

#[test]
fn a_supervisor_that_ends_without_a_report_ends_its_tasks() {
    let mut agent = Fixture::registered(&[]);
    agent.running_and_known("c1");
    agent.give(Input::SupervisorEnded { supervisor: ONE });
    let expected = ["persist status c1 FAILED", "send 1: update c1 FAILED of FAILED", "persist supervisor ended pid 1"];
    assert_eq!(agent.effects(), expected);
    agent.acknowledge("c1");
    assert_eq!(agent.effects(), ["persist acknowledged c1 + forgotten c1"]);
}

#[test]
fn an_earlier_supervisor_is_retired_when_a_later_one_greets() {
    let mut agent = Fixture::registered(&[]);
    let welcome =
        wire::SupervisorEvent { kind: Some(supervisor_event::Kind::Welcome(wire::SupervisorWelcome::default())) };
    agent.give(Input::Supervised { supervisor: SupervisorId(2), event: welcome.clone() });
    assert_eq!(agent.effects(), ["supervise 1: retire"]);
    agent.give(Input::Supervised { supervisor: SupervisorId(2), event: welcome });
    assert_eq!(agent.effects(), Vec::<String>::new());
}

#[test]
fn frameworks_without_tasks_are_not_remembered_beyond_a_session() {
    let mut agent = Fixture::registered(&[]);
    agent.give(Input::Detached { session: SessionId(1), leader: None });
    agent.attach();
    assert_eq!(agent.effects(), ["attach 2", "persist framework forgotten f", "send 2: register []"]);
}

#[test]
fn the_same_seed_and_inputs_give_the_same_effects() {
    let run = || {
        let mut agent = Fixture::registered(&[Capability::TaskKillingState]);
        agent.running("c1");
        agent.kill("c1", None);
        agent.pass_to_deadline();
        agent.take()
    };
    assert_eq!(run(), run());
}

#[test]
fn a_container_id_that_is_used_again_never_has_its_sandbox_removed_under_it() {
    let mut agent = Fixture::registered(&[]);
    agent.running_and_known("c1");
    agent.exited("c1", 0);
    agent.acknowledge("c1");
    agent.take();
    agent.run("c1", &task("c1"));
    assert_eq!(agent.effects(), ["persist accepted c1", "make the sandbox c1"]);
    agent.pass(Retention::default().keep);
    assert!(!agent.effects().contains(&"remove sandbox c1".to_owned()));
    agent.give(Input::StepFailed { container: id("c1"), step: Step::Sandbox, text: "it exists".to_owned() });
    assert_eq!(agent.status("c1").state(), TaskState::TaskFailed);
}
