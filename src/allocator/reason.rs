//! Why something does not fit, as data: the first rule that failed and by how much.
//!
//! Programs match on a [`Reason`], people read its text. Everywhere the rules are checked in one order: offer, role,
//! constraints, limit per agent, scalars (cpus, mem, disk, gpus, others by name), fixed ports, number of ports, sets,
//! kinds.

use std::fmt;
use std::sync::Arc;

use super::constraint::Broken;
use crate::proto::v1;
use crate::types::Milli;

/// The first rule that one instance fails.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// The offer is invalid.
    Offer {
        /// What is wrong with it, with the field.
        problem: Arc<str>,
    },
    /// It was offered to another role than the task's.
    Role {
        /// The role of the offer.
        offered: Arc<str>,
        /// The requested role.
        asked: Arc<str>,
    },
    /// The agent runs as many instances as allowed.
    AgentLimit {
        /// The allowed number.
        limit: u32,
    },
    /// A scalar resource is insufficient.
    Scalar {
        /// The name of the resource.
        name: Arc<str>,
        /// The amount that one instance needs.
        asked: Milli,
        /// The amount that is left.
        left: Milli,
    },
    /// A port requested by number is taken, or not offered.
    Port {
        /// The port.
        port: u64,
    },
    /// There are too few ports.
    Ports {
        /// The number that one instance needs, fixed ones included.
        asked: u64,
        /// The number that is left.
        left: u64,
    },
    /// An item of a set that was requested by name is taken, or not offered.
    Item {
        /// The set.
        name: Arc<str>,
        /// The item.
        item: Arc<str>,
    },
    /// A set has too few items.
    Items {
        /// The set.
        name: Arc<str>,
        /// The number that one instance needs, named ones included.
        asked: u64,
        /// The number that is left.
        left: u64,
    },
    /// No demand of a request with alternatives fits: the reason for each.
    AnyOf(Arc<[Reason]>),
    /// The amount would suffice, but not of that kind: reserved otherwise, another volume, a taken item of a set.
    Kind {
        /// The requested item, in text form.
        asked: Arc<str>,
        /// What is left of that name, in text form.
        left: Arc<str>,
    },
    /// A constraint failed, of the request or of a neighbour that was there first.
    Constraint(Broken),
}

impl Reason {
    /// Combines the reasons for the first demand and its alternatives.
    pub(super) fn any_of(mut reasons: Vec<Self>) -> Self {
        match reasons.len() {
            1 => reasons.remove(0),
            _ => Self::AnyOf(reasons.into()),
        }
    }

    /// Returns the rule's short name.
    ///
    /// For scalars and sets that is the resource's name, for constraints [`Broken::rule`], else `offer`, `role`,
    /// `max_per_agent`, `port`, `ports` or `kind`. With alternatives, it is that of the first demand.
    #[must_use]
    pub fn rule(&self) -> &str {
        match self {
            Self::Offer { .. } => "offer",
            Self::Role { .. } => "role",
            Self::AgentLimit { .. } => "max_per_agent",
            Self::Scalar { name, .. } | Self::Item { name, .. } | Self::Items { name, .. } => name,
            Self::Port { .. } => "port",
            Self::Ports { .. } => "ports",
            Self::AnyOf(reasons) => reasons.first().map_or("kind", Self::rule),
            Self::Kind { .. } => "kind",
            Self::Constraint(broken) => broken.rule(),
        }
    }

    /// Returns the constraint that failed, if it is one.
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

    /// Returns what a summary counts the reason under: the attribute of a constraint on one, else the rule.
    #[must_use]
    pub fn subject(&self) -> &str {
        self.broken().and_then(Broken::attribute).unwrap_or_else(|| self.rule())
    }

    /// Returns how much more one instance would need, if that is a number.
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

    /// Returns how much is left of the insufficient resource, if that is a number.
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

/// An agent's id and host name, from its offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// The agent's id.
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

    /// Returns the agent's id.
    #[must_use]
    pub fn agent_id(&self) -> &v1::AgentId {
        &self.host.agent_id
    }

    /// Returns the agent's host name.
    #[must_use]
    pub fn hostname(&self) -> &str {
        &self.host.hostname
    }

    /// Returns the first rule that failed; its text is `reason().to_string()`.
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
