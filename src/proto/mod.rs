//! The messages, generated from `proto/` and checked in (`cargo xtask generate`).
//!
//! [`v1`] is the public API: Mesos v1, field for field. [`ext`] is divvy's own addition to it, [`internal`] what the
//! parts say to each other and write to disk. What the messages *mean* is in [`crate::types`].
#![allow(missing_docs, unreachable_pub, clippy::pedantic, clippy::large_enum_variant, rustdoc::all)]

/// The public API: Mesos v1's names, numbers, types and defaults.
pub mod v1 {
    include!("divvy.v1.rs");

    /// What a framework and the master say to each other.
    pub mod scheduler {
        include!("divvy.v1.scheduler.rs");
    }
    /// What an executor and its agent say to each other.
    pub mod executor {
        include!("divvy.v1.executor.rs");
    }
    /// What an operator asks of the master.
    pub mod master {
        include!("divvy.v1.master.rs");
    }
    /// What an operator asks of an agent.
    pub mod agent {
        include!("divvy.v1.agent.rs");
    }
    /// Maintenance windows of machines.
    pub mod maintenance {
        include!("divvy.v1.maintenance.rs");
    }
    /// Guarantees and limits of roles.
    pub mod quota {
        include!("divvy.v1.quota.rs");
    }
    /// How frameworks answered inverse offers.
    pub mod allocator {
        include!("divvy.v1.allocator.rs");
    }
    /// What a resource provider and its agent say to each other.
    pub mod resource_provider {
        include!("divvy.v1.resource_provider.rs");
    }
}

/// What in the bytes of these messages takes memory.
mod shapes {
    use crate::types::wire::{Field, Kind, MAP_ENTRY_BYTES, Most, Shape, Shaped};

    include!("shapes.rs");
}

/// divvy's own streams and calls.
pub mod ext {
    include!("divvy.ext.rs");
}

/// Between master, agent and supervisor, and on disk. No promise of stability.
pub mod internal {
    include!("divvy.internal.rs");
}
