//! Frameworks: subscribing, taking over, being removed.

mod subscribed;
mod tombstones;

use crate::master::core::tests::world;
