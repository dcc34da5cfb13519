//! Registries that earlier versions wrote, read by this one. Each format has a stored file in `tests/samples/registry`,
//! which is never rewritten.

use std::{
    fs,
    path::{Path, PathBuf},
};

use redb::TableDefinition;

use super::{Embedded, FORMAT, Registry as _, RegistryError, State, conformance::facts, embedded::NAME};

/// How many of the facts the sample of the second format holds.
const SECOND_FORMAT_FACTS: usize = 13;
/// How many of the facts the sample of the third format holds.
const THIRD_FORMAT_FACTS: usize = 18;

fn sample(format: u32) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/samples/registry/format-{format}.redb"))
}

/// A work directory with a copy of the sample.
fn copied(format: u32) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::copy(sample(format), folder.path().join(NAME)).expect("the sample is stored");
    folder
}

#[test]
fn a_registry_of_the_first_format_is_read_and_converted_to_this_one() {
    let folder = copied(1);
    let check = |state: &State| {
        let ids: Vec<&str> = state.agents.keys().map(String::as_str).collect();
        let master = "0dcb6902-e92a-4c18-8e2c-f376f231f5c9";
        assert_eq!(ids, [format!("{master}-S0"), format!("{master}-S1")]);
        assert_eq!(state.unreachable.keys().collect::<Vec<_>>(), [&format!("{master}-S1")]);
        assert!(state.removed_frameworks.contains(&format!("{master}-0000")));
        let attributes = &state.agents[&format!("{master}-S1")].attributes;
        assert_eq!(attributes[0].text.as_ref().map(|text| text.value.as_str()), Some("r1"));
    };
    let mut registry = Embedded::open(folder.path()).expect("opens");
    let (state, fence) = registry.load().expect("loads");
    check(&state);
    assert_eq!(fence.epoch(), 3, "the sample's master was of epoch 2");
    registry.append(fence, &facts()).expect("appended");
    let (again, _) = registry.load().expect("loads");
    assert_eq!(again.gone.len(), 1, "what the first format cannot hold is stored");
}

#[test]
fn a_registry_of_the_second_format_is_read_and_converted_to_this_one() {
    let folder = copied(2);
    let mut registry = Embedded::open(folder.path()).expect("opens");
    let (state, fence) = registry.load().expect("loads");
    assert_eq!((state, fence.epoch()), (facts()[..SECOND_FORMAT_FACTS].iter().collect(), 2));
    registry.append(fence, &facts()[SECOND_FORMAT_FACTS..]).expect("appended");
    let (again, _) = registry.load().expect("loads");
    assert_eq!(again, facts().iter().collect(), "what the second format cannot hold is stored");
}

#[test]
fn a_registry_of_the_third_format_is_read_and_converted_to_this_one() {
    let folder = copied(3);
    let mut registry = Embedded::open(folder.path()).expect("opens");
    let (state, fence) = registry.load().expect("loads");
    assert_eq!((state, fence.epoch()), (facts()[..THIRD_FORMAT_FACTS].iter().collect(), 2));
    let position = registry.append(fence, &facts()[THIRD_FORMAT_FACTS..]).expect("appended");
    assert_eq!(usize::try_from(position.0), Ok(facts().len()), "the count of changes continues");
    let (again, _) = registry.load().expect("loads");
    assert_eq!(again, facts().iter().collect(), "what the third format cannot hold is stored");
}

#[test]
fn a_registry_of_this_format_is_read() {
    let folder = copied(FORMAT);
    let (state, fence) = Embedded::open(folder.path()).and_then(|mut registry| registry.load()).expect("loads");
    assert_eq!((state, fence.epoch()), (facts().iter().collect(), 2));
}

#[test]
fn a_registry_of_a_later_format_is_refused_and_not_changed() {
    let folder = copied(FORMAT);
    let database = redb::Database::open(folder.path().join(NAME)).expect("opens");
    let transaction = database.begin_write().expect("begins");
    {
        let later = [("format", 9_u64), ("epoch", 5), ("next", 13)];
        let sum = crc32fast::hash(&later.map(|(_, value)| value.to_le_bytes()).concat());
        let table: TableDefinition<'_, &str, u64> = TableDefinition::new("facts");
        let mut facts = transaction.open_table(table).expect("there");
        for (name, value) in later.into_iter().chain([("checksum", u64::from(sum))]) {
            facts.insert(name, value).expect("written");
        }
    }
    transaction.commit().expect("committed");
    drop(database);
    let refused = Embedded::open(folder.path()).and_then(|mut registry| registry.load()).expect_err("newer");
    assert!(matches!(refused, RegistryError::Newer { found: 9 }), "{refused:?}");
    assert!(refused.to_string().contains("format 9, and this master reads up to 4"), "{refused}");
    let again = Embedded::open(folder.path()).and_then(|registry| registry.peek());
    assert!(matches!(again, Err(RegistryError::Newer { found: 9 })), "it was not changed: {again:?}");
}

/// Writes the stored sample of this format. Run it by hand when the format is raised, never to change a sample.
#[test]
#[ignore = "writes the sample of a new format"]
fn write_the_sample_of_this_format() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut registry = Embedded::open(folder.path()).expect("opens");
    let (_, fence) = registry.load().expect("loads");
    registry.append(fence, &facts()).expect("appended");
    drop(registry);
    assert!(!sample(FORMAT).exists(), "a sample is never rewritten");
    fs::copy(folder.path().join(NAME), sample(FORMAT)).expect("stored");
}
