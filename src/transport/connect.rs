//! Server addresses in text form, and gRPC channels with keep-alive.
//!
//! A channel detects a dead peer within 75 s even when nothing is sent, stops connecting after five, and
//! sends small messages at once. Retries are up to the caller: see [`super::backoff`].

use std::{error::Error, fmt, io, str::FromStr, time::Duration};

use tonic::transport::{Channel, Endpoint};

use super::{CONNECTION_WINDOW_BYTES, KEEP_ALIVE_SECS, KEEP_ALIVE_TIMEOUT_SECS, STREAM_WINDOW_BYTES};
use crate::types::{HostPort, quoted};

/// The timeout for opening a connection.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The gRPC metadata key under which a follower returns the leading master as `host:port`. It accompanies the status
/// that ends or refuses a stream.
pub const LEADER_METADATA: &str = "divvy-leader";

/// Returns the leader's address from the status of an ended or refused stream, if it is there.
pub(crate) fn leader_named(status: &tonic::Status) -> Option<&str> {
    status.metadata().get(LEADER_METADATA)?.to_str().ok()
}

/// A host, by name or number, and a port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    host: String,
    port: u16,
}

impl Address {
    /// Creates an address from a host name or IP address and a port, unchecked.
    #[must_use]
    pub fn new(host: impl Into<String>, port: u16) -> Self {
        Self { host: host.into(), port }
    }

    /// The host, without the brackets of an IPv6 number.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns a tonic endpoint with our keep-alive, windows and timeouts.
    ///
    /// # Errors
    /// The host has characters that no URL allows.
    pub fn endpoint(&self) -> Result<Endpoint, InvalidAddress> {
        let endpoint = Endpoint::from_shared(format!("http://{self}"))
            .map_err(|error| InvalidAddress { text: self.to_string(), reason: Reason::NotAUrl(error.to_string()) })?;
        Ok(endpoint
            .tcp_nodelay(true)
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_keep_alive_interval(Duration::from_secs(KEEP_ALIVE_SECS))
            .keep_alive_timeout(Duration::from_secs(KEEP_ALIVE_TIMEOUT_SECS))
            .keep_alive_while_idle(true)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        HostPort(&self.host, self.port).fmt(f)
    }
}

impl FromStr for Address {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        let invalid = |reason| InvalidAddress { text: text.to_owned(), reason };
        let plain = text.trim().trim_start_matches("http://").trim_end_matches('/');
        let (host, port) = plain.rsplit_once(':').ok_or_else(|| invalid(Reason::NoPort))?;
        let host = match host.strip_prefix('[') {
            Some(number) => number.strip_suffix(']').ok_or_else(|| invalid(Reason::Host))?,
            None if host.contains(':') => return Err(invalid(Reason::NoPort)),
            None => host,
        };
        if host.is_empty() || host.contains(|c: char| c.is_whitespace() || "/@?#[]".contains(c)) {
            return Err(invalid(Reason::Host));
        }
        match port.parse() {
            Ok(0) | Err(_) => Err(invalid(Reason::Port(port.to_owned()))),
            Ok(port) => Ok(Self::new(host, port)),
        }
    }
}

/// One or more alternative servers: `host:port[,host:port]`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Addresses(Vec<Address>);

impl Addresses {
    /// Iterates over the servers in the given order; there is at least one.
    pub fn iter(&self) -> impl Iterator<Item = &Address> {
        self.0.iter()
    }
}

#[cfg(feature = "agent")]
impl Addresses {
    /// Returns the same servers, rotated to begin with number `turn`, modulo their count.
    pub(crate) fn in_turn(&self, turn: u64) -> Self {
        let mut servers = self.0.clone();
        let first = usize::try_from(turn % servers.len().max(1) as u64).unwrap_or(0);
        servers.rotate_left(first);
        Self(servers)
    }
}

impl From<Address> for Addresses {
    fn from(address: Address) -> Self {
        Self(vec![address])
    }
}

impl fmt::Display for Addresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, address) in self.0.iter().enumerate() {
            write!(f, "{}{address}", if index == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

impl FromStr for Addresses {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        text.split(',').map(Address::from_str).collect::<Result<_, _>>().map(Self)
    }
}

/// An error for text that is not a server address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid address {:?}: {}", quoted(text), self.way_out())]
pub struct InvalidAddress {
    text: String,
    reason: Reason,
}

impl InvalidAddress {
    /// Returns what is wrong and what to write instead, without the text itself.
    #[must_use]
    pub fn way_out(&self) -> String {
        format!("{}; write HOST:PORT, for example 127.0.0.1:5050", self.reason)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum Reason {
    #[error("there is no port")]
    NoPort,
    #[error("{:?} is no port between 1 and 65535", quoted(.0))]
    Port(String),
    #[error("the host is no name or number")]
    Host,
    #[error("{0}")]
    NotAUrl(String),
}

/// An error of [`master`] or [`agent`]: no channel was opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The address is not valid.
    #[error(transparent)]
    Invalid(#[from] InvalidAddress),
    /// No master accepts a connection.
    #[error("no master at {addresses}: {reason}; start one with `divvy-master` or name another with --master")]
    NoMaster {
        /// All masters that were tried.
        addresses: Addresses,
        /// The error of the last of them, in a few words.
        reason: String,
    },
    /// The agent does not accept a connection.
    #[error("no agent at {address}: {reason}; is it running, and does a firewall let port {} through?", address.port())]
    NoAgent {
        /// The agent's address.
        address: Address,
        /// The error, in a few words.
        reason: String,
    },
}

/// Opens a channel to the first master that accepts a connection. The master may still refuse calls.
///
/// # Errors
/// No master accepts one; the reason is the last one's.
pub async fn master(addresses: &Addresses) -> Result<Channel, ConnectError> {
    let mut reason = String::new();
    for address in addresses.iter() {
        match address.endpoint()?.connect().await {
            Ok(channel) => return Ok(channel),
            Err(error) => reason = in_words(&error),
        }
    }
    Err(ConnectError::NoMaster { addresses: addresses.clone(), reason })
}

/// Opens a channel to an agent.
///
/// # Errors
/// The agent does not accept a connection.
pub async fn agent(address: &Address) -> Result<Channel, ConnectError> {
    let failed = |error| ConnectError::NoAgent { address: address.clone(), reason: in_words(&error) };
    address.endpoint()?.connect().await.map_err(failed)
}

/// Returns the root cause of a transport error: "connection refused" rather than "transport error".
#[must_use]
pub fn in_words(error: &tonic::transport::Error) -> String {
    let mut deepest: &dyn Error = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    match deepest.downcast_ref::<io::Error>() {
        Some(io) if io.raw_os_error().is_some() => io.kind().to_string(),
        Some(io) if io.kind() == io::ErrorKind::TimedOut => "no answer within 5 s".to_owned(),
        _ => deepest.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_people_write_them() {
        for (text, shown) in [
            ("127.0.0.1:5050", "127.0.0.1:5050"),
            (" master.example:5050 ", "master.example:5050"),
            ("http://localhost:5050/", "localhost:5050"),
            ("[::1]:5050", "[::1]:5050"),
            ("a:1,b:2", "a:1,b:2"),
        ] {
            assert_eq!(text.parse::<Addresses>().expect(text).to_string(), shown);
        }
        assert_eq!("[::1]:5050".parse(), Ok(Address::new("::1", 5050)));
    }

    #[cfg(feature = "agent")]
    #[test]
    fn turns_go_round_the_list() {
        let masters: Addresses = "a:1,b:2,c:3".parse().expect("addresses");
        let tried = [0, 1, 5].map(|turn| masters.in_turn(turn).to_string());
        assert_eq!(tried, ["a:1,b:2,c:3", "b:2,c:3,a:1", "c:3,a:1,b:2"]);
    }

    #[test]
    fn an_invalid_address_is_refused_with_the_reason() {
        for (text, reason) in [
            ("", "there is no port"),
            ("localhost", "there is no port"),
            ("::1", "there is no port"),
            ("localhost:http", "\"http\" is no port between 1 and 65535"),
            ("localhost:0", "\"0\" is no port"),
            ("localhost:70000", "\"70000\" is no port"),
            (":5050", "the host is no name or number"),
            ("[::1:5050", "the host is no name or number"),
            ("a b:5050", "the host is no name or number"),
            ("user@host:5050", "the host is no name or number"),
            ("a:1,,b:2", "there is no port"),
        ] {
            let error = text.parse::<Addresses>().expect_err(text).to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }

    #[tokio::test]
    async fn a_master_that_is_not_there_is_reported_with_the_way_out() {
        let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = free.local_addr().expect("bound").to_string();
        drop(free);
        let error = master(&address.parse().expect("an address")).await.expect_err("nothing listens").to_string();
        let wanted = format!(
            "no master at {address}: connection refused; start one with `divvy-master` or name another with --master"
        );
        assert_eq!(error, wanted);
    }
}
