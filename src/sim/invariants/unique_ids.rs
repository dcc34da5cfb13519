//! No two agents, frameworks, offers, containers or statuses share an id.
//!
//! No instance of a driver has two frameworks of one master.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::{Client, Fact, Invariant, Known};
use crate::{
    master::core::{Call, Event, Order, SessionId},
    proto::internal::agent_record,
};

#[derive(Debug, Default)]
pub(super) struct UniqueIds {
    agents: BTreeMap<String, usize>,
    frameworks: BTreeMap<String, Client>,
    offers: BTreeMap<(u64, u64), String>,
    containers: BTreeMap<String, (String, Bytes)>,
    statuses: BTreeMap<Bytes, (String, i32)>,
    /// The instances of drivers that subscribe on these sessions.
    instances: BTreeMap<SessionId, Bytes>,
    /// The framework that a master gave to an instance.
    of_instances: BTreeMap<(u64, Bytes), String>,
}

/// Records the owner of an id; fails if the id has another owner.
fn record_owner<K: Ord + Clone + std::fmt::Debug, V: PartialEq + std::fmt::Debug>(
    all: &mut BTreeMap<K, V>,
    id: K,
    owner: V,
) -> Result<(), String> {
    match all.get(&id) {
        Some(known) if *known != owner => Err(format!("{id:?} is {known:?} and {owner:?}")),
        Some(_) => Ok(()),
        None => {
            all.insert(id, owner);
            Ok(())
        }
    }
}

impl Invariant for UniqueIds {
    fn name(&self) -> &'static str {
        "unique_ids"
    }

    fn observe(&mut self, known: &Known, fact: &Fact) -> Result<(), String> {
        match fact {
            Fact::Called { session, call: Call::Subscribe(subscribe) } => {
                self.instances.insert(*session, subscribe.instance.clone());
                Ok(())
            }
            Fact::OrderSent { session, order: Order::Registered(registered) } => known
                .agent_of(*session)
                .map_or(Ok(()), |agent| record_owner(&mut self.agents, registered.agent_id.clone(), agent)),
            Fact::OrderSent { order: Order::Run { framework, container, info }, .. } => {
                record_owner(&mut self.containers, container.to_string(), (framework.to_string(), info.clone()))
            }
            Fact::EventSent { session, event: Event::Subscribed { framework, .. } } => {
                match known.sessions.get(session) {
                    Some(client @ (Client::Framework(_) | Client::Author(_))) => {
                        record_owner(&mut self.frameworks, framework.to_string(), *client)?;
                        let instance = self.instances.get(session).cloned().unwrap_or_default();
                        record_owner(&mut self.of_instances, (known.epoch, instance), framework.to_string())
                    }
                    Some(Client::Agent(_) | Client::Replaced(_)) | None => Ok(()),
                }
            }
            Fact::EventSent { event: Event::Offers(offers), .. } => offers.iter().try_for_each(|offer| {
                let owner = format!("{} of {} to {}", offer.resources, offer.agent, offer.framework);
                record_owner(&mut self.offers, (known.epoch, offer.key.0), owner)
            }),
            Fact::Wrote { records, .. } => records.iter().try_for_each(|record| {
                let Some(agent_record::Kind::Status(made)) = &record.kind else { return Ok(()) };
                let Some(status) = &made.status else { return Ok(()) };
                let uuid = status.uuid.clone().unwrap_or_default();
                record_owner(&mut self.statuses, uuid, (made.container_id.clone(), status.state))
            }),
            _ => Ok(()),
        }
    }
}
