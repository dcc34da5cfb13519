//! The groups and heaps of greedy placement against the plain algorithm: every instance checks every pool.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{for_role, offer_of, v1};
use crate::allocator::board::{Board, Entry};
use crate::allocator::fitness::{Score, mean};
use crate::allocator::place::greedy::{self, Key};
use crate::allocator::problem::Problem;
use crate::allocator::{Placer, Strategy as Way, TaskRequest};
use crate::types::Attributes;

/// Rules that exclude no agent for good that a later placement would open again.
const RULES: [&str; 18] = [
    "prefer 50: spread rack",
    "prefer 80: spread rack r0 50% r1 20%",
    "prefer -30: spread rack",
    "prefer 20: spread zone",
    "prefer 60: group by rack skew 1",
    "prefer 40: at most 2 per rack",
    "prefer 30: zone = z0",
    "prefer 70: with label app=db",
    "prefer -70: with label app=db on same zone",
    "prefer 10: avoid label app=db on same rack",
    "prefer 25: spread hostname",
    "spread rack",
    "group by rack skew 1",
    "group by zone skew 2",
    "unique hostname",
    "at most 3 per zone",
    "avoid label app=db on same rack",
    "with label app=db on same zone",
];

#[derive(Debug, Clone)]
struct Agent {
    cpus: u32,
    rack: u8,
    zone: u8,
    hostname: u8,
    roles: bool,
}

#[derive(Debug, Clone)]
struct Job {
    tenths: u32,
    count: u32,
    limit: Option<u32>,
    rules: Vec<&'static str>,
    is_db: bool,
}

/// One offer of an agent, or two for different roles. Some agents have no rack.
fn offers(agents: &[Agent]) -> Vec<v1::Offer> {
    let of = |(at, agent): (usize, &Agent)| {
        let one = |id: String| {
            let mut offer = offer_of(&id, &format!("s{at}"), &format!("cpus:{};mem:64", agent.cpus));
            let rack = if agent.rack == 4 { String::new() } else { format!("rack:r{};", agent.rack) };
            let attributes = format!("{rack}zone:z{}", agent.zone);
            offer.attributes = attributes.parse::<Attributes>().expect("attributes in text form").to_proto();
            offer.hostname = format!("host{}", agent.hostname);
            offer
        };
        let mut offers = vec![for_role(one(format!("o{at}")), "r")];
        offers.extend(agent.roles.then(|| for_role(one(format!("p{at}")), "r/a")));
        offers
    };
    agents.iter().enumerate().flat_map(of).collect()
}

fn requests(jobs: &[Job]) -> Vec<TaskRequest> {
    let one = |(at, job): (usize, &Job)| {
        let request = TaskRequest::command(format!("t{at}"), "true").cpus(f64::from(job.tenths) / 10.0);
        let request = if job.is_db { request.label("app", "db") } else { request };
        let mut request = job.rules.iter().fold(request.count(job.count), |request, rule| request.constrained(rule));
        request.max_per_agent = job.limit;
        request
    };
    jobs.iter().enumerate().map(one).collect()
}

/// Plain algorithm: finds the best pool of each group by its own score, then the best of these in all.
fn plain(placer: &Placer<'_>, board: &mut Board<'_>, request: usize) {
    for variant in 0..board.problem.wants[request].len() {
        while board.missing[request] > 0 {
            let Some((pool, score)) = best(placer, board, request, variant) else { break };
            board.place(pool, Entry { request, variant, instances: 1, score: Some(score) });
        }
    }
}

fn best(placer: &Placer<'_>, board: &Board<'_>, request: usize, variant: usize) -> Option<(usize, Score)> {
    let is_static = board.rules.is_static(request);
    let mut groups: BTreeMap<u32, (Key, Reverse<usize>, Score)> = BTreeMap::new();
    for pool in (0..board.rooms.len()).filter(|&pool| board.allows(request, variant, pool)) {
        let group = if is_static { 0 } else { board.rules.score_group(request, board.agent(pool)) };
        let score = placer.scoring().whole(board, request, variant, pool);
        let own = if is_static { score.total() } else { mean([Some(score.fitness), score.own_instances]) };
        let standing = (Key::of(own), Reverse(pool), score);
        let best = groups.entry(group).or_insert(standing);
        if (standing.0, standing.1) > (best.0, best.1) {
            *best = standing;
        }
    }
    let whole = groups.into_values().map(|(_, pool, score)| (Key::of(score.total()), pool, score));
    whole.max_by_key(|&(key, pool, _)| (key, pool)).map(|(_, Reverse(pool), score)| (pool, score))
}

/// What was placed in each pool. Of instances that fill a pool at once only the first is scored.
fn put(board: &Board<'_>, spread: bool) -> Vec<Vec<Entry>> {
    let each = |entry: &Entry| spread || !board.rules.is_static(entry.request);
    let entry = |entry: &Entry| Entry { score: entry.score.filter(|_| each(entry)), ..*entry };
    board.placed.iter().map(|pool| pool.iter().map(entry).collect()).collect()
}

fn agents() -> impl Strategy<Value = Vec<Agent>> {
    let one = (1..9_u32, 0..5_u8, 0..3_u8, 0..20_u8, prop::bool::weighted(0.2));
    let one = one.prop_map(|(cpus, rack, zone, hostname, roles)| Agent { cpus, rack, zone, hostname, roles });
    prop::collection::vec(one, 1..24)
}

fn jobs() -> impl Strategy<Value = Vec<Job>> {
    let rules = prop::collection::vec(prop::sample::select(&RULES[..]), 0..4);
    let one = (1..20_u32, 1..40_u32, prop::option::weighted(0.3, 1..4_u32), rules, prop::bool::weighted(0.4));
    let one = one.prop_map(|(tenths, count, limit, rules, is_db)| Job { tenths, count, limit, rules, is_db });
    prop::collection::vec(one, 1..4)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2 * ProptestConfig::default().cases))]

    #[test]
    fn groups_give_each_instance_the_place_that_looking_at_all_would(
        agents in agents(), jobs in jobs(), spread in any::<bool>(),
    ) {
        let placer = Placer::new().strategy(if spread { Way::Spread } else { Way::Binpack });
        let (offers, requests) = (offers(&agents), requests(&jobs));
        let problem = Problem::new(&offers, &requests, None, false);
        let (mut grouped, mut looked) = (Board::new(&problem, None, spread), Board::new(&problem, None, spread));
        for request in problem.order() {
            greedy::fill(&mut grouped, &placer.scoring(), request);
            plain(&placer, &mut looked, request);
            prop_assert_eq!(put(&grouped, spread), put(&looked, spread), "{:?}", requests[request]);
        }
    }
}
