//! Limits computed from bytes, at the limits and one past them, and bytes that are not a message.

use proptest::prelude::*;
use prost::Message as _;

use super::*;
use crate::proto::v1::{self, TaskInfo, offer::Operation, scheduler::Call};
use crate::proto::{ext::Calls, internal::AgentFrame};

fn measured(message: &Calls) -> Result<Size, String> {
    measure::<Calls>(&message.encode_to_vec()).map_err(|refused| refused.to_string())
}

fn launching(tasks: Vec<TaskInfo>) -> Calls {
    let launch = Some(v1::offer::operation::Launch { task_infos: tasks });
    let operations = vec![Operation { launch, ..Operation::default() }];
    let accept = v1::scheduler::call::Accept { operations, ..Default::default() };
    Calls { calls: vec![Call { accept: Some(Box::new(accept)), ..Call::default() }], ..Calls::default() }
}

#[test]
fn a_message_has_so_many_elements_and_one_more_is_refused_with_its_field() {
    let naming = |roles: usize| {
        let suppress = Some(v1::scheduler::call::Suppress { roles: vec![String::new(); roles] });
        let calls = vec![Call { suppress, ..Call::default() }];
        measured(&Calls { calls, ..Calls::default() }).map(|size| size.elements)
    };
    // The call and its body are two.
    assert_eq!(naming(MESSAGE_ELEMENTS - 2), Ok(MESSAGE_ELEMENTS));
    let refused = "calls.suppress.roles: is element number 65537; a message has at most 65536";
    assert_eq!(naming(MESSAGE_ELEMENTS - 1), Err(refused.to_owned()));
}

#[test]
fn two_million_empty_calls_are_refused_for_the_memory_they_would_take() {
    let refused = measure::<Calls>(&[0x1a, 0].repeat(2_000_000)).unwrap_err();
    assert!(refused.is_too_large());
    assert!(refused.to_string().starts_with("calls: would take more than 25165824 bytes of memory"), "{refused}");
}

#[test]
fn the_elements_of_a_call_are_counted_where_they_are() {
    // The call, its accept, its operation, the launch; the task and its two ids.
    let one = measured(&launching(vec![TaskInfo::default()])).unwrap();
    assert_eq!(one.elements, 4 + 3);
    let ports: crate::types::Resources = "ports:[1-2,4-5,7-8]".parse().unwrap();
    let with_ports = measured(&launching(vec![TaskInfo::default().with_resources(&ports)])).unwrap();
    assert_eq!(with_ports.elements, one.elements + 5, "the item, its ranges, and three of them");
    let commanded = TaskInfo { command: Some(Box::new(v1::CommandInfo::exec("a", ["b", "c"]))), ..TaskInfo::default() };
    assert_eq!(
        measured(&launching(vec![commanded])).unwrap().elements,
        one.elements + 4,
        "the command and its arguments"
    );
    let limits = [("cpus".to_owned(), v1::value::Scalar { value: 1.0 })].into();
    let limited = TaskInfo { limits, ..TaskInfo::default() };
    assert_eq!(measured(&launching(vec![limited])).unwrap().elements, one.elements + 2, "the entry and its value");
}

#[test]
fn memory_is_counted_by_the_size_of_what_is_decoded() {
    let count = MESSAGE_ELEMENTS / 4;
    let size = measured(&launching(vec![TaskInfo::default(); count])).unwrap();
    assert!(size.memory > count * size_of::<TaskInfo>(), "{size:?}");
}

#[test]
fn a_message_has_so_many_bytes() {
    // Of a field that is not known.
    let of = |bytes: usize| {
        let mut message = vec![0xf2, 0x3f];
        prost::encoding::encode_varint((bytes - 6) as u64, &mut message);
        message.resize(bytes, 0);
        measure::<Calls>(&message).map(|size| size.elements).map_err(|refused| refused.to_string())
    };
    assert_eq!(of(MESSAGE_BYTES), Ok(0));
    assert_eq!(of(MESSAGE_BYTES + 1), Err("the message has 4194305 bytes; a message has at most 4194304".to_owned()));
}

#[test]
fn submessages_lie_so_deep_and_no_deeper() {
    let nested = |depth: usize| {
        let mut id = v1::ContainerId::from("c");
        (1..depth).for_each(|_| id = v1::ContainerId { value: "c".to_owned(), parent: Some(Box::new(id.clone())) });
        let status = v1::TaskStatus {
            container_status: Some(Box::new(v1::ContainerStatus { container_id: Some(id), ..Default::default() })),
            ..v1::TaskStatus::default()
        };
        let update = crate::proto::internal::Update { status: Some(status), ..Default::default() };
        let kind = Some(crate::proto::internal::agent_message::Kind::Update(Box::new(update)));
        let frame = AgentFrame { messages: vec![crate::proto::internal::AgentMessage { kind }] };
        measure::<AgentFrame>(&frame.encode_to_vec()).map(|size| size.elements).map_err(|refused| refused.to_string())
    };
    // The message, the update, the status, the container's status; and the status has a task's id.
    assert_eq!(nested(MESSAGE_DEPTH - 4), Ok(MESSAGE_DEPTH + 1));
    let refused = nested(MESSAGE_DEPTH - 3).unwrap_err();
    assert!(refused.ends_with("parent: lies more than 64 submessages deep"), "{refused}");
    assert!(refused.len() < 200);
}

#[test]
fn bytes_that_are_no_message_are_refused_with_the_reason() {
    let refused = |bytes: &[u8]| measure::<Calls>(bytes).unwrap_err().to_string();
    assert_eq!(refused(&[0x1a, 5, 0]), "the message ends in the midst of a field");
    assert_eq!(refused(&[0xff; 20]), "the message ends in the midst of a field");
    assert_eq!(refused(&[0x1a, 1, 0x0b]), "calls: has a field of wire type 3, which is none");
    assert_eq!(refused(&[0x02, 0]), "the message has a field with the number 0");
    let length = [0x1a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
    assert_eq!(refused(&length), "the message ends in the midst of a field");
}

proptest! {
    #[test]
    fn no_bytes_make_the_walk_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = measure::<Calls>(&bytes);
        let _ = measure::<AgentFrame>(&bytes);
    }

    #[test]
    fn what_is_measured_is_accepted_if_it_decodes(seq in any::<u64>(), names in proptest::collection::vec(".{0,20}", 0..5)) {
        let tasks = names.iter().map(|name| TaskInfo::shell(name.as_str(), "true").with_id("t")).collect();
        let message = Calls { seq, ..launching(tasks) };
        prop_assert!(measured(&message).is_ok());
    }
}
