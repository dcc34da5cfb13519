//! Tasks: launches, statuses, and the containers of removed frameworks.

mod launches;
mod orphans;
mod statuses;

use crate::master::core::tests::{partitioned, world};
