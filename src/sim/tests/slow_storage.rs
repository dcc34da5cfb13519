//! Registry outages and slow disks, for much longer than an agent may be silent, without any other fault.

use std::time::Duration;

use super::*;
use crate::{
    master::core::Config,
    sim::plan::{AgentPlan, FrameworkPlan},
};

/// Agents are marked unreachable after 4 s of silence, and all writes are slow.
///
/// Every few seconds a write is due: frameworks that are torn down make the master write.
fn plan() -> Plan {
    let torn_down = |after| FrameworkPlan {
        torn_down: true,
        torn_down_after: Some(Duration::from_secs(after)),
        ..Plan::fault_free(3).frameworks.remove(0)
    };
    let mut frameworks = Plan::fault_free(6).frameworks;
    frameworks.extend([8, 16, 24, 32].map(torn_down));
    Plan {
        agents: vec![AgentPlan::of(4); 3],
        frameworks,
        master: Config {
            ping_interval: Duration::from_secs(1),
            pings_missed: 3,
            reregister_timeout: Duration::from_mins(10),
            ..Config::default()
        },
        fault_time: Duration::from_mins(1),
        faults: Faults::none().with(Fault::RegistryOutage).with(Fault::SlowDisk).every(Duration::from_secs(5)),
        ..Plan::fault_free(0)
    }
}

#[test]
fn no_agent_is_given_up_because_a_registry_or_a_disk_is_slow() {
    for seed in 1..=40 {
        let outcome = history(seed, plan(), None).unwrap_or_else(|failure| panic!("{failure}"));
        assert!(outcome.faults.contains_key("RegistryOutage") || outcome.faults.contains_key("SlowDisk"));
    }
    let failures: Vec<Failure> =
        (1..=40).filter_map(|seed| history(seed, plan(), Some(Sabotage::HoldsPings)).err()).collect();
    let first = failures.first().expect("pings that wait for the registry are missed");
    assert_eq!(first.invariant, "given_up", "{first}");
}
