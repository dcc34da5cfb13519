//! Whether a task fits, and the reason if it does not.

use proptest::prelude::*;

use super::*;
use crate::types::Milli;

fn resources(text: &str) -> Resources {
    text.parse().expect("resources in text form")
}

fn task() -> TaskRequest {
    TaskRequest::command("t", "true")
}

fn why_not(available: &str, request: &TaskRequest) -> String {
    let available = resources(available);
    fits(&Candidate::new(&available), request).expect_err("it does not fit").to_string()
}

#[test]
fn each_rule_has_a_text_with_its_margin() {
    let offer = "cpus:2.5;mem:512;disk:100;gpus:1;licences:3;ports:[31000-31001]";
    assert_eq!(why_not(offer, &task().cpus(4.0)), "cpus: asked 4, 2.5 left");
    assert_eq!(why_not(offer, &task().mem_mib(1024)), "mem: asked 1024, 512 left");
    assert_eq!(why_not(offer, &task().disk_mib(100.5)), "disk: asked 100.5, 100 left");
    assert_eq!(why_not(offer, &task().gpus(2)), "gpus: asked 2, 1 left");
    assert_eq!(why_not(offer, &task().resource("licences", Milli::from_units(4))), "licences: asked 4, 3 left");
    assert_eq!(why_not(offer, &task().resource("slots", Milli::from_units(1))), "slots: asked 1, 0 left");
    assert_eq!(why_not(offer, &task().ports(3)), "ports: asked 3, 2 left");
    assert_eq!(why_not(offer, &task().fixed_ports([8080])), "port 8080 is not free");
    assert_eq!(why_not(offer, &task().fixed_ports([31000]).ports(2)), "ports: asked 3, 2 left");
}

#[test]
fn margins_and_rules_are_data() {
    let left = resources("cpus:2.5;ports:[1-1]");
    let reason = |request: TaskRequest| fits(&Candidate::new(&left), &request).expect_err("it does not fit");
    let cpus = reason(task().cpus(4.0));
    assert_eq!((cpus.rule(), cpus.margin()), ("cpus", Some(Milli::from_raw(1500))));
    let ports = reason(task().ports(3));
    assert_eq!((ports.rule(), ports.margin()), ("ports", Some(Milli::from_units(2))));
    assert_eq!(reason(task().fixed_ports([9])).rule(), "port");
}

#[test]
fn the_first_failing_rule_is_returned() {
    let left = resources("cpus:1;mem:64");
    let request = task().cpus(2.0).mem_mib(128).ports(1).max_per_agent(1).on_role("web");
    let agent = Candidate::new(&left).offered_to("batch").with_instances(1);
    let text = |agent: &Candidate<'_>| fits(agent, &request).expect_err("it does not fit").to_string();
    assert_eq!(text(&agent), "offered to role batch, asked for web");
    assert_eq!(text(&agent.offered_to("web")), "at its limit of 1 on this agent");
    assert_eq!(text(&agent.offered_to("web").with_instances(0)), "cpus: asked 2, 1 left");
}

#[test]
fn as_many_fit_as_the_scarcest_resource_and_the_limit_allow() {
    let left = resources("cpus:4;mem:1000;ports:[1-5]");
    let instances = |request: TaskRequest| fits(&Candidate::new(&left), &request).expect("it fits").instances;
    assert_eq!(instances(task().cpus(0.1)), 40);
    assert_eq!(instances(task().cpus(0.1).mem_mib(300)), 3);
    assert_eq!(instances(task().cpus(0.1).ports(2)), 2);
    assert_eq!(instances(task().cpus(0.1).fixed_ports([5])), 1);
    assert_eq!(instances(task().cpus(0.1).max_per_agent(7)), 7);
}

#[test]
fn what_is_reserved_to_others_or_may_be_taken_back_does_not_count() {
    let left = resources("cpus:1;cpus(web):2;cpus(batch):4");
    let agent = Candidate::new(&left).offered_to("web/eu");
    assert_eq!(fits(&agent, &task().cpus(4.0)).expect_err("1 + 2 cpus").to_string(), "cpus: asked 4, 3 left");
    let revocable: Resources = left.iter().map(revocable).collect();
    assert_eq!(why_not_in(&revocable), "cpus: asked 1, 0 left");
}

fn revocable(item: &Resource) -> Resource {
    let kind = crate::types::Kind::clone(item.kind()).with_revocable(true);
    Resource::new(kind, item.amount().clone())
}

fn why_not_in(available: &Resources) -> String {
    fits(&Candidate::new(available), &task().cpus(1.0)).expect_err("nothing plain is there").to_string()
}

#[test]
fn a_shortage_of_exact_resources_names_the_amount_then_port_then_kind() {
    let left = resources("cpus:2;cpus(web):1;mem:512;ports:[31000-31009]");
    let text = |wanted: &str| shortage(&left, &resources(wanted)).map(|reason| reason.to_string());
    assert_eq!(text("cpus:2;cpus(web):1;ports:[31000-31004]"), None);
    assert_eq!(text("mem:1024;cpus:4"), Some("cpus: asked 4, 3 left".to_owned()));
    assert_eq!(text("mem:1024;cpus:1"), Some("mem: asked 1024, 512 left".to_owned()));
    assert_eq!(text("ports:[31008-31012]"), Some("port 31010 is not free".to_owned()));
    assert_eq!(text("slots:1"), Some("slots: asked 1, 0 left".to_owned()));
    let kind = text("cpus(web):2").expect("only one is reserved for web");
    assert!(kind.starts_with("asked cpus") && kind.contains("web") && kind.contains("left cpus:2"), "{kind}");
    let set = text("racks:{a}").expect("there are no racks");
    assert!(set.starts_with("asked racks:{a}") && set.ends_with("left no racks"), "{set}");
}

fn amounts() -> impl Strategy<Value = Resources> {
    let ports = prop::collection::vec((0..20_u64, 0..5_u64), 0..3);
    (0..8_i64, 0..8_i64, 0..4_i64, ports).prop_map(|(cpus, mem, web, ports)| {
        let ports = ports.iter().map(|(begin, more)| *begin..=begin + more).collect::<crate::types::Ranges>();
        let mut sum = resources(&format!("cpus:{cpus};mem:{mem};cpus(web):{web}"));
        if !ports.is_empty() {
            sum = sum.with_ports(ports);
        }
        sum
    })
}

proptest! {
    #[test]
    fn there_is_a_shortage_exactly_when_not_everything_is_contained(left in amounts(), wanted in amounts()) {
        prop_assert_eq!(shortage(&left, &wanted).is_none(), left.contains(&wanted));
    }

    #[test]
    fn as_many_instances_as_promised_fit_and_not_one_more(
        left in amounts(), cpus in 1..5_u32, mem in 0..5_u32, ports in 0..3_u32,
    ) {
        let all = |times: u32| {
            let ports = left.ports().len() >= u64::from(ports * times);
            let enough = |have: Milli, each: u32| have >= Milli::from_units(i64::from(each * times));
            ports && enough(left.cpus(), cpus) && enough(left.mem_mib(), mem)
        };
        let request = task().cpus(f64::from(cpus)).mem_mib(mem).ports(ports);
        let instances = fits(&Candidate::new(&left), &request).map_or(0, |fit| fit.instances);
        prop_assert!(all(instances));
        prop_assert!(!all(instances + 1));
    }
}
