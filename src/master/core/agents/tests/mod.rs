//! Agents: registration, identity, absence, re-registration.

mod arrivals;
mod identity;
mod losses;
mod partitions;
mod policies;
mod recovery;
mod registered;
mod silence;

use crate::master::core::tests::{partitioned, world};
