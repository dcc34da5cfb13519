//! Offers: the rules by which they are made, and how they end.

mod answers;
mod shares;

use crate::master::core::tests::world;
