//! The rules of the house that a compiler does not check: what a core may not name, which way imports run, how long a file is.

use std::{
    fs,
    path::{Path, PathBuf},
};

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("readable").path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

/// Each line of the files below `rooms` that is code, with where it stands. Tests at the end of a file are left out.
fn code(rooms: &[&str]) -> Vec<(String, String)> {
    let source = xtask::root().join("src");
    let mut lines = Vec::new();
    for path in rooms.iter().flat_map(|room| sources(&source.join(room))) {
        let name = path.to_string_lossy().into_owned();
        if name.contains("test") || name.ends_with("simulation.rs") || name.ends_with("fixture.rs") {
            continue;
        }
        let text = fs::read_to_string(&path).expect("text");
        let body = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
        let numbered = body.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//"));
        lines.extend(numbered.map(|(at, line)| (format!("{name}:{}", at + 1), line.to_owned())));
    }
    lines
}

fn assert_none_names(rooms: &[&str], unwanted: &[&str]) {
    for (place, line) in code(rooms) {
        for word in unwanted {
            assert!(!line.contains(word), "{place} names {word}: {line}");
        }
    }
}

#[test]
fn a_core_names_no_runtime_file_socket_clock_or_chance() {
    let pure = ["types", "allocator", "master/core", "agent/core", "framework/core"];
    let impure =
        ["tokio::", "std::fs", "std::net", "std::thread", "Instant::", "SystemTime", "rand::rng(", "from_os_rng"];
    assert_none_names(&pure, &impure);
}

#[test]
fn imports_run_one_way() {
    let upwards: [(&str, &[&str]); 6] = [
        ("types", &["allocator", "transport", "framework", "master", "agent", "local", "sim", "cli"]),
        ("allocator", &["transport", "framework", "master", "agent", "local", "sim", "cli"]),
        ("transport", &["allocator", "framework", "master", "agent", "local", "sim", "cli"]),
        ("framework", &["master", "agent", "local", "sim", "cli"]),
        ("master", &["framework", "agent", "local", "sim", "cli"]),
        ("agent", &["framework", "master", "local", "sim", "cli"]),
    ];
    for (room, above) in upwards {
        let paths: Vec<String> = above.iter().map(|one| format!("crate::{one}::")).collect();
        assert_none_names(&[room], &paths.iter().map(String::as_str).collect::<Vec<_>>());
    }
}

#[test]
fn a_file_has_one_subject_and_at_most_five_hundred_lines() {
    let root = xtask::root();
    let folders = ["src", "examples", "benches", "tests", "xtask"].map(|folder| root.join(folder));
    for path in folders.iter().flat_map(|folder| sources(folder)) {
        if path.starts_with(root.join("src/proto")) {
            continue;
        }
        let lines = fs::read_to_string(&path).expect("text").lines().count();
        assert!(lines <= 500, "{} has {lines} lines: what second thing lives there?", path.display());
    }
}

#[test]
fn the_guarantees_name_tests_that_exist() {
    let root = xtask::root();
    let page = fs::read_to_string(root.join("docs/guarantees.md")).expect("text");
    let sources: String = ["src", "tests", "examples"]
        .iter()
        .flat_map(|folder| sources(&root.join(folder)))
        .map(|path| fs::read_to_string(path).expect("text"))
        .collect();
    let named: Vec<&str> =
        page.split('`').skip(1).step_by(2).filter(|word| word.len() > 25 && word.contains('_')).collect();
    assert!(named.len() > 30, "only {} tests are named", named.len());
    for name in named {
        assert!(sources.contains(&format!("fn {name}(")), "there is no test {name}");
    }
}
