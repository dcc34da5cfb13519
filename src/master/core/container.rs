//! Container ids, stored in few bytes: there is one for each task.

use std::{cmp::Ordering, fmt, sync::Arc};

use uuid::{Uuid, fmt::Hyphenated};

/// The id of a container. Masters issue UUIDs, which are stored as numbers; any other text is stored as text.
///
/// Ids are ordered as their texts are.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct ContainerId(Form);

#[derive(Clone, PartialEq, Eq, Hash)]
enum Form {
    Uuid(Uuid),
    Text(Arc<str>),
}

impl From<Uuid> for ContainerId {
    fn from(uuid: Uuid) -> Self {
        Self(Form::Uuid(uuid))
    }
}

impl From<&str> for ContainerId {
    fn from(text: &str) -> Self {
        let uuid = text.parse().ok().filter(|uuid: &Uuid| text == spelled(uuid, &mut [0; Hyphenated::LENGTH]));
        Self(uuid.map_or_else(|| Form::Text(text.into()), Form::Uuid))
    }
}

impl Ord for ContainerId {
    fn cmp(&self, other: &Self) -> Ordering {
        match (&self.0, &other.0) {
            // Digits of one case sort as the bytes that they stand for.
            (Form::Uuid(one), Form::Uuid(other)) => one.cmp(other),
            (Form::Text(one), Form::Text(other)) => one.cmp(other),
            (Form::Uuid(one), Form::Text(other)) => spelled(one, &mut [0; Hyphenated::LENGTH]).cmp(other),
            (Form::Text(one), Form::Uuid(other)) => (**one).cmp(spelled(other, &mut [0; Hyphenated::LENGTH])),
        }
    }
}

impl PartialOrd for ContainerId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Form::Uuid(uuid) => uuid.hyphenated().fmt(f),
            Form::Text(text) => f.write_str(text),
        }
    }
}

impl fmt::Debug for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The canonical text of a UUID; only that form is stored as a number.
fn spelled<'a>(uuid: &Uuid, buffer: &'a mut [u8; Hyphenated::LENGTH]) -> &'a str {
    uuid.hyphenated().encode_lower(buffer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_printed_as_it_was_written_and_equals_no_other_spelling() {
        let lower = "00000001-0000-8001-8000-00002abcdef0";
        let texts = [lower, &lower.to_uppercase(), &lower.replace('-', ""), &format!("{{{lower}}}"), "c1", "", "ü"];
        let ids = texts.map(ContainerId::from);
        for (id, text) in ids.iter().zip(texts) {
            assert_eq!(id.to_string(), text);
            assert_eq!(ids.iter().filter(|other| *other == id).count(), 1, "{text}");
        }
    }

    #[test]
    fn ids_sort_as_their_texts() {
        let texts =
            ["", "0000000", "00000001-0000-8001-8000-00002abcdef0", "00000001-0000-8001-8000-00002abcdefg", "z"];
        let more = ["9f000000-0000-8001-8000-000000000000", "a0000000-0000-8001-8000-000000000000", "A", "a0", "b"];
        let mut texts: Vec<&str> = texts.into_iter().chain(more).collect();
        let mut ids: Vec<ContainerId> = texts.iter().map(|text| ContainerId::from(*text)).collect();
        texts.sort_unstable();
        ids.sort();
        assert_eq!(ids.iter().map(ToString::to_string).collect::<Vec<_>>(), texts);
    }

    #[test]
    fn a_given_id_needs_no_memory_of_its_own() {
        assert!(matches!(ContainerId::from("00000001-0000-8001-8000-00002abcdef0").0, Form::Uuid(_)));
        assert_eq!(size_of::<ContainerId>(), 24);
    }
}
