//! What a history is made of: sizes, times, and which faults there are at all; drawn from the seed.
//!
//! Few kinds of fault in one history reach further than all at once, so each kind is in about a third of them.

use std::time::Duration;

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

use super::chance::{millis, percent};
use crate::master::core::Config;

/// The measures of one history.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) agents: usize,
    /// One entry per framework: how many tasks it has at first.
    pub(super) frameworks: Vec<Wishes>,
    /// Of each agent.
    pub(super) cpus: u32,
    pub(super) latency: Duration,
    pub(super) master: Config,
    /// How long everything goes wrong.
    pub(super) trouble: Duration,
    pub(super) faults: Faults,
}

/// What a framework wants and how it behaves.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is drawn by itself")]
pub(super) struct Wishes {
    pub(super) tasks: u32,
    pub(super) partition_aware: bool,
    pub(super) failover: Duration,
    /// Suppresses its role when nothing is to be launched.
    pub(super) suppresses: bool,
    /// States its demand.
    pub(super) requests: bool,
    pub(super) explicit: bool,
    /// Is torn down by an operator when the trouble ends.
    pub(super) torn_down: bool,
}

/// Which faults there are.
#[derive(Clone, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is drawn by itself")]
pub(super) struct Faults {
    /// Mean time between two faults of the kinds below.
    pub(super) every: Duration,
    pub(super) agent_crashes: bool,
    pub(super) host_crashes: bool,
    pub(super) master_crashes: bool,
    pub(super) framework_crashes: bool,
    pub(super) supervisor_deaths: bool,
    pub(super) cuts: bool,
    pub(super) isolation: bool,
    /// Callbacks that fail, and such that hang.
    pub(super) callback_errors: bool,
    pub(super) callback_hangs: bool,
    pub(super) kills: bool,
    /// Tasks that ignore SIGTERM, that fail to start, that ask for too much.
    pub(super) bad_tasks: bool,
    pub(super) slow_disks: bool,
    pub(super) wall_steps: bool,
}

impl Faults {
    /// Whether something is to go wrong now and then.
    pub(super) fn any(&self) -> bool {
        self.agent_crashes
            || self.host_crashes
            || self.master_crashes
            || self.framework_crashes
            || self.supervisor_deaths
            || self.cuts
            || self.isolation
            || self.kills
            || self.wall_steps
    }

    fn drawn(rng: &mut StdRng) -> Self {
        let mut on = || percent(rng, 35);
        Self {
            agent_crashes: on(),
            host_crashes: on(),
            master_crashes: on(),
            framework_crashes: on(),
            supervisor_deaths: on(),
            cuts: on(),
            isolation: on(),
            callback_errors: on(),
            callback_hangs: on(),
            kills: on(),
            bad_tasks: on(),
            slow_disks: on(),
            wall_steps: on(),
            every: millis(rng, 300, 8_000),
        }
    }
}

impl Plan {
    /// One agent, one framework, nothing goes wrong.
    pub(super) fn calm(tasks: u32) -> Self {
        Self {
            agents: 1,
            frameworks: vec![Wishes::of(tasks)],
            cpus: 4,
            latency: Duration::from_millis(2),
            master: Config::default(),
            trouble: Duration::from_secs(1),
            faults: Faults::default(),
        }
    }

    /// What the seed gives.
    pub(super) fn drawn(seed: u64) -> Self {
        let rng = &mut StdRng::seed_from_u64(seed ^ 0x9e37_79b9_7f4a_7c15);
        let frameworks = (0..rng.random_range(1..=2)).map(|_| Wishes::drawn(rng)).collect();
        let long = percent(rng, 25);
        let master = Config {
            ping_interval: millis(rng, 1_000, 15_000),
            pings_missed: rng.random_range(2..=5),
            reregister_timeout: if long { Duration::from_mins(10) } else { millis(rng, 5_000, 60_000) },
            ..Config::default()
        };
        Self {
            agents: rng.random_range(1..=3),
            frameworks,
            cpus: rng.random_range(1..=4),
            latency: [1, 20, 300].map(Duration::from_millis)[rng.random_range(0..3)],
            master,
            trouble: millis(rng, 5_000, 60_000),
            faults: Faults::drawn(rng),
        }
    }
}

impl Wishes {
    fn of(tasks: u32) -> Self {
        Self {
            tasks,
            partition_aware: true,
            failover: Duration::from_hours(24 * 7),
            suppresses: true,
            requests: false,
            explicit: false,
            torn_down: false,
        }
    }

    fn drawn(rng: &mut StdRng) -> Self {
        Self {
            tasks: rng.random_range(1..=8),
            partition_aware: percent(rng, 70),
            suppresses: percent(rng, 80),
            requests: percent(rng, 20),
            explicit: percent(rng, 15),
            torn_down: percent(rng, 10),
            ..Self::of(0)
        }
    }
}
