//! Message transport: the clock, gRPC channels, the accept loop, batches, outboxes and backoff.
//!
//! Everything here is mechanism; the cores decide what a message means. Every wait has a timeout and every queue a
//! bound.

pub mod backoff;
pub mod batch;
pub mod clock;
pub mod connect;
#[cfg(any(feature = "master", feature = "agent"))]
#[cfg_attr(
    not(all(feature = "master", feature = "agent")),
    allow(dead_code, unused_imports, reason = "master and agent each use a part of it")
)]
pub(crate) mod outbox;
#[cfg(feature = "server")]
pub mod serve;

/// The largest message that either end accepts, in bytes. A larger one is refused before it is read in full.
pub const MAX_MESSAGE_BYTES: usize = crate::types::limits::MESSAGE_BYTES;
/// The largest message between an agent and a master, in bytes: a registration is one message.
pub const MAX_REGISTRATION_BYTES: usize = crate::types::limits::REGISTRATION_BYTES;
/// The largest reply to an operator's call that the caller accepts, in bytes: a whole state is one message.
pub const MAX_REPLY_BYTES: usize = 1 << 30;
/// Idle time after which a connection sends a keep-alive ping, in seconds.
pub const KEEP_ALIVE_SECS: u64 = 10;
/// How long the peer may take to answer a keep-alive ping, in seconds. A busy peer that reads nothing meanwhile is not
/// dead.
pub const KEEP_ALIVE_TIMEOUT_SECS: u64 = 65;
/// HTTP/2 window of one stream, in bytes: a batch of offers or statuses passes without waiting for the reader.
pub const STREAM_WINDOW_BYTES: u32 = 4 << 20;
/// HTTP/2 window of a connection, in bytes.
pub const CONNECTION_WINDOW_BYTES: u32 = 8 << 20;
