//! Frameworks: subscribing, taking over, being removed.

mod subscribed;

use crate::master::core::tests::world;
