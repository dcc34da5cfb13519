//! A resource of an agent is in at most one live offer, and not also in use.
//!
//! An offer is live from the moment it is made until it is answered, rescinded, or its framework's session ends. Resources
//! are in use as long as their processes really run.

use std::collections::{BTreeMap, BTreeSet};

use super::{Fact, Invariant, Known};
use crate::{
    master::core::{Call, SessionId},
    types::Resources,
};

#[derive(Debug)]
struct Live {
    session: SessionId,
    agent: String,
    resources: Resources,
}

#[derive(Debug, Default)]
pub(super) struct SingleOffer {
    live: BTreeMap<u64, Live>,
    /// The live offers of each agent.
    of: BTreeMap<String, BTreeSet<u64>>,
    /// The present id of each agent. A power cut before its first id was synced makes a new agent of the host; offers of the
    /// old one cannot be launched there.
    agents: BTreeMap<usize, String>,
    indices: BTreeMap<String, usize>,
}

impl SingleOffer {
    fn answered(&mut self, session: SessionId, offers: &[String]) {
        let key = |id: &String| id.rsplit_once("-O").and_then(|(_, number)| number.parse().ok());
        for key in offers.iter().filter_map(key) {
            if self.live.get(&key).is_some_and(|live| live.session == session) {
                self.over(key);
            }
        }
    }

    fn over(&mut self, key: u64) {
        if let Some(live) = self.live.remove(&key)
            && let Some(of) = self.of.get_mut(&live.agent)
        {
            of.remove(&key);
        }
    }

    fn fits(&self, known: &Known, agent: &str) -> Result<(), String> {
        let Some(index) = self.indices.get(agent) else { return Ok(()) };
        if self.agents.get(index).is_none_or(|id| id != agent) {
            return Ok(());
        }
        let mut taken = Resources::default();
        for live in self.of.get(agent).into_iter().flatten().filter_map(|key| self.live.get(key)) {
            taken += &live.resources;
        }
        let offered = taken.clone();
        for (_, one) in known.running_on(*index) {
            taken += &one.resources;
        }
        if known.totals[*index].contains(&taken) {
            return Ok(());
        }
        Err(format!("{agent}: {offered} offered and with what runs {taken} taken, of {}", known.totals[*index]))
    }
}

impl Invariant for SingleOffer {
    fn name(&self) -> &'static str {
        "single_offer"
    }

    fn observe(&mut self, known: &Known, fact: &Fact) -> Result<(), String> {
        match fact {
            Fact::MasterStarted { .. } | Fact::MasterCrashed => {
                self.live.clear();
                self.of.clear();
            }
            Fact::SessionEnded { session } => self.live.retain(|_, live| live.session != *session),
            Fact::Admitted { session, agent } => {
                if let Some(index) = known.agent_of(*session) {
                    self.agents.insert(index, agent.clone());
                    self.indices.insert(agent.clone(), index);
                }
            }
            Fact::Called { session, call } => match call {
                Call::Accept(accept) => self.answered(*session, &accept.offers),
                Call::Decline { offers, .. } => self.answered(*session, offers),
                Call::Teardown => self.live.retain(|_, live| live.session != *session),
                _ => {}
            },
            Fact::TornDown { framework } => {
                self.live.retain(|_, live| known.frameworks.get(&live.session) != Some(framework));
            }
            // Messages to different sessions have no order among them; the core's decisions have.
            Fact::FrameworkSubscribed { session, framework } => {
                let of = |session: &SessionId| known.frameworks.get(session).map(String::as_str);
                self.live.retain(|_, live| live.session == *session || of(&live.session) != Some(&**framework));
            }
            Fact::SessionDropped { session } => self.live.retain(|_, live| live.session != *session),
            Fact::OfferRescinded { offer } => self.over(offer.0),
            Fact::OffersMade { session, offers } => {
                for offer in offers.iter().filter(|offer| !known.torn_down.iter().any(|one| **one == *offer.framework))
                {
                    let (agent, resources) = (offer.agent.to_string(), (*offer.resources).clone());
                    self.of.entry(agent.clone()).or_default().insert(offer.key.0);
                    self.live.insert(offer.key.0, Live { session: *session, agent, resources });
                    self.fits(known, &offer.agent)?;
                }
            }
            _ => {}
        }
        Ok(())
    }
}
