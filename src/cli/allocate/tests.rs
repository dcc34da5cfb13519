//! The exact output for given files.

use super::*;

const WEB_OFFER: &str = r#"[{"id":"o1","agent":"a1","hostname":"h1","attributes":{"zone":"a"},"cpus":4,"mem":8192,"disk":0,"gpus":0,"ports":[[31000,31009]]}]"#;

fn answer(offers: &str, tasks: &str, best_effort: bool) -> Result<(String, bool), String> {
    let (offers, tasks) = (Input::new("offers.json", offers), Input::new("tasks.json", tasks));
    allocate(&offers, &tasks, Way { strategy: StrategyName::Binpack, best_effort }, 1_000).map_err(|failure| {
        assert!(matches!(failure, Failure::Usage(_)), "{failure}");
        failure.to_string()
    })
}

#[test]
fn what_fits_is_placed_and_the_rest_explained() {
    let tasks =
        r#"[{"name":"web","cpus":0.5,"mem":128,"ports":1,"count":2,"max_per_agent":1,"constraints":["zone = a"]}]"#;
    let reasons = r#""unplaced":[{"task":"web","missing":1,"reasons":[{"agent":"a1","rule":"max_per_agent","text":"at its limit of 1 on this agent"}]}]}"#;
    let placed = r#"{"placements":[{"task":"web","instance":0,"offer":"o1","agent":"a1","ports":[31000]}],"#;
    assert_eq!(answer(WEB_OFFER, tasks, true), Ok((format!("{placed}{reasons}"), false)));
    assert_eq!(answer(WEB_OFFER, tasks, false), Ok((format!("{{\"placements\":[],{reasons}"), false)));
}

#[test]
fn the_field_names_of_older_files_are_accepted() {
    for tasks in
        [r#"[{"name":"a","cpus":1,"instances":2,"colocation":2}]"#, r#"[{"name":"a","cpus":1,"count":2,"maxcol":2}]"#]
    {
        let (text, complete) = answer(WEB_OFFER, tasks, false).expect("valid input");
        assert!(complete, "{text}");
    }
}

#[test]
fn empty_input_is_complete() {
    assert_eq!(answer("[]", "[]", false), Ok((r#"{"placements":[],"unplaced":[]}"#.to_owned(), true)));
}

#[test]
fn an_instance_is_assigned_to_an_offer_that_holds_it() {
    let offers = r#"[{"id":"o1","agent":"a1","cpus":1,"mem":64,"ports":[[1,1]]},{"id":"o2","agent":"a1","cpus":4,"mem":64,"ports":[[5,6]]}]"#;
    let tasks = r#"[{"name":"t","cpus":1.5,"mem":32,"fixed_ports":[5]},{"name":"u","cpus":1,"fixed_ports":[1]},{"name":"v","cpus":2,"mem":64}]"#;
    let (text, complete) = answer(offers, tasks, false).expect("valid input");
    assert!(complete, "{text}");
    for part in [r#""task":"t","instance":0,"offer":"o2""#, r#""task":"u","instance":0,"offer":"o1""#] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[test]
fn alternatives_sets_and_priorities_are_accepted() {
    let offers = r#"[{"id":"o1","agent":"a1","cpus":4,"mem":64,"gpus":1,"sets":{"racks":["a","b"]}}]"#;
    let tasks = r#"[{"name":"low","cpus":4},{"name":"high","cpus":16,"or":[{"cpus":1,"gpus":1}],"sets":{"racks":["b"]},"priority":5}]"#;
    let (text, complete) = answer(offers, tasks, true).expect("valid input");
    assert!(!complete);
    assert!(
        text.starts_with(r#"{"placements":[{"task":"high","instance":0,"offer":"o1","agent":"a1","ports":[]}],"#),
        "{text}"
    );
    assert!(text.ends_with(r#"{"agent":"a1","rule":"cpus","text":"cpus: asked 4, 3 left"}]}]}"#), "{text}");
}

#[test]
fn the_naive_strategy_places_a_task_without_resources() {
    let (offers, tasks) = (Input::new("o", r#"[{"id":"o1","agent":"a1"}]"#), Input::new("t", r#"[{"name":"a"}]"#));
    let way = Way { strategy: StrategyName::Naive, best_effort: false };
    let (text, complete) = allocate(&offers, &tasks, way, 1).expect("valid input");
    assert!(complete && text.contains(r#""task":"a","instance":0,"offer":"o1""#), "{text}");
}

#[test]
fn an_input_error_names_file_position_and_field() {
    let wrong = |offers: &str, tasks: &str| answer(offers, tasks, false).expect_err("invalid input");
    for (offers, wanted) in [
        ("", "offers.json: EOF while parsing a value at line 1 column 0; a JSON array is wanted"),
        ("{}", "offers.json: invalid type: map, expected a sequence at line 1 column 0; a JSON array is wanted"),
        ("[] []", "offers.json: trailing characters at line 1 column 4"),
        (r#"[{"id":"o","agent":"a","cpus":"4"}]"#, "offers.json: [0].cpus: invalid type: string \"4\", expected f64"),
        (r#"[{"id":"o","agent":"a","cpu":4}]"#, "offers.json: [0].cpu: unknown field `cpu`"),
        (r#"[{"id":"o"}]"#, "offers.json: [0]: missing field `agent`"),
        (r#"[{"id":"","agent":"a"}]"#, "offers.json: [0].id: it is empty"),
        (r#"[{"id":"o","agent":"a","cpus":-1}]"#, "offers.json: [0].cpus: -1 is negative"),
        (r#"[{"id":"o","agent":"a","mem":1e300}]"#, "offers.json: [0].mem: "),
        (r#"[{"id":"o","agent":"a","ports":[[9,1]]}]"#, "offers.json: [0].ports[0]: [9,1] is no range of ports"),
        (r#"[{"id":"o","agent":"a"},{"id":"o","agent":"b"}]"#, "offers.json: [1].id: \"o\" is the id of an offer"),
    ] {
        let text = wrong(offers, "[]");
        assert!(text.starts_with(wanted), "{text}");
    }
    for (tasks, wanted) in [
        (r#"[{"name":"","cpus":1}]"#, "tasks.json: [0].name: it is empty"),
        (
            r#"[{"name":"a","cpus":1},{"name":"b","cpus":1},{"name":"a","cpus":2}]"#,
            "tasks.json: [2].name: \"a\" is the name of a task before it",
        ),
        (r#"[{"name":"a"}]"#, "tasks.json: [0]: no resources are asked for"),
        (r#"[{"name":"a","cpus":-1}]"#, "tasks.json: [0].cpus: -1 is negative"),
        (r#"[{"name":"a","cpus":1,"or":[{"cpus":-1}]}]"#, "tasks.json: [0].or[0].cpus: -1 is negative"),
        (r#"[{"name":"a","cpus":1,"or":[{"cpu":1}]}]"#, "tasks.json: [0].or[0].cpu: unknown field `cpu`"),
        (
            r#"[{"name":"a","cpus":1,"constraints":["zone is a"]}]"#,
            "tasks.json: [0].constraints[0]: constraint `zone is a`: expected set at character 9",
        ),
        (r#"[{"name":"a","gpus":0.5}]"#, "tasks.json: [0]: gpus: 0.5 is not a whole number"),
        (r#"[{"name":"a","cpus":1,"count":-1}]"#, "tasks.json: [0].count: invalid value: integer `-1`, expected u32"),
        (
            r#"[{"name":"a","cpus":1,"count":999},{"name":"b","cpus":1,"count":2}]"#,
            "tasks.json: [1].count: 2 makes it more than 1000 instances in all",
        ),
        (r#"[{"name":"a","cpus":1,"fixed_ports":[70000]}]"#, "tasks.json: [0].fixed_ports[0]: invalid value"),
    ] {
        let text = wrong("[]", tasks);
        assert!(text.starts_with(wanted), "{text}");
    }
}
