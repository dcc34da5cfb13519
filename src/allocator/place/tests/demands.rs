//! Sets, variants, priorities, strategies and fitness.

use super::*;
use crate::allocator::{ClusterAgent, ClusterView, DominantShare, Placer, Prospect, Strategy};
use crate::types::Milli;

fn items(plan: &Plan) -> Vec<Vec<String>> {
    let all = plan.launches.iter().flat_map(Launch::instances);
    all.map(|it| it.items.iter().flat_map(|(_, items)| items.iter().cloned()).collect()).collect()
}

#[test]
fn items_of_a_set_are_handed_out_once_each_and_by_name_first() {
    let offers = [offer("o", "cpus:9;mem:9;fpga:{a,b,c}")];
    let any = task("any", 1.0, 1.0).set_of("fpga", 1).count(2);
    let given = task("given", 0.5, 0.5).set_items("fpga", ["a"]);
    let plan = place(&offers, &[any.clone(), given.clone()]);
    assert!(plan.is_complete(), "{plan}");
    assert_eq!(items(&plan), [["b"], ["c"], ["a"]]);
    let tasks = plan.launches[0].tasks();
    let sets: Vec<_> = tasks.iter().map(|task| task.resources().expect("resources").set("fpga")).collect();
    assert_eq!(sets.iter().flatten().collect::<Vec<_>>(), ["b", "c", "a"]);
    let plan = place(&offers, &[any.count(3), given]);
    assert_eq!(plan.placed(), 3);
    let text = plan.unplaced[0].to_string();
    assert!(text.contains("fpga: a is not free") || text.contains("fpga: asked 1, 0 left"), "{text}");
}

#[test]
fn reasons_for_sets_read_well() {
    let offers = [offer("o", "cpus:9;mem:9;fpga:{a,b}")];
    let why = |request: TaskRequest| place(&offers, &[request]).unplaced[0].to_string();
    assert_eq!(
        why(task("t", 1.0, 1.0).set_of("fpga", 3)),
        "1 of 1 does not fit: 1 agent: fpga: asked 3, 2 left; needs an agent with 1 cpu, 1 MiB and 3 items of fpga"
    );
    assert_eq!(
        why(task("t", 1.0, 1.0).set_items("fpga", ["z"])),
        "1 of 1 does not fit: 1 agent: fpga: z is not free; needs 1 more agent with 1 cpu, 1 MiB and fpga z"
    );
    assert_eq!(why(task("t", 1.0, 1.0).set_of("cpus", 1)), "cannot be placed: cpus is not a set");
}

#[test]
fn a_variant_is_taken_where_the_preferred_demand_has_no_room() {
    let offers = [offer("plain", "cpus:32;mem:64"), offer("gpu", "cpus:8;mem:64;gpus:1")];
    let train = task("train", 4.0, 1.0).gpus(1).or(|instead| instead.cpus(16.0).mem_mib(1)).count(3);
    let plan = place(&offers, std::slice::from_ref(&train));
    assert_eq!(placements(&plan), "train@plain train@plain train@gpu");
    let variants: Vec<usize> = plan.launches.iter().flat_map(Launch::instances).map(|it| it.variant).collect();
    assert_eq!(variants, [1, 1, 0]);
    let cpus: Vec<Milli> =
        plan.launches.iter().flat_map(Launch::tasks).map(|it| it.resources().expect("resources").cpus()).collect();
    assert_eq!(cpus, [16, 16, 4].map(Milli::from_units));
    assert_eq!(
        place(&offers, &[train.count(4)]).unplaced[0].to_string(),
        "1 of 4 does not fit: 2 agents: 1 cpus, 1 gpus; \
         needs an agent with 4 cpus, 1 MiB and 1 gpu, or 16 cpus and 1 MiB"
    );
}

#[test]
fn each_demand_of_a_refused_request_has_its_reason() {
    let offers = [offer("o", "cpus:8;mem:64")];
    let train = task("train", 4.0, 1.0).gpus(1).or(|instead| instead.cpus(16.0).mem_mib(1));
    let reason = place(&offers, &[train]).unplaced[0].reasons[0].to_string();
    assert_eq!(reason, "host-o: gpus: asked 1, 0 left and cpus: asked 16, 8 left");
}

#[test]
fn a_higher_priority_goes_first_and_never_yields_to_a_lower() {
    let offers = [offer("o", "cpus:4;mem:64")];
    let requests = [task("big", 4.0, 1.0), task("urgent", 1.0, 1.0).priority(5), task("many", 1.0, 1.0).count(4)];
    let plan = place(&offers, &requests);
    assert_eq!(placements(&plan), "urgent@o many@o many@o many@o");
    let requests = [task("many", 1.0, 1.0).count(4), task("big", 4.0, 1.0).priority(1)];
    assert_eq!(placements(&place(&offers, &requests)), "big@o");
}

#[test]
fn within_a_priority_as_many_instances_as_can_be_are_placed() {
    let offers = [offer("o", "cpus:4;mem:64")];
    let requests = [task("big", 4.0, 1.0), task("small", 1.0, 1.0).count(4)];
    assert_eq!(placements(&place(&offers, &requests)), "small@o small@o small@o small@o");
}

#[test]
fn binpack_fills_agents_and_spread_levels_them() {
    let offers = [offer("o1", "cpus:8;mem:80"), offer("o2", "cpus:8;mem:80"), offer("o3", "cpus:8;mem:40")];
    let four = [task("a", 1.0, 10.0).count(4)];
    let with = |strategy| placements(&Placer::new().strategy(strategy).place(&offers, &four));
    assert_eq!(with(Strategy::Binpack), "a@o3 a@o3 a@o3 a@o3");
    assert_eq!(with(Strategy::Spread), "a@o1 a@o1 a@o2 a@o3");
}

#[test]
fn spread_counts_instances_that_run_already() {
    let offers = [offer("o1", "cpus:8;mem:80"), offer("o2", "cpus:8;mem:80")];
    let request = task("a", 1.0, 10.0).running_on(offers[0].agent_id.clone(), 1);
    let plan = Placer::new().strategy(Strategy::Spread).place(&offers, &[request]);
    assert_eq!(placements(&plan), "a@o2");
}

#[test]
fn the_second_instance_of_three_on_an_agent_scores_minus_two_thirds() {
    let offers = [offer("o1", "cpus:8;mem:80")];
    let plan = Placer::new().strategy(Strategy::Spread).place(&offers, &[task("a", 1.0, 10.0).count(2)]);
    let score = plan.launches[0].instances().last().and_then(|it| it.score).expect("greedy placing scores");
    assert_eq!(score.own_instances, Some(-1.0));
    let running = task("a", 1.0, 10.0).count(3).max_per_agent(2).running_on(offers[0].agent_id.clone(), 1);
    let plan = Placer::new().strategy(Strategy::Spread).place(&offers, &[running]);
    let score = plan.launches[0].instances().last().and_then(|it| it.score).expect("greedy placing scores");
    assert_eq!(score.own_instances, Some(-2.0 / 3.0));
    assert!((score.total() - (score.fitness - 2.0 / 3.0) / 2.0).abs() < 1e-12);
}

#[test]
fn fitness_can_be_replaced_and_a_good_enough_place_ends_the_looking() {
    let offers = [offer("o1", "cpus:8;mem:80"), offer("o2", "cpus:2;mem:80"), offer("o3", "cpus:1;mem:80")];
    let one = [task("a", 1.0, 1.0)];
    let with = |placer: Placer<'_>| placements(&placer.place(&offers, &one));
    assert_eq!(with(Placer::new().fitness(DominantShare)), "a@o3");
    assert_eq!(with(Placer::new().fitness(DominantShare).good_enough(0.5)), "a@o2");
    assert_eq!(with(Placer::new().fitness(|place: &Prospect<'_>| place.free("cpus").unwrap_or(0.0))), "a@o1");
    assert_eq!(with(Placer::new().fitness(|_: &Prospect<'_>| f64::NAN)), "a@o1");
}

/// Greedy puts the two large ones together; only one large with two small ones fills an agent.
fn pairs(times: u32) -> (Vec<v1::Offer>, [TaskRequest; 2]) {
    let offers = (0..2 * times).map(|at| offer(&format!("o{at}"), "cpus:10;mem:64")).collect();
    (offers, [task("large", 4.0, 1.0).count(2 * times), task("small", 3.0, 1.0).count(4 * times)])
}

#[test]
fn a_search_that_runs_out_of_nodes_reports_it() {
    let (offers, requests) = pairs(1);
    let none = Placer::new().node_budget(0).place(&offers, &requests);
    assert!(!none.is_complete() && none.search().exhausted_budget, "{none}");
    let text = none.unplaced[0].to_string();
    assert!(text.ends_with("; the search stopped after 0 nodes, so a better plan may exist"), "{text}");
    let all = Placer::new().place(&offers, &requests);
    assert!(all.is_complete() && !all.search().exhausted_budget && all.search().nodes > 0, "{all}");
}

#[test]
fn what_can_never_fit_is_not_searched_for() {
    let offers = [offer("A", "cpus:6;mem:10")];
    let plan = place(&offers, &[task("x", 4.0, 6.0), task("huge", 30.0, 4.0)]);
    assert_eq!((plan.placed(), plan.search().nodes, plan.search().exhausted_budget), (1, 0, false));
}

#[test]
fn a_large_placement_is_improved_in_parts() {
    let (offers, requests) = pairs(40);
    let greedy = Placer::new().node_budget(0).place(&offers, &requests);
    let plan = place(&offers, &requests);
    assert_eq!((greedy.placed(), plan.placed()), (200, 240), "{greedy}\n{plan}");
    assert_eq!(plan, place(&offers, &requests));
}

#[test]
fn places_are_ranked_with_the_parts_of_their_scores() {
    let offers = [offer("o1", "cpus:8;mem:80"), offer("o2", "cpus:2;mem:20"), offer("o3", "cpus:0.5;mem:80")];
    let request = task("a", 1.0, 10.0).or(|instead| instead.cpus(0.5));
    let ranked = Placer::new().rank(&offers, &request);
    let places: Vec<(&str, usize)> = ranked.iter().map(|it| (it.host.hostname.as_str(), it.variant)).collect();
    assert_eq!(places, [("host-o2", 0), ("host-o3", 1), ("host-o1", 0)]);
    assert!((ranked[0].score.fitness - (20.0 - 2.0 * 10_f64.sqrt()) / 18.0).abs() < 1e-9);
    assert!((ranked[0].score.total() - ranked[0].score.fitness).abs() < 1e-9);
}

#[test]
fn with_a_view_an_agent_that_is_half_used_counts_as_half_full() {
    let offers = [offer("small", "cpus:4;mem:40"), offer("busy", "cpus:8;mem:80")];
    let agent = |id: &str, total: &str| {
        let id = v1::AgentId { value: id.to_owned() };
        ClusterAgent::new(id, "h").total(total.parse().expect("resources in text form"))
    };
    let view = ClusterView::new().agent(agent("small", "cpus:4;mem:40")).agent(agent("busy", "cpus:64;mem:640"));
    let one = [task("a", 1.0, 10.0)];
    assert_eq!(placements(&place(&offers, &one)), "a@small");
    assert_eq!(placements(&Placer::new().cluster(&view).place(&offers, &one)), "a@busy");
}

#[test]
fn what_no_agent_of_the_cluster_can_run_is_reported_as_such() {
    let id = v1::AgentId { value: "o1".to_owned() };
    let agent = ClusterAgent::new(id, "h").total("cpus:8;mem:80".parse().expect("resources in text form"));
    let view = ClusterView::new().agent(agent.attributes("zone:a".parse().expect("attributes")));
    let mut offer = offer("o1", "cpus:2;mem:80");
    offer.attributes = "zone:a".parse::<crate::types::Attributes>().expect("attributes").to_proto();
    let why = |request: TaskRequest| {
        Placer::new().cluster(&view).place(std::slice::from_ref(&offer), &[request]).unplaced[0].to_string()
    };
    assert_eq!(
        why(task("a", 4.0, 10.0)),
        "1 of 1 does not fit: 1 agent: cpus: asked 4, 2 left; needs an agent with 4 cpus and 10 MiB"
    );
    assert_eq!(
        why(task("a", 9.0, 10.0)),
        "1 of 1 does not fit: 1 agent: cpus: asked 9, 2 left; no agent of the cluster is large enough, even when empty; \
         needs an agent with 9 cpus and 10 MiB"
    );
    assert_eq!(
        why(task("a", 4.0, 10.0).constrained("zone = b").constrained("unique zone").max_per_agent(1)),
        "1 of 1 does not fit: 1 agent: zone is a, asked b; no agent of the cluster meets its constraints; \
         needs 1 more agent with zone b, 4 cpus and 10 MiB, keeping \"unique zone\""
    );
}

#[test]
fn a_request_of_very_many_alternatives_is_answered_without_a_deep_search() {
    let offers = [offer("o1", "cpus:10;mem:64"), offer("o2", "cpus:10;mem:64")];
    let many = (0..20_000).fold(task("many", 3.0, 1.0), |request, _| request.or(|instead| instead.cpus(3.0)));
    let plan = place(&offers, &[task("large", 4.0, 1.0).count(2), many.count(4)]);
    assert!(plan.placed() >= 5 && plan.search().exhausted_budget, "{}", plan.placed());
}
