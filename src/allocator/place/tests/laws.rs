//! Laws that hold for every workload.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

type Offered = (u8, bool, (u32, u32, u32), Vec<(u32, u32)>);

fn offers() -> impl Strategy<Value = Vec<v1::Offer>> {
    let ports = prop::collection::vec((0..9_u32, 0..4_u32), 0..3);
    let one = (0..4_u8, any::<bool>(), (0..6_u32, 0..6_u32, 0..3_u32), ports);
    prop::collection::vec(one, 0..6).prop_map(|all| (0..).zip(all).map(|(at, it)| build(at, it)).collect())
}

fn build(at: u32, (agent, nested, (cpus, mem, reserved), ports): Offered) -> v1::Offer {
    // Offers of one agent hold different ports, as a master's do.
    let base = 100 * at;
    let ranges: crate::types::Ranges =
        ports.iter().map(|&(begin, more)| u64::from(base + begin)..=u64::from(base + begin + more)).collect();
    let ports = if ranges.is_empty() { String::new() } else { format!(";ports:{ranges}") };
    let text = format!("cpus:{cpus}.5;mem:{mem};cpus(r):{reserved}.25{ports}");
    for_role(offer_of(&format!("o{at}"), &format!("s{agent}"), &text), if nested { "r/a" } else { "r" })
}

type Asked = (u32, u32, u32, Option<u16>, u32, Option<u32>, u32);

fn requests() -> impl Strategy<Value = Vec<TaskRequest>> {
    let fixed = prop::option::of(0..9_u16);
    let one = (1..30_u32, 0..3_u32, 0..3_u32, fixed, 0..5_u32, prop::option::of(0..3_u32), 0..3_u32);
    prop::collection::vec(one, 0..5).prop_map(|all| (0..).zip(all).map(|(at, it)| ask(at, it)).collect())
}

fn ask(at: u32, (tenths, mem, ports, fixed, count, limit, running): Asked) -> TaskRequest {
    let request = task(&format!("t{at}"), f64::from(tenths) / 10.0, f64::from(mem)).ports(ports).count(count);
    let mut request = request.fixed_ports(fixed).running_on(v1::AgentId { value: "s0".to_owned() }, running);
    request.max_per_agent = limit;
    request
}

fn sum<'a>(lists: impl IntoIterator<Item = &'a Vec<v1::Resource>>) -> Resources {
    let mut sum = Resources::new();
    for list in lists {
        sum += &Resources::from_proto(list).expect("resources that make sense");
    }
    sum
}

proptest! {
    #[test]
    fn no_offer_gives_more_than_it_has_and_no_port_twice(offers in offers(), requests in requests()) {
        for launch in &place(&offers, &requests).launches {
            let mut left = sum(offers.iter().filter(|it| launch.offer_ids.contains(&it.id)).map(|it| &it.resources));
            for task in launch.tasks() {
                let wanted = sum([&task.resources]);
                prop_assert!(left.contains(&wanted), "{wanted} in {left}");
                left -= &wanted;
            }
        }
    }

    #[test]
    fn every_task_gets_exactly_what_its_request_asks_for(offers in offers(), requests in requests()) {
        for task in place(&offers, &requests).launches.iter().flat_map(Launch::tasks) {
            let request = requests.iter().find(|it| it.name == task.name).expect("a task of a request");
            let got = sum([&task.resources]);
            for (name, &amount) in &request.demand.scalars {
                prop_assert_eq!(got.scalar(name), amount);
            }
            prop_assert_eq!(got.ports().len(), u64::from(request.demand.ports) + request.demand.fixed_ports.len() as u64);
            prop_assert!(request.demand.fixed_ports.iter().all(|&port| got.ports().contains(port.into())));
        }
    }

    #[test]
    fn limits_are_kept_and_counts_add_up(offers in offers(), requests in requests()) {
        let plan = place(&offers, &requests);
        let mut per_agent: BTreeMap<(&str, &v1::AgentId), u32> = BTreeMap::new();
        for launch in &plan.launches {
            for it in launch.instances() {
                *per_agent.entry((it.task, launch.agent_id())).or_default() += 1;
            }
        }
        for request in &requests {
            let placed = per_agent.iter().filter(|((task, _), _)| *task == request.name);
            for ((_, agent), &count) in placed.clone() {
                let running = request.running.get(*agent).copied().unwrap_or(0);
                prop_assert!(request.max_per_agent.is_none_or(|limit| count + running <= limit));
            }
            let missing = plan.unplaced.iter().find(|it| it.task == request.name).map_or(0, |it| it.missing);
            prop_assert_eq!(placed.map(|(_, count)| count).sum::<u32>() + missing, request.count);
        }
    }

    #[test]
    fn every_offer_is_used_or_unused_and_every_agent_has_a_reason(offers in offers(), requests in requests()) {
        let plan = place(&offers, &requests);
        let used = plan.launches.iter().flat_map(|launch| &launch.offer_ids);
        let all: Vec<&v1::OfferId> = used.chain(&plan.unused).collect();
        prop_assert_eq!(all.len(), offers.len());
        prop_assert_eq!(all.into_iter().collect::<BTreeSet<_>>().len(), offers.len());
        let agents: BTreeSet<_> = offers.iter().map(|offer| &offer.agent_id).collect();
        for unplaced in &plan.unplaced {
            let explained: BTreeSet<_> = unplaced.reasons.iter().map(AgentReason::agent_id).collect();
            prop_assert_eq!(&explained, &agents);
        }
    }

    #[test]
    fn what_is_missing_would_not_fit_on_the_unused_offers(offers in offers(), requests in requests()) {
        let plan = place(&offers, &requests);
        let unused: Vec<v1::Offer> = offers.iter().filter(|it| plan.unused.contains(&it.id)).cloned().collect();
        for unplaced in &plan.unplaced {
            let request = requests.iter().find(|it| it.name == unplaced.task).expect("a request");
            if request.max_per_agent.is_none() {
                prop_assert_eq!(place(&unused, std::slice::from_ref(request)).placed(), 0, "{}", unplaced);
            }
        }
    }

    #[test]
    fn the_same_input_gives_the_same_plan(offers in offers(), requests in requests()) {
        let plan = place(&offers, &requests);
        prop_assert_eq!(&plan, &place(&offers, &requests));
        let all = place_all(&offers, &requests);
        prop_assert_eq!(&all.unplaced, &plan.unplaced);
        prop_assert_eq!(all.placed(), if plan.is_complete() { plan.placed() } else { 0 });
    }
}
