//! cron
mod fields;
mod jobs;
mod schedule;
fn main() {}
