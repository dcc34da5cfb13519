//! The stream between an agent and a supervisor, from either end: bytes that are split into messages.

use bytes::{Buf as _, BytesMut};
use prost::Message;

use super::{agent, supervisor};
use crate::{
    agent::supervisor::frame,
    proto::internal::{SupervisorEvent, SupervisorRequest},
    types::wire::Shaped,
};

/// Requests of an agent. The first byte is the size of the pieces in which the others arrive.
pub(super) fn to_a_supervisor(bytes: &[u8]) {
    supervisor::handle_requests(messages::<SupervisorRequest>(bytes));
}

/// Events of a supervisor.
pub(super) fn of_a_supervisor(bytes: &[u8]) {
    agent::supervised(messages::<SupervisorEvent>(bytes));
}

/// Decodes the same messages however the bytes are split, and encodes them again.
fn messages<M: Message + Shaped + Default + PartialEq + std::fmt::Debug>(bytes: &[u8]) -> Vec<M> {
    let Some((piece, stream)) = bytes.split_first() else { return Vec::new() };
    let whole = read::<M>(stream, stream.len().max(1));
    let pieces = read::<M>(stream, usize::from(*piece).max(1));
    assert_eq!(pieces, whole, "what arrives in pieces is what was sent");
    let mut again = BytesMut::new();
    for message in &whole {
        frame::put(message, &mut again).expect("what came in is no longer than what may go out");
    }
    assert_eq!(read::<M>(&again, again.remaining().max(1)), whole, "what is passed on is what came in");
    whole
}

/// The messages up to the end of the stream, or to where it cannot be read on.
fn read<M: Message + Shaped + Default>(stream: &[u8], piece: usize) -> Vec<M> {
    let (mut buffer, mut found) = (BytesMut::new(), Vec::new());
    for part in stream.chunks(piece) {
        buffer.extend_from_slice(part);
        loop {
            match frame::take::<M>(&mut buffer) {
                Ok(Some(message)) => found.push(message),
                Ok(None) => break,
                Err(_) => return found,
            }
        }
    }
    found
}
