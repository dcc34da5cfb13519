//! The document is compared with the one that earlier versions rendered in one piece.

use super::*;
use crate::{
    master::{api::views::View, core::tests::scenes},
    types::Now,
};

/// `/state` of the mixed scene as a master of version 0.1 rendered it in one piece, indented.
const WHOLE: &str = include_str!("../../../tests/samples/state/mixed.json");

fn master() -> MasterFacts {
    let (id, hostname) = ("m".to_owned(), "h".to_owned());
    MasterFacts { id, hostname, address: ([127, 0, 0, 1], 5050).into(), started: 1.5 }
}

/// Renders the document; returns it with the number of chunks.
fn written(snapshot: Snapshot) -> (Vec<u8>, usize) {
    let view = View::new(snapshot, Now::default());
    let master = master();
    let document = Document { master: &master, snapshot: &view.snapshot, by_framework: &view.by_framework };
    let (mut whole, mut cursor, mut chunks) = (Vec::new(), Cursor::default(), 0);
    while let Some((bytes, next)) = document.chunk(cursor) {
        assert_eq!(document.chunk(cursor), Some((bytes.clone(), next)), "the same cursor gives the same bytes");
        whole.extend(bytes);
        (cursor, chunks) = (next, chunks + 1);
    }
    (whole, chunks)
}

#[test]
fn the_state_rendered_in_chunks_equals_the_state_rendered_in_one_piece() {
    let (document, _) = written(scenes::mixed());
    let mut document: Value = serde_json::from_slice(&document).expect("JSON");
    let mut before: Value = serde_json::from_str(WHOLE).expect("JSON");
    for one in [&mut document, &mut before] {
        one["divvy_version"] = Value::Null;
    }
    for (name, value) in before.as_object().expect("an object") {
        assert_eq!(document[name], *value, "{name}");
    }
    assert_eq!(document, before);
}

#[test]
fn an_empty_cluster_is_a_document_with_empty_lists() {
    let (document, chunks) = written(scenes::empty());
    let document: Value = serde_json::from_slice(&document).expect("JSON");
    let lists =
        ["slaves", "recovered_slaves", "frameworks", "completed_frameworks", "orphan_tasks", "unregistered_frameworks"];
    assert!(lists.iter().all(|list| document[list] == json!([])), "{document}");
    assert_eq!((chunks, document["activated_slaves"].as_u64()), (1, Some(0)));
}

#[test]
fn a_document_of_many_tasks_has_many_chunks_of_about_the_same_size() {
    let (document, chunks) = written(scenes::crowded(1_000));
    assert!(chunks > 3 && document.len() / chunks <= CHUNK_BYTES + 4_096, "{} bytes in {chunks}", document.len());
    let document: Value = serde_json::from_slice(&document).expect("JSON");
    assert_eq!(document["frameworks"][0]["tasks"].as_array().map(Vec::len), Some(1_000));
}
