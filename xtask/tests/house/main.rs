//! The rules of the house that a compiler does not check: what a core may not name, which way imports run, how long a
//! file is and how it begins. How long a function is, clippy checks (`clippy.toml`).

mod source;
mod words;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use source::{Named, Source};

/// The modules that decide and perform no input or output.
const PURE: [&str; 6] =
    ["types", "allocator", "master/core", "agent/core", "framework/core", "agent/supervisor/core.rs"];

/// The paths that only a shell may name.
const IMPURE: [&[&str]; 11] = [
    &["tokio"],
    &["tokio_util"],
    &["std", "env"],
    &["std", "fs"],
    &["std", "net"],
    &["std", "process"],
    &["std", "thread"],
    &["rustix"],
    &["rand", "rng"],
    &["rand", "random"],
    &["rand", "thread_rng"],
];

/// The same, as the last part of any path.
const IMPURE_NAMES: [&str; 3] = ["Instant", "SystemTime", "from_os_rng"];

/// The modules, and for each those that it may not import.
const ABOVE: [(&str, &[&str]); 9] = [
    ("proto", &["types", "allocator", "transport", "framework", "master", "agent", "local", "sim", "cli", "fuzz"]),
    ("types", &["allocator", "transport", "framework", "master", "agent", "local", "sim", "cli", "fuzz"]),
    ("allocator", &["transport", "framework", "master", "agent", "local", "sim", "cli", "fuzz"]),
    ("transport", &["allocator", "framework", "master", "agent", "local", "sim", "cli", "fuzz"]),
    ("framework", &["master", "agent", "local", "sim", "cli", "fuzz"]),
    ("master", &["framework", "agent", "local", "sim", "cli", "fuzz"]),
    ("agent", &["framework", "master", "local", "sim", "cli", "fuzz"]),
    ("local", &["sim", "cli", "fuzz"]),
    ("cli", &["sim", "fuzz"]),
];

/// The longest a file may be, in lines.
const LONGEST_FILE: usize = 500;

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("readable").path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

/// The library by path below `src`, without the files that are modules for tests only.
fn library() -> BTreeMap<PathBuf, Source> {
    let root = xtask::root().join("src");
    let read = |path: PathBuf| {
        let source = Source::read(&fs::read_to_string(&path).expect("text"));
        (path.strip_prefix(&root).expect("below src").to_owned(), source)
    };
    let mut all: BTreeMap<PathBuf, Source> = files(&root).into_iter().map(read).collect();
    let for_tests: Vec<PathBuf> = all.iter().flat_map(|(path, source)| files_for_tests(path, source)).collect();
    all.retain(|path, _| !for_tests.iter().any(|one| path == one || path.starts_with(one.with_extension(""))));
    all
}

/// The files of the modules that this file declares for tests only.
fn files_for_tests(path: &Path, source: &Source) -> Vec<PathBuf> {
    let folder = path.parent().unwrap_or_else(|| Path::new(""));
    let stem = path.file_stem().unwrap_or_default();
    let own = if ["mod", "lib", "main"].iter().any(|name| stem == *name) { folder.into() } else { folder.join(stem) };
    let file = |(name, given): &(String, Option<String>)| match given {
        Some(given) => folder.join(given),
        None => own.join(format!("{name}.rs")),
    };
    source.test_modules.iter().map(file).collect()
}

/// Whether the file belongs to the module, which is a folder, a file, or both.
fn is_in(path: &Path, module: &str) -> bool {
    path.starts_with(module) || path == Path::new(module).with_extension("rs")
}

/// The paths that a core may not name.
fn impurities(source: &Source) -> Vec<&Named> {
    let impure = |path: &&Named| {
        IMPURE.iter().any(|start| path.is_below(start))
            || path.segments.iter().any(|segment| IMPURE_NAMES.contains(&segment.as_str()))
    };
    source.paths.iter().filter(impure).collect()
}

/// The paths of modules above that a module names.
fn upward_paths<'s>(source: &'s Source, above: &[&str]) -> Vec<&'s Named> {
    let is_above = |path: &&Named| above.iter().any(|module| path.is_below(&["crate", module]));
    source.paths.iter().filter(is_above).collect()
}

/// The rule that the form of a file breaks, if any.
fn form_error(text: &str) -> Option<String> {
    let lines = text.lines().count();
    if lines > LONGEST_FILE {
        return Some(format!("has {lines} lines: move its second subject to another file"));
    }
    (!text.starts_with("//! ")).then(|| "does not begin with its purpose (`//! ...`)".to_owned())
}

fn describe(found: &[(&Path, &Named)]) -> Vec<String> {
    found
        .iter()
        .map(|(path, named)| format!("src/{}:{}: {}", path.display(), named.line, named.segments.join("::")))
        .collect()
}

#[test]
fn a_core_names_no_runtime_file_socket_process_clock_or_chance() {
    let library = library();
    let cores: Vec<_> = library.iter().filter(|(path, _)| PURE.iter().any(|module| is_in(path, module))).collect();
    assert!(cores.len() > 100, "the cores are {} files", cores.len());
    let found: Vec<(&Path, &Named)> = cores
        .iter()
        .flat_map(|(path, source)| impurities(source).into_iter().map(|named| (path.as_path(), named)))
        .collect();
    assert!(found.is_empty(), "{:#?}", describe(&found));
}

#[test]
fn imports_run_one_way() {
    let library = library();
    for (module, above) in ABOVE {
        let files: Vec<_> = library.iter().filter(|(path, _)| is_in(path, module)).collect();
        assert!(!files.is_empty(), "there is no module {module}");
        let found: Vec<(&Path, &Named)> = files
            .iter()
            .flat_map(|(path, source)| upward_paths(source, above).into_iter().map(|named| (path.as_path(), named)))
            .collect();
        assert!(found.is_empty(), "{module}: {:#?}", describe(&found));
    }
}

#[test]
fn a_file_says_what_it_is_for_and_has_one_subject_in_at_most_five_hundred_lines() {
    let root = xtask::root();
    let folders = ["src", "examples", "benches", "tests", "xtask", "fuzz"].map(|folder| root.join(folder));
    let generated = root.join("src/proto");
    let ours = folders.iter().flat_map(|folder| files(folder)).filter(|path| !path.starts_with(&generated));
    let wrong = |path: PathBuf| {
        let text = fs::read_to_string(&path).expect("text");
        form_error(&text).map(|wrong| format!("{} {wrong}", path.display()))
    };
    let found: Vec<String> = ours.filter_map(wrong).collect();
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn the_guarantees_name_tests_that_exist() {
    let root = xtask::root();
    let page = fs::read_to_string(root.join("docs/guarantees.md")).expect("text");
    let sources: String = ["src", "tests", "examples"]
        .iter()
        .flat_map(|folder| files(&root.join(folder)))
        .map(|path| fs::read_to_string(path).expect("text"))
        .collect();
    let missing = without_a_test(&page, &sources);
    assert!(missing.is_empty(), "there are no tests {missing:?}");
}

/// The tests that a page names and no source has.
fn without_a_test<'p>(page: &'p str, sources: &str) -> Vec<&'p str> {
    let named: Vec<&str> =
        page.split('`').skip(1).step_by(2).filter(|word| word.len() > 25 && word.contains('_')).collect();
    assert!(!named.is_empty(), "the page names no test");
    named.into_iter().filter(|name| !sources.contains(&format!("fn {name}("))).collect()
}

/// Each rule with an input that breaks it.
mod broken {
    use super::*;

    fn names(found: &[&Named]) -> Vec<String> {
        found.iter().map(|named| format!("{}: {}", named.line, named.segments.join("::"))).collect()
    }

    #[test]
    fn a_core_that_names_a_clock_or_a_file_is_found_however_it_does() {
        let planted = "use std::{collections::BTreeMap,\n    fs::File,\n    time::{Duration, Instant}};\n\
                       #[cfg(test)]\nmod tests;\nmod later;\n\
                       fn f() { tokio::spawn(g()); let rng = rand::rng(); }\n// std::net is fine here\n";
        let found = Source::read(planted);
        assert_eq!(
            names(&impurities(&found)),
            ["2: std::fs::File", "3: std::time::Instant", "7: tokio::spawn", "7: rand::rng"]
        );
    }

    #[test]
    fn an_import_of_a_module_above_is_found_in_braces_and_in_the_midst_of_code() {
        let planted = "use crate::{\n    agent::sandbox,\n    types::{self, Now},\n};\n\
                       fn f() { matches!(x, crate::cli::Failure) }\n#[cfg(test)]\nuse crate::sim::World;\n";
        let found = Source::read(planted);
        let (_, above) = ABOVE.iter().find(|(module, _)| *module == "master").expect("a module");
        assert_eq!(names(&upward_paths(&found, above)), ["2: crate::agent::sandbox", "5: crate::cli::Failure"]);
    }

    #[test]
    fn a_file_that_is_too_long_or_does_not_say_what_it_is_for_is_found() {
        let long = format!("//! A file.\n{}", "\n".repeat(LONGEST_FILE));
        assert!(form_error(&long).is_some_and(|text| text.starts_with("has 501 lines")));
        assert!(form_error("use std::fs;\n").is_some());
        assert_eq!(form_error("//! A file.\n"), None);
    }

    #[test]
    fn a_guarantee_without_its_test_is_found() {
        let page = "held by `this_test_is_there_and_has_a_long_name` and `this_test_is_not_there_at_all_any_more`";
        let sources = "fn this_test_is_there_and_has_a_long_name() {}";
        assert_eq!(without_a_test(page, sources), ["this_test_is_not_there_at_all_any_more"]);
    }

    #[test]
    fn only_modules_for_tests_are_passed_over() {
        let source =
            Source::read("#[cfg(test)]\nmod tests;\n#[cfg(test)]\n#[path = \"b_tests.rs\"]\nmod others;\nmod contest;");
        let of = |path: &str| files_for_tests(Path::new(path), &source);
        assert_eq!(of("a/b.rs"), [Path::new("a/b/tests.rs"), Path::new("a/b_tests.rs")]);
        assert_eq!(of("a/mod.rs"), [Path::new("a/tests.rs"), Path::new("a/b_tests.rs")]);
        assert!(is_in(Path::new("local.rs"), "local") && is_in(Path::new("local/folder.rs"), "local"));
        assert!(!is_in(Path::new("locality.rs"), "local"));
    }
}
