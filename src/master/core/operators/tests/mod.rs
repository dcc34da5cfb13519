//! Operators: quotas and weights.

mod quotas;
mod weights;

use crate::master::core::tests::world;
