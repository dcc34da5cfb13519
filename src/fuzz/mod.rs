//! Everything that takes bytes from outside, and every core, as targets for a fuzzer.
//!
//! A target takes any bytes and must neither panic nor grow beyond them; most also check a law. The corpus lies in
//! `fuzz/corpus/<target>/` and is replayed by an ordinary test. `cargo xtask fuzz` lets the fuzzer look for more.

mod agent;
mod driver;
mod frames;
mod master;
mod registry;
mod script;
mod stores;
mod supervisor;
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
    Target::new("text-placement", text::placement),
    Target::new("text-settings", text::settings),
    Target::new("text-output", text::output),
    Target::new("text-processes", text::processes),
    Target::new("path-in-a-sandbox", text::path_in_a_sandbox),
    Target::new("call-of-an-operator", master::operator),
    Target::new("frame-of-a-framework", master::calls),
    Target::new("frame-of-an-agent", master::messages),
    Target::new("frame-to-a-framework", driver::frame),
    Target::new("frame-to-an-agent", agent::frame),
    Target::new("frame-to-a-supervisor", frames::to_a_supervisor),
    Target::new("frame-of-a-supervisor", frames::of_a_supervisor),
    Target::new("store-agent-log", stores::agent_log),
    Target::new("store-agent-log-damaged", stores::agent_log_damaged),
    Target::new("store-journal", stores::journal),
    Target::new("store-journal-damaged", stores::journal_damaged),
    Target::new("store-backup", stores::backup),
    Target::new("store-registry", registry::file),
    Target::new("store-registry-changes", registry::changes),
    Target::new("core-master", master::run),
    Target::new("core-agent", agent::run),
    Target::new("core-driver", driver::run),
    Target::new("core-supervisor", supervisor::run),
];

/// The target of that name.
#[must_use]
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}
