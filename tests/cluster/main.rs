//! Real binaries, real processes, real signals: the cluster as its users run it.
//!
//! Each test has a folder of its own. A failing test keeps its folder and prints its name. A wait that exceeds its
//! limit prints what it last saw.
#![allow(missing_docs, reason = "a test binary has no users")]

mod agent_recovery;
mod command_line;
mod deaths;
mod example;
mod faults;
mod hostile;
mod late;
mod many_tasks;
mod misbehaving;
mod neighbours;
mod network;
mod operator;
mod part;
mod readers;
mod registry;
mod scheduler;
mod silence;
mod upgrade;
