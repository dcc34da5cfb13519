//! Reasons of what did not fit, as text.

use super::*;

fn why(offers: &[v1::Offer], request: TaskRequest) -> String {
    place(offers, &[request]).unplaced[0].to_string()
}

#[test]
fn the_limit_per_agent_is_shown_with_the_agents_that_would_help() {
    let offers = [offer("o1", "cpus:8;mem:1024"), offer("o2", "cpus:8;mem:1024")];
    let plan = place(&offers, &[task("hello", 0.5, 64.0).count(6).max_per_agent(2)]);
    let text = "2 of 6 do not fit: 2 agents: at their limit of 2; needs 1 more agent with 1 cpu and 128 MiB";
    assert_eq!(plan.unplaced[0].to_string(), text);
    assert_eq!(plan.to_string(), format!("4 placed on 2 agents\nhello: {text}"));
    assert_eq!(
        why(&offers, task("hello", 0.5, 64.0).count(9).max_per_agent(2)),
        "5 of 9 do not fit: 2 agents: at their limit of 2; needs 3 more agents with 1 cpu and 128 MiB each"
    );
}

#[test]
fn one_agent_is_shown_with_its_margin_and_several_with_the_best_one() {
    let one = offer("o1", "cpus:2.5;mem:1024");
    assert_eq!(
        why(std::slice::from_ref(&one), task("a", 4.0, 64.0)),
        "1 of 1 does not fit: 1 agent: cpus: asked 4, 2.5 left; needs an agent with 4 cpus and 64 MiB"
    );
    assert_eq!(
        why(&[offer("o0", "cpus:1;mem:1024"), one], task("a", 4.0, 64.0).count(3)),
        "3 of 3 do not fit: 2 agents: cpus: asked 4, at most 2.5 left; \
         needs 12 cpus and 192 MiB more, in parts of 4 cpus and 64 MiB"
    );
}

#[test]
fn different_rules_are_counted_the_most_frequent_first() {
    let offers = [
        offer("o1", "cpus:9;mem:9"),
        offer("o2", "cpus:1;mem:99"),
        offer("o3", "cpus:2;mem:99"),
        offer("o4", "cpus:9;mem:99"),
    ];
    let request = task("web", 4.0, 64.0).disk_mib(10).gpus(1).ports(2).fixed_ports([80]);
    assert_eq!(
        why(&offers, request),
        "1 of 1 does not fit: 4 agents: 2 cpus, 1 disk, 1 mem; \
         needs 1 more agent with 4 cpus, 64 MiB, 10 MiB of disk, 1 gpu and 3 ports"
    );
}

#[test]
fn without_offers_the_need_is_still_shown() {
    assert_eq!(why(&[], task("a", 0.5, 0.0)), "1 of 1 does not fit: nothing is offered; needs an agent with 0.5 cpus");
}

#[test]
fn a_limit_of_zero_is_shown_as_such() {
    assert_eq!(
        why(&[offer("o1", "cpus:4;mem:10")], task("a", 1.0, 1.0).max_per_agent(0)),
        "1 of 1 does not fit: 1 agent: at its limit of 0 on this agent; a limit of 0 allows none anywhere"
    );
}

#[test]
fn an_invalid_request_is_reported_and_does_not_stop_the_others() {
    let offers = [offer("o1", "cpus:4;mem:10")];
    let plan = place(&offers, &[task("bad", -1.0, 1.0), TaskRequest::command("empty", "true"), task("good", 1.0, 1.0)]);
    assert_eq!(placements(&plan), "good@o1");
    assert_eq!(
        plan.to_string(),
        "1 placed on 1 agent\nbad: cannot be placed: cpus: -1 is negative\n\
         empty: cannot be placed: no resources are asked for; say at least how many cpus"
    );
}

#[test]
fn an_invalid_offer_is_unusable_with_a_reason() {
    let mut bad = offer("bad", "cpus:4;mem:10");
    bad.resources[1].scalar = Some(v1::value::Scalar { value: -1.0 });
    let mut empty = offer("empty", "cpus:4");
    empty.resources[0].name.clear();
    let plan = place(&[bad, empty, offer("ok", "cpus:1;mem:1")], &[task("a", 1.0, 1.0).count(2)]);
    assert_eq!((placements(&plan).as_str(), ids(&plan.unused)), ("a@ok", vec!["bad", "empty"]));
    let reasons: Vec<String> = plan.unplaced[0].reasons.iter().map(ToString::to_string).collect();
    assert_eq!(reasons[0], "host-ok: cpus: asked 1, 0 left");
    assert!(reasons[1].starts_with("host-bad: the offer cannot be used: resources[1].scalar"), "{reasons:?}");
    assert!(reasons[2].starts_with("host-empty: the offer cannot be used: resources[0].name"), "{reasons:?}");
}

#[test]
fn a_role_without_offers_is_reported() {
    let offers = [for_role(offer("o1", "cpus:4;mem:10"), "batch")];
    let text = why(&offers, task("a", 1.0, 1.0).on_role("web"));
    assert!(text.contains("1 agent: offered to role batch, asked for web"), "{text}");
}

#[test]
fn reasons_name_agent_host_rule_and_margin() {
    let plan = place(&[offer("o1", "cpus:1;mem:10")], &[task("a", 1.5, 1.0)]);
    let reason = &plan.unplaced[0].reasons[0];
    assert_eq!(reason.agent_id().value, "o1");
    assert_eq!((reason.hostname(), reason.reason().rule()), ("host-o1", "cpus"));
    assert_eq!(reason.reason().margin(), Some(crate::types::Milli::from_raw(500)));
}
