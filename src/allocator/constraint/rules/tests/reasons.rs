//! The text of each constraint that fails.

use super::*;

/// Returns the result of the only request for the first agent.
#[track_caller]
fn first(attributes: &str, constraint: &str) -> String {
    let (hosts, requests) = (hosts(&[attributes]), [request("web", &[constraint])]);
    answer(&Rules::new(&requests, &hosts, None), 0, 0)
}

#[test]
fn an_attribute_is_shown_with_the_value_asked_for() {
    for (attributes, constraint, text) in [
        ("zone:b", "zone = b", "yes"),
        ("zone:b", "zone = a", "zone is b, asked a"),
        ("zone:b", "zone in a, c", "zone is b, asked a or c"),
        ("", "zone in a, c", "zone is not set, asked in a, c"),
        ("", "zone = a", "zone is not set, asked = a"),
        ("zone:b", "zone != b", "zone is b, asked not b"),
        ("zone:b", "zone not in a, b", "zone is b, asked not a or b"),
        ("cores:9", "cores < 9", "cores is 9, asked < 9"),
        ("cores:9", "cores <= 8", "cores is 9, asked <= 8"),
        ("cores:9", "cores > 9", "cores is 9, asked > 9"),
        ("cores:9", "cores >= 10", "cores is 9, asked >= 10"),
        ("model:arm", "model ~ /xeon.*/", "model is arm, asked ~ /xeon.*/"),
        ("kernel:5.4", "kernel version >= 5.10", "kernel is 5.4, asked version >= 5.10"),
        ("api:1.2.0", "api semver > 1.2.0", "api is 1.2.0, asked semver > 1.2.0"),
        ("tags:a;tags:c,d", "tags contains all a, b", "tags is a, c,d, asked contains all a, b"),
        ("tags:c", "tags contains any a, b", "tags is c, asked contains any a, b"),
        ("", "gpu is set", "gpu is not set, asked is set"),
        ("gpu:a100", "gpu is not set", "gpu is a100, asked not set"),
        ("", "hostname = h1", "hostname is h0, asked h1"),
        ("", "agent = s1", "agent is s0, asked s1"),
    ] {
        assert_eq!(first(attributes, constraint), text);
    }
}

#[test]
fn values_that_may_be_used_once_or_a_few_times_are_counted() {
    let hosts = hosts(&["zone:a", "zone:a", "zone:b", ""]);
    let requests = [request("web", &["unique zone"]), request("db", &["at most 2 per zone"])];
    let mut rules = Rules::new(&requests, &hosts, None);
    assert_eq!((rules.room(0, 0), rules.room(1, 0), rules.room(1, 3)), (1, 2, 0));
    rules.place(0, 0, 1);
    rules.place(1, 0, 1);
    assert_eq!((rules.room(0, 1), rules.room(1, 1)), (0, 1));
    rules.place(1, 1, 1);
    assert_eq!(answer(&rules, 0, 1), "1 instance with zone a, at most 1 there");
    assert_eq!(answer(&rules, 1, 0), "2 instances with zone a, at most 2 there");
    assert_eq!((answer(&rules, 0, 2), answer(&rules, 1, 2)), ("yes".into(), "yes".into()));
    assert_eq!(answer(&rules, 0, 3), "zone is not set, asked unique zone");
    assert_eq!(rules.check(0, 1).unwrap_err().rule(), "unique");
    assert_eq!(rules.check(1, 1).unwrap_err().rule(), "max_per_value");
    assert_eq!(rules.check(1, 1).unwrap_err().subject(), "zone");
}

#[test]
fn hosts_are_unique_by_name_though_they_have_no_attributes() {
    let hosts = hosts(&["", ""]);
    let requests = [request("web", &["unique hostname"]).running_on(id(1), 1)];
    let rules = Rules::new(&requests, &hosts, None);
    assert_eq!(answer(&rules, 0, 0), "yes");
    assert_eq!(answer(&rules, 0, 1), "1 instance with hostname h1, at most 1 there");
}

#[test]
fn a_spread_stops_at_the_share_of_a_value() {
    let hosts = hosts(&["zone:a", "zone:b", "zone:c", "zone:d"]);
    let requests = [
        request("web", &["spread zone a 60% b 20%"]).count(8).running_on(id(0), 2),
        request("even", &["spread zone"]).count(10),
        request("all", &["spread zone a 100%"]).count(3),
    ];
    let mut rules = Rules::new(&requests, &hosts, None);
    assert_eq!([0, 1, 2, 3].map(|agent| rules.room(0, agent)), [4, 2, 1, 1]);
    rules.place(0, 0, 4);
    assert_eq!(answer(&rules, 0, 0), "zone a has its share of 6");
    assert_eq!(rules.room(1, 0), 3);
    assert_eq!((rules.room(2, 0), answer(&rules, 2, 1)), (3, "zone b has no share".into()));
    assert_eq!(rules.check(2, 1).unwrap_err().rule(), "spread");
}

#[test]
fn a_group_may_be_ahead_of_the_others_by_the_skew() {
    let hosts = hosts(&["rack:r1", "rack:r2", "rack:r3"]);
    let requests = [request("web", &["group by rack skew 1"]).count(9)];
    let mut rules = Rules::new(&requests, &hosts, None);
    assert_eq!(rules.room(0, 0), 1);
    for (agent, instances) in [(0, 1), (1, 1), (2, 1), (0, 1), (1, 1)] {
        rules.place(0, agent, instances);
    }
    assert_eq!(answer(&rules, 0, 0), "rack r1 would have 3, others 1: skew 2, allowed 1");
    assert_eq!(rules.check(0, 0).unwrap_err().rule(), "group_by");
    assert_eq!(rules.room(0, 2), 2);
    rules.remove(0, 1, 1);
    rules.place(0, 2, 1);
    assert_eq!(answer(&rules, 0, 1), "yes");
}

#[test]
fn groups_are_those_of_the_whole_cluster_that_could_run_the_request() {
    let agent = |number: usize, attributes: &str, total: &str| {
        let agent = ClusterAgent::new(id(number), format!("h{number}")).attributes(attributes.parse().unwrap());
        agent.total(total.parse().unwrap())
    };
    let view = ClusterView::new()
        .agent(agent(1, "rack:r2;kind:fast", "cpus:8"))
        .agent(agent(2, "rack:r3;kind:fast", "cpus:0.5"))
        .agent(agent(3, "rack:r4;kind:slow", "cpus:8"));
    let hosts = hosts(&["rack:r1;kind:fast"]);
    let requests = [request("web", &["group by rack skew 1", "kind = fast"]).count(9).running_on(id(1), 1)];
    let mut rules = Rules::new(&requests, &hosts, Some(&view));
    assert_eq!(rules.room(0, 0), 2, "one more than r2; neither r3, too small, nor r4, too slow, holds it back");
    rules.place(0, 0, 2);
    assert_eq!(answer(&rules, 0, 0), "rack r1 would have 3, others 1: skew 2, allowed 1");
    assert_eq!(Rules::new(&requests, &hosts, None).room(0, 0), u32::MAX, "without a view there is no other rack");
}

#[test]
fn neighbours_are_found_by_label_on_the_agent_and_on_its_like() {
    let hosts = hosts(&["zone:a", "zone:a", "zone:b", ""]);
    let view = ClusterView::new().agent(ClusterAgent::new(id(0), "h0").task("db", [("app", "db")], 1));
    let requests = [
        request("web", &["with label app=db"]),
        request("near", &["with label app on same zone"]),
        request("shy", &["avoid label app=db"]),
        request("far", &["avoid label app=db on same zone"]),
    ];
    let rules = Rules::new(&requests, &hosts, Some(&view));
    let room = |request| [0, 1, 2, 3].map(|agent| rules.room(request, agent) > 0);
    assert_eq!(room(0), [true, false, false, false]);
    assert_eq!(room(1), [true, true, false, false]);
    assert_eq!(room(2), [false, true, true, true]);
    assert_eq!(room(3), [false, false, true, true]);
    assert_eq!(answer(&rules, 0, 1), "app=db does not run here, asked to be with it");
    assert_eq!(answer(&rules, 1, 2), "app does not run in zone b, asked to be with it");
    assert_eq!(answer(&rules, 1, 3), "app does not run in zone not set, asked to be with it");
    assert_eq!(answer(&rules, 2, 0), "app=db runs here, asked to avoid it");
    assert_eq!(answer(&rules, 3, 1), "app=db runs in zone a, asked to avoid it");
    assert_eq!(rules.check(0, 1).unwrap_err().rule(), "colocate");
    assert_eq!(rules.check(2, 0).unwrap_err().rule(), "avoid");
}

#[test]
fn tasks_with_a_label_are_not_placed_beside_those_that_avoid_it() {
    let hosts = hosts(&["", ""]);
    let requests = [request("shy", &["avoid label app=db"]), request("db", &[]).label("app", "db")];
    let mut rules = Rules::new(&requests, &hosts, None);
    assert!(!rules.is_static(1));
    rules.place(0, 0, 1);
    assert_eq!(answer(&rules, 1, 0), "task shy is there and avoids app=db");
    assert_eq!((rules.room(1, 0), rules.room(1, 1)), (0, u32::MAX));
}

#[test]
fn a_request_that_avoids_or_seeks_its_own_label_gets_its_first_instance_placed() {
    let hosts = hosts(&["zone:a", "zone:b", ""]);
    let requests = [
        request("apart", &["avoid label app=apart"]).label("app", "apart"),
        request("together", &["with label app=together on same zone"]).label("app", "together"),
    ];
    let mut rules = Rules::new(&requests, &hosts, None);
    assert_eq!((rules.room(0, 0), rules.room(1, 0), rules.room(1, 1), rules.room(1, 2)), (1, u32::MAX, u32::MAX, 0));
    rules.place(0, 0, 1);
    rules.place(1, 1, 1);
    assert_eq!(answer(&rules, 0, 0), "app=apart runs here, asked to avoid it");
    assert_eq!((rules.room(1, 0), rules.room(1, 1)), (0, u32::MAX));
}

#[test]
fn an_exclusive_task_takes_an_empty_agent_and_keeps_it() {
    let hosts = hosts(&["", "", ""]);
    let view = ClusterView::new().agent(ClusterAgent::new(id(0), "h0").task("web", [("", ""); 0], 1));
    let requests = [request("db", &["exclusive"]), request("cron", &[])];
    let mut rules = Rules::new(&requests, &hosts, Some(&view));
    assert_eq!(answer(&rules, 0, 0), "exclusive: task web is there");
    rules.place(1, 1, 3);
    assert_eq!(answer(&rules, 0, 1), "exclusive: task cron is there");
    assert_eq!(rules.room(0, 2), 1);
    rules.place(0, 2, 1);
    assert_eq!(answer(&rules, 0, 2), "exclusive: task db is there");
    assert_eq!(answer(&rules, 1, 2), "task db has the agent for itself");
    assert_eq!((rules.room(1, 2), rules.room(1, 1)), (0, u32::MAX));
    assert_eq!(rules.check(1, 2).unwrap_err().rule(), "exclusive");
    assert!(!rules.is_static(1));
}

#[test]
fn a_running_instance_that_the_view_shows_too_is_one_task() {
    let hosts = hosts(&["", ""]);
    let view = ClusterView::new().agent(ClusterAgent::new(id(0), "h0").task("db", [("app", "db")], 2));
    let db = request("db", &[]).label("app", "db").running_on(id(0), 2).running_on(id(1), 1);
    let requests = [db, request("web", &["prefer -100: with label app=db", "prefer 1: avoid label app=db"])];
    let mut rules = Rules::new(&requests, &hosts, Some(&view));
    assert_eq!(rules.watches[0].there, [2, 1], "both rules watch the same tasks");
    rules.remove(0, 1, 1);
    assert_eq!((rules.watches[0].there.clone(), rules.watches[0].anywhere), (vec![2, 0], 2));
}

#[test]
fn what_the_offer_leaves_out_is_taken_from_the_view() {
    let agent = ClusterAgent::new(id(0), "other").attributes("zone:b;rack:r1".parse().unwrap());
    let view = ClusterView::new().agent(agent);
    let (hosts, requests) = (hosts(&["zone:a"]), [request("web", &["zone = a", "rack = r1", "hostname = h0"])]);
    assert_eq!(answer(&Rules::new(&requests, &hosts, Some(&view)), 0, 0), "yes");
}

#[test]
fn a_set_attribute_is_several_values_and_an_invalid_one_is_none() {
    let mut set = v1::Attribute { name: "tags".into(), ..Default::default() };
    set.set_type(v1::value::Type::Set);
    set.set = Some(v1::value::Set { item: vec!["a".into(), "b".into()] });
    let bare = v1::Attribute { name: "zone".into(), r#type: v1::value::Type::Text.into(), ..Default::default() };
    let host = Arc::new(Host { agent_id: id(0), hostname: "h0".into() });
    let described = Described::new(host, &[set, bare]);
    assert_eq!(described.attributes.to_string(), "tags:a;tags:b");
}
