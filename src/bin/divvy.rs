//! `divvy`: the command line of a cluster.

fn main() {}
