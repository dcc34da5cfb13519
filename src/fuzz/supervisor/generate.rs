//! Generates the requests to a supervisor in a script, and the records of its journal.

use crate::{
    fuzz::script::Script,
    proto::internal::{
        EnvironmentVariable, Exited, Forget, Retire, Signal, Start, Started, SupervisorRecord, SupervisorRequest,
        exited, supervisor_record::Kind as Recorded, supervisor_request::Kind as Asked,
    },
};

pub(super) fn version(script: &mut Script<'_>) -> u32 {
    u32::try_from(script.below(4)).unwrap_or(0)
}

pub(super) fn status(script: &mut Script<'_>) -> exited::Status {
    match script.below(3) {
        0 => exited::Status::Code(0),
        1 => exited::Status::Signal(9),
        _ => exited::Status::Code(3),
    }
}

pub(super) fn request(script: &mut Script<'_>) -> SupervisorRequest {
    let container_id = script.name("c", 4);
    let kind = match script.below(9) {
        0 => return prost::Message::decode(script.raw()).unwrap_or_default(),
        1 => {
            Asked::Signal(Signal { container_id, signal: [0, 9, 15, -1, 99][script.below(5)], tree: script.one_in(2) })
        }
        2 | 3 => Asked::Forget(Forget { container_id }),
        4 if script.one_in(8) => Asked::Retire(Retire {}),
        _ => Asked::Start(start(script, container_id)),
    };
    SupervisorRequest { kind: Some(kind) }
}

pub(super) fn start(script: &mut Script<'_>, container_id: String) -> Start {
    let variable = |name: &str| EnvironmentVariable { name: name.to_owned(), value: "v".to_owned() };
    Start {
        container_id,
        parent_id: script.one_in(3).then(|| script.name("c", 4)),
        program: if script.one_in(16) { String::new() } else { "true".to_owned() },
        working_directory: if script.one_in(16) { "here" } else { "/tmp" }.to_owned(),
        environment: script.one_in(16).then(|| variable("A=B")).into_iter().collect(),
        ..Start::default()
    }
}

/// A record as a journal may hold it.
pub(super) fn record(script: &mut Script<'_>) -> SupervisorRecord {
    let container_id = script.name("c", 4);
    let kind = match script.below(4) {
        0 => Recorded::Starting(container_id),
        1 => Recorded::Started(Started { container_id, pid: 0, start_time: 1 }),
        2 => Recorded::Exited(Exited { container_id, status: Some(status(script)), wall_ns: 1, core_dumped: false }),
        _ => Recorded::Forgotten(container_id),
    };
    SupervisorRecord { kind: Some(kind), ..Default::default() }
}
