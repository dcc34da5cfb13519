//! Parses and validates wire messages into the core's inputs; an error names its field.

use std::{collections::HashSet, sync::Arc, time::Duration};

use bytes::Bytes;
use prost::Message as _;

use crate::{
    master::core::AgentFacts,
    master::core::{
        Accept, Call, FrameworkFacts, Launch, Operation, Partition, Quantities, ReconcileTask, Register, Report,
        ReportedTask, Subscribe, Update,
    },
    proto::{
        ext,
        internal::{self, agent_message::Kind},
        v1::{
            self,
            framework_info::capability::Type as Capability,
            offer::operation::Type as OperationType,
            scheduler::{self, call::Type},
        },
    },
    types::{
        Milli, Resources,
        limits::{AGENT_FRAMEWORKS, AGENT_TASKS, DATA_BYTES, ID_BYTES, INSTANCE_BYTES, NAME_BYTES},
        quoted, refuse_duration,
        validate::{self, LaunchContext},
    },
};

/// Parses a framework's call. An invalid one becomes [`Call::Invalid`], which the core refuses in order.
pub(crate) fn call(call: scheduler::Call) -> Call {
    if let Err(invalid) = validate::scheduler_call(&call) {
        return Call::Invalid { field: invalid.field, text: invalid.text };
    }
    parse_call(call).unwrap_or_else(|(field, text)| Call::Invalid { field, text })
}

/// An invalid call if the framework's versions of the stream do not include this master's.
pub(super) fn version_mismatch(versions: ext::VersionRange) -> Option<Call> {
    let own = super::sessions::VERSION;
    let text =
        format!("this master speaks version {own} of the stream, the framework {} to {}", versions.min, versions.max);
    let supported = (versions.min..=versions.max).contains(&own);
    (!supported).then(|| Call::Invalid { field: "versions".to_owned(), text })
}

type FieldError = (String, String);

fn field_error(field: &str, text: &impl ToString) -> FieldError {
    (field.to_owned(), text.to_string())
}

fn parse_call(call: scheduler::Call) -> Result<Call, FieldError> {
    let kind = Type::try_from(call.r#type.unwrap_or_default()).unwrap_or(Type::Unknown);
    Ok(match kind {
        Type::Subscribe => {
            let subscribe = call.subscribe.map(|one| *one).unwrap_or_default();
            refuse_constraints("subscribe", subscribe.offer_constraints.as_ref())?;
            let (info, suppressed) = (subscribe.framework_info, subscribe.suppressed_roles);
            let instance = subscribe.instance.unwrap_or_default();
            let subscribe = self::subscribe(info, suppressed, "subscribe")?;
            Call::Subscribe(Box::new(Subscribe { instance: copy(&instance), ..subscribe }))
        }
        Type::UpdateFramework => {
            let update = call.update_framework.map(|one| *one).unwrap_or_default();
            refuse_constraints("update_framework", update.offer_constraints.as_ref())?;
            let (info, suppressed) = (update.framework_info, update.suppressed_roles);
            Call::UpdateFramework(Box::new(self::subscribe(info, suppressed, "update_framework")?))
        }
        Type::Teardown => Call::Teardown,
        Type::Accept => {
            let accept = call.accept.map(|one| *one).unwrap_or_default();
            Call::Accept(Box::new(self::accept(accept, &call.framework_id.unwrap_or_default())))
        }
        Type::Decline => {
            let decline = call.decline.unwrap_or_default();
            let refuse = refuse_duration(decline.filters.as_ref());
            Call::Decline { offers: decline.offer_ids.into_iter().map(|id| id.value).collect(), refuse }
        }
        Type::Revive => Call::Revive { roles: call.revive.unwrap_or_default().roles },
        Type::Suppress => Call::Suppress { roles: call.suppress.unwrap_or_default().roles },
        Type::Request => {
            let list: Vec<v1::Resource> =
                call.request.unwrap_or_default().requests.into_iter().flat_map(|one| one.resources).collect();
            let resources =
                Resources::from_proto(&list).map_err(|error| field_error("request.requests.resources", &error))?;
            Call::Request { resources }
        }
        Type::Kill => {
            let kill = call.kill.unwrap_or_default();
            let agent = kill.agent_id.map(|id| id.value).filter(|id| !id.is_empty());
            Call::Kill { task: kill.task_id.value, agent, policy: kill.kill_policy }
        }
        Type::Acknowledge => {
            let acknowledge = call.acknowledge.unwrap_or_default();
            Call::Acknowledge {
                agent: acknowledge.agent_id.value,
                task: acknowledge.task_id.value,
                uuid: acknowledge.uuid,
            }
        }
        Type::Reconcile => {
            let tasks = call.reconcile.unwrap_or_default().tasks.into_iter();
            Call::Reconcile { tasks: tasks.map(reconcile_task).collect() }
        }
        Type::Message => {
            let message = call.message.unwrap_or_default();
            Call::Message { agent: message.agent_id.value, executor: message.executor_id.value, data: message.data }
        }
        Type::Unknown
        | Type::AcceptInverseOffers
        | Type::DeclineInverseOffers
        | Type::Shutdown
        | Type::AcknowledgeOperationStatus
        | Type::ReconcileOperations => {
            return Err(field_error("type", &format!("{} is not served by this master", kind.as_str_name())));
        }
    })
}

/// Refuses offer constraints: if they were ignored, the framework would receive offers that it excluded.
fn refuse_constraints(path: &str, constraints: Option<&scheduler::OfferConstraints>) -> Result<(), FieldError> {
    if constraints.is_none_or(|constraints| constraints.role_constraints.is_empty()) {
        return Ok(());
    }
    let text = "is not served by this master; leave it out and decline offers of agents that do not fit";
    Err(field_error(&format!("{path}.offer_constraints"), &text))
}

/// Copies bytes out of a message: they are a slice of its receive buffer and would keep all of that in memory.
fn copy(bytes: &Bytes) -> Bytes {
    Bytes::copy_from_slice(bytes)
}

fn reconcile_task(task: scheduler::call::reconcile::Task) -> ReconcileTask {
    ReconcileTask {
        task: task.task_id.value,
        agent: task.agent_id.map(|id| id.value),
        lost_after: task.partition_policy.and_then(|policy| policy.lost_after()),
    }
}

/// Parses a framework's info, or returns what is wrong with it.
fn subscribe(info: v1::FrameworkInfo, suppressed: Vec<String>, path: &str) -> Result<Subscribe, FieldError> {
    validate::subscription(&info, &suppressed, None)
        .map_err(|invalid| invalid.under(path))
        .map_err(|invalid| (invalid.field, invalid.text))?;
    let facts = facts(&info);
    Ok(Subscribe { info, facts, suppressed, instance: Bytes::new() })
}

fn facts(info: &v1::FrameworkInfo) -> FrameworkFacts {
    FrameworkFacts {
        name: info.name.clone(),
        user: info.user.clone(),
        principal: info.principal.clone(),
        roles: info.all_roles().into_iter().map(Arc::from).collect(),
        failover: info.failover_duration().unwrap_or(Duration::ZERO),
        partition_aware: info.has(Capability::PartitionAware),
        multi_role: info.has(Capability::MultiRole),
        refinement: info.has(Capability::ReservationRefinement),
        revocable: info.has(Capability::RevocableResources),
        shared: info.has(Capability::SharedResources),
        gpus: info.has(Capability::GpuResources),
        minimum: info.offer_filters.iter().filter_map(|(role, filters)| minimum(role, filters)).collect(),
    }
}

fn minimum(role: &str, filters: &v1::OfferFilters) -> Option<(Arc<str>, Vec<Quantities>)> {
    let bundles = filters.min_allocatable_resources.as_ref()?.quantities.iter().map(|bundle| {
        let named = bundle.quantities.iter();
        named
            .map(|(name, amount)| (Arc::from(name.as_str()), Milli::from_f64(amount.value).unwrap_or_default()))
            .collect()
    });
    Some((role.into(), bundles.collect()))
}

fn accept(accept: scheduler::call::Accept, framework: &v1::FrameworkId) -> Accept {
    Accept {
        refuse: refuse_duration(accept.filters.as_ref()),
        offers: accept.offer_ids.into_iter().map(|id| id.value).collect(),
        operations: accept.operations.into_iter().map(|one| operation(one, framework)).collect(),
    }
}

fn operation(operation: v1::offer::Operation, framework: &v1::FrameworkId) -> Operation {
    let id = operation.id.map(|id| id.value);
    let kind = OperationType::try_from(operation.r#type.unwrap_or_default()).unwrap_or(OperationType::Unknown);
    if kind == OperationType::Launch {
        let tasks = operation.launch.map(|launch| launch.task_infos).unwrap_or_default();
        let forbidden = id.is_some().then(|| "the 'id' field cannot be set on a LAUNCH operation".to_owned());
        return Operation::Launch(tasks.into_iter().map(|task| launch(&task, framework, forbidden.as_ref())).collect());
    }
    let name = kind.as_str_name().to_lowercase();
    let text = format!("{} is not served by this master", kind.as_str_name());
    let group = operation.launch_group.map(|group| group.task_group.tasks).unwrap_or_default();
    let tasks = group.into_iter().map(|task| launch(&task, framework, Some(&text))).collect();
    Operation::Unsupported { name, id, text, tasks }
}

/// Parses a task to launch. The core checks what depends on the cluster's state: its id, agent and resources.
fn launch(task: &v1::TaskInfo, framework: &v1::FrameworkId, forbidden: Option<&String>) -> Launch {
    let context = LaunchContext { framework_id: framework, agent_id: &task.agent_id, agent_has_limits: false };
    let needs = match forbidden {
        Some(text) => Err(text.clone()),
        None => validate::task(task, &context).map_err(|invalid| invalid.to_string()),
    };
    let (resources, invalid) = match needs {
        Ok(needs) => (needs.task, needs.executor.map(|_| EXECUTORS.to_owned())),
        Err(text) => (Resources::default(), Some(text)),
    };
    Launch {
        id: task.task_id.value.clone(),
        agent: task.agent_id.value.clone(),
        resources,
        info: task.encode_to_vec().into(),
        partition: Partition::of(task),
        invalid,
    }
}

/// The error for a task with an executor.
const EXECUTORS: &str = "executor: agents of this version run commands only; give the task a command instead";

/// Parses an agent's message.
pub(crate) fn report(message: internal::AgentMessage, peer: &str) -> Report {
    let Some(kind) = message.kind else { return Report::Invalid { text: "an empty message".to_owned() } };
    let outcome = match kind {
        Kind::Register(register) => {
            self::register(*register, peer).map(|register| Report::Register(Box::new(register)))
        }
        Kind::Update(update) => self::update(*update).map(|update| Report::Updated(Box::new(update))),
        Kind::Pong(_) => Ok(Report::Ponged),
        Kind::Unregister(_) => Ok(Report::Unregistered),
        Kind::OrphanGone(gone) => id("orphan_gone.container_id", &gone.container_id)
            .map(|()| Report::OrphanGone { container: gone.container_id.as_str().into() }),
        Kind::Message(message) => self::message(message),
    };
    outcome.unwrap_or_else(|text| Report::Invalid { text })
}

fn register(register: internal::Register, peer: &str) -> Result<Register, String> {
    let versions = register.versions.ok_or("register.versions: missing")?;
    let version = crate::master::core::common_version(versions.min, versions.max)?;
    let info = register.info.ok_or("register.info: missing")?;
    let total = validate::agent_info(&info).map_err(|invalid| invalid.under("register.info").to_string())?;
    let port = u16::try_from(info.port()).map_err(|error| format!("register.info.port: {}: {error}", info.port()))?;
    bounded("register.divvy_version", "bytes", register.divvy_version.len(), NAME_BYTES)?;
    bounded("register.installation", "bytes", register.installation.len(), INSTANCE_BYTES)?;
    bounded("register.instance", "bytes", register.instance.len(), INSTANCE_BYTES)?;
    bounded("register.frameworks", "frameworks", register.frameworks.len(), AGENT_FRAMEWORKS)?;
    bounded("register.tasks", "tasks", register.tasks.len(), AGENT_TASKS)?;
    bounded("register.orphans", "containers", register.orphans.len(), AGENT_TASKS)?;
    let frameworks = register.frameworks.into_iter().enumerate().map(framework).collect::<Result<Vec<_>, String>>()?;
    let tasks = register.tasks.into_iter().map(task).collect::<Result<Vec<_>, String>>()?;
    let orphans = register.orphans.into_iter().map(task).collect::<Result<Vec<_>, String>>()?;
    check_task_frameworks(&tasks, &frameworks)?;
    Ok(Register {
        version,
        id: info.id.as_ref().map(|id| id.value.clone()).filter(|id| !id.is_empty()),
        installation: copy(&register.installation),
        instance: copy(&register.instance),
        facts: AgentFacts {
            hostname: info.hostname.clone(),
            address: peer.to_owned(),
            port,
            attributes: info.attributes.clone(),
            domain: info.domain.clone(),
            version: register.divvy_version,
        },
        total,
        info,
        epoch: register.epoch,
        tasks,
        orphans,
        frameworks,
    })
}

/// Checks that the registration describes the framework of every live task: otherwise the task's resources would be
/// offered again. Ended tasks need none: a task that never reached the agent may end before its framework is described
/// there.
fn check_task_frameworks(tasks: &[ReportedTask], frameworks: &[Subscribe]) -> Result<(), String> {
    let named: HashSet<&str> = frameworks.iter().filter_map(|one| Some(one.info.id.as_ref()?.value.as_str())).collect();
    match tasks.iter().find(|task| !task.state.is_terminal() && !named.contains(task.framework.as_str())) {
        Some(task) => {
            let (framework, id) = (quoted(&task.framework), quoted(&task.id));
            Err(format!("register.frameworks: {framework} of task {id} is missing"))
        }
        None => Ok(()),
    }
}

/// Parses a framework of an agent's tasks. A master with other limits may have accepted it, so only what the core
/// cannot handle is refused.
fn framework((number, info): (usize, v1::FrameworkInfo)) -> Result<Subscribe, String> {
    validate::framework_info(&info)
        .map_err(|invalid| invalid.under(&format!("register.frameworks[{number}]")).to_string())?;
    let facts = facts(&info);
    Ok(Subscribe { info, facts, suppressed: Vec::new(), instance: Bytes::new() })
}

/// Parses a message from an executor to its framework.
fn message(message: internal::FrameworkMessage) -> Result<Report, String> {
    id("message.framework_id", &message.framework_id)?;
    id("message.executor_id", &message.executor_id)?;
    bounded("message.data", "bytes", message.data.len(), DATA_BYTES)?;
    Ok(Report::Sent { framework: message.framework_id, executor: message.executor_id, data: message.data })
}

fn id(field: &str, id: &str) -> Result<(), String> {
    bounded(field, "bytes", id.len(), ID_BYTES)
}

fn bounded(field: &str, unit: &str, given: usize, most: usize) -> Result<(), String> {
    validate::bounded(field, unit, given, most).map_err(|invalid| invalid.to_string())
}

fn task(task: internal::AgentTask) -> Result<ReportedTask, String> {
    let info = v1::TaskInfo::decode(task.task_info.clone()).map_err(|error| format!("register.tasks: {error}"))?;
    let partition = Partition::of(&info);
    let id = info.task_id.value;
    self::id("register.tasks.task_id", &id)?;
    self::id("register.tasks.framework_id", &task.framework_id)?;
    self::id("register.tasks.container_id", &task.container_id)?;
    let shown = quoted(&id);
    let resources =
        Resources::from_proto(&info.resources).map_err(|error| format!("register.tasks: {shown}: resources{error}"))?;
    let state = v1::TaskState::try_from(task.state)
        .map_err(|_unknown| format!("register.tasks: {shown}: {} is no task state", task.state))?;
    let allocated = info.resources.iter().find_map(|one| one.allocation_info.as_ref()?.role.clone());
    let unacknowledged = task.unacknowledged.and_then(|state| v1::TaskState::try_from(state).ok());
    Ok(ReportedTask {
        framework: task.framework_id,
        id,
        container: task.container_id.as_str().into(),
        info: (*task.task_info).into(),
        resources,
        role: allocated.as_deref().unwrap_or("*").into(),
        state,
        unacknowledged,
        partition,
    })
}

fn update(update: internal::Update) -> Result<Update, String> {
    let mut status = update.status.ok_or("update.status: missing")?;
    validate::task_status(&status).map_err(|invalid| invalid.under("update.status").to_string())?;
    id("update.framework_id", &update.framework_id)?;
    id("update.container_id", &update.container_id)?;
    let id = &status.task_id.value;
    let state = v1::TaskState::try_from(status.state)
        .map_err(|_unknown| format!("update.status.state: {id}: {} is no task state", status.state))?;
    let latest = v1::TaskState::try_from(update.latest_state)
        .map_err(|_unknown| format!("update.latest_state: {id}: {} is no task state", update.latest_state))?;
    if status.uuid.as_ref().is_none_or(Bytes::is_empty) {
        return Err(format!("update.status.uuid: {id}: missing"));
    }
    status.uuid = status.uuid.as_ref().map(copy);
    status.data = status.data.as_ref().map(copy);
    Ok(Update {
        framework: update.framework_id,
        container: update.container_id.as_str().into(),
        state,
        latest,
        status: Arc::new(status),
    })
}

#[cfg(test)]
#[path = "intake_tests.rs"]
mod tests;
