//! The plan of a history, drawn from the seed: sizes, times and kinds of faults.
//!
//! Histories with few kinds of faults reach deeper states, so each kind is in about a third of them.

use std::{num::NonZeroU32, time::Duration};

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

use super::{
    chance::{between, millis, percent},
    faults::{self, Fault, Faults},
};
use crate::{
    master::core::{Config, RemovalRate},
    transport::outbox::Limits,
    types::{Attributes, Resources},
};

/// How long the registry takes for a write in most histories.
const REGISTRY_MS: (u64, u64) = (1, 8);
/// The time between two turns of a master without other delays.
const SHORTEST_TURN: Duration = Duration::from_micros(1);
/// From this seed on histories last for hours.
pub(super) const FIRST_LONG: u64 = 2_000_000_000;
/// How many kinds of faults are drawn with the rest of a plan.
const FIRST_FAULTS: usize = 14;

/// The parameters of one history.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) agents: Vec<AgentPlan>,
    pub(super) frameworks: Vec<FrameworkPlan>,
    pub(super) latency: Duration,
    pub(super) master: Config,
    /// How long faults are injected.
    pub(super) fault_time: Duration,
    pub(super) faults: Faults,
    /// The longest time between two frames that a slow peer reads.
    pub(super) slow_readers: Option<Duration>,
    /// How long the registry takes for a write, at least and at most.
    pub(super) registry_ms: (u64, u64),
    /// How long after a turn of the master's core the next may begin.
    pub(super) turn: Duration,
    /// How much longer than usual tasks run; beyond 1, new work comes all the time.
    pub(super) pace: u32,
    pub(super) misbehaviour: Misbehaviour,
}

/// What an agent has.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct AgentPlan {
    pub(super) resources: Resources,
    pub(super) attributes: Attributes,
}

impl AgentPlan {
    /// So many CPUs, with a GiB of memory each.
    pub(super) fn of(cpus: u32) -> Self {
        let resources = Resources::cpus_mem(f64::from(cpus), f64::from(cpus) * 1024.0);
        Self { resources, attributes: Attributes::default() }
    }
}

/// What a framework launches, and how it behaves.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is drawn by itself")]
pub(super) struct FrameworkPlan {
    pub(super) tasks: u32,
    pub(super) partition_aware: bool,
    pub(super) failover: Duration,
    /// Suppresses its role when it has no tasks to launch.
    pub(super) suppresses: bool,
    /// Sends REQUEST calls with its demand.
    pub(super) requests: bool,
    pub(super) explicit: bool,
    /// Launches many small tasks at once, some with much data, and reconciles all of them.
    pub(super) bursts: bool,
    /// An operator tears it down when the faults end.
    pub(super) torn_down: bool,
    /// An operator tears it down earlier, after this time.
    pub(super) torn_down_after: Option<Duration>,
}

/// How schedulers and tasks misbehave now and then.
#[derive(Clone, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is drawn by itself")]
pub(super) struct Misbehaviour {
    /// Callbacks that fail, and callbacks that hang.
    pub(super) callback_errors: bool,
    pub(super) callback_hangs: bool,
    pub(super) kills: bool,
    /// Tasks that ignore SIGTERM, that fail to start, or that need too many resources.
    pub(super) bad_tasks: bool,
    /// Frameworks that fail over to a new instance while the old one still runs.
    pub(super) failovers: bool,
}

impl Misbehaviour {
    fn drawn(rng: &mut StdRng) -> Self {
        let mut on = || percent(rng, 35);
        Self { callback_errors: on(), callback_hangs: on(), kills: on(), bad_tasks: on(), failovers: on() }
    }
}

/// Each kind in about a third of the histories. The later kinds came later, so they have a generator of their own.
fn drawn_faults(rng: &mut StdRng, later: &mut StdRng) -> Faults {
    let (first, rest) = faults::ALL.split_at(FIRST_FAULTS);
    let mut kinds: Vec<Fault> = first.iter().copied().filter(|_| percent(rng, 30)).collect();
    kinds.extend(rest.iter().copied().filter(|_| percent(later, 20)));
    Faults::none().with_all(kinds).every(millis(rng, 300, 8_000))
}

impl Plan {
    /// One agent, one framework, and no faults.
    pub(super) fn fault_free(tasks: u32) -> Self {
        Self {
            agents: vec![AgentPlan::of(4)],
            frameworks: vec![FrameworkPlan::of(tasks)],
            latency: Duration::from_millis(2),
            master: Config { queues: Limits::default(), ..Config::default() },
            fault_time: Duration::from_secs(1),
            faults: Faults::none(),
            slow_readers: None,
            registry_ms: REGISTRY_MS,
            turn: SHORTEST_TURN,
            pace: 1,
            misbehaviour: Misbehaviour::default(),
        }
    }

    /// Draws a plan from the seed.
    pub(super) fn drawn(seed: u64) -> Self {
        let rng = &mut StdRng::seed_from_u64(seed ^ 0x9e37_79b9_7f4a_7c15);
        let frameworks = (0..rng.random_range(1..=2)).map(|_| FrameworkPlan::drawn(rng)).collect();
        let long = percent(rng, 25);
        // From a generator of its own, because it was added later than the rest.
        let offers = &mut StdRng::seed_from_u64(seed ^ 0x5bd1_e995);
        let offer_timeout = [Some(120_000), Some(400), None][offers.random_range(0..3)];
        let contended_after = [10_000, 150][offers.random_range(0..2)];
        let later = &mut StdRng::seed_from_u64(seed ^ 0x2545_f491);
        let removals = percent(later, 30).then(|| millis(later, 1_000, 30_000));
        let master = Config {
            ping_interval: millis(rng, 1_000, 15_000),
            pings_missed: rng.random_range(2..=5),
            offer_timeout: offer_timeout.map(Duration::from_millis),
            contended_after: Duration::from_millis(contended_after),
            reregister_timeout: if long { Duration::from_mins(10) } else { millis(rng, 5_000, 60_000) },
            removal_rate: removals.map(|time| RemovalRate::new(NonZeroU32::MIN, time)),
            queues: Limits::default(),
            ..Config::default()
        };
        let (agents, cpus) = (rng.random_range(1..=3), rng.random_range(1..=4));
        let plan = Self {
            agents: vec![AgentPlan::of(cpus); agents],
            frameworks,
            latency: [1, 20, 300].map(Duration::from_millis)[rng.random_range(0..3)],
            master,
            fault_time: millis(rng, 5_000, 60_000),
            faults: drawn_faults(rng, later),
            slow_readers: None,
            registry_ms: REGISTRY_MS,
            turn: SHORTEST_TURN,
            pace: 1,
            misbehaviour: Misbehaviour::drawn(rng),
        };
        plan.lasting_for_hours(seed).tearing_down_some(seed).with_budgets(seed).with_short_turns(seed)
    }

    /// Limits the master's work per turn in most plans, so that work spreads over turns even in a small cluster.
    fn with_short_turns(mut self, seed: u64) -> Self {
        let rng = &mut StdRng::seed_from_u64(seed ^ 0x7a11_5eed);
        let millis = Duration::from_millis;
        let choices = [
            (1, SHORTEST_TURN),
            (1, millis(1_500)),
            (1, millis(600)),
            (1, millis(20)),
            (6, millis(150)),
            (1_000, SHORTEST_TURN),
        ];
        (self.master.work_per_turn, self.turn) = choices[rng.random_range(0..choices.len())];
        self
    }

    /// Makes histories of high seeds last for hours, with rare faults, to reach what needs a quarter of an hour.
    fn lasting_for_hours(mut self, seed: u64) -> Self {
        let rng = &mut StdRng::seed_from_u64(seed ^ 0x60a1_f00d);
        if seed < FIRST_LONG {
            return self;
        }
        self.pace = rng.random_range(10..=60);
        self.fault_time = millis(rng, 3_600_000, 6 * 3_600_000);
        self.faults = self.faults.every(millis(rng, 60_000, 1_200_000));
        self.master.ping_interval = millis(rng, 5_000, 15_000);
        self
    }

    /// Adds session budgets, slow readers, bursts of launches and a slow registry; from a generator of its own.
    fn with_budgets(mut self, seed: u64) -> Self {
        let rng = &mut StdRng::seed_from_u64(seed ^ 0x1b87_3593);
        if percent(rng, 25) {
            self.registry_ms = (50, 5_000);
        }
        if percent(rng, 60) {
            self.master.queues.session_bytes = usize::MAX;
            return self;
        }
        let queues = &mut self.master.queues;
        queues.session_bytes = (2 << 10) << rng.random_range(0..=5);
        queues.stall = if percent(rng, 70) { millis(rng, 1_000, 12_000) } else { millis(rng, 12_000, 75_000) };
        if percent(rng, 20) {
            queues.total_bytes = queues.session_bytes * 2;
        }
        self.slow_readers = percent(rng, 70).then(|| millis(rng, 20, 3_000));
        if percent(rng, 70) {
            self.faults = self.faults.with(Fault::SlowReader);
        }
        for framework in &mut self.frameworks {
            if percent(rng, 70) {
                framework.bursts = true;
                framework.tasks = rng.random_range(10..=40);
            }
        }
        self
    }

    /// Tears down some frameworks while faults occur; from a generator of its own too.
    fn tearing_down_some(mut self, seed: u64) -> Self {
        let rng = &mut StdRng::seed_from_u64(seed ^ 0x7ea2_d043);
        for framework in &mut self.frameworks {
            if percent(rng, 15) {
                framework.torn_down = true;
                framework.torn_down_after = Some(between(rng, Duration::from_millis(500), self.fault_time));
            }
        }
        self
    }
}

impl FrameworkPlan {
    fn of(tasks: u32) -> Self {
        Self {
            tasks,
            partition_aware: true,
            failover: Duration::from_hours(24 * 7),
            suppresses: true,
            requests: false,
            explicit: false,
            bursts: false,
            torn_down: false,
            torn_down_after: None,
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
