//! Messages on a byte stream, each preceded by its length in bytes (32 bits, big end first).
//!
//! Both ends use it, blocking and not, so it works on buffers alone. A length over the limit is rejected before memory
//! is allocated for it, memory is allocated only for what has arrived, and a message is measured before it is decoded.

use bytes::{Buf as _, BufMut as _, BytesMut};
use prost::Message;

use crate::types::limits::REGISTRATION_BYTES;
use crate::types::wire::{Refused, Shaped, measure};

/// The largest message, in bytes: a `Welcome` names all containers.
const MAX_BYTES: usize = REGISTRATION_BYTES;
const HEADER: usize = 4;

/// Why a stream cannot be read on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FrameError {
    #[error("a message of {0} bytes, where the limit is {MAX_BYTES}")]
    TooLong(usize),
    #[error("a message that is refused: {0}")]
    Refused(#[from] Refused),
    #[error("a message that does not decode: {0}")]
    Malformed(#[from] prost::DecodeError),
}

/// Appends `message` to `buffer`.
///
/// # Errors
/// A message over the limit; `buffer` is as before.
pub(crate) fn put(message: &impl Message, buffer: &mut BytesMut) -> Result<(), FrameError> {
    let length = message.encoded_len();
    let header = u32::try_from(length).ok().filter(|_| length <= MAX_BYTES).ok_or(FrameError::TooLong(length))?;
    buffer.reserve(HEADER + length);
    buffer.put_u32(header);
    message.encode_raw(buffer);
    Ok(())
}

/// Takes the first message off `buffer`, if it is whole.
///
/// # Errors
/// A message over the limit, or one that does not decode.
pub(crate) fn take<M: Message + Shaped + Default>(buffer: &mut BytesMut) -> Result<Option<M>, FrameError> {
    let Some(header) = buffer.first_chunk::<HEADER>() else { return Ok(None) };
    let length = usize::try_from(u32::from_be_bytes(*header)).unwrap_or(usize::MAX);
    if length > MAX_BYTES {
        return Err(FrameError::TooLong(length));
    }
    if buffer.len() < HEADER + length {
        return Ok(None);
    }
    buffer.advance(HEADER);
    let message = buffer.split_to(length);
    measure::<M>(&message)?;
    Ok(Some(M::decode(message)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::internal::{Forget, SupervisorRequest, supervisor_request::Kind};

    #[test]
    fn messages_come_out_as_they_went_in_however_the_bytes_are_cut() {
        let forget = |id: &str| Kind::Forget(Forget { container_id: id.to_owned() });
        let sent = ["a", "", "longer"].map(|id| SupervisorRequest { kind: Some(forget(id)) });
        let mut wire = BytesMut::new();
        for message in &sent {
            put(message, &mut wire).unwrap();
        }
        let (mut buffer, mut received) = (BytesMut::new(), Vec::new());
        for byte in wire {
            buffer.put_u8(byte);
            received.extend(take::<SupervisorRequest>(&mut buffer).unwrap());
        }
        assert_eq!(received, sent);
        assert!(buffer.is_empty());
    }

    #[test]
    fn a_length_over_the_limit_is_refused_before_its_bytes_arrive() {
        let mut buffer = BytesMut::from(&[0xff, 0xff, 0xff, 0xff][..]);
        assert!(matches!(take::<SupervisorRequest>(&mut buffer), Err(FrameError::TooLong(0xffff_ffff))));
    }

    #[test]
    fn bytes_that_are_no_message_are_an_error() {
        let mut buffer = BytesMut::from(&[0, 0, 0, 2, 0xff, 0xff][..]);
        assert!(matches!(take::<SupervisorRequest>(&mut buffer), Err(FrameError::Refused(_))));
        let mut buffer = BytesMut::from(&[0, 0, 0, 2, 0x0a, 0x01][..]);
        assert!(matches!(take::<SupervisorRequest>(&mut buffer), Err(FrameError::Refused(_))));
    }

    #[test]
    fn a_length_alone_makes_no_room() {
        let mut buffer = BytesMut::from(&[1, 0, 0, 0][..]);
        assert!(matches!(take::<SupervisorRequest>(&mut buffer), Ok(None)));
        assert!(buffer.capacity() < 1 << 10, "{}", buffer.capacity());
    }
}
