//! Validation of a framework's call: its type's body is there, and so are the ids in it.
//!
//! The generated messages cannot distinguish a missing required field from an empty one, so an empty id counts as
//! missing. Ids are not looked up here, and an id that is not valid is merely unknown. Their length is checked, since
//! errors quote them.

use super::sizes::bounded;
use super::{Invalid, each, ensure};
use crate::proto::v1::offer::{Operation, operation};
use crate::proto::v1::scheduler::{Call, call};
use crate::proto::v1::{FrameworkId, FrameworkInfo, TaskInfo};
use crate::types::limits::{
    DATA_BYTES, FRAMEWORK_ROLES, ID_BYTES, INSTANCE_BYTES, OFFERS_PER_CALL, OPERATIONS_PER_ACCEPT, RECONCILE_TASKS,
    REQUESTS, ROLE_BYTES, TASKS_PER_ACCEPT,
};
use crate::types::{limits, quoted};

/// Validates that a call is complete.
///
/// # Errors
/// The first field that is missing or does not agree with another.
pub fn scheduler_call(call: &Call) -> Result<(), Invalid> {
    use call::Type;
    let number = call.r#type.ok_or_else(|| Invalid::missing("type"))?;
    let kind = Type::try_from(number).map_err(|error| Invalid::new("type", error.to_string()))?;
    if kind == Type::Subscribe {
        let body = body("subscribe", call.subscribe.as_deref())?;
        let instance = body.instance.as_ref().map_or(0, bytes::Bytes::len);
        bounded("subscribe.instance", "bytes", instance, INSTANCE_BYTES)?;
        return own_description("subscribe.framework_info", call.framework_id.as_ref(), &body.framework_info);
    }
    given("framework_id", call.framework_id.as_ref().map_or("", FrameworkId::as_str))?;
    match kind {
        Type::Unknown => Err(Invalid::new("type", "UNKNOWN is no call")),
        Type::Subscribe | Type::Teardown => Ok(()),
        Type::Revive => roles("revive.roles", call.revive.as_ref().map_or(&[], |body| &body.roles)),
        Type::Suppress => roles("suppress.roles", call.suppress.as_ref().map_or(&[], |body| &body.roles)),
        Type::Accept => accept(body("accept", call.accept.as_deref())?),
        Type::Decline => offer_ids("decline.offer_ids", &body("decline", call.decline.as_ref())?.offer_ids),
        Type::AcceptInverseOffers => {
            let body = body("accept_inverse_offers", call.accept_inverse_offers.as_ref())?;
            offer_ids("accept_inverse_offers.inverse_offer_ids", &body.inverse_offer_ids)
        }
        Type::DeclineInverseOffers => {
            let body = body("decline_inverse_offers", call.decline_inverse_offers.as_ref())?;
            offer_ids("decline_inverse_offers.inverse_offer_ids", &body.inverse_offer_ids)
        }
        Type::Kill => kill(body("kill", call.kill.as_ref())?),
        Type::Shutdown => shutdown(body("shutdown", call.shutdown.as_ref())?),
        Type::Acknowledge => acknowledge(body("acknowledge", call.acknowledge.as_ref())?),
        Type::AcknowledgeOperationStatus => {
            acknowledge_operation(body("acknowledge_operation_status", call.acknowledge_operation_status.as_deref())?)
        }
        Type::Reconcile => reconcile(body("reconcile", call.reconcile.as_ref())?),
        Type::ReconcileOperations => {
            reconcile_operations(body("reconcile_operations", call.reconcile_operations.as_ref())?)
        }
        Type::Message => message(body("message", call.message.as_ref())?),
        Type::Request => request(body("request", call.request.as_ref())?),
        Type::UpdateFramework => {
            let body = body("update_framework", call.update_framework.as_deref())?;
            own_description("update_framework.framework_info", call.framework_id.as_ref(), &body.framework_info)
        }
    }
}

fn body<'a, T>(field: &str, body: Option<&'a T>) -> Result<&'a T, Invalid> {
    body.ok_or_else(|| Invalid::missing(field))
}

fn given(field: &str, id: &str) -> Result<(), Invalid> {
    ensure(!id.is_empty(), field, "is missing")?;
    bounded(field, "bytes", id.len(), ID_BYTES)
}

/// Validates an optional id.
fn optional(field: &str, id: Option<&str>) -> Result<(), Invalid> {
    bounded(field, "bytes", id.map_or(0, str::len), ID_BYTES)
}

/// Validates role names in a call that only names them.
fn roles(field: &str, roles: &[String]) -> Result<(), Invalid> {
    bounded(field, "roles", roles.len(), FRAMEWORK_ROLES)?;
    each(field, roles, |role| bounded("", "bytes", role.len(), ROLE_BYTES))
}

/// The id beside a framework's description equals the one in it; missing and empty are the same.
fn own_description(field: &str, outer: Option<&FrameworkId>, info: &FrameworkInfo) -> Result<(), Invalid> {
    let (outer, inner) = (outer.map_or("", FrameworkId::as_str), info.id.as_ref().map_or("", FrameworkId::as_str));
    let differs = format_args!("`{}` differs from framework_id `{}`", quoted(inner), quoted(outer)).to_string();
    ensure(outer == inner, &format!("{field}.id"), differs)
}

fn offer_ids(field: &str, ids: &[crate::proto::v1::OfferId]) -> Result<(), Invalid> {
    bounded(field, "offers", ids.len(), OFFERS_PER_CALL)?;
    each(field, ids, |id| given("", id.as_str()))
}

fn accept(accept: &call::Accept) -> Result<(), Invalid> {
    offer_ids("accept.offer_ids", &accept.offer_ids)?;
    bounded("accept.operations", "operations", accept.operations.len(), OPERATIONS_PER_ACCEPT)?;
    let launched = |one: &Operation| one.launch.as_ref().map_or(0, |launch| launch.task_infos.len());
    let grouped = |one: &Operation| one.launch_group.as_ref().map_or(0, |group| group.task_group.tasks.len());
    let tasks = accept.operations.iter().map(|one| launched(one) + grouped(one)).sum();
    bounded("accept.operations", "tasks", tasks, TASKS_PER_ACCEPT)?;
    each("accept.operations", &accept.operations, operation)
}

/// An operation of an unknown type has no body to check; the master skips it.
fn operation(operation: &Operation) -> Result<(), Invalid> {
    use operation::Type;
    optional("id", operation.id.as_ref().map(crate::proto::v1::OperationId::as_str))?;
    match Type::try_from(operation.r#type.unwrap_or_default()).unwrap_or(Type::Unknown) {
        Type::Unknown => Ok(()),
        Type::Launch => {
            let launch = body("launch", operation.launch.as_ref())?;
            each("launch.task_infos", &launch.task_infos, task_ids)
        }
        Type::LaunchGroup => {
            let group = body("launch_group", operation.launch_group.as_deref())?;
            given("launch_group.executor.executor_id", group.executor.executor_id.as_str())?;
            each("launch_group.task_group.tasks", &group.task_group.tasks, task_ids)
        }
        Type::Reserve => body("reserve", operation.reserve.as_ref()).map(drop),
        Type::Unreserve => body("unreserve", operation.unreserve.as_ref()).map(drop),
        Type::Create => body("create", operation.create.as_ref()).map(drop),
        Type::Destroy => body("destroy", operation.destroy.as_ref()).map(drop),
        Type::GrowVolume => body("grow_volume", operation.grow_volume.as_deref()).map(drop),
        Type::ShrinkVolume => body("shrink_volume", operation.shrink_volume.as_deref()).map(drop),
        Type::CreateDisk => body("create_disk", operation.create_disk.as_deref()).map(drop),
        Type::DestroyDisk => body("destroy_disk", operation.destroy_disk.as_deref()).map(drop),
    }
}

fn task_ids(task: &TaskInfo) -> Result<(), Invalid> {
    given("task_id", task.task_id.as_str())?;
    given("agent_id", task.agent_id.as_str())?;
    bounded("", "bytes", prost::Message::encoded_len(task), limits::TASK_BYTES)?;
    let executor = task.executor.as_ref();
    executor.map_or(Ok(()), |executor| given("executor.executor_id", executor.executor_id.as_str()))
}

fn kill(kill: &call::Kill) -> Result<(), Invalid> {
    given("kill.task_id", kill.task_id.as_str())?;
    optional("kill.agent_id", kill.agent_id.as_ref().map(crate::proto::v1::AgentId::as_str))
}

/// The requests of one call are added up, so their items count together.
fn request(request: &call::Request) -> Result<(), Invalid> {
    bounded("request.requests", "requests", request.requests.len(), REQUESTS)?;
    let items = request.requests.iter().map(|one| one.resources.len()).sum();
    bounded("request.requests", "items of resources", items, limits::RESOURCES)?;
    each("request.requests", &request.requests, |one| {
        optional("agent_id", one.agent_id.as_ref().map(crate::proto::v1::AgentId::as_str))
    })
}

fn shutdown(shutdown: &call::Shutdown) -> Result<(), Invalid> {
    given("shutdown.executor_id", shutdown.executor_id.as_str())?;
    given("shutdown.agent_id", shutdown.agent_id.as_str())
}

fn acknowledge(acknowledge: &call::Acknowledge) -> Result<(), Invalid> {
    given("acknowledge.agent_id", acknowledge.agent_id.as_str())?;
    given("acknowledge.task_id", acknowledge.task_id.as_str())?;
    uuid("acknowledge.uuid", &acknowledge.uuid)
}

fn acknowledge_operation(acknowledge: &call::AcknowledgeOperationStatus) -> Result<(), Invalid> {
    uuid("acknowledge_operation_status.uuid", &acknowledge.uuid)?;
    let agent = acknowledge.agent_id.as_ref().map_or("", |id| id.as_str());
    given("acknowledge_operation_status.agent_id", agent)?;
    given("acknowledge_operation_status.operation_id", acknowledge.operation_id.as_str())
}

fn uuid(field: &str, bytes: &[u8]) -> Result<(), Invalid> {
    ensure(bytes.len() == 16, field, format_args!("{} bytes are no uuid; it has 16", bytes.len()))
}

fn reconcile(reconcile: &call::Reconcile) -> Result<(), Invalid> {
    bounded("reconcile.tasks", "tasks", reconcile.tasks.len(), RECONCILE_TASKS)?;
    each("reconcile.tasks", &reconcile.tasks, |task| {
        given("task_id", task.task_id.as_str())?;
        optional("agent_id", task.agent_id.as_ref().map(crate::proto::v1::AgentId::as_str))
    })
}

fn reconcile_operations(reconcile: &call::ReconcileOperations) -> Result<(), Invalid> {
    let check =
        |operation: &call::reconcile_operations::Operation| given("operation_id", operation.operation_id.as_str());
    bounded("reconcile_operations.operations", "operations", reconcile.operations.len(), RECONCILE_TASKS)?;
    each("reconcile_operations.operations", &reconcile.operations, check)
}

fn message(message: &call::Message) -> Result<(), Invalid> {
    given("message.agent_id", message.agent_id.as_str())?;
    given("message.executor_id", message.executor_id.as_str())?;
    bounded("message.data", "bytes", message.data.len(), DATA_BYTES)
}

#[cfg(test)]
#[path = "call_tests.rs"]
mod tests;
