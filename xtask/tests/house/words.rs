//! Words that make people of the parts of a program are not used: not in names, docs, comments, log lines or tests.

use std::{fs, path::Path};

use super::files;

const NOT_USED: [&str; 26] = [
    "tell", "tells", "told", "telling", "hear", "hears", "heard", "hearing", "nobody", "somebody", "whoever", "hungry",
    "settle", "settles", "settled", "settling", "heir", "bereft", "patience", "wonder", "wonders", "owe", "owes",
    "owed", "untold", "unheard",
];

/// Where one of them stands all the same, and why: a file below the root and the word.
const EXCEPTIONS: [(&str, &str, &str); 1] =
    [("src/framework/user.rs", "nobody", "the name of an account that Unix systems have")];

/// The words of a line: names are taken apart at underscores and capitals.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut after_small = false;
    for one in line.chars() {
        if !one.is_alphabetic() || (one.is_uppercase() && after_small) {
            words.push(String::new());
        }
        if one.is_alphabetic() {
            words.last_mut().expect("never empty").extend(one.to_lowercase());
        }
        after_small = one.is_lowercase();
    }
    words
}

/// The words not used that a text has, each with its line.
fn not_used(text: &str) -> Vec<(usize, String)> {
    let of_line = |(number, line): (usize, &str)| {
        let found = words(line).into_iter().filter(|word| NOT_USED.contains(&word.as_str()));
        found.map(|word| (number, word)).collect::<Vec<_>>()
    };
    (1..).zip(text.lines()).flat_map(of_line).collect()
}

#[test]
fn parts_of_the_program_are_not_people() {
    let root = xtask::root();
    let folders = ["src", "examples", "benches", "tests", "xtask"].map(|folder| root.join(folder));
    let sources = folders.iter().flat_map(|folder| files(folder));
    let pages =
        [&root, &root.join("docs"), &root.join("benches")].map(|folder| fs::read_dir(folder).expect("it is there"));
    let pages = pages.into_iter().flatten().map(|entry| entry.expect("readable").path());
    let pages = pages.filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    let is_ours = |path: &Path| {
        let name = path.strip_prefix(&root).expect("below the root");
        !(name.starts_with("src/proto")
            || name == Path::new("CHANGELOG.md")
            || name == Path::new("xtask/tests/house/words.rs"))
    };
    let (mut found, mut read) = (Vec::new(), 0);
    for path in sources.chain(pages).filter(|path| is_ours(path)) {
        read += 1;
        let name = path.strip_prefix(&root).expect("below the root").display().to_string();
        for (line, word) in not_used(&fs::read_to_string(&path).expect("text")) {
            if !EXCEPTIONS.iter().any(|(file, excepted, _)| *file == name && *excepted == word) {
                found.push(format!("{name}:{line}: {word}"));
            }
        }
    }
    assert!(read > 500, "{read} files were read");
    assert!(found.is_empty(), "{} words: {found:#?}", found.len());
}

#[test]
fn a_word_is_found_in_sentences_and_in_names_and_not_within_another() {
    let planted = "// The agent is told.\nfn tell_ends(heirs: Unheard) {}\nstruct TellTale;\nlet retold = \"However, the tower\";";
    let found = not_used(planted);
    let found: Vec<(usize, &str)> = found.iter().map(|(line, word)| (*line, word.as_str())).collect();
    assert_eq!(found, [(1, "told"), (2, "tell"), (2, "unheard"), (3, "tell")]);
}
