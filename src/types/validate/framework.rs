//! What a framework may say about itself when it subscribes or updates.

use super::{Invalid, each, ensure};
use crate::proto::v1::framework_info::capability::Type::MultiRole;
use crate::proto::v1::offer_filters::ResourceQuantities;
use crate::proto::v1::scheduler::attribute_constraint::selector::{PseudoattributeType, Selector};
use crate::proto::v1::scheduler::{AttributeConstraint, OfferConstraints};
use crate::proto::v1::{FrameworkInfo, OfferFilters};
use crate::types::{Milli, validate_id, validate_role};

/// Checks a framework's description by itself: roles, id, filters, failover timeout.
///
/// # Errors
/// The first rule that is broken; the path is relative to the description.
pub fn framework_info(info: &FrameworkInfo) -> Result<(), Invalid> {
    roles(info)?;
    if let Some(id) = info.id.as_ref().filter(|id| !id.as_str().is_empty()) {
        validate_id("framework id", id.as_str()).map_err(|error| Invalid::from_id("id", &error))?;
    }
    for (role, filters) in &info.offer_filters {
        offer_filters(filters).map_err(|error| error.under(&format!("offer_filters[{role}]")))?;
    }
    info.failover_duration().map(drop).map_err(|error| Invalid::new("failover_timeout", error.to_string()))
}

/// Checks a subscription, or an update, as a whole: the description, the roles it suppresses, its constraints on offers.
///
/// # Errors
/// The first rule that is broken; the path is relative to the call's body.
pub fn subscription(
    info: &FrameworkInfo,
    suppressed_roles: &[String],
    constraints: Option<&OfferConstraints>,
) -> Result<(), Invalid> {
    framework_info(info).map_err(|error| error.under("framework_info"))?;
    let own = info.all_roles();
    let known = |role: &String| {
        ensure(own.contains(&role.as_str()), "", format_args!("role `{role}` is not one of the framework's"))
    };
    each("suppressed_roles", suppressed_roles, known)?;
    let Some(constraints) = constraints else { return Ok(()) };
    for (role, of_role) in &constraints.role_constraints {
        let field = format!("offer_constraints.role_constraints[{role}]");
        known(role).map_err(|error| error.under(&field))?;
        ensure(!of_role.groups.is_empty(), &format!("{field}.groups"), "must not be empty")?;
        each(&format!("{field}.groups"), &of_role.groups, |group| {
            ensure(!group.attribute_constraints.is_empty(), "attribute_constraints", "must not be empty")?;
            each("attribute_constraints", &group.attribute_constraints, constraint)
        })?;
    }
    Ok(())
}

/// Checks that an update changes nothing that is fixed for a framework's life: principal, user, checkpoint.
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
    for (at, role) in info.roles.iter().enumerate() {
        let field = format!("roles[{at}]");
        ensure(!info.roles[..at].contains(role), &field, format_args!("role `{role}` is in it twice"))?;
        validate_role(role).map_err(|error| Invalid::from_role(field, &error))?;
    }
    Ok(())
}

fn offer_filters(filters: &OfferFilters) -> Result<(), Invalid> {
    let Some(minimum) = &filters.min_allocatable_resources else { return Ok(()) };
    each("min_allocatable_resources.quantities", &minimum.quantities, |set: &ResourceQuantities| {
        ensure(!set.quantities.is_empty(), "quantities", "must not be empty")?;
        set.quantities.iter().try_for_each(|(name, scalar)| {
            let problem =
                |error: crate::types::QuantityError| Invalid::new(format!("quantities[{name}]"), error.to_string());
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
