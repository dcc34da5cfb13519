//! No offer to a suppressed client, none of an agent within the floor of its refusal, and none within its filter that
//! holds no more than was refused.

use std::collections::{BTreeMap, BTreeSet};

use super::{Fact, Invariant, Known};
use crate::{
    master::core::{Call, OfferMade, SessionId},
    types::Resources,
};

/// A refusal holds at least this long.
const FLOOR_NS: u64 = 1_000_000_000;

#[derive(Debug)]
struct Refused {
    at_ns: u64,
    until_ns: u64,
    resources: Resources,
}

#[derive(Debug, Default)]
pub(super) struct Refusals {
    offers: BTreeMap<String, (SessionId, String, Resources)>,
    suppressed: BTreeSet<String>,
    /// By framework and agent; they stand beside one another.
    refused: BTreeMap<(String, String), Vec<Refused>>,
}

impl Refusals {
    fn called(&mut self, known: &Known, session: SessionId, call: &Call) {
        if let Call::Subscribe(subscribe) = call
            && let Some(id) = subscribe.info.id.as_ref().filter(|_| subscribe.suppressed.is_empty())
        {
            self.suppressed.remove(&id.value);
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
                let until_ns = refuse.map_or(0, |time| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
                for id in offers {
                    let mine = self.offers.get(id).is_some_and(|(to, ..)| *to == session);
                    if let Some((_, agent, resources)) = self.offers.remove(id).filter(|_| mine) {
                        let until_ns = known.now_ns.saturating_add(until_ns);
                        let refused = Refused { at_ns: known.now_ns, until_ns, resources };
                        self.refused.entry((framework.clone(), agent)).or_default().push(refused);
                    }
                }
            }
            _ => {}
        }
    }
}

impl Refusals {
    fn allowed(&self, known: &Known, offer: &OfferMade) -> Result<(), String> {
        let (framework, agent, what) = (offer.framework.to_string(), &offer.agent, &offer.resources);
        if self.suppressed.contains(&framework) {
            return Err(format!("{framework} is suppressed and is offered {what}"));
        }
        let holds = |refused: &&Refused| {
            let floor = known.now_ns < refused.at_ns.saturating_add(FLOOR_NS);
            floor || (known.now_ns < refused.until_ns && refused.resources.contains(what))
        };
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
