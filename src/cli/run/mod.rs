//! `divvy run`
mod exit;
mod screen;
