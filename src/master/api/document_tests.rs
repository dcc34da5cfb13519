//! The document against the one that earlier versions wrote in one piece.

use super::*;
use crate::{
    master::{api::views::View, core::tests::scenes},
    types::Now,
};

#[path = "old_state.rs"]
mod old;

fn master() -> MasterFacts {
    let (id, hostname) = ("m".to_owned(), "h".to_owned());
    MasterFacts { id, hostname, address: ([127, 0, 0, 1], 5050).into(), started: 1.5 }
}

#[test]
fn golden() {
    let snapshot = scenes::mixed();
    let document = old::render(&master(), &snapshot).expect("written");
    let value: Value = serde_json::from_slice(&document).expect("read");
    std::fs::write("/tmp/state-mixed.json", serde_json::to_string_pretty(&value).expect("written")).expect("stored");
    let view = View::new(snapshot, Now::default());
    let document = Document { master: &master(), snapshot: &view.snapshot, by_framework: &view.by_framework };
    let (mut whole, mut cursor) = (Vec::new(), Cursor::default());
    while let Some((bytes, next)) = document.chunk(cursor) {
        whole.extend(bytes);
        cursor = next;
    }
    let found: Value = serde_json::from_slice(&whole).expect("read");
    assert_eq!(found, value);
}
