//! The checked-in code is what `proto/` generates.

use std::{collections::BTreeMap, fs, path::Path};

fn files(folder: &Path) -> BTreeMap<String, String> {
    let entries = fs::read_dir(folder).expect("the folder is there").map(|entry| entry.expect("readable").path());
    entries
        .filter(|path| path.file_name().is_some_and(|name| name != "mod.rs" && name != "codec.rs"))
        .map(|path| {
            let name = path.file_name().expect("files have names").to_string_lossy().into_owned();
            (name, fs::read_to_string(&path).expect("text"))
        })
        .collect()
}

#[test]
fn the_generated_code_is_current() {
    let fresh = tempfile::tempdir().expect("a temporary folder");
    xtask::generate(fresh.path()).expect("proto/ compiles");
    let (fresh, stored) = (files(fresh.path()), files(&xtask::root().join("src/proto")));
    assert_eq!(fresh.keys().collect::<Vec<_>>(), stored.keys().collect::<Vec<_>>(), "run `cargo xtask generate`");
    for (name, text) in fresh {
        assert!(text == stored[&name], "src/proto/{name} is out of date: run `cargo xtask generate`");
    }
}
