//! Facts in words, one short line each; what happens all the time and says nothing has none.

use std::fmt::Write as _;

use super::fact::{Fact, How};
use crate::{
    framework::{SchedulerEvent, core::Request},
    proto::v1::{Offer, TaskStatus},
    types::Resources,
};

/// The line for a fact, if it is worth one.
pub(super) fn of(fact: &Fact) -> Option<String> {
    Some(match fact {
        Fact::MasterStarted { epoch } => format!("the master starts, epoch {epoch}"),
        Fact::MasterCrashed => "the master crashes".to_owned(),
        Fact::AgentStarted { agent } => format!("agent {agent} starts"),
        Fact::AgentCrashed { agent, host: false, .. } => format!("agent {agent} crashes"),
        Fact::AgentCrashed { agent, host: true, .. } => format!("the host of agent {agent} goes down"),
        Fact::EndUnseen { container } => format!("no supervisor has {container} any more"),
        Fact::ProcessStarted { agent, container } => format!("agent {agent} runs {container}"),
        Fact::ProcessEnded { agent, container, how } => {
            let how = match how {
                How::Code(code) => format!("exits with {code}"),
                How::Signal(signal) => format!("dies of signal {signal}"),
                How::Torn => "dies with its supervisor or host".to_owned(),
            };
            format!("{container} on agent {agent} {how}")
        }
        Fact::DriverStarted { framework, life: 1 } => format!("framework {framework} starts"),
        Fact::DriverStarted { framework, life } => format!("framework {framework} starts again, life {life}"),
        Fact::FailsOver { framework, old } => format!("framework {framework} fails over, its old run is {old:?}"),
        Fact::DriverCrashed { framework } => format!("framework {framework} crashes"),
        Fact::DriverEnded { framework, error: None } => format!("the driver of framework {framework} ends"),
        Fact::DriverEnded { framework, error: Some(error) } => {
            format!("the driver of framework {framework} ends: {error}")
        }
        Fact::Asked { framework, request } => format!("framework {framework}: {}", request_of(request)),
        Fact::Given { framework, event, .. } => format!("framework {framework} <- {}", event_of(event)),
        Fact::Returned { framework, event, ok: false, .. } => {
            format!("framework {framework}: {} fails", event.callback())
        }
        Fact::MarkedGone { agent } => format!("an operator marks agent {agent} gone"),
        Fact::AgentLeft { agent } => format!("agent {agent} leaves for good"),
        Fact::TornDown { framework } => format!("an operator removes {framework}"),
        Fact::Fault(text) => format!("FAULT {text}"),
        Fact::Durable { .. }
        | Fact::Proposed(_)
        | Fact::Admits { .. }
        | Fact::Sends { .. }
        | Fact::IsToEnd { .. }
        | Fact::SessionOpened { .. }
        | Fact::SessionEnded { .. }
        | Fact::Called { .. }
        | Fact::Reported { .. }
        | Fact::Made { .. }
        | Fact::Withdrawn { .. }
        | Fact::Subscribes { .. }
        | Fact::Drops { .. }
        | Fact::Told { .. }
        | Fact::Ordered { .. }
        | Fact::Wrote { .. }
        | Fact::AgentSaid { .. }
        | Fact::AgentHeard { .. }
        | Fact::Returned { .. } => return None,
    })
}

fn request_of(request: &Request) -> String {
    match request {
        Request::Accept { offer_ids, operations, .. } => {
            let launches = operations.iter().filter_map(|operation| operation.launch.as_ref());
            let ids = launches.flat_map(|launch| launch.task_infos.iter().map(|info| info.task_id.value.as_str()));
            let ids = listed(ids);
            let offers = listed(offer_ids.iter().map(|id| id.value.as_str()));
            if ids.is_empty() { format!("accepts {offers}") } else { format!("launches {ids} on {offers}") }
        }
        Request::Decline { offer_ids, .. } => {
            format!("declines {}", listed(offer_ids.iter().map(|id| id.value.as_str())))
        }
        Request::Kill { task_id, .. } => format!("kills {task_id}"),
        Request::Reconcile { tasks } if tasks.is_empty() => "asks after all tasks".to_owned(),
        Request::Reconcile { tasks } => {
            format!("asks after {}", listed(tasks.iter().map(|(task, _)| task.value.as_str())))
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

fn event_of(event: &SchedulerEvent) -> String {
    match event {
        SchedulerEvent::ResourceOffers(offers) => match offers.as_slice() {
            [one] => format!("resource_offers: {}", offer_of(one)),
            [one, rest @ ..] => format!("resource_offers: {} and {} more", offer_of(one), rest.len()),
            [] => "resource_offers: none".to_owned(),
        },
        SchedulerEvent::StatusUpdate(status) => format!("status_update: {}", status_of(status)),
        SchedulerEvent::UnknownTask(status) => format!("unknown_task: {}", status_of(status)),
        SchedulerEvent::InDoubt(in_doubt) => {
            format!("in_doubt: {}", listed(in_doubt.task_ids.iter().map(|id| id.value.as_str())))
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

fn offer_of(offer: &Offer) -> String {
    let resources = offer.resources().unwrap_or_else(|_unreadable| Resources::default());
    format!("{} of {} with {resources}", offer.id, offer.hostname)
}

fn status_of(status: &TaskStatus) -> String {
    let mut text = format!("{} {}", status.task_id, status.state().as_str_name());
    if !status.message().is_empty() {
        // Writing to a string cannot fail.
        let _ = write!(text, " ({})", status.message());
    }
    text
}

/// The first few, and how many there are.
fn listed<'a>(ids: impl Iterator<Item = &'a str>) -> String {
    let ids: Vec<&str> = ids.collect();
    match ids.as_slice() {
        [first, second, third, rest @ ..] if !rest.is_empty() => {
            format!("{first}, {second}, {third} and {} more", rest.len())
        }
        all => all.join(", "),
    }
}
