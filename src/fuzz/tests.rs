//! Replays the corpus, so that the inputs the fuzzer found stay tested without it.

mod depth;
mod scripts;
mod seeds;

use std::{fs, path::PathBuf};

use super::*;

fn corpus() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus")
}

#[test]
fn every_target_takes_its_corpus() {
    for target in TARGETS {
        let folder = corpus().join(target.name);
        let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let mut count = 0;
        for entry in entries {
            let path = entry.expect("readable").path();
            let bytes = fs::read(&path).expect("readable");
            assert!(bytes.len() <= 4096, "{}: {} bytes, a corpus is kept small", path.display(), bytes.len());
            let taken = std::panic::catch_unwind(|| target.run(&bytes));
            assert!(taken.is_ok(), "{} breaks {}", path.display(), target.name);
            count += 1;
        }
        assert!(count > 0, "{} is empty", folder.display());
    }
}

#[test]
fn nothing_in_the_corpus_is_without_a_target() {
    for entry in fs::read_dir(corpus()).expect("readable") {
        let name = entry.expect("readable").file_name();
        assert!(name.to_str().is_some_and(|name| target(name).is_some()), "{} is no target", name.display());
    }
}

#[test]
fn a_script_of_any_bytes_is_played_to_its_end() {
    let mut state = 1_u64;
    for length in [0, 1, 2, 3, 10, 100, 1_000, 4_000] {
        let bytes: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state.to_be_bytes()[0]
        })
        .take(length)
        .collect();
        for target in TARGETS {
            target.run(&bytes);
        }
    }
}
