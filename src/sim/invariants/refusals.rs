//! No offer to a suppressed client, none of an agent within the floor of its refusal, and none within its filter that
//! holds no more than was refused.

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

/// So much of an agent, refused at a time and until a time.
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
    /// By framework and agent; they stand beside one another.
    refused: BTreeMap<(String, String), Vec<Refused>>,
    /// Sessions that ask for a framework, and whether it was suppressed before.
    asking: BTreeMap<SessionId, (String, bool)>,
    /// Sessions that the master is done with: it does not hear what they call.
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
            self.asking.insert(session, (id.value.clone(), self.suppressed.contains(&id.value)));
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

    /// The session does not get what it asks for, or has it no more.
    fn drops(&mut self, session: SessionId) {
        self.dropped.insert(session);
        if let Some((framework, suppressed)) = self.asking.remove(&session) {
            self.set_suppressed(&framework, suppressed);
        }
    }

    /// Whether the framework wants no offers.
    pub(super) fn suppresses(&self, framework: &str) -> bool {
        self.suppressed.contains(framework)
    }

    /// Whether the framework has refused this much of the agent, or refused anything of it just now.
    pub(super) fn refuses(&self, now_ns: u64, framework: &str, agent: &str, what: &Resources) -> bool {
        let refused = self.refused.get(&(framework.to_owned(), agent.to_owned()));
        refused.is_some_and(|all| all.iter().any(|one| one.holds(now_ns, what)))
    }

    fn allowed(&self, known: &Known, offer: &OfferMade) -> Result<(), String> {
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
            Fact::Withdrawn { offer } => {
                self.offers.remove(&crate::master::core::offer_id(&format!("m{}", known.epoch), *offer));
            }
            Fact::Subscribes { session, .. } => drop(self.asking.remove(session)),
            Fact::Drops { session } => self.drops(*session),
            Fact::SessionEnded { session } => self.offers.retain(|_, (to, ..)| to != session),
            Fact::Called { session, call } => self.called(known, *session, call),
            Fact::Made { session, offers } => {
                for offer in offers {
                    self.allowed(known, offer)?;
                    let id = crate::master::core::offer_id(&format!("m{}", known.epoch), offer.key);
                    self.offers.insert(id, (*session, offer.agent.to_string(), (*offer.resources).clone()));
                }
            }
            _ => {}
        }
        Ok(())
    }
}
