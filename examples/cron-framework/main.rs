//! cron
mod fields;
mod jobs;
mod schedule;
mod scheduler;
fn main() {}
