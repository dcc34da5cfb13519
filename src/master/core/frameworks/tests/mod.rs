//! Frameworks: subscribing, taking over, being removed.

mod removed;
mod subscribed;
mod tombstones;

use crate::master::core::tests::world;
