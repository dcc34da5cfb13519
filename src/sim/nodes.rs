//! The names of what there is in a world.

/// A node whose process can crash and start again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Node {
    Master,
    Agent(usize),
    Framework(usize),
    /// A run of a framework that goes on when another was started in its place.
    Replaced(usize),
    /// A framework whose code is its author's.
    Author(usize),
}

/// A node that connects to the master.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Client {
    Agent(usize),
    Framework(usize),
    /// A run of a framework that goes on when another was started in its place.
    Replaced(usize),
    /// A framework whose code is its author's.
    Author(usize),
}

impl Client {
    pub(super) fn node(self) -> Node {
        match self {
            Self::Agent(index) => Node::Agent(index),
            Self::Framework(index) => Node::Framework(index),
            Self::Replaced(index) => Node::Replaced(index),
            Self::Author(index) => Node::Author(index),
        }
    }
}
