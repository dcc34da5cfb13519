//! Feeds bytes of the fuzzer's choosing to one target of `divvy::fuzz`, named by `DIVVY_FUZZ_TARGET`.
//!
//! One program for all targets, because each would cost a link. `cargo xtask fuzz` builds and runs it.
#![no_main]

use std::sync::LazyLock;

use divvy::fuzz::Target;

static TARGET: LazyLock<&Target> = LazyLock::new(|| {
    let name = std::env::var("DIVVY_FUZZ_TARGET").unwrap_or_default();
    divvy::fuzz::target(&name).unwrap_or_else(|| panic!("DIVVY_FUZZ_TARGET={name:?} is no target"))
});

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| TARGET.run(bytes));
