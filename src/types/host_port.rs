//! The text form of a host and port.

use std::fmt;

/// Formats `host:port`, with brackets around an IPv6 address.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HostPort<'a, P>(pub(crate) &'a str, pub(crate) P);

impl<P: fmt::Display> fmt::Display for HostPort<'_, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(host, port) = self;
        if host.contains(':') && !host.starts_with('[') {
            write!(f, "[{host}]:{port}")
        } else {
            write!(f, "{host}:{port}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_number_has_brackets() {
        for (host, text) in [
            ("::1", "[::1]:5051"),
            ("[::1]", "[::1]:5051"),
            ("fe80::1%eth0", "[fe80::1%eth0]:5051"),
            ("::ffff:10.0.0.7", "[::ffff:10.0.0.7]:5051"),
            ("10.0.0.7", "10.0.0.7:5051"),
            ("node", "node:5051"),
        ] {
            assert_eq!(HostPort(host, 5051).to_string(), text);
        }
    }
}
