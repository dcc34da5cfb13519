//! Parts of resources: by role, by what may be taken back, by a target quantity; and the same under other reservations.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Amount, Kind, Reservation, Resource, Resources};
use crate::types::Milli;

impl Resources {
    /// The items that `keep` says.
    #[must_use]
    pub fn filter(&self, keep: impl Fn(&Resource) -> bool) -> Self {
        Self { items: self.items.iter().filter(|item| keep(item)).cloned().collect() }
    }

    /// What is reserved to nobody.
    #[must_use]
    pub fn unreserved(&self) -> Self {
        self.filter(|item| item.kind.reservations().is_empty())
    }

    /// What is reserved to exactly this role.
    #[must_use]
    pub fn reserved_to(&self, role: &str) -> Self {
        self.filter(|item| item.kind.reservation().is_some_and(|reservation| *reservation.role == *role))
    }

    /// What is reserved, by role.
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

    /// What a framework in `role` may use: unreserved, reserved to the role, or reserved to one above it.
    #[must_use]
    pub fn allocatable_to(&self, role: &str) -> Self {
        self.filter(|item| item.kind.is_allocatable_to(role))
    }

    /// What is not taken back.
    #[must_use]
    pub fn non_revocable(&self) -> Self {
        self.filter(|item| !item.kind.is_revocable())
    }

    /// What may be taken back.
    #[must_use]
    pub fn revocable(&self) -> Self {
        self.filter(|item| item.kind.is_revocable())
    }

    /// What only one task can use at a time.
    #[must_use]
    pub fn without_shared(&self) -> Self {
        self.filter(|item| !item.kind.is_shared())
    }

    /// What many tasks can use at once.
    #[must_use]
    pub fn shared(&self) -> Self {
        self.filter(|item| item.kind.is_shared())
    }

    /// What was reserved at most once, and so can be shown to a framework without `RESERVATION_REFINEMENT`.
    #[must_use]
    pub fn without_refined(&self) -> Self {
        self.filter(|item| !item.kind.is_refined())
    }

    /// The same amounts, reserved to nobody.
    #[must_use]
    pub fn to_unreserved(&self) -> Self {
        self.with_stacks(|_| Vec::new())
    }

    /// The same amounts with one more reservation on top of each stack.
    #[must_use]
    pub fn push_reservation(&self, reservation: &Reservation) -> Self {
        self.with_stacks(|stack| stack.iter().chain([reservation]).cloned().collect())
    }

    /// The same amounts without the topmost reservation of each stack.
    #[must_use]
    pub fn pop_reservation(&self) -> Self {
        self.with_stacks(|stack| stack[..stack.len().saturating_sub(1)].to_vec())
    }

    /// Scalars cut down to `target`; names that are not in it go. Ranges and sets stay as they are.
    ///
    /// Where several items share a name, earlier ones are kept first; an exclusive item that does not fit whole is left
    /// out, not cut.
    #[must_use]
    pub fn shrink_to(&self, target: &[(Arc<str>, Milli)]) -> Self {
        self.shrink(target, false)
    }

    /// Like [`Self::shrink_to`], but a name that `limits` does not mention has no limit.
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
