//! `divvy run`
mod exit;
mod follow;
mod printer;
mod screen;
