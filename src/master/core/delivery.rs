//! How events and orders are queued: their size, their class, and which newer message replaces them.
//!
//! A newer status replaces the queued one of its task, with two exceptions. A final end is replaced only by its own
//! repeat; otherwise both are sent. A status that has to be acknowledged is never replaced by an answer, which is
//! dropped.

use std::{
    hash::{Hash, Hasher},
    sync::Arc,
};

use prost::Message as _;

use super::{ContainerId, Event, OfferKey, OfferMade, Order};
use crate::{
    proto::v1::{self, task_status::Reason},
    transport::outbox::{Class, FRAME_BYTES, Merge, Message},
    types::Amount,
};

/// The size of a message on the wire without its texts and data, roughly.
const MESSAGE_BYTES: usize = 128;
/// The same for an offer, one resource in it, and the parts of that resource.
const OFFER_BYTES: usize = 256;
const RESOURCE_BYTES: usize = 64;
const RESERVATION_BYTES: usize = 64;
const DISK_BYTES: usize = 256;
const RANGE_BYTES: usize = 20;
/// The same for a status.
const STATUS_BYTES: usize = 192;
/// The offers of a round are sent in frames of at most this size.
const OFFERS_FRAME_BYTES: usize = 1 << 20;

/// What an event is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum EventKey {
    Offer(OfferKey),
    Task(TaskName),
    Heartbeat,
    Applied,
}

/// The name of the task in a status, shared with it.
#[derive(Clone, Debug)]
pub(crate) struct TaskName(Arc<v1::TaskStatus>);

impl TaskName {
    fn as_str(&self) -> &str {
        &self.0.task_id.value
    }
}

impl PartialEq for TaskName {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for TaskName {}

impl Hash for TaskName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl Message for Event {
    type Key = EventKey;

    fn weight(&self) -> usize {
        match self {
            Self::Offers(offers) => offers.iter().map(offer_weight).sum(),
            Self::Updated { status } => STATUS_BYTES + status.task_id.value.len() * 2 + payload(status),
            Self::Message { data, executor, .. } => MESSAGE_BYTES + data.len() + executor.len(),
            Self::Error { text } => MESSAGE_BYTES + text.len(),
            Self::Refused { text, field, .. } => MESSAGE_BYTES + text.len() + field.len(),
            Self::OperationFailed { text, id } => MESSAGE_BYTES + text.len() + id.len(),
            Self::Subscribed { .. } => MESSAGE_BYTES * 4,
            Self::Failures { agents } => MESSAGE_BYTES * agents.len(),
            Self::Rescinded { .. } => MESSAGE_BYTES,
            Self::Heartbeat | Self::Applied { .. } => 16,
        }
    }

    fn class(&self) -> Class {
        match self {
            Self::Subscribed { .. } => Class::Opening,
            Self::Updated { status } if is_refusal(status) => Class::Control,
            Self::Offers(_) | Self::Updated { .. } => Class::Bounded,
            Self::Message { .. } => Class::BestEffort,
            Self::Heartbeat => Class::Urgent,
            Self::Rescinded { .. }
            | Self::Failures { .. }
            | Self::Error { .. }
            | Self::Applied { .. }
            | Self::Refused { .. }
            | Self::OperationFailed { .. } => Class::Control,
        }
    }

    fn key(&self) -> Option<EventKey> {
        match self {
            Self::Offers(offers) => match offers.as_slice() {
                [one] => Some(EventKey::Offer(one.key)),
                [] | [_, ..] => None,
            },
            Self::Rescinded { offer } => Some(EventKey::Offer(*offer)),
            Self::Updated { status } => Some(EventKey::Task(TaskName(status.clone()))),
            Self::Heartbeat => Some(EventKey::Heartbeat),
            Self::Applied { .. } => Some(EventKey::Applied),
            Self::Subscribed { .. }
            | Self::Message { .. }
            | Self::Failures { .. }
            | Self::Error { .. }
            | Self::Refused { .. }
            | Self::OperationFailed { .. } => None,
        }
    }

    fn merge(&self, newer: &Self, is_last: bool) -> Merge {
        match (self, newer) {
            (Self::Updated { status }, Self::Updated { status: newer }) => merge_statuses(status, newer),
            (Self::Offers(_), Self::Rescinded { .. }) => Merge::Cancel,
            // A refusal is sent before its call is reported as applied.
            (Self::Applied { .. }, _) if !is_last => Merge::Both,
            _ => Merge::Replace,
        }
    }

    fn frame_bytes(&self) -> usize {
        match self {
            Self::Offers(_) => OFFERS_FRAME_BYTES,
            _ => FRAME_BYTES,
        }
    }
}

impl Event {
    /// Splits an event into parts that are queued, sent and withdrawn one by one: each offer is a part.
    pub(crate) fn into_parts(self) -> impl Iterator<Item = Self> {
        let (offers, other) = match self {
            Self::Offers(offers) => (offers, None),
            other => (Vec::new(), Some(other)),
        };
        offers.into_iter().map(|one| Self::Offers(vec![one])).chain(other)
    }
}

fn offer_weight(made: &OfferMade) -> usize {
    let attributes: usize = made.facts.attributes.iter().map(v1::Attribute::encoded_len).sum();
    let resources = made.resources.iter().map(|resource| {
        let more = match resource.amount() {
            Amount::Scalar(_) => 0,
            Amount::Ranges(ranges) => ranges.iter().count() * RANGE_BYTES,
            Amount::Set(items) => items.iter().map(|item| item.len() + RANGE_BYTES).sum(),
        };
        let reservations = resource.kind().reservations().len() * RESERVATION_BYTES;
        let disk = if resource.kind().disk().is_some() { DISK_BYTES } else { 0 };
        RESOURCE_BYTES + made.role.len() + more + reservations + disk
    });
    OFFER_BYTES + made.facts.hostname.len() * 2 + attributes + resources.sum::<usize>()
}

fn payload(status: &v1::TaskStatus) -> usize {
    let labels = status.labels.as_ref().map_or(0, v1::Labels::encoded_len);
    status.data().len() + status.message().len() + labels
}

/// Whether it refuses a launch; there is no task whose record would bound the number of such statuses.
fn is_refusal(status: &v1::TaskStatus) -> bool {
    let reasons = [Reason::InvalidOffers, Reason::TaskInvalid, Reason::TaskUnauthorized, Reason::TaskGroupInvalid];
    status.uuid.is_none() && reasons.contains(&status.reason())
}

/// Decides between the queued status of a task and a newer one.
fn merge_statuses(waiting: &v1::TaskStatus, newer: &v1::TaskStatus) -> Merge {
    let repeats = waiting.uuid == newer.uuid && (waiting.uuid.is_some() || waiting.state == newer.state);
    let is_answer = newer.uuid.is_none() && newer.reason() == Reason::Reconciliation;
    // An inferred end is not final: the agent may re-register.
    let is_final = waiting.state().is_terminal() && (waiting.uuid.is_some() || is_refusal(waiting));
    match (repeats, is_final) {
        (false, true) => Merge::Both,
        (false, false) if waiting.uuid.is_some() && is_answer => Merge::KeepWaiting,
        (true, _) | (false, false) => Merge::Replace,
    }
}

/// What an order is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum OrderKey {
    Run(ContainerId),
    /// By container and task: agents of older versions may name no container.
    Kill(ContainerId, Arc<str>),
    Framework(Arc<str>),
    Shutdown(Arc<str>),
    Ping,
}

impl Message for Order {
    type Key = OrderKey;

    fn weight(&self) -> usize {
        let more = match self {
            Self::Registered(registered) => registered.encoded_len(),
            Self::Run { info, .. } | Self::UpdateFramework { info, .. } => info.len(),
            Self::Message { data, executor, .. } => data.len() + executor.len(),
            Self::Refused { text, .. } => text.len(),
            Self::Acknowledge { task, uuid, .. } => task.len() + uuid.len(),
            Self::Kill { task, .. } => task.len(),
            Self::Shutdown { .. } | Self::Ping | Self::Gone => 0,
        };
        MESSAGE_BYTES + more
    }

    fn class(&self) -> Class {
        match self {
            Self::Registered(_) => Class::Opening,
            Self::Run { .. } | Self::Kill { .. } | Self::UpdateFramework { .. } | Self::Shutdown { .. } => {
                Class::Bounded
            }
            Self::Refused { .. } | Self::Gone => Class::Control,
            // The agent resends the status until it is acknowledged.
            Self::Acknowledge { .. } => Class::Repeated,
            Self::Message { .. } => Class::BestEffort,
            Self::Ping => Class::Urgent,
        }
    }

    fn key(&self) -> Option<OrderKey> {
        match self {
            Self::Run { container, .. } => Some(OrderKey::Run(container.clone())),
            Self::Kill { container, task, .. } => Some(OrderKey::Kill(container.clone(), task.clone())),
            Self::UpdateFramework { framework, .. } => Some(OrderKey::Framework(framework.clone())),
            Self::Shutdown { framework } => Some(OrderKey::Shutdown(framework.clone())),
            Self::Ping => Some(OrderKey::Ping),
            Self::Registered(_)
            | Self::Refused { .. }
            | Self::Acknowledge { .. }
            | Self::Message { .. }
            | Self::Gone => None,
        }
    }
}

#[cfg(test)]
#[path = "delivery_tests.rs"]
mod tests;
