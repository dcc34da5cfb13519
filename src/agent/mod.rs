<<<<<<< HEAD
//! The agent: what it decides ([`core`]), what it writes down, and how it runs tasks as real processes.

pub mod core;
=======
//! (being built)

pub mod facts;
mod isolation;
pub mod sandbox;
pub mod supervisor;
>>>>>>> supervisor
