//! Small workloads against an exhaustive solver.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::{offer, place, place_all, v1};
use crate::allocator::{Demand, Plan, TaskRequest};
use crate::types::{Milli, Resources};

/// An agent in plain numbers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Agent {
    cpus: i64,
    mem: i64,
    gpus: i64,
    ports: BTreeSet<u16>,
    promised_ports: i64,
    items: BTreeSet<char>,
    promised_items: i64,
}

#[derive(Debug, Clone, Default)]
struct Ask {
    cpus: i64,
    mem: i64,
    gpus: i64,
    ports: i64,
    port: Option<u16>,
    items: i64,
    item: Option<char>,
}

#[derive(Debug, Clone)]
struct Job {
    ways: Vec<Ask>,
    count: u32,
    limit: Option<u32>,
    running: u32,
}

impl Agent {
    fn take(&self, ask: &Ask) -> Option<Self> {
        let mut left = self.clone();
        left.cpus -= ask.cpus;
        left.mem -= ask.mem;
        left.gpus -= ask.gpus;
        left.promised_ports += ask.ports;
        left.promised_items += ask.items;
        let port = ask.port.is_none_or(|port| left.ports.remove(&port));
        let item = ask.item.is_none_or(|item| left.items.remove(&item));
        let amounts = left.cpus >= 0 && left.mem >= 0 && left.gpus >= 0;
        let holds = |items: usize, promised: i64| i64::try_from(items).expect("few") >= promised;
        let pieces = holds(left.ports.len(), left.promised_ports) && holds(left.items.len(), left.promised_items);
        (port && item && amounts && pieces).then_some(left)
    }

    fn offer(&self, at: usize) -> v1::Offer {
        let joined = |parts: Vec<String>| parts.join(",");
        let ports = joined(self.ports.iter().map(|port| format!("{port}-{port}")).collect());
        let items = joined(self.items.iter().map(char::to_string).collect());
        let ports = if ports.is_empty() { ports } else { format!(";ports:[{ports}]") };
        let items = if items.is_empty() { items } else { format!(";kit:{{{items}}}") };
        let text = format!("cpus:{};mem:{};gpus:{}{ports}{items}", self.cpus, self.mem, self.gpus);
        offer(&format!("o{at}"), &text)
    }
}

impl Ask {
    fn demand(&self, demand: Demand) -> Demand {
        let units = Milli::from_units;
        let count = |number: i64| u32::try_from(number).expect("a small number");
        let demand = demand.resource("cpus", units(self.cpus)).resource("mem", units(self.mem)).gpus(count(self.gpus));
        let demand = demand.ports(count(self.ports)).fixed_ports(self.port).set_of("kit", count(self.items));
        demand.set_items("kit", self.item.map(String::from))
    }
}

impl Job {
    fn request(&self, at: usize) -> TaskRequest {
        let mut request = TaskRequest::command(format!("t{at}"), "true").count(self.count);
        request.demand = self.ways[0].demand(Demand::default());
        for way in &self.ways[1..] {
            request = request.or(|demand| way.demand(demand));
        }
        request.max_per_agent = self.limit;
        request.running_on(v1::AgentId { value: "o0".to_owned() }, self.running)
    }
}

/// Tries every instance in turn on every agent; returns the most that can be placed in all.
struct Solver<'a> {
    jobs: &'a [Job],
    /// Visited states: the job and its instance, what is left, and how many of the job are where.
    seen: BTreeMap<(usize, u32, Vec<Agent>, Vec<u32>), u32>,
}

impl Solver<'_> {
    fn most(&mut self, job: usize, instance: u32, agents: &[Agent], there: &[u32]) -> u32 {
        let Some(wanted) = self.jobs.get(job) else { return 0 };
        if instance == wanted.count {
            let mut there = vec![0; agents.len()];
            if let (Some(next), Some(first)) = (self.jobs.get(job + 1), there.first_mut()) {
                *first = next.running;
            }
            return self.most(job + 1, 0, agents, &there);
        }
        let key = (job, instance, agents.to_vec(), there.to_vec());
        if let Some(&known) = self.seen.get(&key) {
            return known;
        }
        let mut most = self.most(job, wanted.count, agents, there);
        for at in 0..agents.len() {
            for way in &wanted.ways {
                let Some(left) = agents[at].take(way).filter(|_| wanted.limit.is_none_or(|limit| there[at] < limit))
                else {
                    continue;
                };
                let (mut agents, mut there) = (agents.to_vec(), there.to_vec());
                agents[at] = left;
                there[at] += 1;
                most = most.max(1 + self.most(job, instance + 1, &agents, &there));
            }
        }
        self.seen.insert(key, most);
        most
    }
}

fn most(agents: &[Agent], jobs: &[Job]) -> u32 {
    let mut there = vec![0; agents.len()];
    if let (Some(job), Some(first)) = (jobs.first(), there.first_mut()) {
        *first = job.running;
    }
    Solver { jobs, seen: BTreeMap::new() }.most(0, 0, agents, &there)
}

fn agents() -> impl Strategy<Value = Vec<Agent>> {
    let ports = prop::collection::btree_set(1..5_u16, 0..4);
    let items = prop::collection::btree_set(prop::char::range('a', 'c'), 0..3);
    let one = (1..9_i64, 1..9_i64, 0..2_i64, ports, items).prop_map(|(cpus, mem, gpus, ports, items)| Agent {
        cpus,
        mem,
        gpus,
        ports,
        promised_ports: 0,
        items,
        promised_items: 0,
    });
    prop::collection::vec(one, 1..5)
}

fn jobs() -> impl Strategy<Value = Vec<Job>> {
    let pieces = (
        0..4_i64,
        prop::option::weighted(0.2, 1..5_u16),
        0..4_i64,
        prop::option::weighted(0.2, prop::char::range('a', 'c')),
    );
    let ask = (1..5_i64, 0..5_i64, 0..8_i64, pieces).prop_map(|(cpus, mem, gpus, (ports, port, items, item))| Ask {
        cpus,
        mem,
        // Rarely, as in practice.
        gpus: gpus / 7,
        ports: ports / 2,
        port,
        items: items / 3,
        item,
    });
    let ways = prop::collection::vec(ask, 1..3);
    let job = (ways, 1..4_u32, prop::option::of(1..3_u32), 0..2_u32);
    let job = job.prop_map(|(ways, count, limit, running)| Job { ways, count, limit, running });
    prop::collection::vec(job, 1..5)
}

/// Adds up again what every agent was given.
fn recount(plan: &Plan, agents: &[Agent], jobs: &[Job]) {
    for launch in &plan.launches {
        let at: usize = launch.agent_id().value[1..].parse().expect("an agent o1");
        let mut left: Resources = agents[at].offer(at).resources().expect("resources");
        let mut counts = BTreeMap::new();
        for (task, placed) in launch.tasks().iter().zip(launch.instances()) {
            let given = task.resources().expect("resources");
            assert!(left.contains(&given), "{given} of {left}");
            left -= &given;
            let job: usize = task.name[1..].parse().expect("a task t1");
            *counts.entry(job).or_insert(if at == 0 { jobs[job].running } else { 0 }) += 1;
            let way = &jobs[job].ways[placed.variant];
            assert_eq!((given.cpus(), given.mem_mib()), (Milli::from_units(way.cpus), Milli::from_units(way.mem)));
            assert_eq!(given.gpus(), Milli::from_units(way.gpus));
            assert_eq!(given.total_ports(), way.ports.unsigned_abs() + u64::from(way.port.is_some()));
            assert!(way.port.is_none_or(|port| given.ports().contains(port.into())));
            let kit = given.set("kit");
            assert_eq!(kit.len(), usize::try_from(way.items).expect("few") + usize::from(way.item.is_some()));
            assert!(way.item.is_none_or(|item| kit.contains(&item.to_string())));
        }
        for (job, count) in counts {
            assert!(jobs[job].limit.is_none_or(|limit| count <= limit), "t{job} has {count} on o{at}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases))]

    #[test]
    fn as_much_is_placed_as_can_be(agents in agents(), jobs in jobs()) {
        let offers: Vec<v1::Offer> = agents.iter().enumerate().map(|(at, agent)| agent.offer(at)).collect();
        let requests: Vec<TaskRequest> = jobs.iter().enumerate().map(|(at, job)| job.request(at)).collect();
        let plan = place(&offers, &requests);
        recount(&plan, &agents, &jobs);
        let most = most(&agents, &jobs);
        prop_assert_eq!(plan.placed(), most, "{}", plan);
        let wanted: u32 = jobs.iter().map(|job| job.count).sum();
        let all = place_all(&offers, &requests);
        prop_assert_eq!(all.placed(), if most == wanted { most } else { 0 });
        prop_assert_eq!(plan, place(&offers, &requests));
    }
}
