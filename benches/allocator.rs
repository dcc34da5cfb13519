//! The two pure budgets: placing jobs on offers, and one fair-share run in which everything is offered.
//!
//! `cargo bench --bench allocator`. Sizes grow to those of the budgets, so that the growth is visible too.

#[path = "measure/offers.rs"]
mod offers;

use std::hint::black_box;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use divvy::allocator::fair::{RoleId, Shares};
use divvy::allocator::{Placer, Strategy, TaskRequest, place};
use divvy::proto::v1;
use divvy::types::{Milli, Resources};

const AGENT: &str = "cpus:64;mem:131072;disk:1000000;ports:[31000-32000]";

fn offers(count: u32) -> Vec<v1::Offer> {
    offers::offers(count, AGENT)
}

fn racked(count: u32, racks: u32) -> Vec<v1::Offer> {
    offers::racked(count, racks, AGENT)
}

/// Jobs of ten sizes, small enough that all instances fit.
fn jobs(count: u32, instances: u32) -> Vec<TaskRequest> {
    (0..count).map(|number| offers::job(number).count(instances)).collect()
}

fn placing(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("place");
    group.sample_size(10);
    for (agents, count, instances) in [(500, 50, 50), (5_000, 100, 100), (5_000, 1_000, 100), (5_000, 1_000, 1_000)] {
        let (offers, jobs) = (offers(agents), jobs(count, instances));
        assert_eq!(place(&offers, &jobs).placed(), count * instances);
        group.throughput(Throughput::Elements((count * instances).into()));
        group.bench_function(format!("{count} jobs x {instances} on {agents} offers"), |bench| {
            bench.iter(|| black_box(place(&offers, &jobs)).placed());
        });
    }
    group.bench_function("1000 jobs x 1000 on 5000 offers, first fit", |bench| {
        let (offers, jobs) = (offers(5_000), jobs(1_000, 1_000));
        let first_fit = Placer::new().strategy(Strategy::Naive);
        bench.iter(|| black_box(first_fit.place(&offers, &jobs)).placed());
    });
    group.finish();
    criterion.bench_function("place/1 job that fits nowhere on 5000 offers", |bench| {
        let (offers, job) = (offers(5_000), [TaskRequest::command("big", "true").cpus(65.0)]);
        bench.iter(|| black_box(place(&offers, &job)).placed());
    });
    criterion.bench_function("place/messages of 1000 tasks", |bench| {
        let plan =
            place(&offers(1), &[TaskRequest::command("job", "true").cpus(0.05).mem_mib(64).ports(1).count(1_000)]);
        bench.iter(|| plan.launches[0].tasks().len());
    });
}

/// Nomad's grid: one job on agents in racks, without and with a spread over the racks.
fn spreading(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("grid");
    group.sample_size(10);
    for (agents, racks) in
        [500, 1_000, 5_000, 10_000].into_iter().flat_map(|agents| [25, 50, 75].map(|racks| (agents, racks)))
    {
        let offers = racked(agents, racks);
        for instances in [50, 300, 1_200] {
            let job = TaskRequest::command("job", "true").cpus(0.5).mem_mib(256).count(instances);
            let spread = job.clone().constrained("prefer 100: spread rack");
            group.throughput(Throughput::Elements(instances.into()));
            for (way, job) in [("plain", job), ("spread", spread)] {
                assert_eq!(place(&offers, std::slice::from_ref(&job)).placed(), instances);
                group.bench_function(format!("{agents} agents {racks} racks {instances} instances {way}"), |bench| {
                    bench.iter(|| black_box(place(&offers, std::slice::from_ref(&job))).placed());
                });
            }
        }
    }
    group.finish();
    criterion.bench_function("place/100 jobs x 1000 spread over 50 racks on 5000 offers", |bench| {
        let spread = |job: TaskRequest| job.constrained("prefer 100: spread rack");
        let (offers, jobs) = (racked(5_000, 50), jobs(100, 1_000).into_iter().map(spread).collect::<Vec<_>>());
        bench.iter(|| black_box(place(&offers, &jobs)).placed());
    });
    criterion.bench_function("place/100 jobs x 1000 plain on 5000 offers in racks", |bench| {
        let (offers, jobs) = (racked(5_000, 50), jobs(100, 1_000));
        bench.iter(|| black_box(place(&offers, &jobs)).placed());
    });
}

type Quantities = Vec<(std::sync::Arc<str>, Milli)>;

/// Frameworks in a role each, or all in one, and the cluster's total.
fn shares(agents: u32, frameworks: u32, one_role: bool, agent: &Quantities) -> Shares<u32> {
    let mut shares = Shares::new();
    for _ in 0..agents {
        shares.add_total(agent);
    }
    for framework in 0..frameworks {
        let role = if one_role { "all".to_owned() } else { format!("role{framework}") };
        shares.add_client(&role, framework);
    }
    shares.order().for_each(drop);
    shares
}

/// Allocates every agent to the framework that is first in the fair order.
fn run(shares: &mut Shares<u32>, agents: u32, agent: &Quantities) {
    for _ in 0..agents {
        let (role, framework): (RoleId, u32) = shares.order().next().expect("there are frameworks");
        shares.allocated(role, framework, agent);
    }
}

fn sharing(criterion: &mut Criterion) {
    let agent = AGENT.parse::<Resources>().expect("resources in text form").quantities();
    for (shape, one_role) in [("a role each", false), ("one role", true)] {
        let mut group = criterion.benchmark_group(format!("fair/{shape}"));
        group.sample_size(10);
        for (agents, frameworks) in [(1_000, 100), (10_000, 100), (10_000, 1_000), (20_000, 2_000)] {
            let fresh = shares(agents, frameworks, one_role, &agent);
            group.throughput(Throughput::Elements(agents.into()));
            let id = BenchmarkId::from_parameter(format!("{agents} agents x {frameworks} frameworks"));
            group.bench_function(id, |bench| {
                bench.iter_batched_ref(|| fresh.clone(), |shares| run(shares, agents, &agent), BatchSize::LargeInput);
            });
        }
        group.finish();
    }
}

/// The cost of a new agent: the next walk ranks all clients again.
fn growing(criterion: &mut Criterion) {
    let agent = AGENT.parse::<Resources>().expect("resources in text form").quantities();
    let mut shares = shares(10_000, 1_000, false, &agent);
    run(&mut shares, 9_999, &agent);
    criterion.bench_function("fair/order after the total grew, 1000 frameworks", |bench| {
        bench.iter(|| {
            shares.add_total(&agent);
            black_box(shares.order().next())
        });
    });
}

fn short() -> Criterion {
    use std::time::Duration;
    Criterion::default().warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1))
}

criterion_group! {
    name = benches;
    config = short();
    targets = placing, spreading, sharing, growing
}
criterion_main!(benches);
