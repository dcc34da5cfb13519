//! Roles, weights and quotas in the operator API's own messages.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    allocator::fair::Quota,
    master::core::{Link, Snapshot, quota},
    proto::v1::{self, master::response, quota::QuotaConfig},
    types::{
        Milli, Resources,
        limits::{QUANTITIES, QUOTAS, RESOURCE_NAME_BYTES, WEIGHTS},
        quoted, validate, validate_role,
    },
};

/// `GET_QUOTA`: every quota, with the guarantees in the older form too.
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

/// `GET_ROLES`: every role with a framework, resources, a weight or a quota, and their ancestors.
pub(super) fn roles(snapshot: &Snapshot) -> response::GetRoles {
    let mut allocated: BTreeMap<&str, BTreeMap<String, Milli>> = BTreeMap::new();
    let mut count = |role, resources: &Resources| {
        let sums: &mut BTreeMap<String, Milli> = allocated.entry(role).or_default();
        for (name, amount) in resources.quantities() {
            *sums.entry(name.to_string()).or_default() += amount;
        }
    };
    for agent in &snapshot.agents {
        agent
            .tasks
            .values()
            .filter(|task| task.state.holds_resources())
            .for_each(|task| count(&*task.role, &task.resources));
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
        names.extend(agent.amounts.total.reservations().keys().map(ToString::to_string));
    }
    let above =
        |name: &String| -> Vec<String> { name.match_indices('/').map(|(at, _)| name[..at].to_owned()).collect() };
    let ancestors: Vec<String> = names.iter().flat_map(above).collect();
    names.extend(ancestors);
    names
}

/// Parses `UPDATE_WEIGHTS`. The core validates the weights, as it does those of a registry.
///
/// # Errors
/// Names the field that is missing or invalid.
pub(super) fn parse_weights(infos: Vec<v1::WeightInfo>) -> Result<Vec<(String, f64)>, String> {
    bounded("update_weights.weight_infos", "weights", infos.len(), WEIGHTS)?;
    let one = |(number, info): (usize, v1::WeightInfo)| {
        let missing = || format!("update_weights.weight_infos[{number}].role: missing");
        let role = info.role.ok_or_else(missing)?;
        validate_role(&role).map_err(|error| format!("update_weights.weight_infos[{number}].role: {error}"))?;
        Ok((role, info.weight))
    };
    infos.into_iter().enumerate().map(one).collect()
}

/// Parses `UPDATE_QUOTA`.
///
/// # Errors
/// Names the field that is invalid.
pub(super) fn parse_quotas(configs: &[QuotaConfig]) -> Result<Vec<(String, Quota)>, String> {
    bounded("update_quota.quota_configs", "quotas", configs.len(), QUOTAS)?;
    let mut seen = BTreeSet::new();
    let mut parsed = Vec::with_capacity(configs.len());
    for (number, config) in configs.iter().enumerate() {
        let field = format!("update_quota.quota_configs[{number}]");
        if !seen.insert(&config.role) {
            return Err(format!("{field}.role: {} is named twice", quoted(&config.role)));
        }
        validate_role(&config.role).map_err(|error| format!("{field}.role: {error}"))?;
        for (part, amounts) in [("guarantees", &config.guarantees), ("limits", &config.limits)] {
            bounded(&format!("{field}.{part}"), "names", amounts.len(), QUANTITIES)?;
            for name in amounts.keys() {
                bounded(&format!("{field}.{part}[{}]", quoted(name)), "bytes", name.len(), RESOURCE_NAME_BYTES)?;
            }
        }
        let quota = quota(config).map_err(|error| format!("{field}: {error}"))?;
        parsed.push((config.role.clone(), quota));
    }
    Ok(parsed)
}

fn bounded(field: &str, unit: &str, given: usize, most: usize) -> Result<(), String> {
    validate::bounded(field, unit, given, most).map_err(|invalid| invalid.to_string())
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng as _, rngs::StdRng};

    use super::*;
    use crate::{
        master::{
            core::{Config, Master},
            registry::State,
        },
        types::Now,
    };

    fn limited(role: &str, cpus: f64) -> QuotaConfig {
        let limits = [("cpus".to_owned(), v1::value::Scalar { value: cpus })].into_iter().collect();
        QuotaConfig { role: role.to_owned(), limits, ..QuotaConfig::default() }
    }

    fn snapshot(state: State) -> Snapshot {
        let now = Now { mono_ns: 1, wall_ns: 1 };
        Master::new("m", 1, state, Config::default(), StdRng::seed_from_u64(1), now).snapshot()
    }

    #[test]
    fn roles_with_a_quota_or_a_weight_are_listed_with_their_ancestors() {
        let mut state = State::default();
        state.set_quota(&limited("a/b", 2.0));
        state.weights.insert("w".to_owned(), 3.0);
        let snapshot = snapshot(state);
        let listed = roles(&snapshot).roles;
        let listed: Vec<(&str, f64)> = listed.iter().map(|role| (role.name.as_str(), role.weight)).collect();
        assert_eq!(listed, [("a", 1.0), ("a/b", 1.0), ("w", 3.0)]);
        assert_eq!(quotas(&snapshot).status.configs, [limited("a/b", 2.0)]);
    }

    #[test]
    fn a_weight_without_a_role_is_refused_with_its_field() {
        let info = |role: Option<&str>| v1::WeightInfo { weight: 2.0, role: role.map(str::to_owned) };
        let refused = parse_weights(vec![info(Some("a")), info(None)]).expect_err("refused");
        assert_eq!(refused, "update_weights.weight_infos[1].role: missing");
        let many = parse_weights(vec![info(Some("a")); WEIGHTS + 1]).expect_err("refused");
        assert_eq!(many, "update_weights.weight_infos: has 1025 weights; at most 1024 are accepted");
        assert!(parse_weights(vec![info(Some("a")); WEIGHTS]).is_ok());
        assert_eq!(parse_weights(vec![info(Some("a"))]), Ok(vec![("a".to_owned(), 2.0)]));
    }

    #[test]
    fn an_invalid_quota_is_refused_with_its_field() {
        let refused = |configs: &[QuotaConfig]| parse_quotas(configs).expect_err("refused");
        let negative = refused(&[limited("a", 1.0), limited("b", -1.0)]);
        assert_eq!(negative, "update_quota.quota_configs[1]: limit of cpus: -1 is negative");
        let many = refused(&vec![limited("a", 1.0); QUOTAS + 1]);
        assert_eq!(many, "update_quota.quota_configs: has 1025 quotas; at most 1024 are accepted");
        let long = refused(&[limited(&"r".repeat(100_000), 1.0)]);
        assert!(long.starts_with("update_quota.quota_configs[0].role: role `rrr") && long.len() < 250, "{long}");
        let twice = refused(&[limited("a", 1.0), limited("a", 2.0)]);
        assert_eq!(twice, "update_quota.quota_configs[1].role: a is named twice");
    }
}
