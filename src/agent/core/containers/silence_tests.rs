//! Supervisors that are alive and do not answer, and containers that none of them names.

use std::time::Duration;

use crate::agent::core::tests::fixture::{Fixture, ONE, found, id, started, task};
use crate::agent::core::*;
use crate::proto::internal::{self as wire, supervisor_event};
use crate::proto::v1::TaskState;
use crate::proto::v1::framework_info::capability::Type as Capability;
use crate::proto::v1::task_status::Reason;

const SECOND: Duration = Duration::from_secs(1);
const TWO: SupervisorId = SupervisorId(2);

fn silent(agent: &mut Fixture) {
    agent.give(Input::SupervisorSilent { supervisor: ONE, text: "it does not answer".to_owned() });
}

fn greets(agent: &mut Fixture, supervisor: SupervisorId, running: &[&str]) {
    let running = running.iter().map(|id| started(id)).collect();
    let welcome = wire::SupervisorWelcome { version: 2, pid: supervisor.0, running, ..Default::default() };
    let event = wire::SupervisorEvent { kind: Some(supervisor_event::Kind::Welcome(welcome)) };
    agent.give(Input::Supervised { supervisor, event });
}

/// An agent that was restarted and finds the supervisor of `c1` silent.
fn restarted() -> Fixture {
    let mut before = Fixture::registered(&[]);
    before.running_and_known("c1");
    let mut agent = Fixture::recovered_at(&before.log, before.now, found(&[ONE]));
    silent(&mut agent);
    agent
}

#[test]
fn a_restarted_agent_registers_while_a_supervisor_is_silent_and_its_tasks_keep_their_state() {
    let mut agent = restarted();
    agent.take();
    agent.attach();
    assert_eq!(agent.effects(), ["attach 1", "send 1: register [c1 RUNNING]"]);
    agent.pass(Duration::from_hours(24));
    assert!(agent.harness.core.is_live(&id("c1")));
    let problems = agent.harness.core.problems();
    assert!(matches!(&problems[..], [Problem::SilentSupervisor { supervisor: ONE, .. }]), "{problems:?}");
}

#[test]
fn new_tasks_go_to_another_supervisor_and_the_silent_one_retires_when_it_answers() {
    let mut agent = restarted();
    greets(&mut agent, TWO, &[]);
    agent.register();
    agent.take();
    agent.run("c2", &task("c2"));
    agent.give(Input::StepDone { container: id("c2"), step: Step::Sandbox });
    assert_eq!(agent.effects().last().unwrap(), "supervise 2: start c2");
    greets(&mut agent, ONE, &["c1"]);
    assert_eq!(agent.effects(), ["supervise 1: retire"], "it may not have received the first");
    assert_eq!(agent.harness.core.problems(), []);
    agent.exited("c1", 6);
    assert_eq!(agent.status("c1").state(), TaskState::TaskFailed);
    assert!(agent.status("c1").process_end.is_some());
}

#[test]
fn a_running_agent_concludes_nothing_from_a_supervisor_that_falls_silent() {
    let mut agent = Fixture::registered(&[]);
    agent.running_and_known("c1");
    silent(&mut agent);
    agent.run("c2", &task("c2"));
    agent.give(Input::StepDone { container: id("c2"), step: Step::Sandbox });
    assert_eq!(agent.effects(), ["persist accepted c2", "make the sandbox c2"]);
    greets(&mut agent, TWO, &[]);
    assert_eq!(agent.effects(), ["supervise 1: retire", "persist starts go to pid 2", "supervise 2: start c2"]);
    assert!(agent.harness.core.is_live(&id("c1")));
}

#[test]
fn a_kill_waits_for_a_silent_supervisor_and_its_grace_begins_with_the_signal() {
    let mut agent = Fixture::registered(&[]);
    agent.running_and_known("c1");
    silent(&mut agent);
    agent.kill("c1", Some(5 * SECOND));
    assert_eq!(agent.effects(), ["persist kill c1 5000ms"]);
    agent.pass(60 * SECOND);
    assert!(agent.effects().iter().all(|effect| !effect.contains("signal")));
    greets(&mut agent, ONE, &["c1"]);
    assert_eq!(agent.effects(), ["supervise 1: signal c1 15 tree"]);
    agent.pass(4 * SECOND);
    assert_eq!(agent.effects(), Vec::<String>::new());
    agent.pass(SECOND);
    assert_eq!(agent.effects(), ["supervise 1: signal c1 9 tree"]);
}

#[test]
fn a_supervisor_that_was_silent_on_an_open_connection_counts_as_answering_with_its_first_event() {
    let mut agent = Fixture::registered(&[]);
    agent.running_and_known("c1");
    agent.running_and_known("c2");
    silent(&mut agent);
    greets(&mut agent, TWO, &[]);
    agent.take();
    agent.kill("c1", Some(5 * SECOND));
    agent.pass(60 * SECOND);
    assert!(agent.effects().iter().all(|effect| !effect.contains("signal")));
    agent.exited("c2", 0);
    assert_eq!(agent.harness.core.problems(), []);
    assert!(agent.effects().contains(&"supervise 1: signal c1 15 tree".to_owned()));
    agent.pass(5 * SECOND);
    assert_eq!(agent.effects(), ["supervise 1: signal c1 9 tree"]);
    agent.run("c3", &task("c3"));
    agent.give(Input::StepDone { container: id("c3"), step: Step::Sandbox });
    assert_eq!(agent.effects().last().unwrap(), "supervise 2: start c3", "it is retired");
}

#[test]
fn what_no_supervisor_names_ends_only_when_its_processes_are_gone() {
    let mut before = Fixture::registered(&[]);
    before.running_and_known("c1");
    let mut agent = Fixture::recovered_at(&before.log, before.now, found(&[ONE]));
    agent.host_answers = false;
    greets(&mut agent, ONE, &[]);
    let asked = agent.take().into_iter().find_map(|effect| match effect {
        Effect::EndLeftovers { leftovers } => Some(leftovers),
        _ => None,
    });
    let process = Some(Process { pid: 77, start_time: 5 });
    assert_eq!(asked, Some(vec![Leftover { container: id("c1"), process }]));
    assert!(agent.harness.core.is_live(&id("c1")));
    agent.give(Input::LeftoversEnded { containers: vec![id("c1")] });
    assert_eq!(agent.status("c1").reason(), Reason::ExecutorTerminated);
}

#[test]
fn registration_waits_a_while_for_leftovers_and_then_reports_them_as_they_were() {
    let mut before = Fixture::registered(&[]);
    before.running_and_known("c1");
    let mut agent = Fixture::recovered_at(&before.log, before.now, found(&[ONE]));
    agent.host_answers = false;
    greets(&mut agent, ONE, &[]);
    agent.take();
    agent.pass(10 * SECOND);
    agent.attach();
    assert_eq!(agent.effects(), ["attach 1", "send 1: register [c1 RUNNING]"]);
    agent
        .give(Input::Received { session: SessionId(1), message: crate::agent::core::tests::fixture::registered_by(1) });
    agent.give(Input::LeftoversEnded { containers: vec![id("c1")] });
    assert_eq!(agent.status("c1").state(), TaskState::TaskFailed);
}

#[test]
fn a_launch_while_the_disk_is_full_is_dropped_and_accepted_again_when_there_is_room() {
    let mut agent = Fixture::registered(&[Capability::PartitionAware]);
    agent.running_and_known("c0");
    agent.give(Input::DiskFull { text: "no space left on device".to_owned() });
    agent.run("c1", &task("c1"));
    let status = agent.status("c1");
    assert_eq!(status.state(), TaskState::TaskDropped);
    let text = "the agent takes no tasks while the disk of its work directory is full: no space left on device";
    assert_eq!(status.message.unwrap(), text);
    agent.exited("c0", 0);
    assert_eq!(agent.status("c0").state(), TaskState::TaskFinished, "ends of others are reported");
    assert_eq!(agent.harness.core.problems().len(), 1);
    agent.give(Input::DiskHasRoom);
    assert_eq!(agent.harness.core.problems(), []);
    agent.take();
    agent.run("c2", &task("c2"));
    assert_eq!(agent.effects(), ["persist accepted c2", "make the sandbox c2"]);
}

/// An agent that sent the start of `c1` to its supervisor, and crashed before any answer.
fn crashed_while_starting() -> Fixture {
    let mut before = Fixture::registered(&[Capability::PartitionAware]);
    before.run("c1", &task("c1"));
    before.give(Input::StepDone { container: id("c1"), step: Step::Sandbox });
    assert_eq!(before.effects().last().unwrap(), "supervise 1: start c1");
    before
}

#[test]
fn a_start_that_may_have_reached_a_supervisor_that_is_not_found_is_gone_and_not_dropped() {
    let before = crashed_while_starting();
    for log in [before.log.clone(), before.harness.core.snapshot()] {
        // The folder of the supervisors was removed: the one there is now was started by this run of the agent.
        let mut agent = Fixture::recovered_at(&log, before.now, found(&[ONE]));
        greets_as(&mut agent, ONE, "another folder");
        let status = agent.status("c1");
        assert_eq!((status.state(), status.reason()), (TaskState::TaskGone, Reason::AgentRestarted));
        let text = "a supervisor that may have started it is not there any more; whether it ran is not known";
        assert_eq!(status.message.unwrap(), text);
    }
}

#[test]
fn a_kill_of_such_a_start_is_not_reported_as_before_the_start() {
    let mut before = crashed_while_starting();
    before.kill("c1", None);
    let mut agent = Fixture::recovered_at(&before.log, before.now, found(&[ONE]));
    greets_as(&mut agent, ONE, "another folder");
    assert_eq!(agent.status("c1").state(), TaskState::TaskGone);
}

#[test]
fn a_start_that_was_never_sent_is_dropped_once_every_recorded_supervisor_has_greeted() {
    let before = crashed_while_starting();
    let mut agent = Fixture::recovered_at(&before.log, before.now, found(&[ONE, TWO]));
    greets_as(&mut agent, TWO, "another folder");
    assert!(agent.harness.core.is_live(&id("c1")), "the one that may have it has not greeted");
    greets(&mut agent, ONE, &[]);
    assert_eq!(agent.status("c1").state(), TaskState::TaskDropped);
}

#[test]
fn a_launch_before_the_first_sent_start_is_dropped() {
    let mut before = Fixture::registered(&[Capability::PartitionAware]);
    before.run("c1", &task("c1"));
    let mut again = Fixture::recovered_at(&before.log, before.now, found(&[ONE]));
    greets_as(&mut again, ONE, "another folder");
    assert_eq!(again.status("c1").state(), TaskState::TaskDropped);
}

#[test]
fn a_supervisor_that_is_missing_is_on_record_until_what_it_may_have_started_is_ended() {
    let before = crashed_while_starting();
    let mut agent = Fixture::recovered_at(&before.log, before.now, found(&[ONE]));
    agent.host_answers = false;
    greets_as(&mut agent, ONE, "another folder");
    assert_eq!(agent.effects(), ["end leftovers [c1]"]);
    agent.give(Input::LeftoversEnded { containers: vec![id("c1")] });
    assert_eq!(agent.effects(), ["persist status c1 GONE", "persist supervisor ended pid 1"]);
}

#[test]
fn a_log_that_records_no_supervisors_proves_nothing_of_a_start() {
    let before = crashed_while_starting();
    let records = |record: &&wire::AgentRecord| !matches!(record.kind, Some(agent_record::Kind::StartsGoTo(_)));
    let older: Vec<_> = before.log.iter().filter(records).cloned().collect();
    assert_eq!(older.len() + 2, before.log.len());
    let mut agent = Fixture::recovered_at(&older, before.now, found(&[ONE]));
    greets(&mut agent, ONE, &[]);
    assert_eq!(agent.status("c1").state(), TaskState::TaskGone);
}

fn greets_as(agent: &mut Fixture, supervisor: SupervisorId, folder: &str) {
    let welcome = wire::SupervisorWelcome { version: 3, pid: 9, folder: folder.to_owned(), ..Default::default() };
    let event = wire::SupervisorEvent { kind: Some(supervisor_event::Kind::Welcome(welcome)) };
    agent.give(Input::Supervised { supervisor, event });
}

/// Greets with the records of a copy of the folder of `c1`'s supervisor.
fn copy_greets(agent: &mut Fixture) {
    let lost = wire::exited::Status::Lost("started on a copy".to_owned());
    let exited = vec![wire::Exited { container_id: "c1".to_owned(), status: Some(lost), ..Default::default() }];
    let folder = "the copy".to_owned();
    let welcome = wire::SupervisorWelcome { version: 3, folder, exited, retired: true, ..Default::default() };
    let event = wire::SupervisorEvent { kind: Some(supervisor_event::Kind::Welcome(welcome)) };
    agent.give(Input::Supervised { supervisor: TWO, event });
}

#[test]
fn a_copy_of_the_folder_of_a_live_supervisor_ends_nothing_whichever_greets_first() {
    for copy_first in [false, true] {
        let mut before = Fixture::registered(&[]);
        before.running_and_known("c1");
        let supervisors = vec![FoundSupervisor { id: ONE, died: false }, FoundSupervisor { id: TWO, died: true }];
        let found = Found { supervisors, ..found(&[]) };
        let mut agent = Fixture::recovered_at(&before.log, before.now, found);
        if copy_first {
            copy_greets(&mut agent);
            greets(&mut agent, ONE, &["c1"]);
        } else {
            greets(&mut agent, ONE, &["c1"]);
            copy_greets(&mut agent);
        }
        assert!(agent.harness.core.is_live(&id("c1")), "copy first: {copy_first}");
        assert!(agent.effects().contains(&"supervise 2: forget c1".to_owned()));
        agent.exited("c1", 0);
        assert_eq!(agent.status("c1").state(), TaskState::TaskFinished);
    }
}

#[test]
fn what_only_a_copy_names_is_lost_once_all_others_have_greeted() {
    let mut before = Fixture::registered(&[]);
    before.running_and_known("c1");
    let supervisors = vec![FoundSupervisor { id: ONE, died: false }, FoundSupervisor { id: TWO, died: true }];
    let mut agent = Fixture::recovered_at(&before.log, before.now, Found { supervisors, ..found(&[]) });
    copy_greets(&mut agent);
    assert!(agent.harness.core.is_live(&id("c1")));
    greets(&mut agent, ONE, &[]);
    assert_eq!(agent.status("c1").state(), TaskState::TaskFailed);
    assert_eq!(agent.status("c1").message.unwrap(), "started on a copy");
}
