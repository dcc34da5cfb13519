//! Scores by soft constraints, in the figures of the formulas.

use super::*;

#[track_caller]
fn close(actual: Option<f64>, expected: f64) {
    let actual = actual.expect("there are soft constraints");
    assert!((actual - expected).abs() < 1e-9, "{actual} is not {expected}");
}

#[test]
fn soft_tests_count_by_their_weights() {
    let hosts = hosts(&["zone:a;kind:fast", "zone:b;kind:fast", "zone:b"]);
    let requests = [request("web", &["prefer 50: zone = a", "prefer -30: kind = fast"]), request("db", &["zone = a"])];
    let rules = Rules::new(&requests, &hosts, None);
    close(rules.score(0, 0), 20.0 / 80.0);
    close(rules.score(0, 1), -30.0 / 80.0);
    close(rules.score(0, 2), 0.0);
    assert_eq!(rules.score(1, 0), None);
    assert_eq!([0, 1, 2].map(|agent| rules.room(0, agent)), [u32::MAX; 3], "a soft constraint refuses nothing");
    assert_eq!((rules.is_static(0), rules.is_static(1)), (true, true));
}

#[test]
fn unique_if_possible_falls_with_each_instance_there() {
    let hosts = hosts(&["", ""]);
    let requests = [request("web", &["prefer 50: unique hostname"])];
    let mut rules = Rules::new(&requests, &hosts, None);
    for expected in [1.0, 0.0, -0.5, -2.0 / 3.0] {
        close(rules.score(0, 0), expected);
        close(rules.score(0, 1), 1.0);
        rules.place(0, 0, 1);
    }
    assert!(!rules.is_static(0));
}

#[test]
fn targets_pull_by_the_part_of_the_share_that_is_missing() {
    let hosts = hosts(&["zone:a", "zone:b", "zone:c", ""]);
    let requests = [request("web", &["prefer 100: spread zone a 60% b 40%"]).count(10)];
    let mut rules = Rules::new(&requests, &hosts, None);
    close(rules.score(0, 0), 5.0 / 6.0);
    close(rules.score(0, 1), 3.0 / 4.0);
    close(rules.score(0, 2), -1.0);
    close(rules.score(0, 3), -1.0);
    rules.place(0, 0, 5);
    close(rules.score(0, 0), 0.0);
    rules.place(0, 0, 20);
    close(rules.score(0, 0), -1.0);
}

#[test]
fn an_even_spread_pulls_to_the_least_used_value() {
    let hosts = hosts(&["zone:a", "zone:b"]);
    let requests = [request("web", &["prefer 100: spread zone"]).count(10)];
    let mut rules = Rules::new(&requests, &hosts, None);
    close(rules.score(0, 0), 0.0);
    rules.place(0, 0, 2);
    close(rules.score(0, 0), -1.0);
    close(rules.score(0, 1), 1.0);
    rules.place(0, 1, 4);
    close(rules.score(0, 0), 1.0);
    close(rules.score(0, 1), -1.0);
    rules.place(0, 0, 2);
    close(rules.score(0, 0), -1.0);
}

#[test]
fn neighbours_and_exclusive_use_may_be_soft() {
    let hosts = hosts(&["", ""]);
    let requests = [
        request("web", &["prefer 50: with label app=db"]),
        request("shy", &["prefer 50: avoid label app=db"]),
        request("alone", &["prefer 50: exclusive"]),
        request("db", &[]).label("app", "db"),
        request("tight", &["prefer 50: group by hostname"]),
    ];
    let mut rules = Rules::new(&requests, &hosts, None);
    rules.place(3, 0, 2);
    rules.place(4, 0, 1);
    let both = |request| [rules.score(request, 0), rules.score(request, 1)];
    assert_eq!(both(0), [Some(1.0), Some(0.0)]);
    assert_eq!(both(1), [Some(-0.5), Some(1.0)]);
    close(both(2)[0], -2.0 / 3.0);
    assert_eq!(both(2)[1], Some(1.0));
    assert_eq!(both(4), [Some(0.0), Some(1.0)]);
    assert_eq!(rules.room(3, 0), u32::MAX, "a soft exclusive refuses nothing");
}

#[test]
fn agents_that_always_score_alike_are_one_group() {
    let hosts = hosts(&["zone:a;x:1", "zone:a;x:2", "zone:b;x:1", "x:1"]);
    let groups = |constraints: &[&str]| {
        let requests = [request("web", constraints)];
        let rules = Rules::new(&requests, &hosts, None);
        [0, 1, 2, 3].map(|agent| rules.score_group(0, agent))
    };
    assert_eq!(groups(&[]), [0; 4]);
    assert_eq!(groups(&["zone = a"]), [0, 0, 1, 1]);
    assert_eq!(groups(&["prefer 9: x = 1"]), [0, 1, 0, 0]);
    assert_eq!(groups(&["spread zone"]), [0, 0, 1, 2]);
    assert_eq!(groups(&["prefer 9: spread zone", "x = 1"]), [0, 1, 2, 3]);
    assert_eq!(groups(&["unique hostname", "avoid label app", "exclusive"]), [0; 4]);
    assert_eq!(groups(&["prefer 9: unique hostname"]), [0, 1, 2, 3]);
    assert_eq!(groups(&["prefer 9: exclusive"]), [0, 1, 2, 3]);
}
