//! Operators: snapshots, quotas and weights.

mod quotas;
mod snapshots;
mod weights;

use crate::master::core::tests::world;
