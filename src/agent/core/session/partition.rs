//! Stops tasks while no master has the agent: `partition_policy.stop_after` of each task.
//!
//! The time counts from when the agent notices that it lost its master, on its host's clock. That moment is recorded if
//! a task has such a policy, so that a restart of the agent does not extend the time. An agent that starts without such
//! a record counts from its own start.

use crate::agent::core::containers::Container;
use crate::agent::core::time::moments::Moment;
use crate::agent::core::time::timers::Timer;
use crate::agent::core::{Agent, ContainerId, Effect, Level, persist, persist_records};
use crate::proto::internal::AgentRecord;
use crate::proto::internal::agent_record::Kind;
use crate::proto::v1::task_status::Reason;
use crate::types::Now;

/// Since when no master has the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::agent::core) struct CutOff {
    pub(in crate::agent::core) since: Moment,
    /// Whether it is recorded in the log.
    pub(in crate::agent::core) written: bool,
}

impl CutOff {
    pub(in crate::agent::core) fn record(&self) -> AgentRecord {
        self.since.record(Kind::CutOff(self.since.wall_ns))
    }
}

/// The recorded time when a master has the agent again.
pub(in crate::agent::core) const NOT_CUT_OFF: i64 = 0;

impl Agent {
    pub(in crate::agent::core) fn replay_cut_off(&mut self, since_wall_ns: i64, boot_ns: u64) {
        let written = since_wall_ns != NOT_CUT_OFF;
        self.cut_off = written.then_some(CutOff { since: Moment::read(since_wall_ns, boot_ns), written });
    }

    /// No master has the agent, now or still.
    pub(in crate::agent::core) fn begin_cut_off(&mut self, now: Now, out: &mut Vec<Effect>) {
        let stopping = |_: &ContainerId, it: &Container| it.limits.without_master.is_some() && !it.has_ended();
        let stopping = self.containers.ids(stopping);
        let begun = CutOff { since: self.moment(now), written: false };
        let cut_off = self.cut_off.get_or_insert(begun);
        if !cut_off.written && !stopping.is_empty() {
            cut_off.written = true;
            out.push(persist_records(vec![cut_off.record()]));
        }
        let since = cut_off.since;
        let passed = self.passed_since(now, since);
        for id in stopping {
            let Some(container) = self.containers.get_mut(&id) else { continue };
            let Some(stop_after) = container.limits.without_master else { continue };
            let at = now.mono_after(stop_after.saturating_sub(passed));
            self.timers.arm(container.stop_at.replace(at), at, Timer::CutOff(id));
        }
    }

    /// A master has registered the agent: tasks that were not stopped yet run on.
    pub(in crate::agent::core) fn end_cut_off(&mut self, out: &mut Vec<Effect>) {
        if self.cut_off.take().is_some_and(|cut_off| cut_off.written) {
            out.push(persist([Kind::CutOff(NOT_CUT_OFF)], Level::Process));
        }
        for (id, container) in self.containers.iter_mut() {
            self.timers.disarm(container.stop_at.take(), Timer::CutOff(id.clone()));
        }
    }

    /// Kills a task whose time without a master is over.
    pub(in crate::agent::core) fn stop_due(&mut self, now: Now, id: &ContainerId, out: &mut Vec<Effect>) {
        let Some(container) = self.containers.get_mut(id) else { return };
        container.stop_at = None;
        if container.kill.is_none() {
            let grace = container.grace_or_default();
            self.kill(now, id, grace, Some(Reason::AgentDisconnected), out);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::agent::core::tests::fixture::{Fixture, ONE, found, id, registered_by, task};
    use crate::agent::core::{Input, SessionId, Step};
    use crate::proto::v1::task_status::Reason;
    use crate::proto::v1::{TaskInfo, TaskState};
    use crate::types::PartitionPolicy;

    const SECOND: Duration = Duration::from_secs(1);

    fn stopping(container: &str, after: Duration) -> TaskInfo {
        task(container).with_partition_policy(PartitionPolicy::default().stopping_after(after))
    }

    /// An agent that runs `c1`, which stops after 10 s without a master, and `c2`, which does not.
    fn agent() -> Fixture {
        let mut agent = Fixture::registered(&[]);
        agent.started_as("c1", &stopping("c1", 10 * SECOND));
        agent.started_as("c2", &task("c2"));
        for container in ["c1", "c2"] {
            agent.acknowledge(container);
        }
        agent.take();
        agent
    }

    fn cut(agent: &mut Fixture) {
        agent.give(Input::Detached { session: SessionId(1), leader: None });
    }

    /// The effects without attempts to attach.
    fn effects(agent: &mut Fixture) -> Vec<String> {
        agent.effects().into_iter().filter(|effect| !effect.starts_with("attach")).collect()
    }

    #[test]
    fn a_task_is_killed_when_it_has_been_cut_off_for_as_long_as_it_may_and_others_run_on() {
        let mut agent = agent();
        cut(&mut agent);
        assert_eq!(agent.effects(), [format!("persist cut off {}", agent.now.wall_ns)]);
        agent.pass(Duration::from_nanos(9_999_999_999));
        assert_eq!(effects(&mut agent), Vec::<String>::new());
        agent.pass(Duration::from_nanos(1));
        assert_eq!(effects(&mut agent), ["persist kill c1 3000ms", "supervise 1: signal c1 15 tree"]);
        agent.exited("c1", 0);
        let status = agent.status("c1");
        assert_eq!(status.state(), TaskState::TaskKilled);
        assert_eq!(status.reason, Some(Reason::AgentDisconnected as i32));
        let text = "killed after 10s without a master, as its partition policy requires: command exited with status 0";
        assert_eq!(status.message.unwrap(), text);
        assert!(agent.harness.core.is_live(&id("c2")));
    }

    #[test]
    fn a_task_whose_agent_reregisters_in_time_runs_on_and_has_its_full_time_again() {
        let mut agent = agent();
        cut(&mut agent);
        agent.pass(9 * SECOND);
        let attached = agent.effects().iter().find_map(|it| it.strip_prefix("attach ")?.parse().ok());
        let session = SessionId(attached.expect("it tries again"));
        agent.give(Input::Attached { session });
        agent.take();
        agent.give(Input::Received { session, message: registered_by(1) });
        assert_eq!(agent.effects(), ["persist cut off 0"]);
        agent.pass(5 * SECOND);
        agent.give(Input::Detached { session, leader: None });
        agent.pass(9 * SECOND);
        assert!(effects(&mut agent).iter().all(|effect| !effect.contains("kill")));
        agent.pass(SECOND);
        assert!(effects(&mut agent).contains(&"supervise 1: signal c1 15 tree".to_owned()));
    }

    #[test]
    fn a_restart_while_cut_off_does_not_extend_the_time() {
        let mut agent = agent();
        cut(&mut agent);
        for log in [agent.log.clone(), agent.harness.core.snapshot()] {
            let later = agent.now.advanced(4 * SECOND);
            let mut again = Fixture::recovered_at(&log, later, found(&[ONE]));
            again.welcome(&["c1", "c2"], &[]);
            assert_eq!(effects(&mut again), Vec::<String>::new());
            again.pass(6 * SECOND);
            assert!(effects(&mut again).contains(&"supervise 1: signal c1 15 tree".to_owned()));
        }
    }

    #[test]
    fn a_restarted_agent_without_a_master_counts_from_its_start() {
        let mut agent = agent();
        let later = agent.now.advanced(60 * SECOND);
        let mut again = Fixture::recovered_at(&agent.log, later, found(&[ONE]));
        agent.take();
        again.welcome(&["c1", "c2"], &[]);
        assert_eq!(effects(&mut again), [format!("persist cut off {}", later.wall_ns)]);
        again.pass(10 * SECOND);
        assert!(effects(&mut again).contains(&"supervise 1: signal c1 15 tree".to_owned()));
    }

    #[test]
    fn a_clock_that_was_set_back_restarts_the_time_and_does_not_extend_it() {
        let mut agent = agent();
        cut(&mut agent);
        let mut earlier = agent.now;
        earlier.wall_ns -= 3_600_000_000_000;
        let mut again = Fixture::recovered_at(&agent.log, earlier, found(&[ONE]));
        again.welcome(&["c1", "c2"], &[]);
        again.take();
        again.pass(10 * SECOND);
        assert!(effects(&mut again).contains(&"supervise 1: signal c1 15 tree".to_owned()));
    }

    #[test]
    fn a_task_that_stops_at_once_also_stops_before_it_has_started() {
        let mut agent = Fixture::registered(&[]);
        agent.run("c1", &stopping("c1", Duration::ZERO));
        agent.take();
        cut(&mut agent);
        agent.give(Input::Tick);
        let cut_off = format!("persist cut off {}", agent.now.wall_ns);
        assert_eq!(effects(&mut agent), [cut_off, "cancel make the sandbox c1".to_owned()]);
        agent.give(Input::StepDone { container: crate::agent::core::tests::fixture::id("c1"), step: Step::Sandbox });
        assert_eq!(effects(&mut agent), ["persist status c1 KILLED"]);
        assert_eq!(agent.status("c1").reason, Some(Reason::AgentDisconnected as i32));
    }
}
