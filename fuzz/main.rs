//! Feeds bytes of the fuzzer's choosing to one target of `divvy::fuzz`, named by `DIVVY_FUZZ_TARGET`.
//!
//! One program for all targets, because each program takes a link step. `cargo xtask fuzz` builds and runs it.
#![no_main]

use std::{panic, sync::LazyLock};

use divvy::fuzz::Target;

static TARGET: LazyLock<&Target> = LazyLock::new(|| {
    let name = std::env::var("DIVVY_FUZZ_TARGET").unwrap_or_default();
    divvy::fuzz::target(&name).unwrap_or_else(|| panic!("DIVVY_FUZZ_TARGET={name:?} is no target"))
});

/// Lets a panic end the program, as the fuzzer requires, unless it is the embedded store's.
///
/// The store may panic over a damaged file, and `master::registry` turns that into an error.
fn let_the_store_panic() {
    let end = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        if !panic.location().is_some_and(|place| place.file().contains("/redb-")) {
            end(panic);
        }
    }));
}

libfuzzer_sys::fuzz_target!(init: let_the_store_panic(), |bytes: &[u8]| TARGET.run(bytes));
