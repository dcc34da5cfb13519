//! What people write: resources, attributes, addresses, files of offers and tasks.

use crate::{
    allocator::Constraint,
    cli::allocate::{self, Input, StrategyName, Way},
    transport::connect::Addresses,
    types::{Attributes, Ranges, Resources},
};

/// What is sent and received is the same. (The text that is shown tells more of a reservation than can be read.)
pub(super) fn resources(bytes: &[u8]) {
    let Some(read) = parsed::<Resources>(bytes) else { return };
    drop(read.to_string());
    assert_eq!(Resources::from_proto(&read.to_proto()).expect("what was sent can be received"), read);
}

pub(super) fn attributes(bytes: &[u8]) {
    let Some(read) = parsed::<Attributes>(bytes) else { return };
    assert_eq!(Attributes::from_proto(&read.to_proto()).expect("what was sent can be received"), read);
}

pub(super) fn ranges(bytes: &[u8]) {
    let Some(read) = parsed::<Ranges>(bytes) else { return };
    let again = read.to_string().parse::<Ranges>().expect("what was written can be read");
    assert_eq!(again, read);
}

pub(super) fn addresses(bytes: &[u8]) {
    let Some(read) = parsed::<Addresses>(bytes) else { return };
    let again = read.to_string().parse::<Addresses>().expect("what was written can be read");
    assert_eq!(again.to_string(), read.to_string());
}

pub(super) fn constraints(bytes: &[u8]) {
    let Some(read) = parsed::<Constraint>(bytes) else { return };
    let again = read.to_string().parse::<Constraint>().expect("what was written can be read");
    assert_eq!(again, read);
}

/// The file of offers, a zero byte, the file of tasks.
pub(super) fn allocate(bytes: &[u8]) {
    let mut files = bytes.splitn(2, |byte| *byte == 0);
    let offers = Input::new("offers", files.next().unwrap_or_default());
    let tasks = Input::new("tasks", files.next().unwrap_or_default());
    for strategy in [StrategyName::Naive, StrategyName::Binpack, StrategyName::Spread] {
        let way = Way { strategy, best_effort: true };
        let answer = || allocate::allocate(&offers, &tasks, way, 1_000).map_err(|error| error.to_string());
        assert_eq!(answer(), answer(), "the same input gives the same answer");
    }
}

fn parsed<T: std::str::FromStr>(bytes: &[u8]) -> Option<T> {
    std::str::from_utf8(bytes).ok()?.parse().ok()
}
