//! Small workloads whose placement is known.

use super::*;

#[test]
fn six_instances_two_per_agent_need_three_agents() {
    let offers = [offer("o1", "cpus:8;mem:100"), offer("o2", "cpus:8;mem:100"), offer("o3", "cpus:8;mem:100")];
    let six = task("a", 1.0, 1.0).count(6).max_per_agent(2);
    assert_eq!(placements(&place(&offers, &[six])), "a@o1 a@o1 a@o2 a@o2 a@o3 a@o3");
    let five = task("a", 1.0, 1.0).count(5).max_per_agent(2);
    assert_eq!(placements(&place(&offers, &[five])), "a@o1 a@o1 a@o2 a@o2 a@o3");
}

#[test]
fn best_effort_places_what_fits_and_all_or_nothing_nothing() {
    let offers = [offer("o1", "cpus:8;mem:100"), offer("o2", "cpus:8;mem:100")];
    let six = [task("a", 1.0, 1.0).count(6).max_per_agent(2)];
    let some = place(&offers, &six);
    assert_eq!((some.placed(), some.is_complete(), some.unplaced[0].missing), (4, false, 2));
    let none = place_all(&offers, &six);
    assert_eq!((none.placed(), none.is_complete(), none.unplaced[0].missing), (0, false, 2));
    assert_eq!(ids(&none.unused), ["o1", "o2"]);
    assert_eq!(none.unplaced[0].reasons, some.unplaced[0].reasons);
    let four = [task("a", 1.0, 1.0).count(4).max_per_agent(2)];
    assert_eq!(place_all(&offers, &four), place(&offers, &four));
}

#[test]
fn nothing_asked_is_complete_and_uses_nothing() {
    let offers = [offer("o1", "cpus:4;mem:10")];
    for requests in [vec![], vec![task("a", 1.0, 1.0).count(0)], vec![task("a", -1.0, 1.0).count(0)]] {
        let plan = place_all(&offers, &requests);
        assert!(plan.is_complete());
        assert_eq!((plan.placed(), ids(&plan.unused)), (0, vec!["o1"]));
    }
}

#[test]
fn what_fits_exactly_fits_and_a_thousandth_more_does_not() {
    assert_eq!(place(&[offer("o1", "cpus:1;mem:1")], &[task("a", 1.0, 1.0)]).placed(), 1);
    assert_eq!(place(&[offer("o1", "cpus:1;mem:1")], &[task("a", 1.0, 1.001)]).placed(), 0);
    assert_eq!(place(&[offer("o1", "cpus:0.3;mem:1000")], &[task("a", 0.1, 1.0).count(3)]).placed(), 3);
}

#[test]
fn the_request_with_the_largest_dominant_share_goes_first() {
    let offers = [offer("o1", "cpus:4;mem:8")];
    let requests = [task("small", 1.0, 1.0), task("big", 2.0, 4.0)];
    assert_eq!(placements(&place(&offers, &requests)), "big@o1 small@o1");
    let wide = [task("small", 1.0, 6.0), task("wide", 4.0, 1.0)];
    assert_eq!(placements(&place(&offers, &wide)), "wide@o1");
    let equal = [task("a", 1.0, 1.0), task("b", 1.0, 1.0)];
    assert_eq!(placements(&place(&offers, &equal)), "a@o1 b@o1");
}

#[test]
fn an_agent_that_lets_fewer_in_does_not_shorten_the_next_ones_limit() {
    let offers = [offer("A", "cpus:1;mem:100"), offer("B", "cpus:3;mem:50")];
    assert_eq!(placements(&place_all(&offers, &[task("a", 1.0, 1.0).count(3).max_per_agent(2)])), "a@A a@B a@B");
}

#[test]
fn limits_count_instances_that_run_already_and_all_offers_of_the_agent() {
    let same = [offer_of("o1", "s", "cpus:4;mem:10"), offer_of("o2", "s", "cpus:4;mem:10")];
    assert_eq!(place(&same, &[task("a", 1.0, 1.0).count(2).max_per_agent(1)]).placed(), 1);
    let roles = [for_role(same[0].clone(), "x"), for_role(same[1].clone(), "y")];
    assert_eq!(place(&roles, &[task("a", 1.0, 1.0).count(2).max_per_agent(1)]).placed(), 1);
    let running = task("a", 1.0, 1.0).count(3).max_per_agent(3).running_on(same[0].agent_id.clone(), 2);
    assert_eq!(place(&same, std::slice::from_ref(&running)).placed(), 1);
    assert_eq!(place(&same, &[running.max_per_agent(1)]).placed(), 0);
}

#[test]
fn a_limit_is_per_request_even_where_names_are_equal() {
    let twice = [task("a", 1.0, 1.0).max_per_agent(1), task("a", 1.0, 1.0).max_per_agent(1)];
    assert_eq!(placements(&place(&[offer("o1", "cpus:4;mem:10")], &twice)), "a@o1 a@o1");
}

#[test]
fn fragments_of_one_agent_are_used_as_one() {
    let offers = [offer_of("o1", "s", "cpus:1;mem:10"), offer_of("o2", "t", "cpus:1"), offer_of("o3", "s", "cpus:3")];
    let plan = place(&offers, &[task("a", 4.0, 10.0)]);
    assert_eq!(placements(&plan), "a@s");
    assert_eq!((ids(&plan.launches[0].offer_ids), ids(&plan.unused)), (vec!["o1", "o3"], vec!["o2"]));
}

#[test]
fn offers_to_different_roles_are_not_merged_and_a_role_may_be_asked_for() {
    let of = |id, role| for_role(offer_of(id, "s", "cpus:2;mem:10"), role);
    let offers = [of("o1", "web"), of("o2", "batch")];
    assert_eq!(place(&offers, &[task("a", 4.0, 1.0)]).placed(), 0);
    let plan = place(&offers, &[task("a", 1.0, 1.0).on_role("batch").count(3)]);
    assert_eq!((plan.placed(), ids(&plan.launches[0].offer_ids)), (2, vec!["o2"]));
}

#[test]
fn an_offer_that_is_listed_twice_counts_once() {
    let twice = [offer("o1", "cpus:1;mem:1"), offer("o1", "cpus:1;mem:1")];
    let plan = place(&twice, &[task("a", 1.0, 1.0).count(2)]);
    assert_eq!((plan.placed(), ids(&plan.launches[0].offer_ids)), (1, vec!["o1"]));
}

#[test]
fn a_port_that_two_kinds_of_an_offer_claim_is_handed_out_once() {
    let offers = [for_role(offer("o1", "cpus:4;ports:[1-2];ports(web):[1-1]"), "web")];
    let plan = place(&offers, &[TaskRequest::command("a", "true").cpus(1.0).ports(1).count(3)]);
    assert_eq!(placements(&plan), "a@o1:1 a@o1:2");
}

#[test]
fn ports_are_the_lowest_free_ones_over_all_ranges() {
    let ports =
        |ranges: &str, request| placements(&place(&[offer("o", &format!("cpus:9;ports:{ranges}"))], &[request]));
    let task = || TaskRequest::command("a", "true").cpus(0.1);
    assert_eq!(ports("[31000-31009]", task().ports(2).count(2)), "a@o:31000+31001 a@o:31002+31003");
    assert_eq!(ports("[31000-31000,32000-32009]", task().ports(1).count(3)), "a@o:31000 a@o:32000 a@o:32001");
    assert_eq!(ports("[31000-31000,32000-32009]", task().ports(3)), "a@o:31000+32000+32001");
    assert_eq!(ports("[31000-31001]", task().ports(1).count(3)), "a@o:31000 a@o:31001");
    assert_eq!(ports("[31000-31009]", task().fixed_ports([31005]).ports(1).count(2)), "a@o:31005+31000");
    assert_eq!(ports("[31000-31009]", task().fixed_ports([8080])), "");
}

#[test]
fn a_fixed_port_is_not_handed_out_twice_nor_to_a_request_for_any_port() {
    let requests = [
        TaskRequest::command("fixed", "true").cpus(2.0).fixed_ports([31000]),
        TaskRequest::command("any", "true").cpus(1.8).ports(1),
        TaskRequest::command("late", "true").cpus(0.5).fixed_ports([31001]),
        TaskRequest::command("later", "true").cpus(0.4).fixed_ports([31001]),
    ];
    let plan = place(&[offer("o", "cpus:9;ports:[31000-31009]")], &requests);
    assert_eq!(placements(&plan), "fixed@o:31000 any@o:31002 late@o:31001");
    assert_eq!(plan.unplaced[0].reasons[0].to_string(), "host-o: port 31001 is not free");
}

#[test]
fn all_kinds_of_scalars_are_honoured() {
    let offers = [offer("o1", "cpus:4;mem:10;disk:1"), offer("o2", "cpus:4;mem:10;disk:100;gpus:1;slots:2")];
    assert_eq!(placements(&place(&offers, &[task("a", 1.0, 1.0).disk_mib(50)])), "a@o2");
    assert_eq!(placements(&place(&offers, &[task("a", 1.0, 1.0).gpus(1)])), "a@o2");
    let slots = task("a", 1.0, 1.0).resource("slots", crate::types::Milli::from_units(1)).count(3);
    assert_eq!(placements(&place(&offers, &[slots])), "a@o2 a@o2");
}
