//! Pools of offers: those of one agent and role are merged, and invalid ones are set apart.
//!
//! Merged offers are accepted together. As in the protocol, one ACCEPT is for one agent and one role.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::constraint::Described;
use super::reason::{AgentReason, Host, Reason};
use crate::proto::v1;
use crate::types::Resources;

/// Everything that one agent offers to one role.
#[derive(Debug)]
pub(super) struct Pool {
    pub(super) host: Arc<Host>,
    /// The number of the agent, counted from 0 in the order of the offers: pools of several roles share it.
    pub(super) agent: usize,
    pub(super) role: Option<Arc<str>>,
    /// Whether resources are written with reservation stacks.
    pub(super) refinement: bool,
    pub(super) offer_ids: Vec<v1::OfferId>,
    pub(super) resources: Resources,
}

/// Every offer, in a pool or set apart. Pools are in the order of their first offers.
#[derive(Debug)]
pub(super) struct Pools {
    pub(super) all: Vec<Pool>,
    pub(super) agents: Vec<Described>,
    pub(super) unusable: Vec<(v1::OfferId, AgentReason)>,
}

impl Pools {
    /// Gathers offers; one that appears twice counts once.
    pub(super) fn gather(offers: &[v1::Offer]) -> Self {
        let mut gathered = Gathering::default();
        let mut seen = BTreeSet::new();
        for offer in offers.iter().filter(|offer| seen.insert(&offer.id)) {
            gathered.add(offer);
        }
        let Gathering { pools, agents, unusable, .. } = gathered;
        Self { all: pools, agents, unusable }
    }
}

#[derive(Default)]
struct Gathering<'a> {
    pools: Vec<Pool>,
    agents: Vec<Described>,
    by_agent: BTreeMap<&'a v1::AgentId, usize>,
    by_key: BTreeMap<(usize, Option<&'a str>), usize>,
    unusable: Vec<(v1::OfferId, AgentReason)>,
}

impl<'a> Gathering<'a> {
    fn add(&mut self, offer: &'a v1::Offer) {
        match Resources::from_proto(&offer.resources) {
            Ok(resources) => {
                let agent = *self.by_agent.entry(&offer.agent_id).or_insert_with(|| {
                    self.agents.push(Described::new(host_of(offer), &offer.attributes));
                    self.agents.len() - 1
                });
                self.merge(offer, agent, &resources);
            }
            Err(error) => {
                let problem = format!("resources{error}");
                let reason = AgentReason::new(host_of(offer), Reason::Offer { problem: problem.into() });
                self.unusable.push((offer.id.clone(), reason));
            }
        }
    }

    fn merge(&mut self, offer: &'a v1::Offer, agent: usize, resources: &Resources) {
        let role = offer.allocation_info.as_ref().and_then(|info| info.role.as_deref());
        let index = *self.by_key.entry((agent, role)).or_insert_with(|| {
            self.pools.push(Pool {
                host: Arc::clone(&self.agents[agent].host),
                agent,
                role: role.map(Arc::from),
                refinement: true,
                offer_ids: Vec::new(),
                resources: Resources::new(),
            });
            self.pools.len() - 1
        });
        let pool = &mut self.pools[index];
        pool.refinement &= has_stacks(&offer.resources);
        pool.offer_ids.push(offer.id.clone());
        pool.resources += resources;
    }
}

fn host_of(offer: &v1::Offer) -> Arc<Host> {
    Arc::new(Host { agent_id: offer.agent_id.clone(), hostname: offer.hostname.clone() })
}

/// Returns whether the list is in the format of reservation stacks: then no item has the old field of the role.
#[expect(deprecated, reason = "the old field shows the format")]
fn has_stacks(resources: &[v1::Resource]) -> bool {
    resources.iter().all(|resource| resource.role.is_none())
}
