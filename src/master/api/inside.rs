//! Entry points for the fuzzer: parsing of operator calls, and rendering of a snapshot in every form.

use prost::Message as _;

use super::{
    MasterFacts,
    document::{Cursor, Document},
    lists::Pager,
    metrics::{self, Measured},
    operator, roles,
    views::View,
};
use crate::{
    allocator::fair::Quota,
    master::core::{Question, Snapshot},
    proto::v1::{
        master::{Call, call},
        quota::QuotaConfig,
    },
    types::Now,
};

/// The question to the core of a valid call that changes something.
pub(crate) fn asked(call: Call) -> Option<Question> {
    let kind = call::Type::try_from(call.r#type.unwrap_or_default()).unwrap_or(call::Type::Unknown);
    operator::question(kind, call).ok()
}

/// The quotas if they are valid, or none.
pub(crate) fn quotas(configs: &[QuotaConfig]) -> Vec<(String, Quota)> {
    roles::parse_quotas(configs).unwrap_or_default()
}

/// Renders the snapshot in every form, and checks that `/state` is valid JSON.
pub(crate) fn look(snapshot: &Snapshot) {
    let view = View::new(snapshot.clone(), Now::default());
    let (id, hostname) = ("m".to_owned(), "h".to_owned());
    let facts = MasterFacts { id, hostname, address: ([127, 0, 0, 1], 5050).into(), started: 1.0 };
    let document = whole(&facts, &view);
    drop(serde_json::from_slice::<serde_json::Value>(&document).expect("what was written can be read"));
    let text = metrics::render(snapshot, &Measured::default());
    assert!(text.ends_with("# EOF\n"), "all metrics are written");
    let mut pager = Pager::new(facts.id.as_str().into(), call::Type::GetState, Vec::new());
    while let Some(part) = pager.part(&view, 1_000) {
        drop(part.encode_to_vec());
    }
    drop(roles::roles(snapshot).encode_to_vec());
    drop(roles::quotas(snapshot).encode_to_vec());
}

/// All of `/state`.
fn whole(master: &MasterFacts, view: &View) -> Vec<u8> {
    let document = Document { master, snapshot: &view.snapshot, by_framework: &view.by_framework };
    let (mut whole, mut cursor) = (Vec::new(), Cursor::default());
    while let Some((bytes, next)) = document.chunk(cursor) {
        whole.extend(bytes);
        cursor = next;
    }
    whole
}
