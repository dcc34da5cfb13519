//! Recorded moments, and how long ago they were after a restart of the agent.
//!
//! Within one boot of the host its monotonic clock counts, which cannot be set. The wall clock counts only for moments
//! recorded before the host restarted. So an adjustment of the wall clock ends no task early.

use std::time::Duration;

use crate::agent::core::Agent;
use crate::proto::internal::{AgentRecord, agent_record};
use crate::types::Now;

/// A point in time that can be recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::agent::core) struct Moment {
    pub(in crate::agent::core) wall_ns: i64,
    /// On the host's monotonic clock, if in this boot.
    boot_ns: Option<u64>,
}

impl Moment {
    /// The moment that a record holds.
    pub(in crate::agent::core) fn read(wall_ns: i64, boot_ns: u64) -> Self {
        Self { wall_ns, boot_ns: (boot_ns != 0).then_some(boot_ns) }
    }

    /// The record of an event at this moment.
    pub(in crate::agent::core) fn record(self, kind: agent_record::Kind) -> AgentRecord {
        AgentRecord { kind: Some(kind), boot_ns: self.boot_ns.unwrap_or(0) }
    }

    /// Marks it as before the host's restart.
    fn age(&mut self) {
        self.boot_ns = None;
    }
}

impl Agent {
    /// The current moment.
    pub(in crate::agent::core) fn moment(&self, now: Now) -> Moment {
        Moment { wall_ns: now.wall_ns, boot_ns: self.boot_ns(now) }
    }

    /// How long ago a moment was.
    pub(in crate::agent::core) fn passed_since(&self, now: Now, moment: Moment) -> Duration {
        let passed_ns = match (moment.boot_ns, self.boot_ns(now)) {
            (Some(then), Some(now)) => now.saturating_sub(then),
            (None, _) | (_, None) => u64::try_from(now.wall_ns.saturating_sub(moment.wall_ns)).unwrap_or(0),
        };
        Duration::from_nanos(passed_ns)
    }

    /// The host's monotonic clock. The shell's began to count some time after it.
    fn boot_ns(&self, now: Now) -> Option<u64> {
        self.booted_before_ns.map(|before| now.mono_ns.saturating_add(before))
    }

    /// Marks all moments so far as before the host's restart.
    pub(in crate::agent::core) fn age_moments(&mut self) {
        for (_, container) in self.containers.iter_mut() {
            container.accepted_at.age();
            if let Some(kill) = &mut container.kill {
                kill.requested_at.age();
            }
        }
        if let Some(cut_off) = &mut self.cut_off {
            cut_off.since.age();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::core::Found;
    use crate::agent::core::tests::fixture::{Fixture, ONE, found, task};
    use crate::proto::v1::{DurationInfo, TaskInfo};
    use crate::types::PartitionPolicy;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(now: Now) -> Found {
        Found { boot_ns: Some(now.mono_ns + 7_000_000_000), ..found(&[ONE]) }
    }

    /// An agent that runs `c1`.
    fn agent(info: &TaskInfo) -> Fixture {
        let now = Now { mono_ns: 0, wall_ns: 1_000_000_000_000 };
        let mut agent = Fixture::recovered_at(&[], now, at(now)).with_a_framework(&[]);
        agent.started_as("c1", info);
        agent.acknowledge("c1");
        agent
    }

    /// The agent after it, two seconds later in the same boot, when the clock on the wall was put forward by an hour.
    /// Its own clock begins anew.
    fn restarted(agent: &Fixture) -> Fixture {
        let later = agent.now.advanced(2 * SECOND);
        let now = Now { mono_ns: 0, wall_ns: later.wall_ns + 3_600_000_000_000 };
        let mut again = Fixture::recovered_at(&agent.log, now, Found { boot_ns: at(later).boot_ns, ..at(now) });
        again.welcome(&["c1"], &[]);
        again
    }

    fn signals(agent: &mut Fixture) -> Vec<String> {
        agent.effects().into_iter().filter(|effect| effect.starts_with("supervise")).collect()
    }

    #[test]
    fn a_clock_put_forward_while_the_agent_was_away_ends_no_task_before_its_time() {
        let limit = Some(DurationInfo { nanoseconds: 10_000_000_000 });
        let limited = TaskInfo { max_completion_time: limit, ..task("c1") };
        let mut again = restarted(&agent(&limited));
        again.pass(7 * SECOND);
        assert_eq!(signals(&mut again), Vec::<String>::new());
        again.pass(SECOND);
        assert_eq!(signals(&mut again), ["supervise 1: signal c1 15 tree"]);
    }

    #[test]
    fn a_clock_put_forward_shortens_neither_a_grace_nor_the_time_without_a_master() {
        let mut killed = agent(&task("c1"));
        killed.kill("c1", Some(10 * SECOND));
        let mut again = restarted(&killed);
        assert_eq!(signals(&mut again), ["supervise 1: signal c1 15 tree"]);
        again.pass(7 * SECOND);
        assert_eq!(signals(&mut again), Vec::<String>::new());
        again.pass(SECOND);
        assert_eq!(signals(&mut again), ["supervise 1: signal c1 9 tree"]);

        let policy = PartitionPolicy::default().stopping_after(10 * SECOND);
        let mut alone = agent(&task("c1").with_partition_policy(policy));
        alone.give(crate::agent::core::Input::Detached { session: crate::agent::core::SessionId(1), leader: None });
        let mut again = restarted(&alone);
        again.pass(7 * SECOND);
        assert_eq!(signals(&mut again), Vec::<String>::new());
        again.pass(SECOND);
        assert_eq!(signals(&mut again), ["supervise 1: signal c1 15 tree"]);
    }

    #[test]
    fn a_compaction_keeps_moments_and_the_wall_clock_counts_where_nothing_else_is_known() {
        let limit = Some(DurationInfo { nanoseconds: 10_000_000_000 });
        let mut agent = agent(&TaskInfo { max_completion_time: limit, ..task("c1") });
        agent.log = agent.harness.core.snapshot();
        assert_eq!(signals(&mut restarted(&agent)), Vec::<String>::new());
        // As an earlier build wrote it, or in another boot.
        for record in &mut agent.log {
            record.boot_ns = 0;
        }
        let mut again = restarted(&agent);
        again.give(crate::agent::core::Input::Tick);
        assert_eq!(signals(&mut again), ["supervise 1: signal c1 15 tree"]);
    }

    #[test]
    fn a_restart_of_the_host_ages_what_was_written_before_it() {
        let mut agent = agent(&task("c1"));
        agent.kill("c1", Some(10 * SECOND));
        let known =
            |agent: &Fixture| agent.harness.core.containers.iter().all(|(_, it)| it.accepted_at.boot_ns.is_some());
        assert!(known(&agent));
        let now = agent.now;
        let other = Found { boot_id: "another".to_owned(), ..at(now) };
        let again = Fixture::recovered_at(&agent.log, now, other);
        assert!(!known(&again) && again.harness.core.moment(now).boot_ns.is_some());
        // The log continues in the other boot: moments of the previous one stay marked as old.
        let identity = agent_record::Kind::Identity(crate::proto::internal::Identity {
            agent_id: "S0".to_owned(),
            boot_id: "another".to_owned(),
            ..Default::default()
        });
        agent.log.push(again.harness.core.moment(now).record(identity));
        let other = Found { boot_id: "another".to_owned(), ..at(now) };
        assert!(!known(&Fixture::recovered_at(&agent.log, now, other)));
    }
}
