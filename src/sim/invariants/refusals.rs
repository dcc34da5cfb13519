//! No offer reaches a suppressed client, and none contradicts a refusal.
//!
//! Within the floor of a refusal the agent is not offered at all; within its filter, not without more than was refused.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{Fact, Invariant, Known};
use crate::{
    master::core::{Call, OfferMade, SessionId},
    sim::chance::nanos,
    types::Resources,
};

/// A refusal holds at least this long.
const FLOOR_NS: u64 = 1_000_000_000;

/// Refused resources of an agent, with the start and the end of the refusal.
#[derive(Debug)]
pub(super) struct Refused {
    at_ns: u64,
    until_ns: u64,
    resources: Resources,
}

impl Refused {
    pub(super) fn new(at_ns: u64, time: Option<Duration>, resources: Resources) -> Self {
        Self { at_ns, until_ns: at_ns.saturating_add(time.map_or(0, nanos)), resources }
    }

    pub(super) fn holds(&self, now_ns: u64, what: &Resources) -> bool {
        let floor = now_ns < self.at_ns.saturating_add(FLOOR_NS);
        floor || (now_ns < self.until_ns && self.resources.contains(what))
    }
}

#[derive(Debug, Default)]
pub(super) struct Refusals {
    offers: BTreeMap<String, (SessionId, String, Resources)>,
    suppressed: BTreeSet<String>,
    /// The refusals by framework and agent; several may hold at a time.
    refused: BTreeMap<(String, String), Vec<Refused>>,
    /// Sessions that subscribe as a framework, and whether it was suppressed before.
    subscribing: BTreeMap<SessionId, (String, bool)>,
    /// Sessions that the master has closed: it ignores their calls.
    dropped: BTreeSet<SessionId>,
}

impl Refusals {
    fn called(&mut self, known: &Known, session: SessionId, call: &Call) {
        if self.dropped.contains(&session) {
            return;
        }
        if let Call::Subscribe(subscribe) = call
            && let Some(id) = &subscribe.info.id
        {
            self.subscribing.insert(session, (id.value.clone(), self.suppressed.contains(&id.value)));
            // A framework of the simulation has one role.
            self.set_suppressed(&id.value, !subscribe.suppressed.is_empty());
        }
        let Some(framework) = known.frameworks.get(&session).cloned() else { return };
        match call {
            Call::Suppress { .. } => drop(self.suppressed.insert(framework)),
            Call::Revive { .. } => {
                self.suppressed.remove(&framework);
                self.refused.retain(|(of, _), _| *of != framework);
            }
            Call::Accept(accept) => {
                self.offers.retain(|id, _| !accept.offers.contains(id));
            }
            Call::Decline { offers, refuse } => {
                for id in offers {
                    let mine = self.offers.get(id).is_some_and(|(to, ..)| *to == session);
                    if let Some((_, agent, resources)) = self.offers.remove(id).filter(|_| mine) {
                        let refused = Refused::new(known.now_ns, *refuse, resources);
                        self.refused.entry((framework.clone(), agent)).or_default().push(refused);
                    }
                }
            }
            _ => {}
        }
    }
}

impl Refusals {
    fn set_suppressed(&mut self, framework: &str, suppressed: bool) {
        if suppressed {
            self.suppressed.insert(framework.to_owned());
        } else {
            self.suppressed.remove(framework);
        }
    }

    /// The session is not subscribed, or no longer.
    fn drop_session(&mut self, session: SessionId) {
        self.dropped.insert(session);
        if let Some((framework, suppressed)) = self.subscribing.remove(&session) {
            self.set_suppressed(&framework, suppressed);
        }
    }

    /// Whether the framework has suppressed offers.
    pub(super) fn is_suppressed(&self, framework: &str) -> bool {
        self.suppressed.contains(framework)
    }

    /// Whether a refusal of the framework covers these resources of the agent.
    pub(super) fn has_refused(&self, now_ns: u64, framework: &str, agent: &str, what: &Resources) -> bool {
        let refused = self.refused.get(&(framework.to_owned(), agent.to_owned()));
        refused.is_some_and(|all| all.iter().any(|one| one.holds(now_ns, what)))
    }

    fn check_offer(&self, known: &Known, offer: &OfferMade) -> Result<(), String> {
        let (framework, agent, what) = (offer.framework.to_string(), &offer.agent, &offer.resources);
        if self.suppressed.contains(&framework) {
            return Err(format!("{framework} is suppressed and is offered {what}"));
        }
        let holds = |refused: &&Refused| refused.holds(known.now_ns, what);
        match self.refused.get(&(framework.clone(), agent.to_string())).and_then(|all| all.iter().find(holds)) {
            Some(refused) => Err(format!("{framework} refused {} of {agent} and is offered {what}", refused.resources)),
            None => Ok(()),
        }
    }
}

impl Invariant for Refusals {
    fn name(&self) -> &'static str {
        "refusals"
    }

    fn observe(&mut self, known: &Known, fact: &Fact) -> Result<(), String> {
        match fact {
            Fact::MasterStarted { .. } => *self = Self::default(),
            Fact::OfferRescinded { offer } => {
                self.offers.remove(&crate::master::core::offer_id(&format!("m{}", known.epoch), *offer));
            }
            Fact::FrameworkSubscribed { session, .. } => drop(self.subscribing.remove(session)),
            Fact::SessionDropped { session } => self.drop_session(*session),
            Fact::SessionEnded { session } => self.offers.retain(|_, (to, ..)| to != session),
            Fact::Called { session, call } => self.called(known, *session, call),
            Fact::OffersMade { session, offers } => {
                for offer in offers {
                    self.check_offer(known, offer)?;
                    let id = crate::master::core::offer_id(&format!("m{}", known.epoch), offer.key);
                    self.offers.insert(id, (*session, offer.agent.to_string(), (*offer.resources).clone()));
                }
            }
            _ => {}
        }
        Ok(())
    }
}
