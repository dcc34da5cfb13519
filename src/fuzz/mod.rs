//! Everything that takes bytes from outside, and every core, as targets for a fuzzer.
//!
//! A target takes any bytes and must neither panic nor grow beyond them; most also check a law. The corpus lies in
//! `fuzz/corpus/<target>/` and is replayed by an ordinary test. `cargo xtask fuzz` lets the fuzzer look for more.

mod agent;
mod driver;
mod master;
mod script;
mod stores;
#[cfg(test)]
mod tests;
mod text;

/// One thing that takes bytes.
#[derive(Debug)]
pub struct Target {
    /// What it is called.
    pub name: &'static str,
    run: fn(&[u8]),
}

impl Target {
    const fn new(name: &'static str, run: fn(&[u8])) -> Self {
        Self { name, run }
    }

    /// Feeds it.
    ///
    /// # Panics
    /// When the target does: that is what is looked for.
    pub fn run(&self, bytes: &[u8]) {
        (self.run)(bytes);
    }
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target::new("text-resources", text::resources),
    Target::new("text-attributes", text::attributes),
    Target::new("text-ranges", text::ranges),
    Target::new("text-addresses", text::addresses),
    Target::new("text-constraints", text::constraints),
    Target::new("text-allocate", text::allocate),
    Target::new("frame-of-a-framework", master::calls),
    Target::new("frame-of-an-agent", master::messages),
    Target::new("frame-to-a-framework", driver::frame),
    Target::new("frame-to-an-agent", agent::frame),
    Target::new("store-agent-log", stores::agent_log),
    Target::new("store-backup", stores::backup),
    Target::new("core-master", master::run),
    Target::new("core-agent", agent::run),
    Target::new("core-driver", driver::run),
];

/// The target of that name.
#[must_use]
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}
