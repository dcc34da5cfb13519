//! Feasibility: whether a task fits, for frameworks, master and agents alike, with the first failing rule as data.
//!
//! [`fits`] is for a request, whose role may use resources of any reservation that it is entitled to. [`shortage`] is
//! for a task whose resources are named exactly. Plain requests never take revocable resources, shared volumes, or
//! disks other than the agent's own: those have to be requested by name.

mod names;
mod room;
#[cfg(test)]
mod tests;
mod want;

use std::sync::Arc;

pub(super) use self::names::Names;
pub(super) use self::room::{Room, Total, is_plain};
pub(super) use self::want::{SetWant, Want};
use super::reason::Reason;
use super::request::TaskRequest;
use crate::types::{Resource, Resources};

/// An agent as placement sees it.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Candidate<'a> {
    /// The resources left there.
    pub available: &'a Resources,
    /// The role that it is offered to, where that matters.
    pub role: Option<&'a str>,
    /// The instances of the request that are placed or running there.
    pub instances: u32,
}

impl<'a> Candidate<'a> {
    /// Creates a candidate with these resources left, for any role, with no instance yet.
    #[must_use]
    pub fn new(available: &'a Resources) -> Self {
        Self { available, role: None, instances: 0 }
    }

    /// Sets the role of the offer: resources reserved to other roles are not used.
    #[must_use]
    pub fn offered_to(self, role: &'a str) -> Self {
        Self { role: Some(role), ..self }
    }

    /// Sets how many instances of the request are there.
    #[must_use]
    pub fn with_instances(self, instances: u32) -> Self {
        Self { instances, ..self }
    }
}

/// The result of a successful check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fit {
    /// How many instances would fit together, at least 1, whatever number is requested.
    pub instances: u32,
}

/// Checks whether one instance of a request fits on an agent, by any of its demands.
///
/// Constraints are not checked here: they depend on several agents, and [placing](super::Placer) checks them.
///
/// ```
/// use divvy::allocator::{TaskRequest, feasible};
/// use divvy::types::Resources;
///
/// let left = Resources::cpus_mem(2.5, 4096.0);
/// let agent = feasible::Candidate::new(&left);
/// let fit = feasible::fits(&agent, &TaskRequest::command("small", "true").cpus(1.0).mem_mib(64));
/// assert_eq!(fit.map(|fit| fit.instances), Ok(2));
/// let no = feasible::fits(&agent, &TaskRequest::command("big", "true").cpus(4.0).mem_mib(64)).unwrap_err();
/// assert_eq!(no.to_string(), "cpus: asked 4, 2.5 left");
/// ```
///
/// # Errors
///
/// The first rule that failed, with its margin.
pub fn fits(candidate: &Candidate<'_>, request: &TaskRequest) -> Result<Fit, Reason> {
    let names = Names::of([request]);
    let room = match candidate.role {
        Some(role) => Room::new(&candidate.available.allocatable_to(role), &names),
        None => Room::new(candidate.available, &names),
    };
    check_role(candidate.role, request)?;
    let below_limit = check_limit(candidate.instances, request)?;
    let wants: Vec<Want> = request.demands().map(|demand| Want::new(demand, &names)).collect();
    let (_, by_room) = check_room(&room, &wants, &names)?;
    Ok(Fit { instances: by_room.min(below_limit) })
}

/// Checks that a request may use what is offered to this role.
pub(super) fn check_role(offered: Option<&str>, request: &TaskRequest) -> Result<(), Reason> {
    match (offered, request.role.as_deref()) {
        (Some(offered), Some(asked)) if offered != asked => {
            Err(Reason::Role { offered: offered.into(), asked: asked.into() })
        }
        _ => Ok(()),
    }
}

/// Returns how many more instances the limit per agent allows.
pub(super) fn check_limit(instances: u32, request: &TaskRequest) -> Result<u32, Reason> {
    let Some(limit) = request.max_per_agent else { return Ok(u32::MAX) };
    match limit.saturating_sub(instances) {
        0 => Err(Reason::AgentLimit { limit }),
        more => Ok(more),
    }
}

/// Returns the index of the first demand that fits, and for how many instances.
pub(super) fn check_room(room: &Room, wants: &[Want], names: &Names) -> Result<(usize, u32), Reason> {
    let mut reasons = Vec::new();
    for (variant, want) in wants.iter().enumerate() {
        match room.check(want) {
            Ok(instances) => return Ok((variant, instances)),
            Err(shortfall) => reasons.push(shortfall.reason(names)),
        }
    }
    Err(Reason::any_of(reasons))
}

/// Returns why exactly these resources cannot be taken from the available ones; `None` if they can.
///
/// ```
/// use divvy::allocator::feasible::shortage;
/// use divvy::types::Resources;
///
/// let left: Resources = "cpus:2;mem:512;ports:[31000-31009]".parse()?;
/// assert!(shortage(&left, &"cpus:2;ports:[31009-31009]".parse()?).is_none());
/// let reason = shortage(&left, &"cpus:1;ports:[31005-31010]".parse()?).expect("31010 is not there");
/// assert_eq!(reason.to_string(), "port 31010 is not free");
/// # Ok::<(), divvy::types::ResourceError>(())
/// ```
#[must_use]
pub fn shortage(available: &Resources, wanted: &Resources) -> Option<Reason> {
    if available.contains(wanted) {
        return None;
    }
    scalar_shortage(available, wanted)
        .or_else(|| port_shortage(available, wanted))
        .or_else(|| kind_shortage(available, wanted))
}

fn scalar_shortage(available: &Resources, wanted: &Resources) -> Option<Reason> {
    let sums = wanted.quantities();
    let in_order = wanted.iter().filter_map(|item| sums.iter().find(|(name, _)| **name == *item.name()));
    let short = |&(ref name, asked): &(Arc<str>, _)| {
        let left = available.scalar(name);
        (asked > left).then(|| Reason::Scalar { name: name.clone(), asked, left })
    };
    in_order.into_iter().find_map(short)
}

fn port_shortage(available: &Resources, wanted: &Resources) -> Option<Reason> {
    let mut missing = wanted.ports();
    missing -= &available.ports();
    missing.first().map(|port| Reason::Port { port })
}

fn kind_shortage(available: &Resources, wanted: &Resources) -> Option<Reason> {
    let alone = |item: &Resource| Resources::from_iter([item.clone()]);
    let missing = wanted.iter().find(|item| !available.contains(&alone(item)));
    // Each item may be there alone and still not all together: then any item shows the kind.
    let item = missing.or_else(|| wanted.iter().next())?;
    let left = available.filter(|other| other.name() == item.name());
    let left = if left.is_empty() { format!("no {}", item.name()) } else { left.to_string() };
    Some(Reason::Kind { asked: alone(item).to_string().into(), left: left.into() })
}
