//! Messages on a byte stream, each preceded by its length in bytes (32 bits, big end first).
//!
//! Used by both ends, blocking and not, so it works on buffers alone. A length over the limit is refused before
//! anything is stored for it.

use bytes::{Buf as _, BufMut as _, BytesMut};
use prost::Message;

/// The largest message, in bytes: whatever reached the agent can be passed on.
const MAX_BYTES: usize = 2 * crate::transport::MAX_MESSAGE_BYTES;
const HEADER: usize = 4;

/// Why a stream cannot be read on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FrameError {
    #[error("a message of {0} bytes, where the limit is {MAX_BYTES}")]
    TooLong(usize),
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
pub(crate) fn take<M: Message + Default>(buffer: &mut BytesMut) -> Result<Option<M>, FrameError> {
    let Some(header) = buffer.first_chunk::<HEADER>() else { return Ok(None) };
    let length = usize::try_from(u32::from_be_bytes(*header)).unwrap_or(usize::MAX);
    if length > MAX_BYTES {
        return Err(FrameError::TooLong(length));
    }
    if buffer.len() < HEADER + length {
        buffer.reserve(HEADER + length - buffer.len());
        return Ok(None);
    }
    buffer.advance(HEADER);
    Ok(Some(M::decode(buffer.split_to(length))?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::internal::Forget;

    #[test]
    fn messages_come_out_as_they_went_in_however_the_bytes_are_cut() {
        let sent = ["a", "", "longer"].map(|id| Forget { container_id: id.to_owned() });
        let mut wire = BytesMut::new();
        for message in &sent {
            put(message, &mut wire).unwrap();
        }
        let (mut buffer, mut received) = (BytesMut::new(), Vec::new());
        for byte in wire {
            buffer.put_u8(byte);
            received.extend(take::<Forget>(&mut buffer).unwrap());
        }
        assert_eq!(received, sent);
        assert!(buffer.is_empty());
    }

    #[test]
    fn a_length_over_the_limit_is_refused_before_its_bytes_arrive() {
        let mut buffer = BytesMut::from(&[0xff, 0xff, 0xff, 0xff][..]);
        assert!(matches!(take::<Forget>(&mut buffer), Err(FrameError::TooLong(0xffff_ffff))));
    }

    #[test]
    fn bytes_that_are_no_message_are_an_error() {
        let mut buffer = BytesMut::from(&[0, 0, 0, 2, 0xff, 0xff][..]);
        assert!(matches!(take::<Forget>(&mut buffer), Err(FrameError::Malformed(_))));
    }
}
