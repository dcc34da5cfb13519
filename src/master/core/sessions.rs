//! Sessions: who is at the other end of each.

use super::{AgentKey, FrameworkKey};

/// Who is at the other end of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Peer {
    /// Attached, and has not said who it is.
    Stranger,
    Framework(FrameworkKey),
    Agent(AgentKey),
}
