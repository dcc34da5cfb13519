//! `divvy-master`: offers what the agents have.

fn main() {}
