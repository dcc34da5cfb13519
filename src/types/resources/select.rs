//! Parts of resources: by role, by revocability, by a target quantity; and changes of reservations.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Amount, Kind, Reservation, Resource, Resources};
use crate::types::Milli;

impl Resources {
    /// Returns the items for which `keep` returns true.
    #[must_use]
    pub fn filter(&self, keep: impl Fn(&Resource) -> bool) -> Self {
        Self { items: self.items.iter().filter(|item| keep(item)).cloned().collect() }
    }

    /// Returns the unreserved items.
    #[must_use]
    pub fn unreserved(&self) -> Self {
        self.filter(|item| item.kind.reservations().is_empty())
    }

    /// Returns the items reserved to exactly this role.
    #[must_use]
    pub fn reserved_to(&self, role: &str) -> Self {
        self.filter(|item| item.kind.reservation().is_some_and(|reservation| *reservation.role == *role))
    }

    /// Returns the reserved items by role.
    #[must_use]
    pub fn reservations(&self) -> BTreeMap<Arc<str>, Self> {
        let mut by_role: BTreeMap<Arc<str>, Self> = BTreeMap::new();
        for item in &self.items {
            if let Some(reservation) = item.kind.reservation() {
                by_role.entry(reservation.role.clone()).or_default().items.push(item.clone());
            }
        }
        by_role
    }

    /// Returns the items that a framework in `role` may use: unreserved, or reserved to the role or an ancestor.
    #[must_use]
    pub fn allocatable_to(&self, role: &str) -> Self {
        self.filter(|item| item.kind.is_allocatable_to(role))
    }

    /// Returns the items that are not revocable.
    #[must_use]
    pub fn non_revocable(&self) -> Self {
        self.filter(|item| !item.kind.is_revocable())
    }

    /// Returns the revocable items.
    #[must_use]
    pub fn revocable(&self) -> Self {
        self.filter(|item| item.kind.is_revocable())
    }

    /// Returns the items that are not shared.
    #[must_use]
    pub fn without_shared(&self) -> Self {
        self.filter(|item| !item.kind.is_shared())
    }

    /// Returns the shared items.
    #[must_use]
    pub fn shared(&self) -> Self {
        self.filter(|item| item.kind.is_shared())
    }

    /// Returns the items reserved at most once, which frameworks without `RESERVATION_REFINEMENT` can receive.
    #[must_use]
    pub fn without_refined(&self) -> Self {
        self.filter(|item| !item.kind.is_refined())
    }

    /// Returns the same amounts without reservations.
    #[must_use]
    pub fn to_unreserved(&self) -> Self {
        self.with_stacks(|_| Vec::new())
    }

    /// Returns the same amounts with one more reservation on top of each stack.
    #[must_use]
    pub fn push_reservation(&self, reservation: &Reservation) -> Self {
        self.with_stacks(|stack| stack.iter().chain([reservation]).cloned().collect())
    }

    /// Returns the same amounts without the topmost reservation of each stack.
    #[must_use]
    pub fn pop_reservation(&self) -> Self {
        self.with_stacks(|stack| stack[..stack.len().saturating_sub(1)].to_vec())
    }

    /// Returns the scalars reduced to `target`; names that are not in it are removed. Ranges and sets do not change.
    ///
    /// Where several items share a name, earlier ones are kept first. An exclusive item that does not fit whole is left
    /// out, not cut.
    #[must_use]
    pub fn shrink_to(&self, target: &[(Arc<str>, Milli)]) -> Self {
        self.shrink(target, false)
    }

    /// Returns the scalars reduced to `limits`; a name that is not in it has no limit.
    #[must_use]
    pub fn shrink_within(&self, limits: &[(Arc<str>, Milli)]) -> Self {
        self.shrink(limits, true)
    }

    fn shrink(&self, target: &[(Arc<str>, Milli)], keep_unnamed: bool) -> Self {
        let mut left: BTreeMap<&str, Milli> = target.iter().map(|(name, amount)| (&**name, *amount)).collect();
        let shrunk = self.items.iter().filter_map(|item| match (item.scalar(), left.get_mut(item.name())) {
            (None, _) => Some(item.clone()),
            (Some(_), None) => keep_unnamed.then(|| item.clone()),
            (Some(amount), Some(room)) => {
                let kept = amount.min(*room);
                if kept <= Milli::ZERO || (item.cannot_be_cut() && kept < amount) {
                    return None;
                }
                *room -= kept;
                Some(Resource { amount: Amount::Scalar(kept), ..item.clone() })
            }
        });
        Self { items: shrunk.collect() }
    }

    fn with_stacks(&self, stack: impl Fn(&[Reservation]) -> Vec<Reservation>) -> Self {
        let changed = |item: &Resource| {
            let kind = Kind::clone(&item.kind).with_reservations(stack(item.kind.reservations()));
            Resource { kind: kind.into(), ..item.clone() }
        };
        self.items.iter().map(changed).collect()
    }
}

impl Resource {
    fn cannot_be_cut(&self) -> bool {
        self.kind.is_shared() || self.kind.is_exclusive()
    }
}
