//! Fuzz targets: every decoder of bytes from outside, and every core.
//!
//! A target takes any bytes and must neither panic nor use much more memory than they have; most also check a property. The
//! corpus in `fuzz/corpus/<target>/` is replayed by an ordinary test. `cargo xtask fuzz` runs the fuzzer.

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

/// A fuzz target.
#[derive(Debug)]
pub struct Target {
    /// The name of the target.
    pub name: &'static str,
    run: fn(&[u8]),
}

impl Target {
    const fn new(name: &'static str, run: fn(&[u8])) -> Self {
        Self { name, run }
    }

    /// Runs the target on these bytes.
    ///
    /// # Panics
    /// When the target does: that is a bug found.
    pub fn run(&self, bytes: &[u8]) {
        (self.run)(bytes);
    }
}

/// All fuzz targets.
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

/// The target of this name.
#[must_use]
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}
