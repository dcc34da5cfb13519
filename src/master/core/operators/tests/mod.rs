//! Operators: snapshots, quotas and weights.

mod looks;
mod quotas;
mod weights;

use crate::master::core::tests::world;
