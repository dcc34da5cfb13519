//! Times and limits of a master.

use std::{sync::Arc, time::Duration};

use super::{Quantities, RemovalRate};
use crate::transport::outbox::Limits;

/// Times and limits of a master. The defaults are Mesos' where Mesos has one.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) ping_interval: Duration,
    pub(crate) pings_missed: u32,
    pub(crate) reregister_timeout: Duration,
    /// An unanswered offer expires after this long; `None`: never.
    pub(crate) offer_timeout: Option<Duration>,
    /// An unanswered offer that another client could use expires after this long.
    pub(crate) contended_after: Duration,
    /// A refusal holds at least this long; as long, an outstanding offer blocks others to the same client.
    pub(crate) refusal_floor: Duration,
    /// The idle clients share one allocation run in this time.
    pub(crate) idle_interval: Duration,
    pub(crate) heartbeat: Duration,
    pub(crate) completed_tasks: usize,
    pub(crate) completed_frameworks: usize,
    pub(crate) unreachable_agents: usize,
    /// How fast agents may be marked unreachable; `None`: at once.
    pub(crate) removal_rate: Option<RemovalRate>,
    /// The registry is garbage-collected this often,
    pub(crate) registry_gc_interval: Duration,
    /// and forgets agents that were unreachable or gone for longer than this,
    pub(crate) registry_max_age: Duration,
    /// and of each kind the oldest beyond so many; likewise the instances of unknown frameworks.
    pub(crate) registry_max_agents: usize,
    /// The bytes that may wait to be read. A core without connections has no limit: no writes are reported to it.
    pub(crate) queues: Limits,
    /// At most so many tombstones of frameworks are kept, and none for longer than `registry_max_age`.
    pub(crate) removed_frameworks: usize,
    /// An offer has to hold one of these.
    pub(crate) minimum: Vec<Quantities>,
    /// The work that a turn does before it leaves the rest to the next: about 2 us a unit, and as much again for the
    /// offers that it allows, so that no turn takes 10 ms.
    pub(crate) work_per_turn: usize,
}

impl Config {
    /// How long an agent may send nothing.
    pub(super) fn ping_timeout(&self) -> Duration {
        self.ping_interval * self.pings_missed
    }
}

impl Default for Config {
    fn default() -> Self {
        use crate::types::Milli;
        let least = |name: &str, milli| vec![(Arc::from(name), Milli::from_raw(milli))];
        Self {
            ping_interval: Duration::from_secs(15),
            pings_missed: 5,
            reregister_timeout: Duration::from_mins(10),
            offer_timeout: Some(Duration::from_mins(2)),
            contended_after: Duration::from_secs(10),
            refusal_floor: Duration::from_secs(1),
            idle_interval: Duration::from_secs(1),
            heartbeat: Duration::from_secs(15),
            completed_tasks: 1_000,
            completed_frameworks: 50,
            unreachable_agents: 10_000,
            removal_rate: None,
            registry_gc_interval: Duration::from_mins(15),
            registry_max_age: Duration::from_hours(14 * 24),
            registry_max_agents: 102_400,
            queues: Limits::unlimited(),
            removed_frameworks: 10_000,
            minimum: vec![least("cpus", 10), least("mem", 32_000)],
            work_per_turn: 500,
        }
    }
}
