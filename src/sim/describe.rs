//! Describes facts in one short line each; frequent facts of little interest have no line.

use std::fmt::Write as _;

use super::fact::{Fact, How};
use crate::{
    framework::{SchedulerEvent, core::Request},
    proto::v1::{Offer, TaskStatus},
    types::Resources,
};

/// Describes a fact, if it is of interest.
pub(super) fn describe_fact(fact: &Fact) -> Option<String> {
    Some(match fact {
        Fact::MasterStarted { epoch } => format!("the master starts, epoch {epoch}"),
        Fact::MasterCrashed => "the master crashes".to_owned(),
        Fact::AgentStarted { agent } => format!("agent {agent} starts"),
        Fact::AgentCrashed { agent, host: false, .. } => format!("agent {agent} crashes"),
        Fact::AgentCrashed { agent, host: true, .. } => format!("the host of agent {agent} goes down"),
        Fact::EndUnrecorded { container } => format!("no supervisor has a record of {container}"),
        Fact::ProcessStarted { agent, container } => format!("agent {agent} runs {container}"),
        Fact::ProcessEnded { agent, container, how } => {
            let how = match how {
                How::Code(code) => format!("exits with {code}"),
                How::Signal(signal) => format!("dies of signal {signal}"),
                How::WithSupervisor => "dies with its supervisor or host".to_owned(),
            };
            format!("{container} on agent {agent} {how}")
        }
        Fact::DriverStarted { framework, life: 1 } => format!("framework {framework} starts"),
        Fact::DriverStarted { framework, life } => format!("framework {framework} starts again, life {life}"),
        Fact::FailedOver { framework, old } => format!("framework {framework} fails over, its old instance is {old:?}"),
        Fact::DriverCrashed { framework } => format!("framework {framework} crashes"),
        Fact::DriverEnded { framework, error: None } => format!("the driver of framework {framework} ends"),
        Fact::DriverEnded { framework, error: Some(error) } => {
            format!("the driver of framework {framework} ends: {error}")
        }
        Fact::Requested { framework, request } => format!("framework {framework}: {}", describe_request(request)),
        Fact::CallbackStarted { framework, event, .. } => format!("framework {framework} <- {}", describe_event(event)),
        Fact::CallbackReturned { framework, event, ok: false, .. } => {
            format!("framework {framework}: {} fails", event.callback())
        }
        Fact::MarkedGone { agent } => format!("an operator marks agent {agent} gone"),
        Fact::AgentLeft { agent } => format!("agent {agent} leaves for good"),
        Fact::TornDown { framework } => format!("an operator removes {framework}"),
        Fact::Fault(text) => format!("FAULT {text}"),
        Fact::Durable { .. }
        | Fact::Proposed(_)
        | Fact::Admitted { .. }
        | Fact::StatusQueued { .. }
        | Fact::EndExpected { .. }
        | Fact::SessionOpened { .. }
        | Fact::SessionEnded { .. }
        | Fact::Called { .. }
        | Fact::Reported { .. }
        | Fact::OffersMade { .. }
        | Fact::OfferRescinded { .. }
        | Fact::FrameworkSubscribed { .. }
        | Fact::SessionDropped { .. }
        | Fact::EventSent { .. }
        | Fact::OrderSent { .. }
        | Fact::Wrote { .. }
        | Fact::AgentSent { .. }
        | Fact::AgentReceived { .. }
        | Fact::CallbackReturned { .. } => return None,
    })
}

fn describe_request(request: &Request) -> String {
    match request {
        Request::Accept { offer_ids, operations, .. } => {
            let launches = operations.iter().filter_map(|operation| operation.launch.as_ref());
            let ids = launches.flat_map(|launch| launch.task_infos.iter().map(|info| info.task_id.value.as_str()));
            let ids = join_ids(ids);
            let offers = join_ids(offer_ids.iter().map(|id| id.value.as_str()));
            if ids.is_empty() { format!("accepts {offers}") } else { format!("launches {ids} on {offers}") }
        }
        Request::Decline { offer_ids, .. } => {
            format!("declines {}", join_ids(offer_ids.iter().map(|id| id.value.as_str())))
        }
        Request::Kill { task_id, .. } => format!("kills {task_id}"),
        Request::Reconcile { tasks } if tasks.is_empty() => "reconciles all tasks".to_owned(),
        Request::Reconcile { tasks } => {
            format!("reconciles {}", join_ids(tasks.iter().map(|(task, _)| task.value.as_str())))
        }
        Request::Revive { .. } => "revives offers".to_owned(),
        Request::Suppress { .. } => "suppresses offers".to_owned(),
        other => {
            let mut text = format!("{other:?}");
            text.truncate(text.floor_char_boundary(100));
            text
        }
    }
}

fn describe_event(event: &SchedulerEvent) -> String {
    match event {
        SchedulerEvent::ResourceOffers(offers) => match offers.as_slice() {
            [one] => format!("resource_offers: {}", describe_offer(one)),
            [one, rest @ ..] => format!("resource_offers: {} and {} more", describe_offer(one), rest.len()),
            [] => "resource_offers: none".to_owned(),
        },
        SchedulerEvent::StatusUpdate(status) => format!("status_update: {}", describe_status(status)),
        SchedulerEvent::UnknownTask(status) => format!("unknown_task: {}", describe_status(status)),
        SchedulerEvent::InDoubt(in_doubt) => {
            format!("in_doubt: {}", join_ids(in_doubt.task_ids.iter().map(|id| id.value.as_str())))
        }
        SchedulerEvent::Registered { framework_id, .. } => format!("registered as {framework_id}"),
        SchedulerEvent::OfferRescinded(offer) => format!("offer_rescinded: {offer}"),
        SchedulerEvent::AgentLost(agent) => format!("agent_lost: {agent}"),
        SchedulerEvent::Refused(refusal) => format!("refused: {}: {}", refusal.field, refusal.text),
        SchedulerEvent::Error(text) => format!("error: {text}"),
        SchedulerEvent::Reregistered { .. }
        | SchedulerEvent::Disconnected
        | SchedulerEvent::FrameworkMessage { .. }
        | SchedulerEvent::ExecutorLost { .. } => event.callback().to_owned(),
    }
}

fn describe_offer(offer: &Offer) -> String {
    let resources = offer.resources().unwrap_or_else(|_unreadable| Resources::default());
    format!("{} of {} with {resources}", offer.id, offer.hostname)
}

fn describe_status(status: &TaskStatus) -> String {
    let mut text = format!("{} {}", status.task_id, status.state().as_str_name());
    if !status.message().is_empty() {
        // Writing to a string cannot fail.
        let _ = write!(text, " ({})", status.message());
    }
    text
}

/// Joins the first few ids, and counts the rest.
fn join_ids<'a>(ids: impl Iterator<Item = &'a str>) -> String {
    let ids: Vec<&str> = ids.collect();
    match ids.as_slice() {
        [first, second, third, rest @ ..] if !rest.is_empty() => {
            format!("{first}, {second}, {third} and {} more", rest.len())
        }
        all => all.join(", "),
    }
}
