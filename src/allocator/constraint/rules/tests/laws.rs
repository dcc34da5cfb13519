//! Laws for random clusters, requests and placements.

use proptest::prelude::*;

use super::*;

const RULES: [&str; 22] = [
    "zone = a",
    "zone != a",
    "rack is set",
    "unique hostname",
    "unique zone",
    "at most 3 per rack",
    "spread zone",
    "spread zone a 50% b 30%",
    "group by rack skew 1",
    "group by zone skew 2",
    "with label app=a",
    "with label app on same zone",
    "avoid label app=b",
    "avoid label app=a on same rack",
    "exclusive",
    "prefer 40: zone = a",
    "prefer 50: unique hostname",
    "prefer -20: spread zone",
    "prefer 70: spread rack r1 20%",
    "prefer 10: group by zone",
    "prefer 30: avoid label app=a on same zone",
    "prefer 60: exclusive",
];

#[derive(Debug, Clone)]
struct World {
    hosts: Vec<Described>,
    view: ClusterView,
    requests: Vec<TaskRequest>,
}

fn attributes() -> impl Strategy<Value = String> {
    let zone = prop::sample::select(vec!["", "zone:a", "zone:b", "zone:c"]);
    let rack = prop::sample::select(vec!["", "rack:r1", "rack:r2"]);
    (zone, rack).prop_map(|(zone, rack)| format!("{zone};{rack}"))
}

fn requests() -> impl Strategy<Value = Vec<TaskRequest>> {
    let rules = prop::collection::vec(prop::sample::select(RULES.to_vec()), 0..4);
    let running = prop::collection::btree_map((0..8_usize).prop_map(id), 0..3_u32, 0..3);
    let one = (rules, running, 0..3_usize, 1..12_u32).prop_map(|(rules, running, label, count)| {
        let mut one = rules.iter().fold(TaskRequest::command("t", "true").cpus(1.0), |one, rule| one.constrained(rule));
        one = one.count(count);
        one.running = running;
        match label {
            0 => one,
            1 => one.label("app", "a"),
            _ => one.label("app", "b"),
        }
    });
    prop::collection::vec(one, 1..5).prop_map(|mut requests| {
        requests.iter_mut().enumerate().for_each(|(at, request)| request.name = format!("t{at}"));
        requests
    })
}

fn world() -> impl Strategy<Value = World> {
    let viewed = (attributes(), prop::option::of(0..3_u32), 0..4_usize, 0..3_u32);
    let agents = prop::collection::vec((attributes(), prop::option::of(viewed)), 8);
    (agents, 1..7_usize, requests()).prop_map(|(agents, offered, requests)| {
        let hosts = hosts(&agents.iter().map(|(attributes, _)| attributes.as_str()).collect::<Vec<_>>()[..offered]);
        let viewed = agents.iter().enumerate().filter_map(|(at, (_, viewed))| Some((at, viewed.as_ref()?)));
        let view = viewed.fold(ClusterView::new(), |view, (at, (attributes, cpus, name, tasks))| {
            let agent = ClusterAgent::new(id(at), format!("h{at}")).attributes(attributes.parse().unwrap());
            let agent = agent.task(format!("t{name}"), [("app", if *name == 0 { "a" } else { "b" })], *tasks);
            view.agent(match cpus {
                Some(cpus) => agent.total(format!("cpus:{cpus}").parse().unwrap()),
                None => agent,
            })
        });
        World { hosts, view, requests }
    })
}

/// Returns the result of every query for every request and agent.
fn seen(rules: &Rules<'_>, offered: usize) -> Vec<String> {
    let pairs = (0..rules.requests.len()).flat_map(|request| (0..offered).map(move |agent| (request, agent)));
    let one = |(request, agent)| {
        let (room, score) = (rules.room(request, agent), rules.score(request, agent));
        format!("{request}@{agent}: {} {room} {score:?}", answer(rules, request, agent))
    };
    pairs.map(one).collect()
}

/// Steps of a search: a request, an agent, how many, and whether the last step is undone instead.
fn steps() -> impl Strategy<Value = Vec<(usize, usize, u32, bool)>> {
    prop::collection::vec((0..5_usize, 0..7_usize, 1..4_u32, prop::bool::weighted(0.3)), 0..24)
}

/// Takes the steps that the rules allow; returns what is placed.
fn search(rules: &mut Rules<'_>, offered: usize, steps: &[(usize, usize, u32, bool)]) -> Vec<(usize, usize, u32)> {
    let mut placed = Vec::new();
    for &(request, agent, instances, back) in steps {
        let (request, agent) = (request % rules.requests.len(), agent % offered);
        if back {
            if let Some((request, agent, instances)) = placed.pop() {
                rules.remove(request, agent, instances);
            }
            continue;
        }
        let instances = rules.room(request, agent).min(instances);
        if instances > 0 {
            rules.place(request, agent, instances);
            placed.push((request, agent, instances));
        }
    }
    placed
}

proptest! {
    #[test]
    fn removing_undoes_placing_exactly(world in world(), steps in steps()) {
        let offered = world.hosts.len();
        let mut rules = Rules::new(&world.requests, &world.hosts, Some(&world.view));
        let before = seen(&rules, offered);
        for (request, agent, instances) in search(&mut rules, offered, &steps).into_iter().rev() {
            rules.remove(request, agent, instances);
        }
        prop_assert_eq!(seen(&rules, offered), before);
    }

    #[test]
    fn counting_step_by_step_equals_counting_anew(world in world(), steps in steps()) {
        let offered = world.hosts.len();
        let mut rules = Rules::new(&world.requests, &world.hosts, Some(&world.view));
        let placed = search(&mut rules, offered, &steps);
        let mut anew = Rules::new(&world.requests, &world.hosts, Some(&world.view));
        // In another order, and one by one.
        for &(request, agent, instances) in placed.iter().rev() {
            (0..instances).for_each(|_| anew.place(request, agent, 1));
        }
        prop_assert_eq!(seen(&rules, offered), seen(&anew, offered));
    }

    #[test]
    fn there_is_room_exactly_where_the_check_grants_it(world in world(), steps in steps()) {
        let offered = world.hosts.len();
        let mut rules = Rules::new(&world.requests, &world.hosts, Some(&world.view));
        search(&mut rules, offered, &steps);
        for request in 0..world.requests.len() {
            for agent in 0..offered {
                let room = rules.room(request, agent);
                for _ in 0..room.min(20) {
                    prop_assert_eq!(rules.check(request, agent), Ok(()));
                    rules.place(request, agent, 1);
                }
                prop_assert_eq!(rules.check(request, agent).is_ok(), room > 20);
                rules.remove(request, agent, room.min(20));
            }
        }
    }

    #[test]
    fn scores_are_bounded_and_equal_within_a_group(world in world(), steps in steps()) {
        let offered = world.hosts.len();
        let mut rules = Rules::new(&world.requests, &world.hosts, Some(&world.view));
        search(&mut rules, offered, &steps);
        for request in 0..world.requests.len() {
            for agent in 0..offered {
                let score = rules.score(request, agent);
                prop_assert!(score.is_none_or(|score| (-1.0..=1.0).contains(&score)), "{:?}", score);
                for other in (0..agent).filter(|&it| rules.score_group(request, it) == rules.score_group(request, agent)) {
                    prop_assert_eq!(score, rules.score(request, other));
                    let fixed = |agent| rules.check_static(request, agent).is_ok();
                    prop_assert_eq!(fixed(agent), fixed(other));
                }
            }
        }
    }

    #[test]
    fn what_is_called_static_does_not_change(world in world(), steps in steps()) {
        let offered = world.hosts.len();
        let mut rules = Rules::new(&world.requests, &world.hosts, Some(&world.view));
        let fixed: Vec<usize> = (0..world.requests.len()).filter(|&request| rules.is_static(request)).collect();
        let all = |rules: &Rules<'_>| {
            let of = |request| (0..offered).map(move |agent| (request, agent));
            let pairs = fixed.iter().copied().flat_map(of);
            pairs.map(|(it, agent)| (answer(rules, it, agent), rules.score(it, agent))).collect::<Vec<_>>()
        };
        let before = all(&rules);
        search(&mut rules, offered, &steps);
        prop_assert_eq!(all(&rules), before);
    }
}
