//! `divvy run`
mod args;
mod exit;
mod follow;
mod printer;
mod screen;
mod state;
pub use args::RunArgs;
