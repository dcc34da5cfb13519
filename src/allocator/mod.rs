//! Who gets what: pure functions over offers, requests and shares.
//!
//! `fair` serves the master: it keeps the order in which roles and frameworks are to be offered what is free.
//! Everything here is deterministic (same input, same output) and names no clock, socket, file or random source.

pub mod fair;
