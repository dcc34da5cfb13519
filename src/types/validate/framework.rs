//! Validation of a framework's description in a subscription or an update.

use std::collections::BTreeSet;

use super::sizes::{bounded, labels, optional, text};
use super::{Invalid, each, ensure};
use crate::proto::v1::framework_info::capability::Type::MultiRole;
use crate::proto::v1::offer_filters::ResourceQuantities;
use crate::proto::v1::scheduler::attribute_constraint::selector::{PseudoattributeType, Selector};
use crate::proto::v1::scheduler::{AttributeConstraint, OfferConstraints};
use crate::proto::v1::{FrameworkInfo, OfferFilters};
use crate::types::limits::{
    BUNDLES, CAPABILITIES, CONSTRAINT_GROUPS, CONSTRAINTS_PER_GROUP, FRAMEWORK_ROLES, HOSTNAME_BYTES, NAME_BYTES,
    QUANTITIES, RESOURCE_NAME_BYTES, URL_BYTES,
};
use crate::types::{Milli, quoted, validate_id, validate_role};

/// Validates a framework's description by itself: roles, id, filters, failover timeout.
///
/// # Errors
/// The first broken rule; the path is relative to the description.
pub fn framework_info(info: &FrameworkInfo) -> Result<(), Invalid> {
    roles(info)?;
    if let Some(id) = info.id.as_ref().filter(|id| !id.as_str().is_empty()) {
        validate_id("framework id", id.as_str()).map_err(|error| Invalid::from_id("id", &error))?;
    }
    text("name", &info.name, NAME_BYTES)?;
    text("user", &info.user, NAME_BYTES)?;
    optional("principal", info.principal.as_ref(), NAME_BYTES)?;
    optional("hostname", info.hostname.as_ref(), HOSTNAME_BYTES)?;
    optional("webui_url", info.webui_url.as_ref(), URL_BYTES)?;
    bounded("capabilities", "entries", info.capabilities.len(), CAPABILITIES)?;
    labels("labels", info.labels.as_ref())?;
    bounded("offer_filters", "roles", info.offer_filters.len(), FRAMEWORK_ROLES)?;
    for (role, filters) in &info.offer_filters {
        let within = |error: Invalid| error.under(&format!("offer_filters[{}]", quoted(role)));
        validate_role(role).map_err(|error| within(Invalid::from_role("", &error)))?;
        offer_filters(filters).map_err(within)?;
    }
    info.failover_duration().map(drop).map_err(|error| Invalid::new("failover_timeout", error.to_string()))
}

/// Validates a subscription or an update as a whole: description, suppressed roles, offer constraints.
///
/// # Errors
/// The first broken rule; the path is relative to the call's body.
pub fn subscription(
    info: &FrameworkInfo,
    suppressed_roles: &[String],
    constraints: Option<&OfferConstraints>,
) -> Result<(), Invalid> {
    framework_info(info).map_err(|error| error.under("framework_info"))?;
    // Sorted, for a binary search.
    let own = info.all_roles();
    let known = |role: &String| {
        let is_own = own.binary_search(&role.as_str()).is_ok();
        if is_own {
            Ok(())
        } else {
            Err(Invalid::new("", format!("role `{}` is not one of the framework's", quoted(role))))
        }
    };
    bounded("suppressed_roles", "roles", suppressed_roles.len(), FRAMEWORK_ROLES)?;
    each("suppressed_roles", suppressed_roles, known)?;
    let Some(constraints) = constraints else { return Ok(()) };
    for (role, of_role) in &constraints.role_constraints {
        let field = format!("offer_constraints.role_constraints[{}]", quoted(role));
        known(role).map_err(|error| error.under(&field))?;
        ensure(!of_role.groups.is_empty(), &format!("{field}.groups"), "must not be empty")?;
        bounded(&format!("{field}.groups"), "groups", of_role.groups.len(), CONSTRAINT_GROUPS)?;
        each(&format!("{field}.groups"), &of_role.groups, |group| {
            let constraints = &group.attribute_constraints;
            ensure(!constraints.is_empty(), "attribute_constraints", "must not be empty")?;
            bounded("attribute_constraints", "constraints", constraints.len(), CONSTRAINTS_PER_GROUP)?;
            each("attribute_constraints", &group.attribute_constraints, constraint)
        })?;
    }
    Ok(())
}

/// Validates that an update changes no immutable field: principal, user, checkpoint.
///
/// # Errors
/// The field that would change.
pub fn framework_update(old: &FrameworkInfo, new: &FrameworkInfo) -> Result<(), Invalid> {
    ensure(old.principal == new.principal, "framework_info.principal", "must not change")?;
    ensure(old.user == new.user, "framework_info.user", "must not change")?;
    ensure(old.checkpoint() == new.checkpoint(), "framework_info.checkpoint", "must not change")
}

#[expect(deprecated, reason = "frameworks without MULTI_ROLE have only that field")]
fn roles(info: &FrameworkInfo) -> Result<(), Invalid> {
    if !info.has(MultiRole) {
        ensure(info.roles.is_empty(), "roles", "must not be set without the capability MULTI_ROLE; set `role`")?;
        let role = info.role.as_deref().unwrap_or("*");
        return validate_role(role).map_err(|error| Invalid::from_role("role", &error));
    }
    ensure(info.role.is_none(), "role", "must not be set with the capability MULTI_ROLE; set `roles`")?;
    bounded("roles", "roles", info.roles.len(), FRAMEWORK_ROLES)?;
    let mut seen = BTreeSet::new();
    for (at, role) in info.roles.iter().enumerate() {
        let field = || format!("roles[{at}]");
        if !seen.insert(role) {
            return Err(Invalid::new(field(), format!("role `{}` is in it twice", quoted(role))));
        }
        validate_role(role).map_err(|error| Invalid::from_role(field(), &error))?;
    }
    Ok(())
}

fn offer_filters(filters: &OfferFilters) -> Result<(), Invalid> {
    let Some(minimum) = &filters.min_allocatable_resources else { return Ok(()) };
    bounded("min_allocatable_resources.quantities", "bundles", minimum.quantities.len(), BUNDLES)?;
    each("min_allocatable_resources.quantities", &minimum.quantities, |set: &ResourceQuantities| {
        ensure(!set.quantities.is_empty(), "quantities", "must not be empty")?;
        bounded("quantities", "names", set.quantities.len(), QUANTITIES)?;
        set.quantities.iter().try_for_each(|(name, scalar)| {
            text("quantities", name, RESOURCE_NAME_BYTES)?;
            let problem = |error: crate::types::QuantityError| {
                Invalid::new(format!("quantities[{}]", quoted(name)), error.to_string())
            };
            Milli::amount(scalar.value).map(drop).map_err(problem)
        })
    })
}

fn constraint(constraint: &AttributeConstraint) -> Result<(), Invalid> {
    match &constraint.selector.selector {
        None => return Err(Invalid::missing("selector")),
        Some(Selector::AttributeName(_)) => {}
        Some(Selector::PseudoattributeType(number)) => {
            let known = PseudoattributeType::try_from(*number).is_ok_and(|kind| kind != PseudoattributeType::Unknown);
            ensure(known, "selector.pseudoattribute_type", "must be HOSTNAME, REGION or ZONE")?;
        }
    }
    ensure(constraint.predicate.predicate.is_some(), "predicate", "is missing")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::v1::offer_filters::MinAllocatableResources;
    use crate::proto::v1::scheduler::attribute_constraint::predicate::{Exists, Predicate};
    use crate::proto::v1::scheduler::offer_constraints::{RoleConstraints, role_constraints::Group};
    use crate::proto::v1::value;
    use crate::types::limits::{LABEL_KEY_BYTES, LABEL_VALUE_BYTES, LABELS};

    fn error(info: &FrameworkInfo) -> String {
        framework_info(info).unwrap_err().to_string()
    }

    #[expect(deprecated, reason = "frameworks without MULTI_ROLE have only that field")]
    fn with_old_role(info: FrameworkInfo, role: &str) -> FrameworkInfo {
        FrameworkInfo { role: Some(role.to_owned()), ..info }
    }

    #[test]
    fn roles_stand_in_the_field_that_the_capability_names() {
        let (old, multi) = (FrameworkInfo::new("f"), FrameworkInfo::new("f").with_capability(MultiRole));
        assert_eq!(framework_info(&old), Ok(()));
        assert_eq!(framework_info(&with_old_role(old.clone(), "eng")), Ok(()));
        assert_eq!(framework_info(&multi), Ok(()));
        assert_eq!(framework_info(&multi.clone().with_role("eng").with_role("ops")), Ok(()));
        let roles = vec!["eng".to_owned()];
        assert!(error(&FrameworkInfo { roles, ..old.clone() }).starts_with("roles: "));
        assert!(error(&with_old_role(multi.clone(), "eng")).starts_with("role: "));
        assert_eq!(error(&multi.clone().with_role("a").with_role("a")), "roles[1]: role `a` is in it twice");
        assert!(error(&multi.with_role("/x")).starts_with("roles[0]: "));
        assert!(error(&with_old_role(old, "a b")).starts_with("role: "));
    }

    #[test]
    fn a_framework_has_so_many_roles_each_once_however_many_it_names() {
        let with = |count: usize, name: fn(usize) -> String| {
            let roles = (0..count).map(name).collect();
            FrameworkInfo { roles, ..FrameworkInfo::new("f").with_capability(MultiRole) }
        };
        let distinct = |number: usize| format!("r{number}");
        assert_eq!(framework_info(&with(FRAMEWORK_ROLES, distinct)), Ok(()));
        assert_eq!(error(&with(FRAMEWORK_ROLES + 1, distinct)), "roles: has 1025 roles; at most 1024 are accepted");
        assert!(error(&with(200_000, distinct)).starts_with("roles: has 200000 roles; "));
        let info = with(FRAMEWORK_ROLES, distinct);
        assert_eq!(subscription(&info, &info.roles, None), Ok(()));
        let twice = [info.roles.clone(), info.roles.clone()].concat();
        assert_eq!(subscription(&info, &twice, None).unwrap_err().field, "suppressed_roles");
        let long = with(1, |_| "a/".repeat(32_768) + "a");
        assert!(error(&long).starts_with("roles[0]: role `a/a/") && error(&long).len() < 250);
    }

    #[test]
    fn a_frameworks_description_has_limits() {
        let info = || FrameworkInfo::new("f");
        let named = |bytes| FrameworkInfo { name: "n".repeat(bytes), ..info() };
        assert_eq!(framework_info(&named(NAME_BYTES)), Ok(()));
        assert_eq!(error(&named(NAME_BYTES + 1)), "name: has 1025 bytes; at most 1024 are accepted");
        let long = || Some("x".repeat(NAME_BYTES.max(URL_BYTES) + 1));
        for (broken, field) in [
            (FrameworkInfo { user: "u".repeat(NAME_BYTES + 1), ..info() }, "user: "),
            (FrameworkInfo { principal: long(), ..info() }, "principal: "),
            (FrameworkInfo { hostname: long(), ..info() }, "hostname: "),
            (FrameworkInfo { webui_url: long(), ..info() }, "webui_url: "),
            (
                FrameworkInfo {
                    capabilities: vec![crate::proto::v1::framework_info::Capability::default(); CAPABILITIES + 1],
                    ..info()
                },
                "capabilities: ",
            ),
            (
                FrameworkInfo { offer_filters: [("a b".to_owned(), OfferFilters::default())].into(), ..info() },
                "offer_filters[a b]: ",
            ),
        ] {
            assert!(error(&broken).starts_with(field), "{field} {}", error(&broken));
        }
        let label =
            |key: usize, value: usize| crate::proto::v1::Label { key: "k".repeat(key), value: Some("v".repeat(value)) };
        let labelled = |labels| FrameworkInfo { labels: Some(crate::proto::v1::Labels { labels }), ..info() };
        assert_eq!(framework_info(&labelled(vec![label(LABEL_KEY_BYTES, LABEL_VALUE_BYTES); LABELS])), Ok(()));
        assert!(error(&labelled(vec![label(1, 1); LABELS + 1])).starts_with("labels: "));
        assert!(error(&labelled(vec![label(LABEL_KEY_BYTES + 1, 1)])).starts_with("labels.labels[0].key: "));
        assert!(error(&labelled(vec![label(1, LABEL_VALUE_BYTES + 1)])).starts_with("labels.labels[0].value: "));
    }

    #[test]
    fn an_id_is_empty_or_legal() {
        assert_eq!(framework_info(&FrameworkInfo::new("f").with_id("")), Ok(()));
        assert_eq!(framework_info(&FrameworkInfo::new("f").with_id("m-0000")), Ok(()));
        assert!(error(&FrameworkInfo::new("f").with_id("a/b")).starts_with("id: framework id `a/b` "));
    }

    #[test]
    fn the_least_worth_offering_is_an_amount() {
        let with = |quantities: &[(&str, f64)]| {
            let scalar = |&(name, value): &(&str, f64)| (name.to_owned(), value::Scalar { value });
            let set = ResourceQuantities { quantities: quantities.iter().map(scalar).collect() };
            let minimum = MinAllocatableResources { quantities: vec![set] };
            let filters = OfferFilters { min_allocatable_resources: Some(minimum) };
            FrameworkInfo { offer_filters: [("*".to_owned(), filters)].into(), ..FrameworkInfo::new("f") }
        };
        assert_eq!(framework_info(&with(&[("cpus", 0.5)])), Ok(()));
        assert!(framework_info(&with(&[])).is_err());
        assert_eq!(
            error(&with(&[("cpus", -1.0)])),
            "offer_filters[*].min_allocatable_resources.quantities[0].quantities[cpus]: -1 is negative"
        );
        assert!(framework_info(&with(&[("cpus", f64::INFINITY)])).is_err());
    }

    #[test]
    fn a_failover_timeout_fits_the_clock() {
        let away = |seconds| FrameworkInfo { failover_timeout: Some(seconds), ..FrameworkInfo::new("f") };
        assert_eq!(framework_info(&away(604_800.0)), Ok(()));
        assert!(error(&away(1e10)).starts_with("failover_timeout: "));
    }

    #[test]
    fn only_own_roles_are_suppressed_or_constrained() {
        let info = FrameworkInfo::new("f").with_role("eng");
        let suppressed = |role: &str| subscription(&info, &[role.to_owned()], None);
        assert_eq!(suppressed("eng"), Ok(()));
        assert_eq!(
            suppressed("ops").unwrap_err().to_string(),
            "suppressed_roles[0]: role `ops` is not one of the framework's"
        );
        let on = |role: &str, groups| {
            let constraints =
                OfferConstraints { role_constraints: [(role.to_owned(), RoleConstraints { groups })].into() };
            subscription(&info, &[], Some(&constraints)).map_err(|error| error.field)
        };
        let mut complete = AttributeConstraint::default();
        complete.selector.selector = Some(Selector::AttributeName("rack".to_owned()));
        complete.predicate.predicate = Some(Predicate::Exists(Exists {}));
        let group = |constraint: &AttributeConstraint| vec![Group { attribute_constraints: vec![constraint.clone()] }];
        assert_eq!(on("eng", group(&complete)), Ok(()));
        let path = "offer_constraints.role_constraints[eng].groups";
        assert_eq!(on("ops", group(&complete)).unwrap_err(), "offer_constraints.role_constraints[ops]");
        assert_eq!(on("eng", vec![]).unwrap_err(), path);
        assert_eq!(on("eng", vec![Group::default()]).unwrap_err(), format!("{path}[0].attribute_constraints"));
        let nothing = AttributeConstraint::default();
        assert_eq!(on("eng", group(&nothing)).unwrap_err(), format!("{path}[0].attribute_constraints[0].selector"));
        complete.selector.selector = Some(Selector::PseudoattributeType(0));
        assert!(on("eng", group(&complete)).is_err());
    }

    #[test]
    fn principal_user_and_checkpoint_are_for_life() {
        let old = FrameworkInfo::new("f").with_user("web");
        assert_eq!(framework_update(&old, &FrameworkInfo { name: "g".to_owned(), ..old.clone() }), Ok(()));
        let unset = FrameworkInfo { checkpoint: Some(false), ..old.clone() };
        assert_eq!(framework_update(&old, &unset), Ok(()));
        let principal = FrameworkInfo { principal: Some("p".to_owned()), ..old.clone() };
        for new in [old.clone().with_user("root"), old.clone().with_checkpoint(), principal] {
            assert!(framework_update(&old, &new).is_err());
        }
    }
}
