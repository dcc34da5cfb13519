//! The numbers that deciding needs, prepared once: names as indices, what an instance wants, what an agent has left.
//!
//! Invariant: the amounts of a [`Room`] are the sums over the plain items of the resources it was made from, less what
//! was taken; so whatever a room grants can be taken from those items, in whatever pieces.

use std::sync::Arc;

use crate::allocator::reason::Reason;
use crate::allocator::request::TaskRequest;
use crate::types::{Amount, Kind, Milli, Ranges, Resources};

/// Whether a plain request may use items of this kind.
pub(in crate::allocator) fn is_plain(kind: &Kind) -> bool {
    !kind.is_revocable() && !kind.is_shared() && kind.disk().is_none()
}

/// The scalar names that some request asks for, in the order in which they are checked.
#[derive(Debug)]
pub(in crate::allocator) struct Names(Vec<Arc<str>>);

impl Names {
    pub(in crate::allocator) fn of<'a>(requests: impl IntoIterator<Item = &'a TaskRequest>) -> Self {
        let mut names: Vec<&str> = requests.into_iter().flat_map(|it| it.scalars.keys()).map(String::as_str).collect();
        names.sort_unstable_by_key(|&name| (Self::rank(name), name));
        names.dedup();
        Self(names.into_iter().map(Arc::from).collect())
    }

    /// The place of a resource where several are told: the usual four in their order, then the others.
    pub(in crate::allocator) fn rank(name: &str) -> usize {
        let usual = ["cpus", "mem", "disk", "gpus"];
        usual.iter().position(|known| *known == name).unwrap_or(usual.len())
    }

    fn index(&self, name: &str) -> Option<usize> {
        self.0.iter().position(|known| **known == *name)
    }
}

/// What one instance of a request wants.
#[derive(Debug)]
pub(in crate::allocator) struct Want<'a> {
    pub(in crate::allocator) role: Option<&'a str>,
    pub(in crate::allocator) max_per_agent: Option<u32>,
    scalars: Vec<(usize, Milli)>,
    fixed_ports: Vec<u64>,
    ports: u64,
}

impl<'a> Want<'a> {
    /// Amounts that are zero are not wanted, and negative ones, which [`TaskRequest::check`] refuses, count as zero.
    pub(in crate::allocator) fn new(request: &'a TaskRequest, names: &Names) -> Self {
        let wanted = request.scalars.iter().filter(|&(_, &amount)| amount > Milli::ZERO);
        let mut scalars: Vec<_> = wanted.filter_map(|(name, &amount)| Some((names.index(name)?, amount))).collect();
        scalars.sort_unstable();
        Self {
            role: request.role.as_deref(),
            max_per_agent: request.max_per_agent,
            scalars,
            fixed_ports: request.fixed_ports.iter().copied().map(u64::from).collect(),
            ports: request.ports.into(),
        }
    }

    /// How many ports an instance gets, fixed ones included.
    pub(in crate::allocator) fn width(&self) -> usize {
        self.fixed_ports.len() + usize::try_from(self.ports).expect("it was a u32")
    }

    /// The largest fraction of a total that one instance takes.
    #[expect(clippy::cast_precision_loss, reason = "it only decides who is placed first")]
    pub(in crate::allocator) fn dominant_share(&self, total: &Total) -> f64 {
        let scalars = self.scalars.iter().map(|&(name, asked)| asked.raw() as f64 / total.scalars[name].raw() as f64);
        let ports = self.width() as f64 / total.ports as f64;
        scalars.chain((self.width() > 0).then_some(ports)).fold(0.0, f64::max)
    }
}

/// What an agent has left.
#[derive(Debug, Clone, Default)]
pub(in crate::allocator) struct Room {
    scalars: Vec<Milli>,
    reserved_ports: Ranges,
    unreserved_ports: Ranges,
}

/// What all agents have together; of ports only the number, since agents have the same ones.
#[derive(Debug)]
pub(in crate::allocator) struct Total {
    scalars: Vec<Milli>,
    ports: u64,
}

impl Total {
    pub(in crate::allocator) fn of<'a>(rooms: impl IntoIterator<Item = &'a Room>, names: &Names) -> Self {
        let mut total = Self { scalars: vec![Milli::ZERO; names.0.len()], ports: 0 };
        for room in rooms {
            for (sum, amount) in total.scalars.iter_mut().zip(&room.scalars) {
                *sum += *amount;
            }
            total.ports = total.ports.saturating_add(room.port_count());
        }
        total
    }
}

/// The first amount that does not suffice.
#[derive(Debug, Clone, Copy)]
pub(in crate::allocator) enum Shortfall {
    Scalar { name: usize, asked: Milli, left: Milli },
    Port { port: u64 },
    Ports { left: u64 },
}

impl Shortfall {
    pub(in crate::allocator) fn reason(self, want: &Want<'_>, names: &Names) -> Reason {
        match self {
            Self::Scalar { name, asked, left } => Reason::Scalar { name: names.0[name].clone(), asked, left },
            Self::Port { port } => Reason::Port { port },
            Self::Ports { left } => Reason::Ports { asked: want.ports, left },
        }
    }
}

impl Room {
    pub(in crate::allocator) fn new(resources: &Resources, names: &Names) -> Self {
        let scalars = vec![Milli::ZERO; names.0.len()];
        let mut room = Self { scalars, reserved_ports: Ranges::new(), unreserved_ports: Ranges::new() };
        for item in resources.iter().filter(|item| is_plain(item.kind())) {
            match item.amount() {
                Amount::Scalar(amount) => {
                    if let Some(name) = names.index(item.name()) {
                        room.scalars[name] += *amount;
                    }
                }
                Amount::Ranges(ranges) if item.name() == "ports" => match item.kind().reservation() {
                    Some(_) => room.reserved_ports += ranges,
                    None => room.unreserved_ports += ranges,
                },
                Amount::Ranges(_) | Amount::Set(_) => {}
            }
        }
        // Nobody may own a port twice, whatever an offer says.
        room.unreserved_ports -= &room.reserved_ports;
        room
    }

    /// How many instances fit, at least one.
    pub(in crate::allocator) fn check(&self, want: &Want<'_>) -> Result<u32, Shortfall> {
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
        Ok(u32::try_from(instances).unwrap_or(u32::MAX))
    }

    fn check_ports(&self, want: &Want<'_>) -> Result<u64, Shortfall> {
        let has = |port| self.reserved_ports.contains(port) || self.unreserved_ports.contains(port);
        if let Some(&port) = want.fixed_ports.iter().find(|port| !has(**port)) {
            return Err(Shortfall::Port { port });
        }
        let left = self.port_count() - want.fixed_ports.len() as u64;
        if left < want.ports {
            return Err(Shortfall::Ports { left });
        }
        Ok(if want.fixed_ports.is_empty() { left / want.ports } else { 1 })
    }

    /// Takes what so many instances want, which [`check`](Self::check) has granted; answers their ports, those of one
    /// instance after those of the other, fixed ones first, then reserved before unreserved and low before high.
    pub(in crate::allocator) fn take(&mut self, want: &Want<'_>, instances: u32) -> Vec<u64> {
        for &(name, asked) in &want.scalars {
            self.scalars[name] -= asked.times(i64::from(instances));
        }
        let fixed: Ranges = want.fixed_ports.iter().map(|&port| port..=port).collect();
        self.reserved_ports -= &fixed;
        self.unreserved_ports -= &fixed;
        let mut ports = want.fixed_ports.clone();
        let mut missing = want.ports * u64::from(instances);
        for free in [&mut self.reserved_ports, &mut self.unreserved_ports] {
            let lowest = free.take(missing.min(free.len())).expect("no more are taken than there are");
            *free -= &lowest;
            missing -= lowest.len();
            ports.extend(lowest.values());
        }
        debug_assert_eq!(missing, 0, "check granted the ports");
        ports
    }

    fn port_count(&self) -> u64 {
        self.reserved_ports.len().saturating_add(self.unreserved_ports.len())
    }
}
