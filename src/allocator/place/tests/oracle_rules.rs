//! Small workloads with constraints between tasks against an exhaustive solver.

use proptest::prelude::*;

use super::{Launch, offer, place, v1};
use crate::allocator::{Placer, Plan, Strategy as Way, TaskRequest};
use crate::types::Attributes;

/// A constraint of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Demanded {
    Nothing,
    Zone(char),
    NotZone(char),
    UniqueZone,
    TwoPerZone,
    UniqueHost,
    BalancedZones,
    AvoidDbHere,
    AvoidDbInZone,
    WithDbHere,
    WithDbInZone,
    Alone,
}

const ALL: [Demanded; 12] = [
    Demanded::Nothing,
    Demanded::Zone('a'),
    Demanded::NotZone('a'),
    Demanded::UniqueZone,
    Demanded::TwoPerZone,
    Demanded::UniqueHost,
    Demanded::BalancedZones,
    Demanded::AvoidDbHere,
    Demanded::AvoidDbInZone,
    Demanded::WithDbHere,
    Demanded::WithDbInZone,
    Demanded::Alone,
];

#[derive(Debug, Clone)]
struct Job {
    cpus: i64,
    count: usize,
    demanded: Demanded,
    is_db: bool,
}

#[derive(Debug, Clone)]
struct Agent {
    cpus: i64,
    zone: char,
}

/// Job and agent of each instance that is placed.
type Placement = Vec<(usize, usize)>;

impl Demanded {
    fn text(self) -> Option<String> {
        Some(match self {
            Self::Nothing => return None,
            Self::Zone(zone) => format!("zone = {zone}"),
            Self::NotZone(zone) => format!("zone != {zone}"),
            Self::UniqueZone => "unique zone".to_owned(),
            Self::TwoPerZone => "at most 2 per zone".to_owned(),
            Self::UniqueHost => "unique hostname".to_owned(),
            Self::BalancedZones => "group by zone skew 1".to_owned(),
            Self::AvoidDbHere => "avoid label app=db".to_owned(),
            Self::AvoidDbInZone => "avoid label app=db on same zone".to_owned(),
            Self::WithDbHere => "with label app=db".to_owned(),
            Self::WithDbInZone => "with label app=db on same zone".to_owned(),
            Self::Alone => "exclusive".to_owned(),
        })
    }

    fn is_with(self) -> bool {
        matches!(self, Self::WithDbHere | Self::WithDbInZone)
    }
}

/// Returns whether all constraints hold once all this is placed.
fn holds(placement: &Placement, agents: &[Agent], jobs: &[Job]) -> bool {
    let zone = |agent: usize| agents[agent].zone;
    let fits = (0..agents.len()).all(|at| {
        let used: i64 = placement.iter().filter(|it| it.1 == at).map(|it| jobs[it.0].cpus).sum();
        used <= agents[at].cpus
    });
    let own =
        |job: usize, keep: &dyn Fn(usize) -> bool| placement.iter().filter(|it| it.0 == job && keep(it.1)).count();
    fits && placement.iter().enumerate().all(|(index, &(job, at))| {
        let others = || placement.iter().enumerate().filter(move |(other, _)| *other != index).map(|(_, it)| *it);
        let db = |near: &dyn Fn(usize) -> bool| others().any(|(other, there)| jobs[other].is_db && near(there));
        match jobs[job].demanded {
            Demanded::Nothing => true,
            Demanded::Zone(asked) => zone(at) == asked,
            Demanded::NotZone(asked) => zone(at) != asked,
            Demanded::UniqueZone => own(job, &|it| zone(it) == zone(at)) <= 1,
            Demanded::TwoPerZone => own(job, &|it| zone(it) == zone(at)) <= 2,
            Demanded::UniqueHost => own(job, &|it| it == at) <= 1,
            Demanded::BalancedZones => {
                let here = own(job, &|it| zone(it) == zone(at));
                let zones = agents.iter().map(|agent| agent.zone);
                zones.map(|other| own(job, &|it| zone(it) == other)).all(|there| here <= there + 1)
            }
            Demanded::AvoidDbHere => !db(&|it| it == at),
            Demanded::AvoidDbInZone => !db(&|it| zone(it) == zone(at)),
            Demanded::WithDbHere => db(&|it| it == at),
            Demanded::WithDbInZone => db(&|it| zone(it) == zone(at)),
            Demanded::Alone => others().all(|(_, there)| there != at),
        }
    })
}

/// Returns the most that can be placed: tries every instance on every agent or nowhere, equal ones in order.
fn most(placement: &mut Placement, job: usize, left: usize, from: usize, agents: &[Agent], jobs: &[Job]) -> usize {
    let Some(wanted) = jobs.get(job) else {
        return if holds(placement, agents, jobs) { placement.len() } else { 0 };
    };
    let mut best = most(placement, job + 1, jobs.get(job + 1).map_or(0, |next| next.count), 0, agents, jobs);
    if left > 0 {
        for at in (from..agents.len()).filter(|&at| agents[at].cpus >= wanted.cpus) {
            placement.push((job, at));
            best = best.max(most(placement, job, left - 1, at, agents, jobs));
            placement.pop();
        }
    }
    best
}

fn offers(agents: &[Agent]) -> Vec<v1::Offer> {
    let one = |(at, agent): (usize, &Agent)| {
        let mut offer = offer(&format!("o{at}"), &format!("cpus:{};mem:1", agent.cpus));
        offer.attributes = format!("zone:{}", agent.zone).parse::<Attributes>().expect("attributes").to_proto();
        offer
    };
    agents.iter().enumerate().map(one).collect()
}

fn requests(jobs: &[Job]) -> Vec<TaskRequest> {
    let one = |(at, job): (usize, &Job)| {
        let count = u32::try_from(job.count).expect("few");
        let request = TaskRequest::command(format!("t{at}"), "true").count(count);
        let request = request.resource("cpus", crate::types::Milli::from_units(job.cpus));
        let request = if job.is_db { request.label("app", "db") } else { request };
        job.demanded.text().into_iter().fold(request, |request, text| request.constrained(&text))
    };
    jobs.iter().enumerate().map(one).collect()
}

fn placement(plan: &Plan) -> Placement {
    let number = |text: &str| text[1..].parse().expect("a name with a number");
    let of = |launch: &Launch| -> Placement {
        launch.tasks().iter().map(|task| (number(&task.name), number(&task.agent_id.value))).collect()
    };
    plan.launches.iter().flat_map(of).collect()
}

fn agents() -> impl Strategy<Value = Vec<Agent>> {
    let one = (1..6_i64, prop::char::range('a', 'b')).prop_map(|(cpus, zone)| Agent { cpus, zone });
    prop::collection::vec(one, 1..5)
}

fn jobs() -> impl Strategy<Value = Vec<Job>> {
    let job = (1..4_i64, 1..4_usize, prop::sample::select(&ALL[..]), any::<bool>()).prop_map(
        |(cpus, count, demanded, db)| {
            // Jobs with such a rule do not carry the label themselves: which is the first then is another question.
            Job { cpus, count, demanded, is_db: db && !demanded.is_with() }
        },
    );
    prop::collection::vec(job, 1..4)
}

/// Of two ways to place the same instances in one zone, a search that meets the forbidden one first still finds the
/// other.
#[test]
fn what_one_rule_forbids_does_not_hide_what_an_opening_rule_lets_in() {
    let agents = [(4, 'a'), (1, 'a'), (3, 'b')].map(|(cpus, zone)| Agent { cpus, zone });
    let jobs = [(2, Demanded::Alone), (3, Demanded::BalancedZones)];
    let jobs = jobs.map(|(count, demanded)| Job { cpus: 1, count, demanded, is_db: false });
    let plan = place(&offers(&agents), &requests(&jobs));
    assert_eq!(placement(&plan).len(), 4, "{plan}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases / 2))]

    #[test]
    fn as_much_is_placed_as_constraints_allow(agents in agents(), jobs in jobs()) {
        let (offers, requests) = (offers(&agents), requests(&jobs));
        let plan = place(&offers, &requests);
        prop_assert!(holds(&placement(&plan), &agents, &jobs), "{}", plan);
        let most = most(&mut Vec::new(), 0, jobs[0].count, 0, &agents, &jobs);
        prop_assert_eq!(placement(&plan).len(), most, "{}", plan);
        prop_assert_eq!(plan, place(&offers, &requests));
    }

    #[test]
    fn every_strategy_keeps_the_constraints(agents in agents(), jobs in jobs()) {
        let (offers, requests) = (offers(&agents), requests(&jobs));
        for strategy in [Way::Naive, Way::Spread, Way::Binpack] {
            let plan = Placer::new().strategy(strategy).node_budget(0).place(&offers, &requests);
            prop_assert!(holds(&placement(&plan), &agents, &jobs), "{:?}: {}", strategy, plan);
        }
    }
}
