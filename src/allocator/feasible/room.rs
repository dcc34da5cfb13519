//! The resources left on an agent, as numbers.
//!
//! Ports and items that are requested by number or name are taken at once. Of the others only the count is reserved;
//! which ones they are is decided when everything is placed. So the order of placing never takes a port from a request
//! for just that port, and taking is undone by giving the same back.
//!
//! Invariant: the amounts of a [`Room`] are the sums over the plain items of the resources it was made from, less what
//! was taken. So whatever a room grants can be taken from those items, in any pieces.

use std::collections::BTreeSet;

use super::names::Names;
use super::want::{SetWant, Want};
use crate::allocator::reason::Reason;
use crate::types::{Amount, Kind, Milli, Ranges, Resources};

/// Returns whether a plain request may use items of this kind.
pub(in crate::allocator) fn is_plain(kind: &Kind) -> bool {
    !kind.is_revocable() && !kind.is_shared() && kind.disk().is_none()
}

/// The resources left on an agent.
#[derive(Debug, Clone, Default, PartialEq)]
pub(in crate::allocator) struct Room {
    pub(in crate::allocator) scalars: Vec<Milli>,
    /// All but the ones taken by number.
    ports: Ranges,
    port_count: u64,
    promised_ports: u64,
    sets: Vec<SetRoom>,
}

/// The items left in a set.
#[derive(Debug, Clone, Default, PartialEq)]
struct SetRoom {
    /// All but the ones taken by name.
    items: BTreeSet<String>,
    promised: u64,
}

/// The sums over all agents; of ports and items only the number, since agents have the same ones.
#[derive(Debug, Clone)]
pub(in crate::allocator) struct Total {
    pub(in crate::allocator) scalars: Vec<Milli>,
    pub(in crate::allocator) ports: u64,
    pub(in crate::allocator) sets: Vec<u64>,
}

impl Total {
    pub(in crate::allocator) fn none(names: &Names) -> Self {
        let scalars = vec![Milli::ZERO; names.scalars().len()];
        Self { scalars, ports: 0, sets: vec![0; names.sets().len()] }
    }

    pub(in crate::allocator) fn of<'a>(rooms: impl IntoIterator<Item = &'a Room>, names: &Names) -> Self {
        let mut total = Self::none(names);
        for room in rooms {
            total.add(room);
        }
        total
    }

    pub(in crate::allocator) fn add(&mut self, room: &Room) {
        for (sum, amount) in self.scalars.iter_mut().zip(&room.scalars) {
            *sum += *amount;
        }
        self.ports = self.ports.saturating_add(room.ports_left());
        for (sum, set) in self.sets.iter_mut().zip(&room.sets) {
            *sum = sum.saturating_add(set.left());
        }
    }
}

/// The first amount that is too small.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::allocator) enum Shortfall {
    Scalar { name: usize, asked: Milli, left: Milli },
    Port { port: u64 },
    Ports { asked: u64, left: u64 },
    Item { name: usize, item: String },
    Items { name: usize, asked: u64, left: u64 },
}

impl Shortfall {
    pub(in crate::allocator) fn reason(self, names: &Names) -> Reason {
        match self {
            Self::Scalar { name, asked, left } => Reason::Scalar { name: names.scalars()[name].clone(), asked, left },
            Self::Port { port } => Reason::Port { port },
            Self::Ports { asked, left } => Reason::Ports { asked, left },
            Self::Item { name, item } => Reason::Item { name: names.sets()[name].clone(), item: item.into() },
            Self::Items { name, asked, left } => Reason::Items { name: names.sets()[name].clone(), asked, left },
        }
    }
}

impl Room {
    pub(in crate::allocator) fn new(resources: &Resources, names: &Names) -> Self {
        let mut room = Self { scalars: vec![Milli::ZERO; names.scalars().len()], ..Self::default() };
        room.sets.resize_with(names.sets().len(), SetRoom::default);
        for item in resources.iter().filter(|item| is_plain(item.kind())) {
            match item.amount() {
                Amount::Scalar(amount) => {
                    if let Some(name) = names.scalar(item.name()) {
                        room.scalars[name] += *amount;
                    }
                }
                // A union: no port or item exists twice, whatever an offer contains.
                Amount::Ranges(ranges) if item.name() == "ports" => room.ports += ranges,
                Amount::Set(set) => {
                    if let Some(name) = names.set(item.name()) {
                        room.sets[name].items.extend(set.iter().cloned());
                    }
                }
                Amount::Ranges(_) => {}
            }
        }
        room.port_count = room.ports.len();
        room
    }

    /// Returns how many instances fit, at least one.
    pub(in crate::allocator) fn check(&self, want: &Want) -> Result<u32, Shortfall> {
        let mut instances = u64::from(u32::MAX);
        for &(name, asked) in &want.scalars {
            let left = self.scalars[name];
            if left < asked {
                return Err(Shortfall::Scalar { name, asked, left });
            }
            instances = instances.min((left.raw() / asked.raw()).unsigned_abs());
        }
        if want.width() > 0 {
            instances = instances.min(self.check_ports(want)?);
        }
        for set in &want.sets {
            instances = instances.min(self.sets[set.name].check(set)?);
        }
        Ok(u32::try_from(instances).unwrap_or(u32::MAX))
    }

    fn check_ports(&self, want: &Want) -> Result<u64, Shortfall> {
        if let Some(&port) = want.fixed_ports.iter().find(|port| !self.ports.contains(**port)) {
            return Err(Shortfall::Port { port });
        }
        let fixed = want.fixed_ports.len() as u64;
        let left = self.ports_left();
        if left < fixed + want.ports {
            return Err(Shortfall::Ports { asked: want.ports + fixed, left });
        }
        Ok(if fixed > 0 { 1 } else { left / want.ports })
    }

    /// Takes what so many instances need, which [`check`](Self::check) has allowed.
    pub(in crate::allocator) fn take(&mut self, want: &Want, instances: u32) {
        for &(name, asked) in &want.scalars {
            self.scalars[name] -= asked.times(i64::from(instances));
        }
        for &port in &want.fixed_ports {
            self.ports.remove(port..=port);
        }
        self.port_count -= want.fixed_ports.len() as u64;
        self.promised_ports += want.ports * u64::from(instances);
        for set in &want.sets {
            let left = &mut self.sets[set.name];
            left.items.retain(|item| !set.items.contains(item));
            left.promised += set.any * u64::from(instances);
        }
    }

    /// Gives back what [`take`](Self::take) took.
    pub(in crate::allocator) fn give(&mut self, want: &Want, instances: u32) {
        for &(name, asked) in &want.scalars {
            self.scalars[name] += asked.times(i64::from(instances));
        }
        for &port in &want.fixed_ports {
            self.ports.insert(port..=port);
        }
        self.port_count += want.fixed_ports.len() as u64;
        self.promised_ports -= want.ports * u64::from(instances);
        for set in &want.sets {
            let left = &mut self.sets[set.name];
            left.items.extend(set.items.iter().cloned());
            left.promised -= set.any * u64::from(instances);
        }
    }

    pub(in crate::allocator) fn ports_left(&self) -> u64 {
        self.port_count.saturating_sub(self.promised_ports)
    }
}

impl SetRoom {
    fn left(&self) -> u64 {
        (self.items.len() as u64).saturating_sub(self.promised)
    }

    fn check(&self, want: &SetWant) -> Result<u64, Shortfall> {
        if let Some(item) = want.items.iter().find(|item| !self.items.contains(*item)) {
            return Err(Shortfall::Item { name: want.name, item: item.clone() });
        }
        if self.left() < want.width() {
            return Err(Shortfall::Items { name: want.name, asked: want.width(), left: self.left() });
        }
        Ok(if want.items.is_empty() { self.left().checked_div(want.any).unwrap_or(u64::MAX) } else { 1 })
    }
}
