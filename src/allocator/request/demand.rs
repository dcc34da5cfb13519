//! The resources of one instance: amounts, ports and items of sets.
//!
//! The setters never fail, so that a demand reads as one expression. An invalid amount is stored and reported by
//! [`Demand::check`].

use std::collections::{BTreeMap, BTreeSet};

use super::RequestError;
use crate::types::{Milli, QuantityError};

/// The resources of one instance. A request has one demand, and any number of alternatives to it.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct Demand {
    /// The amount of each scalar resource, by name; `mem` and `disk` in MiB.
    pub scalars: BTreeMap<String, Milli>,
    /// The number of ports besides the fixed ones; placement chooses them.
    pub ports: u32,
    /// The fixed ports.
    pub fixed_ports: BTreeSet<u16>,
    /// The items of sets, by the set's name.
    pub sets: BTreeMap<String, SetDemand>,
    invalid: Option<RequestError>,
}

/// The items of one set that an instance needs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SetDemand {
    /// The items requested by name.
    pub items: BTreeSet<String>,
    /// The number of items besides those; placement chooses them.
    pub any: u32,
}

impl Demand {
    /// Sets the cpus, in steps of 0.001.
    #[must_use]
    pub fn cpus(self, cpus: f64) -> Self {
        self.amount("cpus", cpus)
    }

    /// Sets the memory in MiB.
    #[must_use]
    pub fn mem_mib(self, mebibytes: impl Into<f64>) -> Self {
        self.amount("mem", mebibytes.into())
    }

    /// Sets the disk space in MiB.
    #[must_use]
    pub fn disk_mib(self, mebibytes: impl Into<f64>) -> Self {
        self.amount("disk", mebibytes.into())
    }

    /// Sets the gpus.
    #[must_use]
    pub fn gpus(self, gpus: u32) -> Self {
        self.resource("gpus", Milli::from_units(i64::from(gpus)))
    }

    /// Sets the amount of a scalar resource.
    #[must_use]
    pub fn resource(mut self, name: impl Into<String>, amount: Milli) -> Self {
        self.scalars.insert(name.into(), amount);
        self
    }

    /// Sets the number of ports; the lowest free ones are used.
    #[must_use]
    pub fn ports(mut self, count: u32) -> Self {
        self.ports = count;
        self
    }

    /// Sets the fixed ports, before those of [`ports`](Self::ports).
    #[must_use]
    pub fn fixed_ports(mut self, ports: impl IntoIterator<Item = u16>) -> Self {
        self.fixed_ports = ports.into_iter().collect();
        self
    }

    /// Sets the number of items of a set, besides those of [`set_items`](Self::set_items).
    #[must_use]
    pub fn set_of(mut self, name: impl Into<String>, count: u32) -> Self {
        self.sets.entry(name.into()).or_default().any = count;
        self
    }

    /// Sets the items of a set by name.
    #[must_use]
    pub fn set_items<I: Into<String>>(mut self, name: impl Into<String>, items: impl IntoIterator<Item = I>) -> Self {
        self.sets.entry(name.into()).or_default().items = items.into_iter().map(Into::into).collect();
        self
    }

    /// Validates the demand.
    ///
    /// # Errors
    ///
    /// An amount is negative, not finite or too large, or part of a gpu or nothing at all is requested.
    pub fn check(&self) -> Result<(), RequestError> {
        if let Some(error) = &self.invalid {
            return Err(error.clone());
        }
        for (name, &amount) in &self.scalars {
            check_scalar(name, amount)?;
        }
        if let Some(name) =
            self.sets.keys().find(|name| ["cpus", "mem", "disk", "gpus", "ports"].contains(&name.as_str()))
        {
            return Err(RequestError::NotSet(name.clone()));
        }
        if self.is_nothing() { Err(RequestError::Nothing) } else { Ok(()) }
    }

    /// Returns whether two instances cannot share an agent, because they take the same port or item.
    pub(in crate::allocator) fn is_exclusive(&self) -> bool {
        !self.fixed_ports.is_empty() || self.sets.values().any(|set| !set.items.is_empty())
    }

    /// Returns whether it needs ports or items, which are assigned one by one.
    pub(in crate::allocator) fn is_in_pieces(&self) -> bool {
        self.ports > 0 || !self.fixed_ports.is_empty() || !self.sets.is_empty()
    }

    fn is_nothing(&self) -> bool {
        let ports = self.ports > 0 || !self.fixed_ports.is_empty();
        let sets = self.sets.values().any(|set| set.any > 0 || !set.items.is_empty());
        !ports && !sets && self.scalars.values().all(|amount| amount.is_zero())
    }

    fn amount(mut self, name: &str, amount: f64) -> Self {
        match Milli::amount(amount) {
            Ok(amount) => self.resource(name, amount),
            Err(problem) => {
                self.invalid.get_or_insert_with(|| RequestError::Amount { name: name.to_owned(), problem });
                self
            }
        }
    }
}

fn check_scalar(name: &str, amount: Milli) -> Result<(), RequestError> {
    if name == "ports" {
        return Err(RequestError::NotScalar(name.to_owned()));
    }
    if amount < Milli::ZERO {
        let problem = QuantityError::Negative(amount.as_f64());
        return Err(RequestError::Amount { name: name.to_owned(), problem });
    }
    if name == "gpus" && !amount.is_whole() {
        return Err(RequestError::Fraction(amount));
    }
    Ok(())
}
