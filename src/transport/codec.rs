//! How messages become bytes and back on every gRPC stream of ours: protobuf, measured before it is decoded.

use std::marker::PhantomData;

use bytes::Buf as _;
use prost::Message;
use tonic::{
    Status,
    codec::{DecodeBuf, Decoder, EncodeBuf, Encoder},
};

use crate::types::wire::{Shaped, measure};

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
    U: Message + Shaped + Default + Send + 'static,
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
        item.encode(buffer).map_err(|error| Status::internal(error.to_string()))
    }
}

impl<U: Message + Shaped + Default> Decoder for Reader<U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        // The buffer is one piece, as long as the message is.
        let bytes = buffer.copy_to_bytes(buffer.remaining());
        measure::<U>(&bytes).map_err(|refused| Status::invalid_argument(format!("a message is refused: {refused}")))?;
        let decoded = U::decode(bytes);
        decoded.map(Some).map_err(|error| Status::invalid_argument(format!("a message does not decode: {error}")))
    }
}
