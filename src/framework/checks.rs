//! Validation of a call before it is queued: the rules that need no state of the master.

use std::collections::BTreeSet;

use prost::Message as _;

use super::core::Request;
use crate::{
    proto::ext::Calls,
    proto::v1::{TaskInfo, offer::Operation, scheduler},
    types::{
        Resources,
        limits::{DATA_BYTES, MESSAGE_BYTES, OFFERS_PER_CALL, OPERATIONS_PER_ACCEPT, TASK_BYTES, TASKS_PER_ACCEPT},
        quoted,
        validate::{Invalid, bounded},
        validate_id,
        wire::measure,
    },
};

/// The largest call, in bytes. It is smaller than the largest message, which also has the header of the frame.
const MAX_CALL_BYTES: usize = MESSAGE_BYTES - (1 << 10);
/// A smaller call never has more elements than a message may have.
const UNCOUNTED_BYTES: usize = 128 << 10;

/// Checks a call.
///
/// # Errors
/// The first field that breaks a rule, by its path in the Mesos call it becomes.
pub(super) fn check(request: &Request) -> Result<(), Invalid> {
    match request {
        Request::Accept { offer_ids, operations, .. } => {
            some("accept.offer_ids", offer_ids.len())?;
            bounded("accept.offer_ids", "offers", offer_ids.len(), OFFERS_PER_CALL)?;
            check_operations(operations)
        }
        Request::Decline { offer_ids, .. } => {
            some("decline.offer_ids", offer_ids.len())?;
            bounded("decline.offer_ids", "offers", offer_ids.len(), OFFERS_PER_CALL)
        }
        Request::Kill { task_id, .. } => id("kill.task_id", "task id", &task_id.value),
        Request::Reconcile { tasks } => tasks.iter().enumerate().try_for_each(|(index, (task_id, _))| {
            id(&format!("reconcile.tasks[{index}].task_id"), "task id", &task_id.value)
        }),
        Request::Message { agent_id, executor_id, data } => {
            id("message.agent_id", "agent id", &agent_id.value)?;
            id("message.executor_id", "executor id", &executor_id.value)?;
            bounded("message.data", "bytes", data.len(), DATA_BYTES)
        }
        Request::Acknowledge { task_id, agent_id, .. } => {
            id("acknowledge.task_id", "task id", &task_id.value)?;
            id("acknowledge.agent_id", "agent id", &agent_id.value)
        }
        Request::Demand { requests } => requests.iter().enumerate().try_for_each(|(index, request)| {
            let field = format!("request.requests[{index}].resources");
            Resources::from_proto(&request.resources).map_err(|error| Invalid::new(field, error.to_string()))?;
            Ok(())
        }),
        Request::Revive { .. } | Request::Suppress { .. } | Request::Stop(_) => Ok(()),
    }
}

fn check_operations(operations: &[Operation]) -> Result<(), Invalid> {
    let mut task_ids = BTreeSet::new();
    let mut bytes = 0;
    bounded("accept.operations", "operations", operations.len(), OPERATIONS_PER_ACCEPT)?;
    for (index, operation) in operations.iter().enumerate() {
        bytes += operation.encoded_len();
        fits("accept.operations", bytes)?;
        let within = format!("accept.operations[{index}]");
        if let Some(launch) = &operation.launch {
            for (index, task) in launch.task_infos.iter().enumerate() {
                let field = format!("{within}.launch.task_infos[{index}]");
                check_task(task, &field, &mut task_ids)?;
                check_runnable(task, &field)?;
            }
        }
        if let Some(group) = &operation.launch_group {
            for (index, task) in group.task_group.tasks.iter().enumerate() {
                check_task(task, &format!("{within}.launch_group.task_group.tasks[{index}]"), &mut task_ids)?;
            }
        }
    }
    bounded("accept.operations", "tasks", task_ids.len(), TASKS_PER_ACCEPT)?;
    countable("accept.operations", operations, bytes)
}

/// Refuses a call that the master would refuse for its decoded size, so that the caller receives the error.
fn countable(field: &str, operations: &[Operation], bytes: usize) -> Result<(), Invalid> {
    if bytes <= UNCOUNTED_BYTES {
        return Ok(());
    }
    let accept = scheduler::call::Accept { operations: operations.to_vec(), ..scheduler::call::Accept::default() };
    let calls = vec![scheduler::Call { accept: Some(Box::new(accept)), ..scheduler::Call::default() }];
    let frame = Calls { calls, ..Calls::default() }.encode_to_vec();
    let size = measure::<Calls>(&frame).map_err(|refused| Invalid::new(field, refused.to_string()))?;
    tracing::trace!(bytes, ?size, "a large call");
    Ok(())
}

fn check_task<'a>(task: &'a TaskInfo, field: &str, seen: &mut BTreeSet<&'a str>) -> Result<(), Invalid> {
    id(&format!("{field}.task_id"), "task id", &task.task_id.value)?;
    bounded(field, "bytes", task.encoded_len(), TASK_BYTES)?;
    if !seen.insert(&task.task_id.value) {
        let text = format!("task id `{}` is given to two tasks of one call", quoted(&task.task_id));
        return Err(Invalid::new(format!("{field}.task_id"), text));
    }
    match Resources::from_proto(&task.resources) {
        Ok(_) => Ok(()),
        Err(error) => Err(Invalid::new(format!("{field}.resources"), error.to_string())),
    }
}

fn check_runnable(task: &TaskInfo, field: &str) -> Result<(), Invalid> {
    match (&task.command, &task.executor) {
        (Some(_), Some(_)) => Err(Invalid::new(field, "has both a command and an executor; a task has one of them")),
        (None, None) => Err(Invalid::new(field, "has neither a command nor an executor")),
        (Some(_), None) | (None, Some(_)) => Ok(()),
    }
}

fn id(field: &str, kind: &'static str, value: &str) -> Result<(), Invalid> {
    validate_id(kind, value).map_err(|error| Invalid::new(field, error.to_string()))
}

fn some(field: &str, count: usize) -> Result<(), Invalid> {
    if count == 0 { Err(Invalid::new(field, "names nothing")) } else { Ok(()) }
}

fn fits(field: &str, bytes: usize) -> Result<(), Invalid> {
    if bytes <= MAX_CALL_BYTES {
        return Ok(());
    }
    Err(Invalid::new(field, format!("is larger than {MAX_CALL_BYTES} bytes; make several calls of it")))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::proto::v1::{self, OfferId, TaskId};

    fn field_of(tasks: Vec<TaskInfo>) -> String {
        let launch = Some(v1::offer::operation::Launch { task_infos: tasks });
        let operations = vec![Operation { launch, ..Operation::default() }];
        let request = Request::Accept { offer_ids: vec![OfferId::from("O1")], operations, filters: None };
        check(&request).map_or_else(|invalid| invalid.field, |()| String::new())
    }

    #[test]
    fn an_invalid_task_is_refused_by_field() {
        let good = || TaskInfo::shell("a", "true").with_id("a");
        let path = "accept.operations[0].launch.task_infos";
        assert_eq!(field_of(vec![good()]), "");
        assert_eq!(field_of(vec![good(), good()]), format!("{path}[1].task_id"));
        assert_eq!(field_of(vec![good().with_id("a/b")]), format!("{path}[0].task_id"));
        assert_eq!(field_of(vec![TaskInfo { command: None, ..good() }]), format!("{path}[0]"));
        let negative = v1::Resource { name: "cpus".into(), ..v1::Resource::default() };
        assert_eq!(field_of(vec![TaskInfo { resources: vec![negative], ..good() }]), format!("{path}[0].resources"));
    }

    #[test]
    fn a_call_that_fits_no_frame_is_refused() {
        let (agent_id, executor_id) = (v1::AgentId::from("S1"), v1::ExecutorId::from("E1"));
        let data = Bytes::from(vec![0; DATA_BYTES + 1]);
        let invalid = check(&Request::Message { agent_id, executor_id, data }).expect_err("too large");
        assert_eq!(invalid.field, "message.data");
    }

    #[test]
    fn a_launch_that_is_too_large_is_refused_with_its_size_and_the_limit() {
        let check_tasks = |tasks: Vec<TaskInfo>| {
            let launch = Some(v1::offer::operation::Launch { task_infos: tasks });
            let operations = vec![Operation { launch, ..Operation::default() }];
            let request = Request::Accept { offer_ids: vec![OfferId::from("O1")], operations, filters: None };
            check(&request).map_err(|invalid| invalid.to_string())
        };
        let task = |number: usize, bytes: usize| TaskInfo {
            data: Some(Bytes::from(vec![0; bytes])),
            ..TaskInfo::shell("a", "true").with_id(number.to_string())
        };
        let tasks = |count: usize, bytes: usize| (0..count).map(|number| task(number, bytes)).collect();
        assert_eq!(check_tasks(tasks(TASKS_PER_ACCEPT, 0)), Ok(()));
        let many = check_tasks(tasks(TASKS_PER_ACCEPT + 1, 0)).expect_err("too many");
        assert_eq!(many, "accept.operations: has 4097 tasks; at most 4096 are accepted");
        let large = check_tasks(tasks(1, TASK_BYTES)).expect_err("too large");
        assert!(large.starts_with("accept.operations[0].launch.task_infos[0]: has 10486"), "{large}");
        assert_eq!(check_tasks(tasks(4, TASK_BYTES - (1 << 10))), Ok(()));
        let together = check_tasks(tasks(5, TASK_BYTES - (1 << 10))).expect_err("too large together");
        assert!(together.starts_with("accept.operations: is larger than 4193280 bytes"), "{together}");
    }

    #[test]
    fn a_launch_of_too_many_elements_is_refused_before_a_master_refuses_it() {
        let variables = vec![v1::environment::Variable::default(); 4_000];
        let mut task = TaskInfo::shell("a", "true").with_id("a");
        task.command.as_mut().expect("a command").environment = Some(v1::Environment { variables });
        let tasks = (0..20).map(|number| task.clone().with_id(number.to_string())).collect();
        let launch = Some(v1::offer::operation::Launch { task_infos: tasks });
        let operations = vec![Operation { launch, ..Operation::default() }];
        let request = Request::Accept { offer_ids: vec![OfferId::from("O1")], operations, filters: None };
        let invalid = check(&request).expect_err("too many elements");
        assert!(invalid.to_string().contains("a message has at most 65536"), "{invalid}");
    }

    #[test]
    fn a_call_without_a_subject_is_refused() {
        let accept = Request::Accept { offer_ids: vec![], operations: vec![], filters: None };
        assert_eq!(check(&accept).expect_err("no offers").field, "accept.offer_ids");
        let kill = Request::Kill { task_id: TaskId::default(), policy: None };
        assert_eq!(check(&kill).expect_err("no task").to_string(), "kill.task_id: task id `` must not be empty");
    }
}
