//! The answer as JSON; field names and their order are a stable format.

use serde::{Serialize, Serializer, ser::SerializeStruct as _};

use super::fragments::Fragments;
use crate::{
    allocator::{AgentReason, Launch, Placed, Plan, Unplaced},
    proto::v1,
};

/// A plan in its JSON form: `{"placements":[...],"unplaced":[...]}`.
pub(super) struct Answer<'a> {
    plan: &'a Plan,
    offers: &'a [v1::Offer],
}

#[derive(Serialize)]
struct Placement<'a> {
    task: &'a str,
    instance: u32,
    offer: &'a str,
    agent: &'a str,
    ports: &'a [u64],
}

#[derive(Serialize)]
struct UnplacedTask<'a> {
    task: &'a str,
    missing: u32,
    reasons: Vec<AgentRefusal<'a>>,
}

#[derive(Serialize)]
struct AgentRefusal<'a> {
    agent: &'a str,
    rule: &'a str,
    text: String,
}

impl<'a> Answer<'a> {
    pub(super) fn of(plan: &'a Plan, offers: &'a [v1::Offer]) -> Self {
        Self { plan, offers }
    }

    fn placements(&self) -> Vec<Placement<'a>> {
        self.plan.launches.iter().flat_map(|launch| self.placed_by(launch)).collect()
    }

    /// The instances on one agent, each with its offer.
    fn placed_by(&self, launch: &'a Launch) -> Vec<Placement<'a>> {
        let mut fragments = Fragments::of(launch, self.offers);
        let agent = launch.agent_id().value.as_str();
        let tasks = launch.tasks();
        let one = |(placed, task): (Placed<'a>, &v1::TaskInfo)| {
            let offer = fragments.take(&task.resources);
            Placement { task: placed.task, instance: placed.instance, offer, agent, ports: placed.ports }
        };
        launch.instances().zip(&tasks).map(one).collect()
    }
}

impl Serialize for Answer<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut answer = serializer.serialize_struct("Answer", 2)?;
        answer.serialize_field("placements", &self.placements())?;
        answer.serialize_field("unplaced", &self.plan.unplaced.iter().map(UnplacedTask::of).collect::<Vec<_>>())?;
        answer.end()
    }
}

impl<'a> UnplacedTask<'a> {
    fn of(unplaced: &'a Unplaced) -> Self {
        let reasons = unplaced.reasons.iter().map(AgentRefusal::of).collect();
        Self { task: &unplaced.task, missing: unplaced.missing, reasons }
    }
}

impl<'a> AgentRefusal<'a> {
    fn of(reason: &'a AgentReason) -> Self {
        let rule = reason.reason().rule();
        Self { agent: &reason.agent_id().value, rule, text: reason.reason().to_string() }
    }
}
