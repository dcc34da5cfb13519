//! The five rules of offers, and how offers end.

use std::time::Duration;

use super::world::{MASTER, World, facts, register, resources};
use crate::{
    master::core::{Call, Config, Event, offer_id},
    types::Milli,
};

const CALM: Duration = Duration::from_millis(1_100);

#[test]
fn all_an_agent_has_is_offered_at_once() {
    let mut world = World::new();
    let (framework, id) = world.framework("f");
    let _ = world.agent("cpus:4;mem:1024;ports:[31000-31009]");
    let offers = world.offers(framework);
    assert_eq!(offers.len(), 1);
    assert_eq!(*offers[0].resources, resources("cpus:4;mem:1024;ports:[31000-31009]"));
    assert_eq!((&*offers[0].framework, &*offers[0].role), (id.as_str(), "*"));
}

#[test]
fn a_framework_that_comes_second_gets_the_next_agent() {
    let mut world = World::new();
    let (first, _) = world.framework("first");
    let _ = world.agent("cpus:4;mem:1024");
    assert_eq!(world.offers(first).len(), 1);
    let (second, _) = world.framework("second");
    let _ = world.agent("cpus:4;mem:1024");
    assert_eq!((world.offers(first).len(), world.offers(second).len()), (0, 1));
}

#[test]
fn a_declined_offer_does_not_return_before_its_filter_ends() {
    let mut world = World::new();
    let (framework, _) = world.framework("f");
    let _ = world.agent("cpus:4;mem:1024");
    let offer = world.offers(framework)[0].clone();
    world.decline(framework, &offer, 5);
    assert!(world.offers(framework).is_empty());
    world.wait(Duration::from_millis(4_900));
    assert!(world.offers(framework).is_empty());
    world.wait(CALM);
    assert_eq!(world.offers(framework).len(), 1);
}

#[test]
fn a_refusal_outlives_that_its_agent_was_unreachable() {
    let mut world = World::new();
    let (framework, _) = world.framework("f");
    let (session, agent) = world.agent("cpus:4;mem:1024");
    let offer = world.offers(framework)[0].clone();
    world.decline(framework, &offer, 3_600);
    world.detach(session);
    world.wait(Duration::from_mins(15));
    assert!(world.facts().unreachable.contains_key(&agent));
    let session = world.register(register(Some(&agent), "cpus:4;mem:1024"));
    assert!(world.registered(session).is_some());
    world.wait(CALM);
    assert!(world.offers(framework).is_empty());
}

#[test]
fn a_refusal_without_a_filter_holds_for_a_second_all_the_same() {
    let mut world = World::new();
    let (framework, _) = world.framework("f");
    let _ = world.agent("cpus:4;mem:1024");
    let offer = world.offers(framework)[0].clone();
    world.decline(framework, &offer, 0);
    world.wait(Duration::from_millis(990));
    assert!(world.offers(framework).is_empty());
    world.wait(CALM);
    assert_eq!(world.offers(framework).len(), 1);
}

#[test]
fn refusals_of_one_agent_share_a_timer_however_many_and_long_they_are() {
    let mut world = World::new();
    let (framework, _) = world.framework("f");
    let _ = world.agent("cpus:4;mem:1024");
    let mut armed = Vec::new();
    for round in 0..50 {
        let offer = world.offers(framework)[0].clone();
        world.decline(framework, &offer, 365 * 24 * 3_600 - round);
        armed.push(world.harness.core.timers());
        world.wait(CALM);
        world.call(framework, Call::Revive { roles: Vec::new() });
    }
    assert_eq!(armed.iter().max(), armed.first(), "{armed:?}");
}

#[test]
fn revive_ends_every_refusal_at_once() {
    let mut world = World::new();
    let (framework, _) = world.framework("f");
    let _ = world.agent("cpus:4;mem:1024");
    let offer = world.offers(framework)[0].clone();
    world.decline(framework, &offer, 3_600);
    world.call(framework, Call::Revive { roles: Vec::new() });
    assert_eq!(world.offers(framework).len(), 1);
}

#[test]
fn more_than_was_refused_passes_the_filter() {
    let mut world = World::new();
    let (framework, id) = world.framework("f");
    let (agent, _) = world.agent("cpus:4;mem:1024");
    let offer = world.offers(framework)[0].clone();
    world.launch(framework, &offer, &[("t", "cpus:3;mem:512")]);
    let task = world.runs(agent)[0].clone();
    world.wait(CALM);
    assert!(world.offers(framework).is_empty(), "what is left was refused by the filter of the ACCEPT");
    world.update(agent, &id, &task, crate::proto::v1::TaskState::TaskFinished);
    assert_eq!(*world.offers(framework)[0].resources, resources("cpus:4;mem:1024"));
}

#[test]
fn suppressed_roles_get_nothing_until_they_are_revived() {
    let mut world = World::new();
    let (framework, _) = world.framework("f");
    world.call(framework, Call::Suppress { roles: Vec::new() });
    let _ = world.agent("cpus:4;mem:1024");
    world.wait(CALM);
    assert!(world.offers(framework).is_empty());
    world.call(framework, Call::Revive { roles: Vec::new() });
    assert_eq!(world.offers(framework).len(), 1);
}

#[test]
fn a_call_that_names_a_foreign_role_is_refused_whole() {
    let mut world = World::new();
    let (framework, _) = world.framework("f");
    world.call(framework, Call::Suppress { roles: vec!["*".into(), "other".into()] });
    assert_eq!(world.refusals(framework), [("suppress.roles[1]".into(), "not subscribed to role other".into())]);
    let _ = world.agent("cpus:4;mem:1024");
    assert_eq!(world.offers(framework).len(), 1, "nothing was suppressed");
}

#[test]
fn an_idle_framework_waits_for_the_shared_run_and_an_active_one_does_not() {
    let mut world = World::new();
    let (cool, _) = world.framework("cool");
    let _ = world.agent("cpus:4;mem:1024");
    let offer = world.offers(cool)[0].clone();
    world.decline(cool, &offer, 3_600);
    let _ = world.agent("cpus:1;mem:1024");
    assert!(world.offers(cool).is_empty(), "a whole round brought no launch");
    world.wait(CALM);
    assert_eq!(world.offers(cool).len(), 1);
    let (warm, _) = world.framework("warm");
    let _ = world.agent("cpus:2;mem:1024");
    assert_eq!(world.offers(warm).len(), 1);
}

#[test]
fn what_frees_up_joins_the_next_offer_while_one_is_fresh() {
    let mut world = World::new();
    let (framework, id) = world.framework("f");
    let (agent, _) = world.agent("cpus:4;mem:1024");
    let offer = world.offers(framework)[0].clone();
    world.launch(framework, &offer, &[("a", "cpus:1;mem:256"), ("b", "cpus:1;mem:256"), ("c", "cpus:2;mem:512")]);
    let tasks = world.runs(agent);
    world.update(agent, &id, &tasks[0], crate::proto::v1::TaskState::TaskFinished);
    assert_eq!(world.offers(framework).len(), 1);
    world.update(agent, &id, &tasks[1], crate::proto::v1::TaskState::TaskFinished);
    assert!(world.offers(framework).is_empty(), "one offer of this agent is outstanding");
    world.wait(CALM);
    assert_eq!(*world.offers(framework)[0].resources, resources("cpus:1;mem:256"));
}

#[test]
fn an_unanswered_offer_expires_and_its_framework_waits() {
    let mut world = World::new();
    let (framework, _) = world.framework("f");
    let _ = world.agent("cpus:4;mem:1024");
    let offer = world.offers(framework)[0].clone();
    world.wait(Duration::from_secs(119));
    assert!(world.events(framework).iter().all(|event| !matches!(event, Event::Rescinded { .. })));
    world.wait(Duration::from_millis(1_001));
    let rescinded = world
        .events(framework)
        .iter()
        .any(|event| matches!(event, Event::Rescinded { offer: one } if *one == offer.key));
    assert!(rescinded);
    assert!(world.offers(framework).is_empty(), "a backoff of a second");
    world.wait(CALM * 2);
    assert_eq!(world.offers(framework).len(), 1);
}

#[test]
fn an_unanswered_period_counts_once_however_many_offers_it_held() {
    for agents in [1_u16, 3, 7, 40] {
        let mut world = World::new();
        let (framework, _) = world.framework("f");
        for _ in 0..agents {
            let _ = world.agent("cpus:4;mem:1024");
            world.wait(Duration::from_millis(300));
        }
        world.wait(Duration::from_millis(120_000 - 300 * u64::from(agents)));
        assert_eq!(world.offers(framework).len(), 0, "{agents} agents");
        let mut made = 0;
        for _ in 0..30 {
            world.wait(Duration::from_millis(500));
            made += world.offers(framework).len();
        }
        assert_eq!(made, usize::from(agents), "{agents} agents, all offered again once and soon");
    }
}

#[test]
fn a_client_that_never_answers_waits_twice_as_long_each_time() {
    let mut world = World::new();
    let _ = world.framework("f");
    for _ in 0..3 {
        let _ = world.agent("cpus:4;mem:1024");
    }
    world.inbox();
    let mut offered_at = Vec::new();
    for second in 0..500 {
        world.wait(Duration::from_secs(1));
        offered_at.extend(world.inbox().into_iter().map(|_| second));
    }
    offered_at.dedup();
    assert_eq!(offered_at, [120, 242, 366, 494], "the waits are 1, 2, 4 and 8 seconds");
}

#[test]
fn an_offer_another_client_could_use_expires_after_ten_seconds() {
    let mut world = World::new();
    let (idle, _) = world.framework("idle");
    let _ = world.agent("cpus:4;mem:1024");
    assert_eq!(world.offers(idle).len(), 1);
    let (other, _) = world.framework("other");
    world.wait(Duration::from_secs(9));
    assert!(world.offers(other).is_empty());
    world.wait(Duration::from_secs(3));
    assert_eq!(world.offers(other).len(), 1);
}

#[test]
fn without_an_offer_timeout_an_uncontended_offer_stays() {
    let config = Config { offer_timeout: None, ..Config::default() };
    let mut world = World::with(crate::master::registry::State::default(), config);
    let (framework, _) = world.framework("f");
    let _ = world.agent("cpus:4;mem:1024");
    world.wait(Duration::from_hours(24));
    assert!(world.events(framework).iter().all(|event| !matches!(event, Event::Rescinded { .. })));
}

#[test]
fn a_framework_that_states_a_demand_is_offered_no_more_than_that() {
    let mut world = World::new();
    let (framework, _) = world.framework("f");
    world.call(framework, Call::Request { resources: resources("cpus:3;mem:600") });
    let _ = world.agent("cpus:2;mem:512;ports:[1-5]");
    assert_eq!(world.offers(framework)[0].resources.cpus(), Milli::from_units(2));
    let _ = world.agent("cpus:2;mem:512");
    let rest = world.offers(framework)[0].resources.clone();
    assert_eq!((rest.cpus(), rest.mem_mib()), (Milli::from_units(1), Milli::from_units(88)));
    let _ = world.agent("cpus:2;mem:512");
    assert!(world.offers(framework).is_empty());
}

#[test]
fn a_refusal_holds_for_what_a_demand_makes_of_an_agent_too() {
    let mut world = World::new();
    let (framework, _) = world.framework("f");
    world.call(framework, Call::Request { resources: resources("cpus:1;mem:100") });
    let _ = world.agent("cpus:4;mem:1024");
    let offer = world.offers(framework)[0].clone();
    assert_eq!(offer.resources.cpus(), Milli::from_units(1));
    world.decline(framework, &offer, 60);
    world.wait(Duration::from_secs(59));
    assert!(world.offers(framework).is_empty(), "the agent has more than was refused, the offer would not");
    world.wait(Duration::from_secs(2));
    assert_eq!(world.offers(framework).len(), 1);
}

#[test]
fn what_is_declined_of_a_demand_is_offered_elsewhere() {
    let mut world = World::new();
    let (framework, _) = world.framework("f");
    world.call(framework, Call::Request { resources: resources("cpus:1;mem:100") });
    let agents = [world.agent("cpus:1;mem:100").1, world.agent("cpus:1;mem:100").1];
    let made = world.inbox();
    assert_eq!(made.len(), 1, "the demand is met by one of them");
    world.decline(framework, &made[0].1, 60);
    world.wait(Duration::from_secs(2));
    let again = world.inbox();
    assert_eq!(again.len(), 1);
    assert!(again[0].1.agent != made[0].1.agent && agents.iter().any(|agent| **agent == *again[0].1.agent));
}

#[test]
fn an_agent_below_the_minimum_is_not_offered() {
    let mut world = World::new();
    let (framework, _) = world.framework("f");
    let _ = world.agent("cpus:0.005;mem:16");
    assert!(world.offers(framework).is_empty());
    let _ = world.agent("cpus:0.01;mem:16");
    assert_eq!(world.offers(framework).len(), 1);
    let _ = world.agent("cpus:0.005;mem:32");
    assert_eq!(world.offers(framework).len(), 1);
}

#[test]
fn a_framework_has_a_minimum_of_its_own() {
    let mut world = World::new();
    let mut picky = facts("picky", "*");
    picky.minimum = vec![("*".into(), vec![vec![("cpus".into(), Milli::from_units(2))]])];
    let (framework, _) = world.subscribe(picky, None);
    let _ = world.agent("cpus:1;mem:4096");
    assert!(world.offers(framework).is_empty());
    let _ = world.agent("cpus:2;mem:1");
    assert_eq!(world.offers(framework).len(), 1);
}

#[test]
fn reserved_resources_are_offered_to_their_role_only() {
    let mut world = World::new();
    let (web, _) = world.subscribe(facts("web", "web"), None);
    let (batch, _) = world.subscribe(facts("batch", "batch"), None);
    let _ = world.agent("cpus(web):2;mem(web):256;cpus(batch):1;mem(batch):64");
    assert_eq!(world.offers(web)[0].resources.cpus(), Milli::from_units(2));
    assert_eq!(world.offers(batch)[0].resources.cpus(), Milli::from_units(1));
}

#[test]
fn a_run_over_many_agents_lets_other_inputs_pass_and_offers_everything() {
    let mut world = World::new();
    world.checked = false;
    let (framework, _) = world.framework("f");
    world.call(framework, Call::Suppress { roles: Vec::new() });
    for _ in 0..1_500 {
        let _ = world.agent("cpus:4;mem:1024");
    }
    world.call(framework, Call::Revive { roles: Vec::new() });
    let first = world.inbox().len();
    assert!((150..1_500).contains(&first), "{first} offers in one turn");
    assert!(world.harness.core.is_running());
    let (_, id) = world.framework("other");
    assert!(!id.is_empty(), "it is subscribed before the run is over");
    world.wait(CALM);
    assert!(!world.harness.core.is_running());
    let rest = world.inbox();
    assert_eq!(first + rest.len(), 1_500);
    world.harness.core.check();
}

#[test]
fn revive_costs_nothing_where_nothing_is_free() {
    let mut world = World::new();
    let (framework, _) = world.framework("f");
    let _ = world.agent("cpus:4;mem:1024");
    assert_eq!(world.offers(framework).len(), 1);
    let before = world.harness.core.counts.allocation_runs;
    for _ in 0..10 {
        world.call(framework, Call::Revive { roles: Vec::new() });
        world.wait(CALM);
    }
    assert_eq!(world.harness.core.counts.allocation_runs, before, "there is nothing to look at");
}

#[test]
fn gpus_and_all_beside_them_go_to_those_who_ask_for_them() {
    let mut world = World::new();
    let (plain, _) = world.framework("plain");
    let _ = world.agent("cpus:2;mem:256;gpus:1");
    assert!(world.offers(plain).is_empty());
    let mut able = facts("able", "*");
    able.gpus = true;
    let (able, _) = world.subscribe(able, None);
    assert_eq!(world.offers(able).len(), 1);
}

#[test]
fn offers_of_others_and_made_up_ids_are_not_declined() {
    let mut world = World::new();
    let (owner, _) = world.framework("owner");
    let _ = world.agent("cpus:4;mem:1024");
    let offer = world.offers(owner)[0].clone();
    let (thief, _) = world.framework("thief");
    world.decline(thief, &offer, 5);
    let made_up = vec!["m-O99".into(), "x".into(), String::new()];
    world.call(thief, Call::Decline { offers: made_up, refuse: None });
    world.launch(owner, &offer, &[("t", "cpus:1;mem:32")]);
    assert!(world.refusals(owner).is_empty(), "{}", offer_id(MASTER, offer.key));
}

#[test]
fn fifty_idle_frameworks_on_a_thousand_agents_converge_to_one_round_a_second() {
    let mut world = World::new();
    world.checked = false;
    for number in 0..50 {
        world.framework(&format!("f{number}"));
    }
    for _ in 0..1_000 {
        let _ = world.agent("cpus:4;mem:1024");
        decline_all(&mut world);
    }
    world.wait(CALM * 5);
    decline_all(&mut world);
    for second in 0..10 {
        let before = world.harness.core.counts.allocation_runs;
        for _ in 0..10 {
            world.wait(Duration::from_millis(100));
            decline_all(&mut world);
        }
        let rounds = world.harness.core.counts.allocation_runs - before;
        assert!(rounds <= 1, "second {second}: {rounds} rounds");
    }
    world.harness.core.check();
}

fn decline_all(world: &mut World) {
    for (framework, offer) in world.inbox() {
        world.decline(framework, &offer, 5);
    }
}
