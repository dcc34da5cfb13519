//! The invariants of the ledger, under any sequence of operations.

use std::{collections::BTreeMap, sync::Arc};

use proptest::prelude::*;

use super::{Held, Holding, Ledger};
use crate::{
    allocator::fair::Allocator,
    master::core::{AgentKey, FrameworkKey, OfferKey, TaskKey},
    types::{Milli, Resources},
};

const AGENTS: u32 = 3;
const FRAMEWORKS: u32 = 2;

#[derive(Clone, Debug)]
enum Operation {
    SetTotal(AgentKey, u8),
    Disconnect(AgentKey),
    LoseReach(AgentKey),
    Remove(AgentKey),
    Allocate {
        agent: AgentKey,
        holding: Holding,
        client: Option<u32>,
        cpus: u8,
    },
    /// Tasks by number, with the framework and the cpus of each.
    AllocateAll {
        agent: AgentKey,
        tasks: Vec<(u64, Option<u32>, u8)>,
    },
    Release(AgentKey, Holding),
}

fn holding() -> impl Strategy<Value = Holding> {
    (0..6u8, 0..4u64).prop_map(|(kind, number)| match kind {
        0 => Holding::Offer(OfferKey(number)),
        1 => Holding::Task(TaskKey(number)),
        2 => Holding::Executor(number),
        3 => Holding::Orphan(TaskKey(number)),
        4 => Holding::Reservation(number),
        _ => Holding::Volume(number),
    })
}

fn operation() -> impl Strategy<Value = Operation> {
    let agent = || (0..AGENTS).prop_map(AgentKey);
    prop_oneof![
        2 => (agent(), 0..20u8).prop_map(|(agent, cpus)| Operation::SetTotal(agent, cpus)),
        1 => agent().prop_map(Operation::Disconnect),
        1 => agent().prop_map(Operation::LoseReach),
        1 => agent().prop_map(Operation::Remove),
        6 => (agent(), holding(), proptest::option::of(0..FRAMEWORKS), 1..6u8)
            .prop_map(|(agent, holding, client, cpus)| Operation::Allocate { agent, holding, client, cpus }),
        2 => (agent(), proptest::collection::vec((0..4u64, proptest::option::of(0..FRAMEWORKS), 1..6u8), 0..6))
            .prop_map(|(agent, tasks)| Operation::AllocateAll { agent, tasks }),
        4 => (agent(), holding()).prop_map(|(agent, holding)| Operation::Release(agent, holding)),
    ]
}

fn cpus(count: u8) -> Resources {
    Resources::cpus_mem(f64::from(count), f64::from(count) * 10.0)
}

/// A ledger, and a simple model of its holdings.
struct Books {
    ledger: Ledger,
    roles: Vec<crate::allocator::fair::RoleId>,
    held: BTreeMap<(AgentKey, Holding), Held>,
    totals: BTreeMap<AgentKey, Resources>,
}

impl Books {
    fn new() -> Self {
        let mut shares = Allocator::default();
        let roles = (0..FRAMEWORKS).map(|key| shares.add_client("role", FrameworkKey(key))).collect();
        Self { ledger: Ledger::new(shares), roles, held: BTreeMap::new(), totals: BTreeMap::new() }
    }

    /// Offers are made of what is free, and withdrawn before their agent is away or changes; the caller sees to both.
    fn withdraw(&mut self, agent: AgentKey) {
        let offers: Vec<Holding> =
            self.held.keys().filter(|(on, _)| *on == agent).map(|(_, holding)| *holding).collect();
        for offer in offers.into_iter().filter(|one| matches!(one, Holding::Offer(_))) {
            self.release(agent, offer);
        }
    }

    fn release(&mut self, agent: AgentKey, holding: Holding) {
        assert_eq!(self.ledger.release(agent, holding), self.held.remove(&(agent, holding)));
        assert_eq!(self.ledger.release(agent, holding), None, "once is enough");
    }

    fn apply(&mut self, operation: Operation) {
        match operation {
            Operation::SetTotal(agent, count) => {
                self.withdraw(agent);
                self.ledger.set_total(agent, &cpus(count));
                self.totals.insert(agent, cpus(count));
            }
            Operation::Disconnect(agent) => {
                self.withdraw(agent);
                self.ledger.set_disconnected(agent);
            }
            Operation::LoseReach(agent) => {
                self.withdraw(agent);
                self.ledger.set_unreachable(agent);
            }
            Operation::Remove(agent) => {
                self.ledger.remove_agent(agent);
                self.totals.remove(&agent);
                self.held.retain(|(on, _), _| *on != agent);
            }
            Operation::Allocate { agent, holding, client, cpus: count } => {
                let free = self.ledger.shares().free(agent).is_some_and(|free| free.contains(&cpus(count)));
                if matches!(holding, Holding::Offer(_)) && !free {
                    return;
                }
                let client = client.map(|key| (FrameworkKey(key), self.roles[key as usize]));
                let held = Held { client, resources: Arc::new(cpus(count)) };
                let new = self.totals.contains_key(&agent) && !self.held.contains_key(&(agent, holding));
                if !matches!(holding, Holding::Offer(_)) && !free {
                    // A task that its agent reports may use what is offered; the agent's offers are rescinded.
                    self.withdraw(agent);
                }
                assert_eq!(self.ledger.allocate(agent, holding, held.clone()), new);
                if new {
                    self.held.insert((agent, holding), held);
                }
            }
            Operation::AllocateAll { agent, tasks } => {
                self.withdraw(agent);
                let all = tasks.into_iter().map(|(number, client, count)| {
                    let client = client.map(|key| (FrameworkKey(key), self.roles[key as usize]));
                    (Holding::Task(TaskKey(number)), Held { client, resources: Arc::new(cpus(count)) })
                });
                let all: Vec<(Holding, Held)> = all.collect();
                self.ledger.allocate_all(agent, all.clone());
                for (holding, held) in all.into_iter().filter(|_| self.totals.contains_key(&agent)) {
                    self.held.entry((agent, holding)).or_insert(held);
                }
            }
            Operation::Release(agent, holding) => self.release(agent, holding),
        }
    }

    fn sum(&self, agent: AgentKey, offered: bool) -> Resources {
        let mut sum = Resources::default();
        for ((on, holding), held) in &self.held {
            if *on == agent && matches!(holding, Holding::Offer(_)) == offered {
                sum += &*held.resources;
            }
        }
        sum
    }
}

proptest! {
    #[test]
    fn every_operation_keeps_amounts_and_shares_consistent(operations in proptest::collection::vec(operation(), 0..80)) {
        let mut books = Books::new();
        for operation in operations {
            books.apply(operation);
            books.ledger.check_changed();
            books.ledger.check();
            for agent in (0..AGENTS).map(AgentKey) {
                let Some(amounts) = books.ledger.amounts(agent).cloned() else {
                    prop_assert!(!books.totals.contains_key(&agent));
                    continue;
                };
                prop_assert_eq!(&amounts.total, &books.totals[&agent]);
                prop_assert_eq!(&amounts.used, &books.sum(agent, false));
                prop_assert_eq!(&amounts.offered, &books.sum(agent, true));
                for part in [&amounts.used, &amounts.offered, &amounts.free] {
                    prop_assert!(part.quantities().iter().all(|(_, amount)| *amount >= Milli::from_raw(0)));
                }
            }
        }
    }

    #[test]
    fn once_all_is_released_everything_is_free_and_no_client_holds_anything(
        operations in proptest::collection::vec(operation(), 0..80)
    ) {
        let mut books = Books::new();
        for operation in operations {
            books.apply(operation);
        }
        for (agent, holding) in books.held.keys().copied().collect::<Vec<_>>() {
            books.release(agent, holding);
        }
        for (agent, total) in &books.totals {
            let amounts = books.ledger.amounts(*agent).expect("known");
            prop_assert_eq!(&amounts.free, total);
            prop_assert!(amounts.used.is_empty() && amounts.offered.is_empty());
        }
        for (key, role) in books.roles.iter().enumerate() {
            let framework = FrameworkKey(u32::try_from(key).expect("few"));
            prop_assert_eq!(books.ledger.shares().shares().held(*role, framework), vec![]);
        }
    }
}

#[test]
fn a_snapshot_keeps_the_amounts_it_took() {
    let mut books = Books::new();
    let agent = AgentKey(0);
    books.apply(Operation::SetTotal(agent, 4));
    let taken = books.ledger.amounts(agent).expect("known").clone();
    books.apply(Operation::Allocate { agent, holding: Holding::Task(TaskKey(1)), client: Some(0), cpus: 1 });
    assert_eq!((&taken.free, &taken.used), (&cpus(4), &Resources::default()));
    assert_eq!(books.ledger.amounts(agent).expect("known").free, cpus(3));
}

#[test]
fn a_holding_is_small() {
    let bytes = size_of::<(Holding, Held)>();
    assert!(bytes <= 48, "{bytes} bytes for every task");
}
