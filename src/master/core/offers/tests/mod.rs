//! Offers: the rules by which they are made, and their ends.

mod answers;
mod shares;

use crate::master::core::tests::world;
