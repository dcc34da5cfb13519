//! `divvy-agent`: runs tasks on this host.

fn main() {}
