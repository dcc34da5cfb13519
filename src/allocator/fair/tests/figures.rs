//! Orders that existing clients of the protocol rely on, one table each, and rules of our own.

use super::*;

#[test]
fn the_order_follows_dominant_shares() {
    Table::check(&[
        "total cpus:100;mem:100",
        "=> ",
        "add a",
        "+a cpus:5;mem:5",
        "add b",
        "+b cpus:6;mem:6",
        "=> a,b",
        "add c",
        "+c cpus:1;mem:1",
        "add d",
        "+d cpus:3;mem:1",
        "=> c,d,a,b",
        "remove a",
        "-b cpus:4;mem:4",
        "=> c,b,d",
        "add e",
        "+e cpus:1;mem:5",
        "total cpus:50;mem:100",
        "=> c,b,e,d",
        "total cpus:50;mem:200",
        "add f",
        "+f cpus:5;mem:1",
        "+c cpus:0;mem:15",
        "=> e,b,d,c,f",
        "deactivate d",
        "=> e,b,c,f",
        "activate d",
        "=> e,b,d,c,f",
    ]);
}

#[test]
fn weights_divide_shares() {
    Table::check(&[
        "total cpus:100;mem:100",
        "add a",
        "+a cpus:5;mem:5",
        "add b",
        "weight b 2",
        "+b cpus:6;mem:6",
        "=> b,a",
        "add c",
        "+c cpus:4;mem:4",
        "=> b,c,a",
        "add d",
        "weight d 10",
        "+d cpus:10;mem:20",
        "=> d,b,c,a",
        "remove b",
        "=> d,c,a",
        "+d cpus:10;mem:25",
        "=> c,d,a",
        "add e",
        "weight e 0.1",
        "+e cpus:1;mem:1",
        "=> c,d,a,e",
        "remove a",
        "=> c,d,e",
    ]);
}

#[test]
fn a_new_weight_holds_at_once() {
    Table::check(&[
        "total cpus:100;mem:100",
        "add a",
        "+a cpus:5;mem:5",
        "add b",
        "+b cpus:6;mem:6",
        "=> a,b",
        "weight b 2",
        "=> b,a",
    ]);
}

#[test]
fn equal_shares_are_ordered_by_the_number_of_allocations() {
    Table::check(&[
        "total cpus:100;mem:100",
        "add a",
        "add b",
        "add c",
        "add d",
        "add e",
        "+a cpus:3;mem:3",
        "+b cpus:3;mem:3",
        "+c cpus:1;mem:1",
        "+c cpus:1;mem:1",
        "+c cpus:1;mem:1",
        "+d cpus:2;mem:2",
        "+d cpus:1;mem:1",
        "+e cpus:3;mem:3",
        "=> a,b,e,d,c",
        "-c cpus:3;mem:3",
        "=> c,a,b,e,d",
        "+c cpus:3;mem:3",
        "=> a,b,e,d,c",
        "deactivate c",
        "activate c",
        "=> a,b,e,d,c",
        "-c cpus:3;mem:3",
        "+c cpus:3;mem:3",
        "=> a,b,e,d,c",
        "deactivate a",
        "-a cpus:1;mem:3",
        "+a cpus:1;mem:3",
        "=> b,e,d,c",
        "activate a",
        "=> b,e,a,d,c",
    ]);
}

#[test]
fn what_children_hold_counts_for_their_parent() {
    Table::check(&[
        "total cpus:100;mem:100",
        "add a",
        "add b/c",
        "add b/d",
        "=> a,b/c,b/d",
        "+a cpus:6;mem:6",
        "=> b/c,b/d,a",
        "+b/c cpus:4;mem:4",
        "+b/d cpus:3;mem:3",
        "=> a,b/d,b/c",
        "+a cpus:2;mem:2",
        "=> b/d,b/c,a",
        "add b/e/f",
        "=> b/e/f,b/d,b/c,a",
        "+b/e/f cpus:3.5;mem:3.5",
        "=> a,b/d,b/e/f,b/c",
        "remove b/e/f",
        "=> b/d,b/c,a",
        "-b/c cpus:3;mem:3",
        "=> b/c,b/d,a",
        "add b/e/f",
        "+b/e/f cpus:3.5;mem:3.5",
        "=> b/c,b/d,b/e/f,a",
    ]);
}

#[test]
fn a_subtree_is_walked_before_its_next_sibling() {
    Table::check(&[
        "total cpus:100;mem:100",
        "add a/b",
        "add c",
        "add d",
        "add d/e",
        "=> a/b,c,d,d/e",
        "+c cpus:8;mem:8",
        "=> a/b,d,d/e,c",
        "+d cpus:3;mem:3",
        "+d/e cpus:2;mem:2",
        "=> a/b,d/e,d,c",
        "+a/b cpus:6;mem:6",
        "=> d/e,d,a/b,c",
    ]);
}

#[test]
fn a_role_with_frameworks_may_get_child_roles() {
    Table::check(&[
        "total cpus:100;mem:100",
        "add a",
        "+a cpus:10;mem:10",
        "add b",
        "+b cpus:6;mem:6",
        "=> b,a",
        "add a/c",
        "+a/c cpus:5;mem:5",
        "=> b,a/c,a",
        "remove a",
        "=> a/c,b",
        "add a",
        "+a cpus:10;mem:10",
        "=> b,a/c,a",
        "weight a/c 0.2",
        "=> b,a,a/c",
        "weight a 3",
        "=> a,a/c,b",
        "weight a/c 1",
        "=> a/c,a,b",
    ]);
}

#[test]
fn a_role_with_child_roles_may_get_frameworks() {
    Table::check(&[
        "total cpus:100;mem:100",
        "add x/a",
        "+x/a cpus:10;mem:10",
        "add x/b",
        "+x/b cpus:6;mem:6",
        "=> x/b,x/a",
        "add x",
        "+x cpus:7;mem:7",
        "=> x/b,x,x/a",
        "add z",
        "+z cpus:20;mem:20",
        "=> z,x/b,x,x/a",
        "remove x",
        "=> x/b,x/a,z",
    ]);
}

#[test]
fn what_an_inactive_framework_holds_still_counts_for_its_role() {
    Table::check(&[
        "total cpus:100;mem:100",
        "add a",
        "+a cpus:10;mem:10",
        "add b",
        "+b cpus:6;mem:6",
        "deactivate a",
        "=> b",
        "add a/c",
        "+a/c cpus:5;mem:5",
        "=> b,a/c",
    ]);
}

#[test]
fn a_weight_set_before_its_role_exists_holds_for_the_whole_subtree() {
    Table::check(&[
        "total cpus:100;mem:100",
        "weight b 3",
        "weight a 2",
        "add a/x",
        "add b/y",
        "=> a/x,b/y",
        "+a/x cpus:10;mem:10",
        "+b/y cpus:10;mem:10",
        "=> b/y,a/x",
        "add b/z",
        "+b/z cpus:5;mem:5",
        "=> b/z,b/y,a/x",
        "add b",
        "+b cpus:4;mem:4",
        "=> a/x,b,b/z,b/y",
        "add a/zz",
        "+a/zz cpus:2;mem:2",
        "=> a/zz,a/x,b,b/z,b/y",
    ]);
}

#[test]
fn a_new_total_may_make_another_resource_dominant() {
    let before = ["add a", "add b", "total cpus:10;mem:100", "+a cpus:2;mem:1", "+b cpus:1;mem:2", "=> b,a"];
    Table::check(&[&before[..], &["total cpus:100;mem:10", "=> a,b"]].concat());
    let agents = ["add a", "add b", "total cpus:10;mem:100", "+a cpus:2;mem:1", "+b cpus:1;mem:3", "=> b,a"];
    Table::check(&[&agents[..], &["total cpus:100;mem:100", "=> a,b"]].concat());
}

#[test]
fn freed_resources_lower_a_share() {
    Table::check(&[
        "add a",
        "add b",
        "total cpus:10",
        "+a cpus:6",
        "+b cpus:4",
        "=> b,a",
        "total cpus:5",
        "-a cpus:5",
        "=> a,b",
    ]);
}

#[test]
fn parts_of_one_resource_are_summed() {
    Table::check(&[
        "total cpus:100;mem:100;disk:100",
        "add a",
        "add b",
        "+a cpus:9;mem:9;disk:9",
        "+b cpus:9;mem:9;disk:5;disk:5",
        "=> a,b",
    ]);
}

#[test]
fn the_dominant_resource_may_differ_between_clients() {
    Table::check(&[
        "total cpus:100;mem:100;disk:1000",
        "add a",
        "+a cpus:5;mem:5;disk:100",
        "add b",
        "+b cpus:6;mem:6",
        "=> b,a",
        "add c",
        "+c cpus:1;mem:1",
        "=> c,b,a",
    ]);
}

#[test]
fn nothing_of_a_resource_in_the_cluster_means_no_share_of_it() {
    Table::check(&["total cpus:10", "add a", "add b", "+a gpus:8", "+b cpus:1", "=> a,b"]);
}

#[test]
fn an_excluded_resource_counts_for_no_share() {
    let mut shares = Shares::excluding(["gpus"]);
    shares.add_total(&quantities("cpus:10;gpus:2"));
    let (a, b) = (shares.add_client("a", 1), shares.add_client("b", 2));
    shares.allocated(a, 1, &quantities("cpus:1;gpus:2"));
    shares.allocated(b, 2, &quantities("cpus:2"));
    assert_eq!(shares.order().collect::<Vec<_>>(), [(a, 1), (b, 2)]);
    assert!((shares.dominant_share("a") - 0.1).abs() < 1e-12);
}

#[test]
fn frameworks_of_one_role_take_turns_when_everything_is_released() {
    let mut shares = Shares::new();
    shares.add_total(&quantities("cpus:2;mem:1024"));
    let role = shares.add_client("*", 1);
    shares.add_client("*", 2);
    let mut turns = Vec::new();
    for _ in 0..10 {
        let (_, client) = shares.order().next().expect("two active clients");
        shares.allocated(role, client, &quantities("cpus:2;mem:1024"));
        shares.unallocated(role, client, &quantities("cpus:2;mem:1024"));
        turns.push(client);
    }
    assert_eq!(turns, [1, 2, 1, 2, 1, 2, 1, 2, 1, 2]);
}

#[test]
fn agents_go_to_the_framework_and_role_with_the_smallest_share() {
    let mut shares = Shares::new();
    let give = |shares: &mut Shares<u32>, agent: &str| {
        shares.add_total(&quantities(agent));
        let (role, client) = shares.order().next().expect("an active client");
        shares.allocated(role, client, &quantities(agent));
        client
    };
    shares.add_client("role1", 1);
    assert_eq!(give(&mut shares, "cpus:2;mem:1024"), 1);
    shares.add_client("role2", 2);
    assert_eq!(give(&mut shares, "cpus:1;mem:512"), 2);
    assert!((shares.share("role1") - 2.0 / 3.0).abs() < 1e-12);
    assert_eq!(give(&mut shares, "cpus:3;mem:2048"), 2);
    shares.add_client("role1", 3);
    assert_eq!(give(&mut shares, "cpus:4;mem:4096"), 3);
    shares.add_client("role1", 4);
    assert_eq!(give(&mut shares, "cpus:1;mem:512"), 2);
    let role1 = shares.role("role1").expect("role1 has clients");
    assert!((shares.client_share(role1, 3) - 4096.0 / 8192.0).abs() < 1e-12);
}

#[test]
fn nested_roles_compete_under_their_parents() {
    let mut shares = Shares::new();
    let give = |shares: &mut Shares<u32>, agent: &str| {
        shares.add_total(&quantities(agent));
        let (role, client) = shares.order().next().expect("an active client");
        shares.allocated(role, client, &quantities(agent));
        client
    };
    shares.add_client("a/b", 1);
    assert_eq!(give(&mut shares, "cpus:2;mem:1024"), 1);
    shares.add_client("a/c", 2);
    shares.add_client("d/e", 3);
    assert_eq!(give(&mut shares, "cpus:1;mem:512"), 3);
    shares.add_client("d/f", 4);
    assert_eq!(give(&mut shares, "cpus:2;mem:1024"), 4);
}

#[test]
fn with_endless_demand_agents_are_divided_by_weight() {
    let mut shares = Shares::new();
    shares.add_total(&quantities("cpus:12;mem:6144"));
    for (client, (role, weight)) in [("role1", 1.0), ("role2", 2.0), ("role3", 3.0)].into_iter().enumerate() {
        shares.add_client(role, client);
        shares.set_weight(role, weight);
    }
    let mut agents = [0; 3];
    for _ in 0..6 {
        let (role, client) = shares.order().next().expect("three active clients");
        shares.allocated(role, client, &quantities("cpus:2;mem:1024"));
        agents[client] += 1;
    }
    assert_eq!(agents, [1, 2, 3]);
    assert!((shares.dominant_share("role3") - 0.5).abs() < 1e-12);
    assert!((shares.share("role3") - 1.0 / 6.0).abs() < 1e-12);
}

#[test]
fn a_role_is_forgotten_with_its_last_client_but_its_weight_is_not() {
    let mut shares = Shares::new();
    shares.add_total(&quantities("cpus:100"));
    shares.set_weight("a", 2.0);
    let ab = shares.add_client("a/b", 1);
    shares.allocated(ab, 1, &quantities("cpus:50"));
    shares.remove_client(ab, 1);
    assert_eq!((shares.role("a"), shares.role("a/b")), (None, None));
    assert_eq!(shares.order().count(), 0);
    let a = shares.add_client("a", 1);
    shares.allocated(a, 1, &quantities("cpus:50"));
    assert!((shares.share("a") - 0.25).abs() < 1e-12);
}

#[test]
#[should_panic(expected = "the weight of role a is 0: it must be over 0 and finite")]
fn a_weight_of_zero_is_refused() {
    Shares::<u32>::new().set_weight("a", 0.0);
}
