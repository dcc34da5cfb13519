//! The names of the nodes and clients of a world.

/// A node whose process can crash and start again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Node {
    Master,
    Agent(usize),
    Framework(usize),
    /// An instance of a framework that still runs after a newer one took over.
    Replaced(usize),
    /// A framework that runs an author's code.
    Author(usize),
}

/// A node that connects to the master.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Client {
    Agent(usize),
    Framework(usize),
    /// An instance of a framework that still runs after a newer one took over.
    Replaced(usize),
    /// A framework that runs an author's code.
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
