//! One framework of many revives offers: the cost when nothing is free, and per offer when all is free.

use std::time::Duration;

use divvy::master::scripted::ScriptedCluster;

use super::measure::{Samples, timed};
use super::{NEXT_ROUND, REPEATS, TOTAL, VERY_LONG, resources, used};

/// Revivals while nothing is free.
const REVIVED: usize = 30;

pub(super) fn one_of_many(agents: usize, frameworks: usize) {
    let mut full = Samples::default();
    let mut free = Samples::default();
    let (mut longest, mut whole) = (Duration::ZERO, Samples::default());
    let mut cluster = cluster(agents, frameworks);
    let (slices, made) = run_all_slices(&mut cluster);
    assert_eq!(made, agents, "everything is offered");
    longest = longest.max(slices.iter().copied().max().unwrap_or_default());
    whole.push(slices.iter().sum());
    for framework in 0..REVIVED.min(frameworks) {
        full.push(timed(|| cluster.revive(framework)).0 + run_all_slices(&mut cluster).0.iter().sum());
    }
    // All decline for long; then one framework after the other revives and receives every offer.
    for framework in 0..REPEATS.min(frameworks) {
        cluster.decline_all(VERY_LONG);
        cluster.suppress(0..frameworks);
        cluster.tick(NEXT_ROUND);
        let revived = timed(|| cluster.revive(framework)).0;
        let (slices, made) = run_all_slices(&mut cluster);
        assert_eq!(made, agents, "everything is free");
        longest = longest.max(slices.iter().copied().max().unwrap_or_default());
        free.push((revived + slices.iter().sum::<Duration>()) / u32::try_from(made).expect("few agents"));
    }
    println!("\nrevive, {agents} agents x {frameworks} frameworks");
    println!("  one run, all offered        {whole}");
    println!("  revive, nothing free        {full}");
    println!("  revive, all free, per offer {free}");
    println!("  longest slice of a run      {longest:?}");
}

fn cluster(agents: usize, frameworks: usize) -> ScriptedCluster {
    let (total, used) = (resources(TOTAL), used(2_014));
    let mut cluster = ScriptedCluster::new();
    (0..frameworks).for_each(|_| cluster.add_framework("*"));
    (0..agents).for_each(|_| cluster.add_agent(&total, &used));
    cluster
}

/// Completes a run slice by slice; returns the time of each slice and the number of offers.
fn run_all_slices(cluster: &mut ScriptedCluster) -> (Vec<Duration>, usize) {
    let (mut slices, mut made) = (Vec::new(), 0);
    loop {
        let (took, more) = timed(|| cluster.allocate_slice());
        slices.push(took);
        made += more;
        if !cluster.is_running() {
            return (slices, made);
        }
    }
}
