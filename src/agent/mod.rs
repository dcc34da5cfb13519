//! (being built)

pub mod facts;
mod isolation;
pub mod sandbox;
pub mod supervisor;
