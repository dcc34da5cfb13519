//! Roles, weights and quotas in the operator API's own messages.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    allocator::fair::Quota,
    master::core::{Link, Snapshot, quota},
    proto::v1::{self, master::response, quota::QuotaConfig},
    types::{Milli, Resources},
};

/// `GET_QUOTA`: every quota, and the guarantees once more in the older form.
pub(super) fn quotas(snapshot: &Snapshot) -> response::GetQuota {
    let mut status = v1::quota::QuotaStatus::default();
    for config in snapshot.quotas.values() {
        let guarantee = config
            .guarantees
            .iter()
            .filter_map(|(name, scalar)| Some(Resources::new().with_scalar(name, Milli::from_f64(scalar.value).ok()?)));
        let guarantee = guarantee.flat_map(|one| one.to_proto()).collect();
        #[expect(deprecated, reason = "older clients read this one")]
        status.infos.push(v1::quota::QuotaInfo { role: Some(config.role.clone()), principal: None, guarantee });
        status.configs.push(config.clone());
    }
    response::GetQuota { status }
}

/// `GET_ROLES`: every role that has a framework, resources, a weight or a quota, and those above them.
pub(super) fn roles(snapshot: &Snapshot) -> response::GetRoles {
    let mut allocated: BTreeMap<&str, BTreeMap<String, Milli>> = BTreeMap::new();
    let mut count = |role, resources: &Resources| {
        let sums: &mut BTreeMap<String, Milli> = allocated.entry(role).or_default();
        for (name, amount) in resources.quantities() {
            *sums.entry(name.to_string()).or_default() += amount;
        }
    };
    for agent in &snapshot.agents {
        agent.tasks.values().filter(|task| task.holds).for_each(|task| count(&*task.role, &task.resources));
        agent.offers.values().for_each(|offer| count(&*offer.client.role, &offer.resources));
    }
    let role = |name: &String| v1::Role {
        name: name.clone(),
        weight: snapshot.weights.get(name).copied().unwrap_or(1.0),
        frameworks: members(snapshot, name),
        resources: allocated
            .get(name.as_str())
            .into_iter()
            .flatten()
            .flat_map(|(name, amount)| Resources::new().with_scalar(name, *amount).to_proto())
            .collect(),
    };
    response::GetRoles { roles: known(snapshot).iter().map(role).collect() }
}

fn members(snapshot: &Snapshot, role: &str) -> Vec<v1::FrameworkId> {
    let here = snapshot.frameworks.iter().filter(|one| one.link != Link::Completed);
    let member = here.filter(|one| one.facts.roles.iter().any(|of| **of == *role));
    member.map(|one| v1::FrameworkId { value: one.id.to_string() }).collect()
}

fn known(snapshot: &Snapshot) -> BTreeSet<String> {
    let mut names: BTreeSet<String> = snapshot.weights.keys().chain(snapshot.quotas.keys()).cloned().collect();
    for framework in &snapshot.frameworks {
        names.extend(framework.facts.roles.iter().map(ToString::to_string));
    }
    for agent in &snapshot.agents {
        names.extend(agent.tasks.values().map(|task| task.role.to_string()));
        names.extend(agent.total.reservations().keys().map(ToString::to_string));
    }
    let above =
        |name: &String| -> Vec<String> { name.match_indices('/').map(|(at, _)| name[..at].to_owned()).collect() };
    let ancestors: Vec<String> = names.iter().flat_map(above).collect();
    names.extend(ancestors);
    names
}

/// Reads `UPDATE_QUOTA`.
///
/// # Errors
/// The field that makes no sense.
pub(super) fn parse_quotas(configs: &[QuotaConfig]) -> Result<Vec<(String, Quota)>, String> {
    let mut seen = BTreeSet::new();
    let mut parsed = Vec::with_capacity(configs.len());
    for (number, config) in configs.iter().enumerate() {
        let field = format!("update_quota.quota_configs[{number}]");
        if !seen.insert(&config.role) {
            return Err(format!("{field}.role: {} is named twice", config.role));
        }
        let quota = quota(config).map_err(|error| format!("{field}: {error}"))?;
        parsed.push((config.role.clone(), quota));
    }
    Ok(parsed)
}
