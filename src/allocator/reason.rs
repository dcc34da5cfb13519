//! Why something does not fit, as data: the first rule that failed and by how much.
//!
//! [`Reason`] is what programs match on, its text what people read. The rules are asked in one order everywhere: offer,
//! role, constraints, limit per agent, scalars (cpus, mem, disk, gpus, others by name), fixed ports, number of ports, sets,
//! kinds.

use std::fmt;
use std::sync::Arc;

use super::constraint::Broken;
use crate::proto::v1;
use crate::types::Milli;

/// The first rule by which one instance does not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// The offer makes no sense.
    Offer {
        /// What is wrong with it, with the field.
        problem: Arc<str>,
    },
    /// It was offered to another role than the task wants to run under.
    Role {
        /// Whose offer it is.
        offered: Arc<str>,
        /// The role asked for.
        asked: Arc<str>,
    },
    /// As many instances as allowed are on the agent.
    AgentLimit {
        /// How many are allowed.
        limit: u32,
    },
    /// Too little of a scalar resource.
    Scalar {
        /// Which resource.
        name: Arc<str>,
        /// What one instance needs.
        asked: Milli,
        /// What is left.
        left: Milli,
    },
    /// A port asked for by number is taken, or not offered.
    Port {
        /// The port.
        port: u64,
    },
    /// Too few ports.
    Ports {
        /// How many one instance needs, fixed ones included.
        asked: u64,
        /// How many are left.
        left: u64,
    },
    /// An item of a set that was asked for by name is taken, or not offered.
    Item {
        /// The set.
        name: Arc<str>,
        /// The item.
        item: Arc<str>,
    },
    /// Too few items of a set.
    Items {
        /// The set.
        name: Arc<str>,
        /// How many one instance needs, named ones included.
        asked: u64,
        /// How many are left.
        left: u64,
    },
    /// None of the demands of a request with alternatives fits: the reason for each.
    AnyOf(Arc<[Reason]>),
    /// There is enough of the name, but not of that kind: reserved otherwise, another volume, a taken item of a set.
    Kind {
        /// The item asked for, in text form.
        asked: Arc<str>,
        /// What is left of that name, in text form.
        left: Arc<str>,
    },
    /// A constraint of the request, or of a neighbour that was there first.
    Constraint(Broken),
}

impl Reason {
    /// The reason for the first demand and those for its alternatives as one.
    pub(super) fn any_of(mut reasons: Vec<Self>) -> Self {
        match reasons.len() {
            1 => reasons.remove(0),
            _ => Self::AnyOf(reasons.into()),
        }
    }

    /// The rule's short name: the resource's for scalars and sets, else `offer`, `role`, `max_per_agent`, `port`, `ports`,
    /// `kind`, or for constraints what [`Broken::rule`] says. With alternatives, that of the first demand.
    #[must_use]
    pub fn rule(&self) -> &str {
        match self {
            Self::Offer { .. } => "offer",
            Self::Role { .. } => "role",
            Self::AgentLimit { .. } => "max_per_agent",
            Self::Scalar { name, .. } => name,
            Self::Port { .. } => "port",
            Self::Ports { .. } => "ports",
            Self::Item { name, .. } | Self::Items { name, .. } => name,
            Self::AnyOf(reasons) => reasons.first().map_or("kind", Self::rule),
            Self::Kind { .. } => "kind",
            Self::Constraint(broken) => broken.rule(),
        }
    }

    /// The constraint that failed, if it is one.
    #[must_use]
    pub fn broken(&self) -> Option<&Broken> {
        match self {
            Self::Constraint(broken) => Some(broken),
            Self::Offer { .. }
            | Self::Role { .. }
            | Self::AgentLimit { .. }
            | Self::Scalar { .. }
            | Self::Port { .. }
            | Self::Ports { .. }
            | Self::Item { .. }
            | Self::Items { .. }
            | Self::AnyOf(_)
            | Self::Kind { .. } => None,
        }
    }

    /// What reasons are counted under in a summary: the attribute of a constraint on one, else the rule.
    #[must_use]
    pub fn subject(&self) -> &str {
        self.broken().and_then(Broken::attribute).unwrap_or_else(|| self.rule())
    }

    /// How much more one instance would need, where that is a number.
    #[must_use]
    pub fn margin(&self) -> Option<Milli> {
        match *self {
            Self::Scalar { asked, left, .. } => Some(asked - left),
            Self::AnyOf(ref reasons) => reasons.first()?.margin(),
            Self::Ports { asked, left } | Self::Items { asked, left, .. } => Some(count(asked) - count(left)),
            Self::Offer { .. }
            | Self::Role { .. }
            | Self::AgentLimit { .. }
            | Self::Port { .. }
            | Self::Item { .. }
            | Self::Kind { .. }
            | Self::Constraint(_) => None,
        }
    }

    /// How much is left of what there is too little of, where that is a number.
    #[must_use]
    pub fn left(&self) -> Option<Milli> {
        match *self {
            Self::Scalar { left, .. } => Some(left),
            Self::AnyOf(ref reasons) => reasons.first()?.left(),
            Self::Ports { left, .. } | Self::Items { left, .. } => Some(count(left)),
            Self::Offer { .. }
            | Self::Role { .. }
            | Self::AgentLimit { .. }
            | Self::Port { .. }
            | Self::Item { .. }
            | Self::Kind { .. }
            | Self::Constraint(_) => None,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Offer { problem } => write!(f, "the offer cannot be used: {problem}"),
            Self::Role { offered, asked } => write!(f, "offered to role {offered}, asked for {asked}"),
            Self::AgentLimit { limit } => write!(f, "at its limit of {limit} on this agent"),
            Self::Scalar { name, asked, left } => write!(f, "{name}: asked {asked}, {left} left"),
            Self::Port { port } => write!(f, "port {port} is not free"),
            Self::Ports { asked, left } => write!(f, "ports: asked {asked}, {left} left"),
            Self::Item { name, item } => write!(f, "{name}: {item} is not free"),
            Self::Items { name, asked, left } => write!(f, "{name}: asked {asked}, {left} left"),
            Self::AnyOf(reasons) => {
                for (at, reason) in reasons.iter().enumerate() {
                    write!(f, "{}{reason}", if at == 0 { "" } else { " and " })?;
                }
                Ok(())
            }
            Self::Kind { asked, left } => write!(f, "asked {asked}, left {left}"),
            Self::Constraint(broken) => broken.fmt(f),
        }
    }
}

/// An agent as offers name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// The agent.
    pub agent_id: v1::AgentId,
    /// Its host's name.
    pub hostname: String,
}

/// Why one instance does not fit on one agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentReason {
    host: Arc<Host>,
    reason: Reason,
}

impl AgentReason {
    pub(super) fn new(host: Arc<Host>, reason: Reason) -> Self {
        Self { host, reason }
    }

    /// The agent.
    #[must_use]
    pub fn agent_id(&self) -> &v1::AgentId {
        &self.host.agent_id
    }

    /// The agent's host name.
    #[must_use]
    pub fn hostname(&self) -> &str {
        &self.host.hostname
    }

    /// The first rule that failed; its text is `reason().to_string()`.
    #[must_use]
    pub fn reason(&self) -> &Reason {
        &self.reason
    }
}

impl fmt::Display for AgentReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.hostname(), self.reason)
    }
}

fn count(ports: u64) -> Milli {
    Milli::from_units(i64::try_from(ports).unwrap_or(i64::MAX))
}
