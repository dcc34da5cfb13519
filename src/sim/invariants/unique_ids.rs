//! No two things share an id: agents, frameworks, offers, containers, statuses. No run of a driver has two frameworks of
//! one master.

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
    /// The runs of drivers that subscribe on these sessions.
    runs: BTreeMap<SessionId, Bytes>,
    /// The framework that a master gave to a run.
    of_runs: BTreeMap<(u64, Bytes), String>,
}

/// Notes who has the id, and fails if that is another one than before.
fn one<K: Ord + Clone + std::fmt::Debug, V: PartialEq + std::fmt::Debug>(
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
                self.runs.insert(*session, subscribe.instance.clone());
                Ok(())
            }
            Fact::Ordered { session, order: Order::Registered(registered) } => known
                .agent_of(*session)
                .map_or(Ok(()), |agent| one(&mut self.agents, registered.agent_id.clone(), agent)),
            Fact::Ordered { order: Order::Run { framework, container, info }, .. } => {
                one(&mut self.containers, container.to_string(), (framework.to_string(), info.clone()))
            }
            Fact::Told { session, event: Event::Subscribed { framework, .. } } => match known.sessions.get(session) {
                Some(client @ (Client::Framework(_) | Client::Author(_))) => {
                    one(&mut self.frameworks, framework.to_string(), *client)?;
                    let run = self.runs.get(session).cloned().unwrap_or_default();
                    one(&mut self.of_runs, (known.epoch, run), framework.to_string())
                }
                Some(Client::Agent(_) | Client::Replaced(_)) | None => Ok(()),
            },
            Fact::Told { event: Event::Offers(offers), .. } => offers.iter().try_for_each(|offer| {
                let owner = format!("{} of {} to {}", offer.resources, offer.agent, offer.framework);
                one(&mut self.offers, (known.epoch, offer.key.0), owner)
            }),
            Fact::Wrote { records, .. } => records.iter().try_for_each(|record| {
                let Some(agent_record::Kind::Status(made)) = &record.kind else { return Ok(()) };
                let Some(status) = &made.status else { return Ok(()) };
                let uuid = status.uuid.clone().unwrap_or_default();
                one(&mut self.statuses, uuid, (made.container_id.clone(), status.state))
            }),
            _ => Ok(()),
        }
    }
}
