//! Who asks for a part of the library gets just that part.

use std::process::Command;

fn cargo(arguments: &[&str]) -> String {
    let output = Command::new("cargo").args(arguments).current_dir(xtask::root()).output().expect("cargo runs");
    assert!(output.status.success(), "cargo {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

const FRAMEWORK_ALONE: [&str; 5] = ["--package", "divvy", "--no-default-features", "--features", "framework"];

#[test]
fn framework_alone_builds() {
    let _ = cargo(&[["check", "--lib"].as_slice(), FRAMEWORK_ALONE.as_slice()].concat());
}

#[test]
fn framework_alone_brings_no_database_no_web_server_and_no_process_code() {
    let tree = cargo(&[["tree", "--edges", "normal", "--prefix", "none"].as_slice(), &FRAMEWORK_ALONE].concat());
    let names: Vec<&str> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
    assert!(names.contains(&"tonic"), "the tree is there: {tree}");
    for unwanted in ["redb", "axum", "rustix", "nix", "procfs", "clap", "prometheus-client", "serde_json", "protox"] {
        assert!(!names.contains(&unwanted), "{unwanted} is in the tree of `framework` alone:\n{tree}");
    }
}
