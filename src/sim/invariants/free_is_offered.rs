//! Free resources of a connected agent are offered within seconds to a client that has not refused them.
//!
//! The unused part of an ACCEPT counts as refused. A client with an unanswered offer of the agent has to answer it first.
//! Two kinds of clients are not checked: one whose offer was rescinded gets none for a while, and one that stated its demand
//! gets no more than that.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Fact, Invariant, Known, View,
    refusals::{Refusals, Refused},
};
use crate::{
    framework::core::Request,
    master::core::{AgentView, Call, FrameworkBucket, Link, OfferMade, Presence, SessionId, offer_id},
    sim::{
        nodes::{Client, Node},
        world::World,
    },
    types::Milli,
};

/// The idle share one run a second; this is several of them.
const BOUND_NS: u64 = 5_000_000_000;
/// Turns added to the bound: a short turn makes at least one offer, in a small cluster.
const TURNS: u64 = 12;
/// How often the state is inspected.
const INSPECT_NS: u64 = 500_000_000;
/// The longest backoff of a client, and a little more.
const BACKOFF_NS: u64 = 65_000_000_000;

#[derive(Debug, Default)]
pub(super) struct FreeIsOffered {
    refusals: Refusals,
    /// Since when each framework could have been offered resources of each agent.
    since_ns: BTreeMap<(String, String), u64>,
    inspected_ns: u64,
    /// Frameworks that state their demand, by number.
    demands: BTreeSet<usize>,
    /// When an offer of a framework was last rescinded.
    rescinded_ns: BTreeMap<String, u64>,
    /// The live offers by id.
    offers: BTreeMap<String, OfferMade>,
    /// The unused parts of offers, by framework and agent.
    unused: BTreeMap<(String, String), Vec<Refused>>,
}

impl FreeIsOffered {
    fn should_get_offers(&self, known: &Known, world: &World, framework: &FrameworkBucket) -> bool {
        let id = &*framework.id;
        let of = |session| known.frameworks.get(session).is_some_and(|of| of == id);
        let mut subscribing = known.subscribing.iter().filter(|(_, of)| of.as_str() == id);
        let behind = subscribing.any(|(session, _)| world.is_reader_behind(*session));
        let demands = known.sessions.iter().any(|(session, client)| match client {
            Client::Framework(index) | Client::Author(index) => of(session) && self.demands.contains(index),
            // The demand of a replaced instance is not known under its new name.
            Client::Replaced(_) => of(session),
            Client::Agent(_) => false,
        });
        let backs_off = self.rescinded_ns.get(id).is_some_and(|at_ns| known.now_ns < at_ns + BACKOFF_NS);
        framework.link == Link::Connected && !behind && !demands && !backs_off && !self.refusals.is_suppressed(id)
    }

    fn can_offer(&self, known: &Known, framework: &FrameworkBucket, agent: &AgentView) -> bool {
        let enough = |name, least| agent.amounts.free.scalar(name) >= Milli::from_units(least);
        let worth_it = enough("cpus", 1) || enough("mem", 32);
        agent.presence == Presence::Connected
            && worth_it
            && !self.refusals.has_refused(known.now_ns, &framework.id, &agent.id, &agent.amounts.free)
            && !self.is_unused(known, framework, agent)
            && !agent.offers.values().any(|offer| offer.client.framework == framework.key)
    }

    fn is_unused(&self, known: &Known, framework: &FrameworkBucket, agent: &AgentView) -> bool {
        let unused = self.unused.get(&(framework.id.to_string(), agent.id.to_string()));
        unused.is_some_and(|all| all.iter().any(|one| one.holds(known.now_ns, &agent.amounts.free)))
    }

    fn called(&mut self, known: &Known, session: SessionId, call: &Call) {
        let Some(framework) = known.frameworks.get(&session) else { return };
        match call {
            Call::Revive { .. } => self.unused.retain(|(of, _), _| of != framework),
            Call::Accept(accept) => {
                for offer in accept.offers.iter().filter_map(|id| self.offers.remove(id)) {
                    let refused = Refused::new(known.now_ns, accept.refuse, (*offer.resources).clone());
                    self.unused.entry((framework.clone(), offer.agent.to_string())).or_default().push(refused);
                }
            }
            _ => {}
        }
    }
}

impl Invariant for FreeIsOffered {
    fn name(&self) -> &'static str {
        "free_is_offered"
    }

    /// A large cluster is inspected too rarely.
    fn suits(&self, world: &World) -> bool {
        world.is_small()
    }

    fn observe(&mut self, known: &Known, fact: &Fact) -> Result<(), String> {
        match fact {
            Fact::MasterStarted { .. } => {
                self.since_ns.clear();
                self.offers.clear();
                self.rescinded_ns.clear();
                self.unused.clear();
            }
            Fact::Called { session, call } => self.called(known, *session, call),
            Fact::Requested { framework, request: Request::Demand { .. } } => drop(self.demands.insert(*framework)),
            Fact::OffersMade { offers, .. } => {
                let name = |key| offer_id(&format!("m{}", known.epoch), key);
                self.offers.extend(offers.iter().map(|offer| (name(offer.key), offer.clone())));
            }
            Fact::OfferRescinded { offer } => {
                if let Some(offer) = self.offers.remove(&offer_id(&format!("m{}", known.epoch), *offer)) {
                    self.rescinded_ns.insert(offer.framework.to_string(), known.now_ns);
                }
            }
            _ => {}
        }
        // Its own result is another invariant's; only the refusals are used here.
        let _ = self.refusals.observe(known, fact);
        Ok(())
    }

    fn inspect(&mut self, known: &Known, view: &View<'_>) -> Result<(), String> {
        let Some(snapshot) = view.snapshot.filter(|_| view.world.paused(Node::Master).is_none()) else {
            self.since_ns.clear();
            return Ok(());
        };
        if known.now_ns < self.inspected_ns + INSPECT_NS {
            return Ok(());
        }
        // After a long time without an inspection, nothing is known of the time between.
        let was_blind = known.now_ns > self.inspected_ns + BOUND_NS;
        let bound_ns = BOUND_NS + known.turn_ns * TURNS;
        self.inspected_ns = known.now_ns;
        let before = if was_blind { BTreeMap::new() } else { std::mem::take(&mut self.since_ns) };
        self.since_ns.clear();
        for framework in &snapshot.frameworks {
            for agent in &snapshot.agents {
                if !(self.should_get_offers(known, view.world, framework) && self.can_offer(known, framework, agent)) {
                    continue;
                }
                let key = (framework.id.to_string(), agent.id.to_string());
                let since_ns = before.get(&key).copied().unwrap_or(known.now_ns);
                if known.now_ns > since_ns + bound_ns {
                    let (free, passed) = (&agent.amounts.free, (known.now_ns - since_ns) / 1_000_000);
                    return Err(format!(
                        "{free} of {} is free for {passed} ms and not offered to {}",
                        agent.id, framework.id
                    ));
                }
                self.since_ns.insert(key, since_ns);
            }
        }
        Ok(())
    }
}
