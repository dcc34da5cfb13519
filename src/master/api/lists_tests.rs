//! Answers in parts are compared with answers in one piece.

use super::*;
use crate::{master::core::tests::scenes, types::Now};

fn parts(view: &View, kind: Type, bytes: usize) -> Vec<Reply> {
    let mut pager = Pager::new("m".into(), kind, Vec::new());
    std::iter::from_fn(|| pager.part(view, bytes)).collect()
}

/// Merges parts as a client does: decoding concatenated messages concatenates their lists.
fn merged(parts: &[Reply]) -> Reply {
    let bytes: Vec<u8> = parts.iter().flat_map(Reply::encode_to_vec).collect();
    Reply::decode(&*bytes).expect("valid")
}

#[test]
fn the_parts_of_an_answer_add_up_to_the_answer_for_any_part_size() {
    let view = View::new(scenes::mixed(), Now::default());
    for kind in [Type::GetTasks, Type::GetFrameworks, Type::GetAgents, Type::GetState] {
        let whole = parts(&view, kind, usize::MAX);
        assert_eq!(whole.len(), 1, "{kind:?}");
        for bytes in [1, 300] {
            let parts = parts(&view, kind, bytes);
            assert!(parts.len() > 1, "{kind:?}: {} parts of {bytes}", parts.len());
            assert_eq!(merged(&parts), whole[0], "{kind:?} in parts of {bytes}");
        }
    }
}

#[test]
fn every_list_holds_what_the_snapshot_holds() {
    let view = View::new(scenes::mixed(), Now::default());
    let state = merged(&parts(&view, Type::GetState, 1)).get_state.expect("a state");
    let (tasks, agents) = (state.get_tasks.expect("tasks"), state.get_agents.expect("agents"));
    let frameworks = state.get_frameworks.expect("frameworks");
    #[expect(deprecated, reason = "Mesos no longer uses this field; it holds divvy's orphans")]
    let orphans = tasks.orphan_tasks.len();
    let snapshot = &view.snapshot;
    let live: usize = snapshot.agents.iter().map(|agent| agent.tasks.len()).sum();
    assert_eq!(tasks.tasks.len() + tasks.unreachable_tasks.len(), live);
    assert_eq!(orphans, snapshot.agents.iter().map(|agent| agent.orphans.len()).sum::<usize>());
    assert_eq!(frameworks.frameworks.len(), snapshot.frameworks.len());
    assert_eq!(frameworks.completed_frameworks.len(), snapshot.completed.len());
    assert_eq!(agents.recovered_agents.len(), snapshot.recovered.len());
    let offers: usize = frameworks.frameworks.iter().map(|framework| framework.offers.len()).sum();
    assert_eq!(offers, snapshot.agents.iter().map(|agent| agent.offers.len()).sum::<usize>());
    let lists = [
        ("tasks", tasks.tasks.len()),
        ("unreachable", tasks.unreachable_tasks.len()),
        ("completed tasks", tasks.completed_tasks.len()),
        ("orphans", orphans),
        ("agents", agents.agents.len()),
        ("completed frameworks", frameworks.completed_frameworks.len()),
        ("offers", offers),
    ];
    assert!(lists.iter().all(|(_, length)| *length > 0), "the scene lacks something: {lists:?}");
}

#[test]
fn a_part_exceeds_the_requested_size_by_at_most_one_item() {
    let view = View::new(scenes::crowded(500), Now::default());
    let largest = parts(&view, Type::GetTasks, 1).iter().map(Reply::encoded_len).max().expect("tasks");
    for part in parts(&view, Type::GetTasks, 10_000) {
        assert!(part.encoded_len() < 10_000 + 2 * largest, "{} bytes", part.encoded_len());
    }
}
