//! Fixed workloads of the pure parts, counted in instructions: the count does not depend on the machine's load.
//!
//! `cargo xtask instructions` runs each under callgrind and compares with `counts.txt`. Without an argument the cases
//! are listed, with one it is run. Only [`measured`] is counted, so setting up is free.
#![expect(clippy::print_stdout, reason = "it lists its cases on standard output")]

#[path = "../measure/offers.rs"]
mod offers;

use std::hint::black_box;

use divvy::{
    allocator::{
        TaskRequest,
        fair::{Allocator, Clients, Refusal, RoleId, Serve, Shares, Step, Terms},
        place,
    },
    types::{Milli, Now, Resources},
};

use crate::offers::{job, offers, racked};

/// A workload, set up and ready to run.
type Ready = Box<dyn FnOnce()>;

/// A case: its name, and how it is set up.
type Case = (&'static str, fn() -> Ready);

const CASES: &[Case] = &[
    ("place-jobs", jobs_on_many_agents),
    ("place-spread", spread_over_racks),
    ("place-search", a_tight_fit),
    ("place-nowhere", a_job_that_fits_nowhere),
    ("fair-run", everything_in_fair_order),
    ("fair-changes", shares_that_come_and_go),
    ("fair-all", a_run_over_everything),
    ("fair-join", many_batches_for_one_run),
    ("fair-revive-full", a_revive_when_nothing_is_free),
    ("fair-revive-free", a_revive_when_all_is_free),
    ("fair-still", a_run_when_nothing_changed),
    ("resources", resources_back_and_forth),
];

fn main() {
    let wanted = std::env::args().nth(1).filter(|argument| !argument.starts_with("--"));
    for (name, ready) in CASES {
        match &wanted {
            None => println!("{name}"),
            Some(wanted) if wanted == name => measured(ready()),
            Some(_) => {}
        }
    }
}

/// What is counted: everything below this call.
#[inline(never)]
fn measured(work: Ready) {
    work();
    black_box(());
}

fn jobs_on_many_agents() -> Ready {
    let offers = offers(500, "cpus:64;mem:131072;disk:1000000;ports:[31000-32000]");
    let jobs: Vec<TaskRequest> = (0..50).map(|number| job(number).count(50)).collect();
    Box::new(move || assert_eq!(black_box(place(&offers, &jobs)).placed(), 2_500))
}

fn spread_over_racks() -> Ready {
    let offers = racked(500, 25, "cpus:64;mem:131072");
    let spread = |number| job(number).count(50).constrained("prefer 50: spread rack");
    let jobs: Vec<TaskRequest> = (0..50).map(spread).collect();
    Box::new(move || assert_eq!(black_box(place(&offers, &jobs)).placed(), 2_500))
}

/// Six agents that twelve instances fill to the last cpu, where taking the largest first does not end well.
fn a_tight_fit() -> Ready {
    let offers = offers(6, "cpus:10;mem:1024");
    let of = |name: &str, cpus: f64| TaskRequest::command(name, "true").cpus(cpus).mem_mib(64).count(4);
    let requests = [of("a", 6.0), of("b", 5.0), of("c", 4.0)];
    Box::new(move || assert_eq!(black_box(place(&offers, &requests)).placed(), 12))
}

fn a_job_that_fits_nowhere() -> Ready {
    let offers = offers(500, "cpus:64;mem:131072");
    let job = [TaskRequest::command("big", "true").cpus(65.0)];
    Box::new(move || assert_eq!(black_box(place(&offers, &job)).placed(), 0))
}

/// 200 frameworks of 20 roles in a cluster of 1,000 agents, nothing allocated.
fn shares(agent: &[(std::sync::Arc<str>, Milli)]) -> Shares<u32> {
    let mut shares = Shares::new();
    for _ in 0..1_000 {
        shares.add_total(agent);
    }
    for framework in 0..200 {
        shares.add_client(&format!("group{}/role{}", framework % 4, framework % 20), framework);
    }
    shares.order().for_each(drop);
    shares
}

fn first_in_order(shares: &mut Shares<u32>) -> (RoleId, u32) {
    shares.order().next().expect("there are frameworks")
}

fn everything_in_fair_order() -> Ready {
    let agent = agent();
    let mut shares = shares(&agent);
    Box::new(move || {
        for _ in 0..1_000 {
            let (role, framework) = first_in_order(&mut shares);
            shares.allocated(role, framework, &agent);
        }
    })
}

fn shares_that_come_and_go() -> Ready {
    let agent = agent();
    let mut shares = shares(&agent);
    Box::new(move || {
        for _ in 0..1_000 {
            let (role, framework) = first_in_order(&mut shares);
            shares.allocated(role, framework, &agent);
            shares.unallocated(role, framework, &agent);
        }
    })
}

/// Frameworks that take whatever they are offered.
struct Anything;

impl Clients<u32> for Anything {
    fn terms(&self, _: RoleId, _: u32) -> Terms<'_> {
        Terms::default()
    }

    fn accepts_any(&self) -> bool {
        true
    }
}

/// 1,000 agents, all free, and 200 frameworks of one role.
fn cluster() -> (Allocator<u32, u32>, RoleId) {
    agents_and_frameworks(1_000, 200)
}

fn agents_and_frameworks(agents: u32, frameworks: u32) -> (Allocator<u32, u32>, RoleId) {
    let agent: Resources = "cpus:24;mem:4096;disk:4096;ports:[31000-32000]".parse().expect("resources in text form");
    let mut allocator = Allocator::default();
    for number in 0..agents {
        allocator.set_agent(number, &agent);
        allocator.set_free(number, &agent);
    }
    let roles: Vec<RoleId> = (0..frameworks).map(|framework| allocator.add_client("*", framework)).collect();
    (allocator, roles[0])
}

/// One run over what changed; how much it granted.
fn run(allocator: &mut Allocator<u32, u32>) -> usize {
    allocator.begin(Serve::All);
    granted(allocator)
}

/// How much the run that has begun grants until its end.
fn granted(allocator: &mut Allocator<u32, u32>) -> usize {
    let now = Now { mono_ns: 1, wall_ns: 0 };
    std::iter::from_fn(|| match allocator.step(now, &Anything, &mut usize::MAX.clone()) {
        Step::Granted(grant) => Some(grant),
        Step::Paused | Step::Done => None,
    })
    .count()
}

/// 20,000 agents change in batches of 32. Each batch is followed by a run for active clients, of which there are none,
/// so that all agents are left for the run for all clients.
fn many_batches_for_one_run() -> Ready {
    let (mut allocator, role) = agents_and_frameworks(20_000, 1);
    allocator.set_idle(role, 0, true);
    allocator.begin(Serve::All);
    allocator.stop();
    Box::new(move || {
        for first in (0..20_000).step_by(32) {
            (first..first + 32).for_each(|agent| allocator.mark_dirty(agent));
            allocator.begin(Serve::Active);
            assert_eq!(granted(&mut allocator), 0);
        }
        assert!(allocator.has_changes(Serve::All, &mut usize::MAX.clone()));
        leak(allocator);
    })
}

/// Every framework has refused every agent for ever, and a run has found nothing to offer.
fn all_refused() -> (Allocator<u32, u32>, RoleId) {
    let (mut allocator, role) = cluster();
    for agent in 0..1_000 {
        let resources = std::sync::Arc::new(allocator.free(agent).expect("an agent").clone());
        for framework in 0..200 {
            let refusal = Refusal { floor_ns: 0, until_ns: u64::MAX, resources: resources.clone() };
            allocator.refuse(agent, role, framework, refusal);
        }
    }
    assert_eq!(run(&mut allocator), 0);
    (allocator, role)
}

fn a_run_over_everything() -> Ready {
    let (mut allocator, _) = cluster();
    Box::new(move || assert_eq!(run(&mut allocator), 1_000))
}

fn a_revive_when_nothing_is_free() -> Ready {
    let (mut allocator, role) = all_refused();
    (0..1_000).for_each(|agent| allocator.set_free(agent, &Resources::new()));
    assert_eq!(run(&mut allocator), 0);
    Box::new(move || {
        allocator.forget_refusals(role, 7);
        assert_eq!(run(&mut allocator), 0);
        leak(allocator);
    })
}

fn a_revive_when_all_is_free() -> Ready {
    let (mut allocator, role) = all_refused();
    Box::new(move || {
        allocator.forget_refusals(role, 7);
        assert_eq!(run(&mut allocator), 1_000);
        leak(allocator);
    })
}

fn a_run_when_nothing_changed() -> Ready {
    let (mut allocator, _) = all_refused();
    Box::new(move || {
        assert_eq!(run(&mut allocator), 0);
        leak(allocator);
    })
}

/// Leaks the allocator: freeing 200,000 refusals would cost more than the counted work.
fn leak(allocator: Allocator<u32, u32>) {
    std::mem::forget(allocator);
}

fn agent() -> Vec<(std::sync::Arc<str>, Milli)> {
    "cpus:24;mem:4096;disk:4096".parse::<Resources>().expect("resources in text form").quantities()
}

fn resources_back_and_forth() -> Ready {
    let parse = |text: &str| text.parse::<Resources>().expect("resources in text form");
    let mut free = parse("cpus:24;mem:4096;disk:4096;ports:[31000-32000]");
    let task = parse("cpus:1;mem:128;ports:[31126-31510,31512-31623,31810-31852]");
    Box::new(move || {
        for _ in 0..1_000 {
            assert!(free.contains(&task));
            free -= &task;
            free += &task;
        }
    })
}
