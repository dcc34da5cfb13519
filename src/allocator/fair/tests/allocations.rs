//! Allocations that operators and clients of the protocol rely on: who gets what of which agent, one table each.
//!
//! A line `=> F1 A1 cpus:2` is one run over what is dirty. Agents are visited in the order of their keys, where Mesos
//! shuffles them. A run follows each change, where Mesos waits for its interval: "expires after three intervals" is a
//! time here.

use super::script::ScriptedCluster;

#[test]
fn unreserved_resources_go_by_dominant_shares() {
    ScriptedCluster::check(&[
        "agent A1 cpus:2;mem:1024",
        "framework F1 role1",
        "=> F1 A1 cpus:2;mem:1024",
        "framework F2 role2",
        "agent A2 cpus:1;mem:512",
        "=> F2 A2 cpus:1;mem:512",
        "agent A3 cpus:3;mem:2048",
        "=> F2 A3 cpus:3;mem:2048",
        "framework F3 role1",
        "agent A4 cpus:4;mem:4096",
        "=> F3 A4 cpus:4;mem:4096",
        "framework F4 role1",
        "agent A5 cpus:1;mem:512",
        "=> F2 A5 cpus:1;mem:512",
    ]);
}

#[test]
fn what_is_excluded_from_shares_changes_nothing_in_them() {
    ScriptedCluster::check(&[
        "exclude gpus",
        "agent A1 cpus:2;mem:1024;gpus:1",
        "framework F1 role1",
        "=> F1 A1 cpus:2;mem:1024;gpus:1",
        "framework F2 role2",
        "agent A2 cpus:1;mem:512",
        "=> F2 A2 cpus:1;mem:512",
        "agent A3 cpus:3;mem:2048",
        "=> F2 A3 cpus:3;mem:2048",
        "framework F3 role1",
        "agent A4 cpus:4;mem:4096",
        "=> F3 A4 cpus:4;mem:4096",
        "framework F4 role1",
        "agent A5 cpus:1;mem:512",
        "=> F2 A5 cpus:1;mem:512",
    ]);
}

#[test]
fn reserved_resources_count_for_the_share_of_who_holds_them() {
    ScriptedCluster::check(&[
        "agent A1 cpus:1;mem:512;cpus(role1):100;mem(role1):1024",
        "framework F1 role1",
        "=> F1 A1 cpus:1;mem:512;cpus(role1):100;mem(role1):1024",
        "framework F2 role2",
        "agent A2 cpus:2;mem:512",
        "=> F2 A2 cpus:2;mem:512",
        "agent A3 cpus:2;mem:512",
        "=> F2 A3 cpus:2;mem:512",
        "framework F3 role1",
        "agent A4 cpus(role1):2;mem(role1):1024",
        "=> F3 A4 cpus(role1):2;mem(role1):1024",
    ]);
}

#[test]
fn nested_roles_share_within_their_parents() {
    ScriptedCluster::check(&[
        "agent A1 cpus:2;mem:1024",
        "framework F1 a/b",
        "=> F1 A1 cpus:2;mem:1024",
        "framework F2 a/c",
        "framework F3 d/e",
        "agent A2 cpus:1;mem:512",
        "=> F3 A2 cpus:1;mem:512",
        "framework F4 d/f",
        "agent A3 cpus:2;mem:1024",
        "=> F4 A3 cpus:2;mem:1024",
    ]);
}

#[test]
fn two_roles_get_one_agent_each() {
    ScriptedCluster::check(&[
        "framework F1 role1",
        "framework F2 role2",
        "agent A1 cpus:2;mem:1024",
        "agent A2 cpus:2;mem:1024",
        "=> F1 A1 cpus:2;mem:1024 | F2 A2 cpus:2;mem:1024",
    ]);
}

#[test]
fn equals_take_turns() {
    let mut lines = vec!["framework F1 *", "framework F2 *", "agent A1 cpus:2;mem:1024"];
    for _ in 0..5 {
        lines.extend(["=> F1 A1 cpus:2;mem:1024", "free F1 A1", "=> F2 A1 cpus:2;mem:1024", "free F2 A1"]);
    }
    ScriptedCluster::check(&lines);
}

#[test]
fn what_was_declined_is_offered_when_its_filter_ends() {
    ScriptedCluster::check(&[
        "framework F1 role1",
        "agent A1 cpus:2;mem:1024",
        "=> F1 A1 cpus:2;mem:1024",
        "decline F1 A1 3",
        "=> nothing",
        "wait 2",
        "=> nothing",
        "wait 1",
        "=> F1 A1 cpus:2;mem:1024",
    ]);
}

#[test]
fn each_gets_its_own_reservations_and_the_rest_goes_by_shares() {
    ScriptedCluster::check(&[
        "agent A1 cpus(role1):2;mem(role1):1024;cpus(role2):1;mem(role2):512;cpus:1;mem:512",
        "framework F1 role1",
        "=> F1 A1 cpus(role1):2;mem(role1):1024;cpus:1;mem:512",
        "framework F2 role2",
        "=> F2 A1 cpus(role2):1;mem(role2):512",
        "free F1 A1",
        "=> F1 A1 cpus(role1):2;mem(role1):1024;cpus:1;mem:512",
        "free F1 A1",
        "suppress F1",
        "=> F2 A1 cpus:1;mem:512",
    ]);
}

#[test]
fn an_agent_below_the_minimum_is_offered_only_with_what_is_reserved_beside_it() {
    ScriptedCluster::check(&[
        "minimum cpus:0.01|mem:32",
        "framework F1 role1",
        "agent A1 cpus:0.005;mem:16",
        "=> nothing",
        "agent A2 cpus:0.01;mem:16",
        "=> F1 A2 cpus:0.01;mem:16",
        "agent A3 cpus:0.005;mem:32",
        "=> F1 A3 cpus:0.005;mem:32",
        "agent A4 cpus:0.015;mem:16;cpus(role1):0.015;mem(role1):16",
        "=> F1 A4 cpus:0.015;mem:16;cpus(role1):0.015;mem(role1):16",
    ]);
}

#[test]
fn a_minimum_of_ones_own_takes_the_place_of_the_clusters() {
    ScriptedCluster::check(&[
        "minimum cpus:0.01|mem:32",
        "framework F1 role1",
        "own F1 cpus:2;mem:64",
        "agent A1 cpus:1;mem:1024",
        "=> nothing",
        "framework F2 role2",
        "own F2 anything",
        "agent A2 cpus:0.001",
        "=> F2 A1 cpus:1;mem:1024 | F2 A2 cpus:0.001",
    ]);
}

#[test]
fn a_minimum_is_no_ceiling_and_a_demand_is() {
    ScriptedCluster::check(&[
        "framework F1 role1",
        "own F1 cpus:2",
        "agent A1 cpus:8;mem:1024",
        "=> F1 A1 cpus:8;mem:1024",
        "free F1 A1",
        "demand F1 cpus:3;mem:100",
        "=> F1 A1 cpus:3;mem:100",
        "free F1 A1",
        "demand F1 cpus:1",
        "=> F1 A1 cpus:1",
    ]);
}

#[test]
fn weights_share_out_agents_in_proportion() {
    ScriptedCluster::check(&[
        "framework F1 role1",
        "framework F2 role2",
        "agent A1 cpus:2;mem:1024",
        "agent A2 cpus:2;mem:1024",
        "agent A3 cpus:2;mem:1024",
        "agent A4 cpus:2;mem:1024",
        "agent A5 cpus:2;mem:1024",
        "agent A6 cpus:2;mem:1024",
        "weight role2 2",
        "=> F1 A1 cpus:2;mem:1024 | F2 A2 cpus:2;mem:1024 | F2 A3 cpus:2;mem:1024 | F1 A4 cpus:2;mem:1024 | F2 A5 cpus:2;mem:1024 | F2 A6 cpus:2;mem:1024",
    ]);
}

#[test]
fn a_weight_changed_later_holds_for_what_is_given_out_next() {
    ScriptedCluster::check(&[
        "framework F1 role1",
        "framework F2 role2",
        "agent A1 cpus:2;mem:1024",
        "agent A2 cpus:2;mem:1024",
        "=> F1 A1 cpus:2;mem:1024 | F2 A2 cpus:2;mem:1024",
        "weight role2 3",
        "=> nothing",
        "agent A3 cpus:2;mem:1024",
        "=> F2 A3 cpus:2;mem:1024",
    ]);
}

#[test]
fn the_suppressed_get_nothing_and_reviving_ends_their_filters() {
    ScriptedCluster::check(&[
        "framework F1 role1",
        "framework F1 role2",
        "agent A1 cpus:2;mem:1024",
        "=> F1 A1 cpus:2;mem:1024",
        "suppress F1",
        "free F1 A1",
        "=> nothing",
        "revive F1 role2",
        "=> F1 A1 cpus:2;mem:1024",
        "decline F1 A1 3600",
        "=> nothing",
        "revive F1 role1",
        "=> F1 A1 cpus:2;mem:1024",
        "decline F1 A1 3600",
        "=> nothing",
        "revive F1",
        "=> F1 A1 cpus:2;mem:1024",
    ]);
}

#[test]
fn what_an_agent_grows_by_is_offered_and_one_that_shrank_offers_nothing() {
    ScriptedCluster::check(&[
        "framework F1 role1",
        "agent A1 cpus:2;mem:1024",
        "=> F1 A1 cpus:2;mem:1024",
        "agent A1 cpus:3;mem:2048",
        "=> F1 A1 cpus:1;mem:1024",
        "agent A1 cpus:1;mem:512",
        "=> nothing",
    ]);
}

#[test]
fn filters_go_with_their_agent() {
    ScriptedCluster::check(&[
        "framework F1 role1",
        "agent A1 cpus:2;mem:1024",
        "=> F1 A1 cpus:2;mem:1024",
        "decline F1 A1 3600",
        "gone A1",
        "agent A1 cpus:2;mem:1024",
        "=> F1 A1 cpus:2;mem:1024",
    ]);
}

#[test]
fn what_may_be_taken_back_goes_to_those_who_can_deal_with_it() {
    ScriptedCluster::check(&[
        "framework F1 role1",
        "agent A1 cpus:2;spare:3",
        "=> F1 A1 cpus:2",
        "framework F2 role2",
        "able F2 revocable",
        "=> F2 A1 spare:3",
    ]);
}

#[test]
fn who_cannot_take_an_agent_does_not_stop_the_others() {
    ScriptedCluster::check(&[
        "framework F1 role1",
        "able F1 none",
        "framework F2 role2",
        "agent A1 cpus:2;mem:64;gpus:1",
        "agent A2 cpus:2;mem:64",
        "=> F2 A1 cpus:2;mem:64;gpus:1 | F1 A2 cpus:2;mem:64",
    ]);
}

#[test]
fn reservations_of_a_role_are_offered_to_all_below_it() {
    ScriptedCluster::check(&[
        "framework F1 a/b/c",
        "agent A1 cpus(a):1;mem(a):512",
        "=> F1 A1 cpus(a):1;mem(a):512",
        "agent A2 cpus:2;mem:1024;cpus(a/b):4;mem(a/b):2048",
        "=> F1 A2 cpus:2;mem:1024;cpus(a/b):4;mem(a/b):2048",
        "agent A3 cpus(a/x):1;mem(a/x):512",
        "=> nothing",
    ]);
}

#[test]
fn what_is_left_beside_processors_that_a_changed_client_took_goes_to_clients_that_did_not_change() {
    ScriptedCluster::check(&[
        "able plain shared",
        "framework plain a",
        "agent A1 cpus:2;gpus:1",
        "=> nothing",
        "demand able gpus:1",
        "framework able b",
        "=> able A1 gpus:1 | plain A1 cpus:2",
    ]);
}

#[test]
fn a_client_that_is_revived_is_offered_what_others_refused_and_they_are_not() {
    ScriptedCluster::check(&[
        "framework F1 a",
        "framework F2 b",
        "agent A1 cpus:2",
        "agent A2 cpus:4",
        "=> F1 A1 cpus:2 | F2 A2 cpus:4",
        "decline F1 A1 100",
        "decline F2 A2 100",
        "=> F2 A1 cpus:2 | F1 A2 cpus:4",
        "decline F2 A1 100",
        "decline F1 A2 100",
        "=> nothing",
        "revive F2",
        "=> F2 A1 cpus:2 | F2 A2 cpus:4",
    ]);
}
