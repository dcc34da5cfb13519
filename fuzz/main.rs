//! Feeds bytes of the fuzzer's choosing to one target of `divvy::fuzz`, named by `DIVVY_FUZZ_TARGET`.
//!
//! One program for all targets, because each would cost a link. `cargo xtask fuzz` builds and runs it.
#![no_main]

use std::{panic, sync::LazyLock};

use divvy::fuzz::Target;

static TARGET: LazyLock<&Target> = LazyLock::new(|| {
    let name = std::env::var("DIVVY_FUZZ_TARGET").unwrap_or_default();
    divvy::fuzz::target(&name).unwrap_or_else(|| panic!("DIVVY_FUZZ_TARGET={name:?} is no target"))
});

/// A panic ends the program, as the fuzzer wants it, unless it is the embedded store's: over a damaged file it may panic,
/// and `master::registry` makes an error of that.
fn let_the_store_panic() {
    let end = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        if !panic.location().is_some_and(|place| place.file().contains("/redb-")) {
            end(panic);
        }
    }));
}

libfuzzer_sys::fuzz_target!(init: let_the_store_panic(), |bytes: &[u8]| TARGET.run(bytes));
