//! A task is launched only out of a live offer of its own framework, within what was offered, once per ACCEPT.

use std::collections::BTreeMap;

use super::{Fact, Invariant, Known};
use crate::{
    master::core::{Call, Event, Operation, Order, SessionId},
    types::Resources,
};

#[derive(Debug, Default)]
pub(super) struct OwnOffers {
    /// The live offers by id, with their session and resources.
    live: BTreeMap<String, (SessionId, Resources)>,
    /// Launches that an ACCEPT covers, by framework and task.
    due: BTreeMap<(String, String), u32>,
}

impl OwnOffers {
    fn accepted(&mut self, known: &Known, session: SessionId, offers: &[String], operations: &[Operation]) {
        let Some(framework) = known.frameworks.get(&session) else { return };
        let mut rest = Resources::default();
        for id in offers {
            if self.live.get(id).is_some_and(|(to, _)| *to == session)
                && let Some((_, resources)) = self.live.remove(id)
            {
                rest += &resources;
            }
        }
        for operation in operations {
            let Operation::Launch(tasks) = operation else { continue };
            for task in tasks {
                if let Some(left) = rest.checked_sub(&task.resources) {
                    rest = left;
                    *self.due.entry((framework.clone(), task.id.clone())).or_default() += 1;
                }
            }
        }
    }
}

impl Invariant for OwnOffers {
    fn name(&self) -> &'static str {
        "own_offers"
    }

    fn observe(&mut self, known: &Known, fact: &Fact) -> Result<(), String> {
        match fact {
            Fact::MasterStarted { .. } => {
                self.live.clear();
                self.due.clear();
            }
            Fact::EventSent { session, event: Event::Offers(offers) } => {
                for offer in offers {
                    let id = crate::master::core::offer_id(&format!("m{}", known.epoch), offer.key);
                    self.live.insert(id, (*session, (*offer.resources).clone()));
                }
            }
            Fact::EventSent { event: Event::Rescinded { offer }, .. } => {
                self.live.remove(&crate::master::core::offer_id(&format!("m{}", known.epoch), *offer));
            }
            Fact::Called { session, call: Call::Accept(accept) } => {
                self.accepted(known, *session, &accept.offers, &accept.operations);
            }
            Fact::OrderSent { order: Order::Run { framework, container, .. }, .. } => {
                let task = known.containers.get(&container.to_string()).map(|one| one.task.clone()).unwrap_or_default();
                let due = self.due.get_mut(&(framework.to_string(), task.clone())).filter(|due| **due > 0);
                let Some(due) = due else {
                    return Err(format!("{task} is launched as {container} out of no live offer of {framework}"));
                };
                *due -= 1;
            }
            _ => {}
        }
        Ok(())
    }
}
