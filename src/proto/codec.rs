//! How messages become bytes and back on every gRPC stream of ours: protobuf, measured before it is decoded.

use std::marker::PhantomData;

use bytes::Buf as _;
use prost::Message;
use tonic::{
    Status,
    codec::{BufferSettings, DecodeBuf, Decoder, EncodeBuf, Encoder},
};

/// The room of a stream's buffer before its first message; for each message it gets as much as that takes.
const BUFFER_BYTES: usize = 512;
/// So much is encoded before it is sent, if several messages are ready.
const PIECE_BYTES: usize = 32 << 10;

/// A message whose bytes can be judged before it is decoded.
pub trait Measured {
    /// Whether these bytes may be decoded.
    ///
    /// # Errors
    /// Why not: the field and the limit.
    fn check(bytes: &[u8]) -> Result<(), String>;
}

/// Encodes `T` and decodes `U`. The generated services and clients use it.
#[derive(Debug)]
pub struct Codec<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for Codec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

/// Writes messages.
#[derive(Debug)]
pub struct Writer<T>(PhantomData<T>);

/// Reads messages that stay within the limits.
#[derive(Debug)]
pub struct Reader<U>(PhantomData<U>);

impl<T, U> tonic::codec::Codec for Codec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Measured + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = Writer<T>;
    type Decoder = Reader<U>;

    fn encoder(&mut self) -> Writer<T> {
        Writer(PhantomData)
    }

    fn decoder(&mut self) -> Reader<U> {
        Reader(PhantomData)
    }
}

impl<T: Message> Encoder for Writer<T> {
    type Item = T;
    type Error = Status;

    fn encode(&mut self, item: T, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.reserve(item.encoded_len());
        item.encode(buffer).map_err(|error| Status::internal(error.to_string()))
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::new(BUFFER_BYTES, PIECE_BYTES)
    }
}

impl<U: Message + Measured + Default> Decoder for Reader<U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        // The buffer is one piece, as long as the message is.
        let bytes = buffer.copy_to_bytes(buffer.remaining());
        U::check(&bytes).map_err(|refused| Status::invalid_argument(format!("a message is refused: {refused}")))?;
        let decoded = U::decode(bytes);
        decoded.map(Some).map_err(|error| Status::invalid_argument(format!("a message does not decode: {error}")))
    }

    fn buffer_settings(&self) -> BufferSettings {
        // It takes over the memory of a message's header, once it has none left of its own. Zero would be divided by where
        // messages are compressed.
        BufferSettings::new(1, PIECE_BYTES)
    }
}
