//! Each feature of the library builds alone and brings only its own dependencies.

use std::{fs, process::Command};

/// Runs cargo; returns its standard output and standard error.
fn cargo(arguments: &[&str]) -> (String, String) {
    let output = Command::new("cargo").args(arguments).current_dir(xtask::root()).output().expect("cargo runs");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    let (out, err) = (text(output.stdout), text(output.stderr));
    assert!(output.status.success(), "cargo {arguments:?}: {err}");
    (out, err)
}

/// The features of the library, as its manifest lists them.
fn features() -> Vec<String> {
    let manifest = fs::read_to_string(xtask::root().join("Cargo.toml")).expect("text");
    let (_, list) = manifest.split_once("\n[features]\n").expect("there are features");
    let (list, _) = list.split_once("\n\n").expect("they end with an empty line");
    let named = list.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once(" = "));
    named.map(|(name, _)| name.to_owned()).filter(|name| name != "default").collect()
}

/// One test, because cargo runs its builds one after the other anyway. Code that only another feature calls is a
/// warning here.
#[test]
fn each_feature_builds_alone_and_so_does_the_library_without_any() {
    let features = features();
    assert!(features.iter().any(|name| name == "framework") && features.len() > 5, "{features:?}");
    let alone = features.iter().map(|name| vec!["--features", name]);
    for chosen in std::iter::once(Vec::new()).chain(alone) {
        let check = ["check", "--package", "divvy", "--lib", "--no-default-features"];
        let (_, stderr) = cargo(&[check.as_slice(), chosen.as_slice()].concat());
        assert!(!stderr.contains("warning"), "with {chosen:?}: {stderr}");
    }
}

#[test]
fn framework_alone_brings_no_database_no_web_server_and_no_process_code() {
    let alone = ["--package", "divvy", "--no-default-features", "--features", "framework"];
    let (tree, _) = cargo(&[["tree", "--edges", "normal", "--prefix", "none"].as_slice(), &alone].concat());
    let names: Vec<&str> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
    assert!(names.contains(&"tonic"), "the tree is there: {tree}");
    for unwanted in ["redb", "axum", "rustix", "nix", "procfs", "clap", "prometheus-client", "serde_json", "protox"] {
        assert!(!names.contains(&unwanted), "{unwanted} is in the tree of `framework` alone:\n{tree}");
    }
}
