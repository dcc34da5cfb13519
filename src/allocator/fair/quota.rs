//! Quotas of roles: what a role is guaranteed, and what it may not exceed, for its whole subtree.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Shares;
use super::tree::Bounds;
use crate::types::{InvalidRole, Milli, QuantityError, validate_role};

/// What a role with all below it is guaranteed and limited to, per name of a scalar (memory and disk in MiB).
///
/// A name without a guarantee is guaranteed nothing, a name without a limit is not limited.
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
    /// At least so much is kept for the role.
    pub guarantees: BTreeMap<Arc<str>, Milli>,
    /// The role gets no more than this.
    pub limits: BTreeMap<Arc<str>, Milli>,
}

/// Why a quota cannot be set.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum QuotaError {
    /// No role can have that name.
    #[error(transparent)]
    Role(#[from] InvalidRole),
    /// The role of everybody.
    #[error("role `*` cannot have a quota; give the frameworks roles of their own")]
    Star,
    /// Not an amount.
    #[error("{what} of {name}: {source}")]
    Amount {
        /// `guarantee` or `limit`.
        what: &'static str,
        /// The resource.
        name: String,
        /// What is wrong with it.
        source: QuantityError,
    },
    /// More is guaranteed than allowed.
    #[error("{role} is guaranteed {name}:{guarantee}, but {limited} is limited to {name}:{limit}")]
    OverLimit {
        /// The role with the guarantee.
        role: String,
        /// The role with the limit, the same or one above.
        limited: String,
        /// The resource.
        name: String,
        /// What is guaranteed.
        guarantee: Milli,
        /// What is allowed.
        limit: Milli,
    },
    /// More is guaranteed below a role than to it.
    #[error(
        "the roles below {parent} are guaranteed {name}:{children}, {parent} itself only {name}:{guarantee}; raise that first"
    )]
    OverParent {
        /// The role.
        parent: String,
        /// The resource.
        name: String,
        /// The sum of the guarantees right below it.
        children: Milli,
        /// Its own guarantee.
        guarantee: Milli,
    },
}

impl Quota {
    /// A quota of guarantees and limits.
    ///
    /// # Errors
    /// Amounts that are negative, not finite, or too large.
    pub fn new<N: AsRef<str>>(
        guarantees: impl IntoIterator<Item = (N, f64)>,
        limits: impl IntoIterator<Item = (N, f64)>,
    ) -> Result<Self, QuotaError> {
        let guarantees = amounts("guarantee", guarantees)?.into_iter().filter(|(_, amount)| !amount.is_zero());
        Ok(Self { guarantees: guarantees.collect(), limits: amounts("limit", limits)? })
    }

    /// Whether it says nothing, and so removes the role's quota.
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

/// Checks all quotas together, as they would be after a change.
///
/// Per name, a guarantee must not exceed the limit of its role or of one above it, and the guarantees right below a role
/// must not exceed the role's own, where it has one.
///
/// # Errors
/// The first rule that is broken, with the roles and amounts at odds.
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

/// What each role needs of a name is its guarantee, or, where it has none, the sum of what those below it need.
fn check_sums(quotas: &BTreeMap<String, Quota>, name: &Arc<str>) -> Result<(), QuotaError> {
    let mut below: BTreeMap<&str, Milli> = BTreeMap::new();
    let mut roles: BTreeSet<&str> = quotas.keys().flat_map(|role| with_ancestors(role)).collect();
    // A role sorts before those below it, so from the end each comes after all its children.
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

/// `a/b/c`, `a/b`, `a`.
fn with_ancestors(role: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(role), |role| role.rsplit_once('/').map(|(parent, _)| parent))
}

impl<K: Copy + Ord + std::fmt::Debug> Shares<K> {
    /// Sets or removes the quota of a role, known or not. The caller has it [checked](check_quotas).
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
    fn amounts_and_names_that_make_no_sense_are_refused() {
        let none: [(&str, f64); 0] = [];
        let text = Quota::new([("cpus", -1.0)], none).expect_err("negative").to_string();
        assert_eq!(text, "guarantee of cpus: -1 is negative");
        assert!(Quota::new(none, [("mem", f64::INFINITY)]).is_err());
        assert!(refused(&[("*", &[("cpus", 1.0)], &[])]).contains('*'));
        assert!(refused(&[("/a", &[("cpus", 1.0)], &[])]).contains("slash"));
    }
}
