//! Quotas of roles: guarantees and limits for a role and its descendants.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Shares;
use super::tree::Bounds;
use crate::types::{InvalidRole, Milli, QuantityError, validate_role};

/// The guarantees and limits of a role with its descendants, per name of a scalar (memory and disk in MiB).
///
/// A name without a guarantee is guaranteed nothing; a name without a limit is not limited.
///
/// ```
/// use divvy::allocator::fair::Quota;
///
/// let quota = Quota::new([("cpus", 4.0)], [("cpus", 8.0), ("mem", 4096.0)])?;
/// assert_eq!(quota.to_string(), "guaranteed cpus:4, limited to cpus:8;mem:4096");
/// # Ok::<(), divvy::allocator::fair::QuotaError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Quota {
    /// The amounts that are kept for the role.
    pub guarantees: BTreeMap<Arc<str>, Milli>,
    /// The amounts that the role may not exceed.
    pub limits: BTreeMap<Arc<str>, Milli>,
}

/// An error for a quota that cannot be set.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum QuotaError {
    /// The role name is invalid.
    #[error(transparent)]
    Role(#[from] InvalidRole),
    /// The default role cannot have a quota.
    #[error("role `*` cannot have a quota; give the frameworks roles of their own")]
    Star,
    /// An amount is invalid.
    #[error("{what} of {name}: {source}")]
    Amount {
        /// `guarantee` or `limit`.
        what: &'static str,
        /// The resource.
        name: String,
        /// What is wrong with the amount.
        source: QuantityError,
    },
    /// A guarantee exceeds a limit.
    #[error("{role} is guaranteed {name}:{guarantee}, but {limited} is limited to {name}:{limit}")]
    OverLimit {
        /// The role with the guarantee.
        role: String,
        /// The role with the limit, the same or an ancestor.
        limited: String,
        /// The resource.
        name: String,
        /// The guarantee.
        guarantee: Milli,
        /// The limit.
        limit: Milli,
    },
    /// The guarantees below a role exceed its own.
    #[error(
        "the roles below {parent} are guaranteed {name}:{children}, {parent} itself only {name}:{guarantee}; raise that first"
    )]
    OverParent {
        /// The role.
        parent: String,
        /// The resource.
        name: String,
        /// The sum of the guarantees of its children.
        children: Milli,
        /// Its own guarantee.
        guarantee: Milli,
    },
}

impl Quota {
    /// Creates a quota of guarantees and limits.
    ///
    /// # Errors
    /// An amount is negative, not finite, or too large.
    pub fn new<N: AsRef<str>>(
        guarantees: impl IntoIterator<Item = (N, f64)>,
        limits: impl IntoIterator<Item = (N, f64)>,
    ) -> Result<Self, QuotaError> {
        let guarantees = amounts("guarantee", guarantees)?.into_iter().filter(|(_, amount)| !amount.is_zero());
        Ok(Self { guarantees: guarantees.collect(), limits: amounts("limit", limits)? })
    }

    /// Returns whether it is empty, and so removes the role's quota.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.guarantees.is_empty() && self.limits.is_empty()
    }
}

impl std::fmt::Display for Quota {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let list = |amounts: &BTreeMap<Arc<str>, Milli>| {
            let one = |(name, amount): (&Arc<str>, &Milli)| format!("{name}:{amount}");
            if amounts.is_empty() {
                "nothing".to_owned()
            } else {
                amounts.iter().map(one).collect::<Vec<_>>().join(";")
            }
        };
        write!(f, "guaranteed {}, limited to {}", list(&self.guarantees), list(&self.limits))
    }
}

fn amounts<N: AsRef<str>>(
    what: &'static str,
    given: impl IntoIterator<Item = (N, f64)>,
) -> Result<BTreeMap<Arc<str>, Milli>, QuotaError> {
    let one = |(name, value): (N, f64)| match Milli::amount(value) {
        Ok(amount) => Ok((name.as_ref().into(), amount)),
        Err(source) => Err(QuotaError::Amount { what, name: name.as_ref().to_owned(), source }),
    };
    given.into_iter().map(one).collect()
}

/// Validates all quotas together, as they would be after a change.
///
/// Per name, a guarantee must not exceed the limit of its role or of an ancestor. The guarantees of a role's children
/// must not exceed the role's own, if it has one.
///
/// # Errors
/// The first broken rule, with the conflicting roles and amounts.
pub fn check_quotas(quotas: &BTreeMap<String, Quota>) -> Result<(), QuotaError> {
    for (role, quota) in quotas {
        validate_role(role)?;
        if role == "*" {
            return Err(QuotaError::Star);
        }
        check_own_limits(quotas, role, quota)?;
    }
    let mut names: BTreeSet<&Arc<str>> = BTreeSet::new();
    for quota in quotas.values() {
        names.extend(quota.guarantees.keys());
    }
    names.into_iter().try_for_each(|name| check_sums(quotas, name))
}

fn check_own_limits(quotas: &BTreeMap<String, Quota>, role: &str, quota: &Quota) -> Result<(), QuotaError> {
    for (name, &guarantee) in &quota.guarantees {
        for limited in with_ancestors(role) {
            let limit = quotas.get(limited).and_then(|quota| quota.limits.get(name));
            if let Some(&limit) = limit.filter(|limit| **limit < guarantee) {
                let (role, limited, name) = (role.to_owned(), limited.to_owned(), name.to_string());
                return Err(QuotaError::OverLimit { role, limited, name, guarantee, limit });
            }
        }
    }
    Ok(())
}

/// A role needs its guarantee of a name or, if it has none, the sum of what its children need.
fn check_sums(quotas: &BTreeMap<String, Quota>, name: &Arc<str>) -> Result<(), QuotaError> {
    let mut below: BTreeMap<&str, Milli> = BTreeMap::new();
    let mut roles: BTreeSet<&str> = quotas.keys().flat_map(|role| with_ancestors(role)).collect();
    // A role sorts before its descendants, so in reverse order each comes after all its children.
    while let Some(role) = roles.pop_last() {
        let children = below.get(role).copied().unwrap_or_default();
        let own = quotas.get(role).and_then(|quota| quota.guarantees.get(name)).copied();
        if let Some(guarantee) = own.filter(|own| *own < children) {
            let (parent, name) = (role.to_owned(), name.to_string());
            return Err(QuotaError::OverParent { parent, name, children, guarantee });
        }
        check_needed(quotas, role, name, own.unwrap_or(children))?;
        if let Some((parent, _)) = role.rsplit_once('/') {
            *below.entry(parent).or_default() += own.unwrap_or(children);
        }
    }
    Ok(())
}

fn check_needed(
    quotas: &BTreeMap<String, Quota>,
    role: &str,
    name: &Arc<str>,
    guarantee: Milli,
) -> Result<(), QuotaError> {
    match quotas.get(role).and_then(|quota| quota.limits.get(name)) {
        Some(&limit) if limit < guarantee => {
            let (subtree, limited) = (format!("what is below {role}"), role.to_owned());
            Err(QuotaError::OverLimit { role: subtree, limited, name: name.to_string(), guarantee, limit })
        }
        Some(_) | None => Ok(()),
    }
}

/// Iterates over `a/b/c`, `a/b`, `a`.
fn with_ancestors(role: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(role), |role| role.rsplit_once('/').map(|(parent, _)| parent))
}

impl<K: Copy + Ord + std::fmt::Debug> Shares<K> {
    /// Sets or removes the quota of a role, existing or not. The caller has [checked](check_quotas) it.
    pub(super) fn set_quota(&mut self, role: &str, quota: Option<&Quota>) {
        let bounds = quota.map(|quota| {
            let mut bounds = Bounds::default();
            for (name, amount) in &quota.guarantees {
                bounds.guarantees.set(self.totals.index(name), amount.raw());
            }
            bounds.limits = quota.limits.iter().map(|(name, limit)| (self.totals.index(name), limit.raw())).collect();
            bounds
        });
        let node = self.role_node(role);
        self.tree.set_bounds(node, bounds, &self.totals);
        let gone = self.tree.prune(node);
        self.forget(gone);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A role, its guarantees, its limits.
    type Given<'a> = (&'a str, &'a [(&'a str, f64)], &'a [(&'a str, f64)]);

    fn quotas(of: &[Given<'_>]) -> BTreeMap<String, Quota> {
        let one = |(role, guarantees, limits): &Given<'_>| {
            let quota = Quota::new(guarantees.iter().copied(), limits.iter().copied()).expect("amounts");
            ((*role).to_owned(), quota)
        };
        of.iter().map(one).collect()
    }

    fn refused(of: &[Given<'_>]) -> String {
        check_quotas(&quotas(of)).expect_err("refused").to_string()
    }

    #[test]
    fn a_guarantee_above_its_limit_is_refused_and_names_both() {
        let text = refused(&[("a", &[("cpus", 4.0)], &[("cpus", 3.0)])]);
        assert_eq!(text, "a is guaranteed cpus:4, but a is limited to cpus:3");
        let text = refused(&[("a", &[], &[("cpus", 3.0)]), ("a/b", &[("cpus", 4.0)], &[])]);
        assert_eq!(text, "a/b is guaranteed cpus:4, but a is limited to cpus:3");
    }

    #[test]
    fn guarantees_of_children_above_their_parents_are_refused_and_name_both() {
        let parent: Given<'_> = ("a", &[("cpus", 4.0)], &[]);
        let text = refused(&[parent, ("a/b", &[("cpus", 3.0)], &[]), ("a/c", &[("cpus", 2.0)], &[])]);
        assert_eq!(text, "the roles below a are guaranteed cpus:5, a itself only cpus:4; raise that first");
        let deep = refused(&[parent, ("a/x/b", &[("cpus", 3.0)], &[]), ("a/c", &[("cpus", 2.0)], &[])]);
        assert!(deep.contains("cpus:5"), "{deep}");
    }

    #[test]
    fn children_may_share_out_a_guarantee_exactly_and_a_parent_without_one_asks_nothing() {
        let shared =
            [("a", &[("cpus", 4.0)][..], &[][..]), ("a/b", &[("cpus", 3.0)], &[]), ("a/c", &[("cpus", 1.0)], &[])];
        assert_eq!(check_quotas(&quotas(&shared)), Ok(()));
        assert_eq!(check_quotas(&quotas(&[("a/b", &[("cpus", 3.0)], &[])])), Ok(()));
        assert_eq!(check_quotas(&quotas(&[("a", &[("mem", 1.0)], &[]), ("a/b", &[("cpus", 3.0)], &[])])), Ok(()));
    }

    #[test]
    fn children_together_above_a_limit_are_refused() {
        let text =
            refused(&[("a", &[], &[("cpus", 4.0)]), ("a/b", &[("cpus", 3.0)], &[]), ("a/c", &[("cpus", 3.0)], &[])]);
        assert_eq!(text, "what is below a is guaranteed cpus:6, but a is limited to cpus:4");
    }

    #[test]
    fn invalid_amounts_and_names_are_refused() {
        let none: [(&str, f64); 0] = [];
        let text = Quota::new([("cpus", -1.0)], none).expect_err("negative").to_string();
        assert_eq!(text, "guarantee of cpus: -1 is negative");
        assert!(Quota::new(none, [("mem", f64::INFINITY)]).is_err());
        assert!(refused(&[("*", &[("cpus", 1.0)], &[])]).contains('*'));
        assert!(refused(&[("/a", &[("cpus", 1.0)], &[])]).contains("slash"));
    }
}
