//! Frameworks: subscription, failover, removal.

mod removed;
mod subscribed;
mod tombstones;

use crate::master::core::tests::world;
