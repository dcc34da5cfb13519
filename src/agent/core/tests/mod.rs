//! Tests of the whole core, and the fixture that all of them use.

mod core_tests;
pub(in crate::agent::core) mod fixture;
mod simulation;
