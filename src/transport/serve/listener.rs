//! Listening sockets: without authentication a server stays on loopback, and errors say what to do.

use std::{
    io,
    net::{IpAddr, SocketAddr},
};

use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// The accept queue; the kernel cuts it to `net.core.somaxconn`. After a restart all agents and frameworks reconnect at
/// once. If the queue is full, the kernel resets some connections and delays others by seconds.
const BACKLOG: u32 = 65_535;

/// A bound port that is not served yet. Connections queue up from here on.
#[derive(Debug)]
pub struct Listener {
    tcp: TcpListener,
    address: SocketAddr,
}

impl Listener {
    /// Binds `address`; port 0 picks a free one.
    ///
    /// # Errors
    /// The port is in use or not permitted, or the address is reachable from other hosts and `insecure` is not set.
    #[expect(clippy::unused_async, reason = "it is for a runtime only, and says so")]
    pub async fn bind(address: SocketAddr, insecure: bool) -> Result<Self, ListenError> {
        if !insecure && !is_loopback(address.ip()) {
            return Err(ListenError::Public { address });
        }
        let tcp = listen(address).map_err(|source| ListenError::from_io(address, source))?;
        let address = tcp.local_addr().map_err(|source| ListenError::from_io(address, source))?;
        Ok(Self { tcp, address })
    }

    /// Returns the bound address, with the actual port.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        self.tcp.accept().await
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // A port stays usable while connections of its last owner are closing.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// `::ffff:127.0.0.1` is loopback too.
fn is_loopback(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}

/// An error from binding an address.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ListenError {
    /// Another program uses the port.
    #[error(
        "cannot listen on {address}: the port is taken; stop the other program or choose another with --listen \
         (port 0 picks a free one)"
    )]
    Taken {
        /// The requested address.
        address: SocketAddr,
    },
    /// The port is reserved to the superuser.
    #[error("cannot listen on {address}: permission denied; choose a port over 1023 with --listen")]
    Denied {
        /// The requested address.
        address: SocketAddr,
    },
    /// No interface of this host has the address.
    #[error("cannot listen on {address}: this host has no such address; choose another with --listen")]
    NotHere {
        /// The requested address.
        address: SocketAddr,
    },
    /// Other hosts could reach the address, and there is no authentication.
    #[error(
        "refusing to listen on {address}: other hosts can reach it and nothing asks them who they are; listen on \
         127.0.0.1, or say --insecure if that is meant"
    )]
    Public {
        /// The requested address.
        address: SocketAddr,
    },
    /// Any other error of the system.
    #[error("cannot listen on {address}: {source}")]
    Other {
        /// The requested address.
        address: SocketAddr,
        /// The system's error.
        source: io::Error,
    },
}

impl ListenError {
    fn from_io(address: SocketAddr, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::AddrInUse => Self::Taken { address },
            io::ErrorKind::PermissionDenied => Self::Denied { address },
            io::ErrorKind::AddrNotAvailable => Self::NotHere { address },
            _ => Self::Other { address, source },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, time::Duration};

    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().expect(text)
    }

    #[tokio::test]
    async fn a_port_that_is_taken_is_named_with_the_way_out() {
        let first = Listener::bind(address("127.0.0.1:0"), false).await.expect("a free port");
        let error = Listener::bind(first.address(), false).await.expect_err("it is taken").to_string();
        let taken = first.address();
        assert_eq!(
            error,
            format!(
                "cannot listen on {taken}: the port is taken; stop the other program or choose another with --listen \
                 (port 0 picks a free one)"
            )
        );
    }

    #[tokio::test]
    async fn an_address_others_can_reach_is_refused_unless_that_is_meant() {
        for open in ["0.0.0.0:0", "[::]:0"] {
            let error = Listener::bind(address(open), false).await.expect_err(open);
            assert!(matches!(error, ListenError::Public { .. }), "{error}");
            assert!(error.to_string().contains("--insecure"), "{error}");
        }
        assert!(Listener::bind(address("0.0.0.0:0"), true).await.is_ok());
    }

    /// Accepts none of them, so each needs a place in the queue. Closed ones keep their place, but no descriptor.
    #[tokio::test]
    async fn agents_that_reconnect_all_at_once_wait_in_the_queue() {
        let most = fs::read_to_string("/proc/sys/net/core/somaxconn").expect("the kernel's limit");
        let agents = most.trim().parse::<usize>().expect("a number").min(2_000);
        let listener = Listener::bind(address("127.0.0.1:0"), false).await.expect("a free port");
        for agent in 0..agents {
            let connecting = TcpStream::connect(listener.address());
            let connected = tokio::time::timeout(Duration::from_secs(10), connecting).await;
            drop(
                connected
                    .unwrap_or_else(|_| panic!("no place for connection {agent} of {agents}"))
                    .expect("a connection"),
            );
        }
    }

    #[test]
    fn a_mapped_loopback_address_is_loopback() {
        assert!(is_loopback("::ffff:127.0.0.1".parse().expect("an address")));
        assert!(!is_loopback("::ffff:10.0.0.1".parse().expect("an address")));
    }
}
