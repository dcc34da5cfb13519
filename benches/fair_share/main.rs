//! Fair shares through the real master core: the shapes of Mesos' allocator benchmarks.
//!
//! `cargo bench --bench fair_share [-- decline | suppress | quota | launch | still | revive]`; without a word all of
//! them run. There is no network and no waiting: the time is that of the core's decisions, in one run over all changes.
#![expect(clippy::print_stdout, reason = "a bench prints its figures")]

mod decline;
mod launch;
#[path = "../measure/mod.rs"]
mod measure;
mod quota;
mod revive;
mod suppress;

use std::time::Duration;

use divvy::types::Resources;

const REPEATS: usize = 3;
const VERY_LONG: Duration = Duration::from_secs(i32::MAX as u64);
/// Longer than the second of the shortest refusal, and than the second between two runs for idle frameworks.
const NEXT_ROUND: Duration = Duration::from_millis(1_100);
/// Agents and frameworks.
const SIZES: [(usize, usize); 12] = [
    (1_000, 100),
    (5_000, 100),
    (10_000, 100),
    (20_000, 100),
    (1_000, 1_000),
    (5_000, 1_000),
    (10_000, 1_000),
    (20_000, 1_000),
    (1_000, 2_000),
    (5_000, 2_000),
    (10_000, 2_000),
    (20_000, 2_000),
];

const TOTAL: &str = "cpus:24;mem:4096;disk:4096;ports:[31000-32000]";

/// Part of an agent of [`TOTAL`]: 16 cpus, so much memory and every second port from 31000 on, the last of 16 ranges
/// running to the end.
fn used(mem: u32) -> Resources {
    let mut ports: Vec<String> = (0..15).map(|at| format!("{0}-{0}", 31_000 + 2 * at)).collect();
    ports.push("31030-32000".to_owned());
    resources(&format!("cpus:16;mem:{mem};disk:1024;ports:[{}]", ports.join(",")))
}

fn resources(text: &str) -> Resources {
    text.parse().expect("resources in text form")
}

fn main() {
    println!("fair_share: {}", measure::machine());
    let named: Vec<String> = std::env::args().skip(1).filter(|one| !one.starts_with('-')).collect();
    let wanted = |name: &str| named.is_empty() || named.iter().any(|one| one == name);
    if wanted("quota") {
        quota::large_and_small();
    }
    if wanted("launch") {
        launch::many_frameworks();
    }
    if wanted("still") {
        decline::all_filtered(1_000, 50);
    }
    if wanted("revive") {
        revive::one_of_many(10_000, 1_000);
    }
    if wanted("decline") {
        decline::grow();
    }
    if wanted("suppress") {
        suppress::grow();
    }
}
