//! The binaries as a user at a shell runs them.

use std::{fs, process::Command};

use super::part::{Site, get, until};

fn divvy(master: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_divvy"));
    command.args(["--master", master]).args(arguments);
    command
}

#[test]
fn run_says_what_does_not_fit_and_starts_when_a_third_agent_joins() {
    let site = Site::new();
    let master = site.master();
    let resources = "cpus:8;mem:8192;ports:[31000-31009]";
    let _one = site.agent("a1", &master.address, resources);
    let _two = site.agent("a2", &master.address, resources);
    agents(&site, &master.address, 2);
    let arguments = ["run", "--count", "6", "--max-per-agent", "2", "--", "pwd"];
    let running = site.divvy("run", &master.address, &arguments);
    until("it to print what does not fit", || {
        let stderr = running.err();
        if stderr.contains("2 of 6") && stderr.contains("limit of 2") { Ok(()) } else { Err(stderr) }
    });
    let _three = site.agent("a3", &master.address, resources);
    let (status, out, err) = running.wait();
    assert!(status.success(), "{out}{err}");
    for agent in ["a1", "a2", "a3"] {
        let here = out.lines().filter(|line| line.contains(&format!("/{agent}/runs/"))).count();
        assert_eq!(here, 2, "two on {agent}:\n{out}\n{err}");
    }
}

#[test]
fn run_exits_as_its_command_does() {
    let site = Site::new();
    let master = site.master();
    let _agent = site.agent("a", &master.address, "cpus:4;mem:1024");
    let ok = site.run(divvy(&master.address, &["run", "--", "sh", "-c", "echo out; echo err >&2"]));
    assert!(ok.status.success(), "{ok:?}");
    assert_eq!(String::from_utf8_lossy(&ok.stdout), "out\n");
    assert!(String::from_utf8_lossy(&ok.stderr).contains("err\n"), "{ok:?}");
    let failed = site.run(divvy(&master.address, &["run", "--", "sh", "-c", "exit 7"]));
    assert_eq!(failed.status.code(), Some(7), "{failed:?}");
    let missing = site.run(divvy(&master.address, &["run", "--", "no-such-command-here"]));
    assert!(!missing.status.success());
    assert!(String::from_utf8_lossy(&missing.stderr).contains("no-such-command-here"), "{missing:?}");
}

#[test]
fn a_sandbox_that_cannot_be_made_fails_the_task_with_a_reason() {
    let site = Site::new();
    let master = site.master();
    let _agent = site.agent("a", &master.address, "cpus:4;mem:1024");
    agents(&site, &master.address, 1);
    let runs = site.path().join("a/runs");
    fs::rename(&runs, site.path().join("elsewhere")).expect("moved");
    fs::write(&runs, "in the way").expect("written");
    let output = site.run(divvy(&master.address, &["run", "--", "true"]));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && stderr.contains("runs"), "it names what cannot be made: {stderr}");
}

#[test]
fn best_effort_runs_what_fits_and_says_what_it_left_out() {
    let site = Site::new();
    let master = site.master();
    let _agent = site.agent("a", &master.address, "cpus:2;mem:1024");
    agents(&site, &master.address, 1);
    let output = site.run(divvy(&master.address, &["run", "--count", "5", "--best-effort", "--", "echo", "hi"]));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(String::from_utf8_lossy(&output.stdout).matches("hi").count(), 2, "{output:?}");
    assert!(stderr.contains("3 of 5"), "{stderr}");
}

#[test]
fn an_interrupted_run_kills_its_tasks() {
    let site = Site::new();
    let master = site.master();
    let _agent = site.agent("a", &master.address, "cpus:2;mem:1024");
    let marker = site.path().join("started");
    let script = format!("touch {}; sleep 1000", marker.display());
    let running = site.divvy("run", &master.address, &["run", "--", "sh", "-c", &script]);
    until("the task to start", || if marker.exists() { Ok(()) } else { Err(running.err()) });
    running.signal("INT");
    let (status, _, err) = running.wait();
    assert_eq!(status.code(), Some(130), "{err}");
    let runs = site.path().join("a/runs");
    until("the task to be gone", || {
        let left = super::part::processes_below(&runs);
        if left.is_empty() { Ok(()) } else { Err(left) }
    });
}

#[test]
fn tables_and_json_show_the_cluster() {
    let site = Site::new();
    let master = site.master();
    let _agent = site.agent("a", &master.address, "cpus:2;mem:1024");
    agents(&site, &master.address, 1);
    let running = site.divvy("run", &master.address, &["run", "--name", "sleeper", "--", "sleep", "1000"]);
    let tasks = until("the task to be listed", || {
        let output = site.run(divvy(&master.address, &["tasks", "--json"]));
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if text.contains("TASK_RUNNING") { Ok(text) } else { Err(text) }
    });
    assert!(serde_json::from_str::<serde_json::Value>(&tasks).is_ok(), "{tasks}");
    for (arguments, wanted) in [(&["ps"], "sleeper"), (&["frameworks"], "sleeper"), (&["agents"], "127.0.0.1")] {
        let output = site.run(divvy(&master.address, arguments));
        assert!(output.status.success());
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.contains(wanted), "divvy {arguments:?} shows {wanted}: {text}");
    }
    running.signal("INT");
    running.wait();
}

#[test]
fn an_agent_is_marked_gone_once_it_is_confirmed_and_an_unknown_one_is_an_error() {
    let site = Site::new();
    let master = site.master();
    let agent = site.agent("a", &master.address, "cpus:2;mem:1024");
    agents(&site, &master.address, 1);
    let run = |arguments: &[&str]| {
        let output = site.run(divvy(&master.address, arguments));
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let listed = |arguments: &[&str]| {
        let (_, out, err) = run(arguments);
        serde_json::from_str::<serde_json::Value>(&out).unwrap_or_else(|error| panic!("{error}: {out}{err}"))
    };
    let before = listed(&["agents", "--json"]);
    let id = before[0]["id"].as_str().expect("an id");
    let (code, out, err) = run(&["agents", "gone", "no-such-agent", "--yes"]);
    assert_eq!((code, out.as_str()), (Some(1), ""));
    assert!(err.contains("no agent no-such-agent is known") && err.contains("divvy agents --all"), "{err}");
    let (code, _, err) = run(&["agents", "gone", id]);
    assert!(code == Some(2) && err.contains("--yes") && err.contains("tasks: 0"), "{err}");
    assert_eq!(listed(&["agents", "--json"])[0]["state"], "active", "nothing was done");
    let done = format!("agent {id} is marked gone\n");
    assert_eq!(run(&["agents", "gone", id, "--yes"]), (Some(0), done, String::new()));
    let (code, out, _) = run(&["agents", "gone", id, "--yes"]);
    assert!(code == Some(0) && out.contains("already"), "{out}");
    agents(&site, &master.address, 0);
    let gone = listed(&["agents", "--all", "--json"]);
    assert_eq!((&gone[0]["id"], &gone[0]["state"]), (&before[0]["id"], &"gone".into()));
    assert!(gone[0]["since"].as_f64().is_some_and(|since| since > 1e9), "{gone}");
    until("the agent to end", || {
        let stat = fs::read_to_string(format!("/proc/{}/stat", agent.pid())).unwrap_or_default();
        if stat.is_empty() || stat.contains(") Z ") { Ok(()) } else { Err(stat) }
    });
}

#[test]
fn the_masters_pages_answer() {
    let site = Site::new();
    let master = site.master();
    let _agent = site.agent("a", &master.address, "cpus:2;mem:1024");
    agents(&site, &master.address, 1);
    let page = |path: &str| get(&master.address, path);
    assert!(page("/health").starts_with("HTTP/1.1 200"), "{}", page("/health"));
    assert!(page("/nowhere").starts_with("HTTP/1.1 404"), "{}", page("/nowhere"));
    assert!(page("/version").contains("\"version\":\"1.11.0\""));
    let metrics = page("/metrics");
    assert!(metrics.contains("divvy_master_agents{state=\"connected\"} 1"), "{metrics}");
    let state = page("/state");
    assert!(state.contains("\"slaves\":[{") && state.contains("\"activated_slaves\":1"), "{state}");
}

#[test]
fn allocate_places_what_fits_and_says_by_its_exit_code_whether_that_was_all() {
    let site = Site::new();
    let file = |name: &str, text: &str| fs::write(site.path().join(name), text).expect("written");
    let offer = r#"{"id":"o1","agent":"a1","hostname":"h1","attributes":{"zone":"a"},"cpus":4,"mem":8192,"disk":0,"gpus":0,"ports":[[31000,31009]]}"#;
    file("offers", &format!("[{offer}]"));
    let task =
        r#"{"name":"web","cpus":0.5,"mem":128,"ports":1,"count":2,"max_per_agent":1,"constraints":["zone = a"]}"#;
    file("tasks", &format!("[{task}]"));
    file("broken", "[{]");
    let allocate = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_divvy"));
        command.args(["allocate", "--offers", "offers"]).args(arguments);
        let output = site.run(command);
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let unplaced = r#""unplaced":[{"task":"web","missing":1,"reasons":[{"agent":"a1","rule":"max_per_agent","text":"at its limit of 1 on this agent"}]}]}"#;
    let placed = r#"{"placements":[{"task":"web","instance":0,"offer":"o1","agent":"a1","ports":[31000]}]"#;
    let best_effort = allocate(&["--tasks", "tasks", "--best-effort"]);
    assert_eq!(best_effort, (Some(1), format!("{placed},{unplaced}\n"), String::new()));
    let all_or_nothing = allocate(&["--tasks", "tasks"]);
    assert_eq!(all_or_nothing, (Some(1), format!("{{\"placements\":[],{unplaced}\n"), String::new()));
    file("tasks", &format!("[{}]", task.replace("\"count\":2", "\"count\":1")));
    for strategy in ["naive", "binpack", "spread"] {
        let complete = allocate(&["--tasks", "tasks", "--strategy", strategy]);
        assert_eq!(complete, (Some(0), format!("{placed},\"unplaced\":[]}}\n"), String::new()));
    }
    let (code, out, err) = allocate(&["--tasks", "broken"]);
    assert_eq!((code, out.as_str()), (Some(2), ""));
    assert!(err.starts_with("divvy: broken: ") && err.lines().count() == 1, "{err}");
    let (code, _, err) = allocate(&["--tasks", "nowhere"]);
    assert!(code == Some(2) && err.starts_with("divvy: nowhere: cannot be read: "), "{err}");
}

#[test]
fn wrong_input_is_one_clear_line() {
    let site = Site::new();
    let master = site.master();
    let work_dir = site.path().join("in-use");
    let _agent = site.agent("in-use", &master.address, "cpus:1;mem:64");
    let agent = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_divvy-agent"));
        command.args(["--listen", "127.0.0.1:0", "--master", &master.address]).args(arguments);
        command
    };
    let second_master = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_divvy-master"));
        command.args(arguments);
        command
    };
    let fresh = site.path().join("fresh");
    let (fresh, used) = (fresh.to_str().expect("text"), work_dir.to_str().expect("text"));
    let config = site.path().join("divvy.toml");
    fs::write(&config, "listne = \"127.0.0.1:0\"\n").expect("written");
    let config = config.to_str().expect("text");
    let master_dir = site.path().join("master");
    let cases: Vec<(Command, Vec<&str>)> = vec![
        (agent(&["--work-dir", fresh, "--resources", "cpus:four"]), vec!["cpus:four"]),
        (agent(&["--work-dir", fresh, "--resources", "ports:[5-1]"]), vec!["5-1"]),
        (agent(&["--work-dir", fresh, "--attributes", "{a}"]), vec!["{a}"]),
        (agent(&["--work-dir", used]), vec![used, "--work-dir"]),
        (second_master(&["--listen", &master.address, "--work-dir", fresh]), vec![&master.address, "--listen"]),
        (
            second_master(&["--listen", "127.0.0.1:0", "--work-dir", master_dir.to_str().expect("text")]),
            vec!["--work-dir"],
        ),
        (second_master(&["--listen", "0.0.0.0:0", "--work-dir", fresh]), vec!["0.0.0.0", "--insecure"]),
        (second_master(&["--listen", "nowhere"]), vec!["nowhere"]),
        (second_master(&["--config", config]), vec!["listne", "divvy.toml"]),
        (divvy("127.0.0.1:1", &["agents"]), vec!["127.0.0.1:1", "--master"]),
        (divvy("127.0.0.1:1", &["run", "--", "true"]), vec!["127.0.0.1:1"]),
        (divvy(&master.address, &["run", "--cpus", "-1", "--", "true"]), vec!["-1"]),
        (divvy(&master.address, &["run", "--env", "novalue", "--", "true"]), vec!["novalue"]),
        (divvy(&master.address, &["run", "--name", "a/b", "--", "true"]), vec!["a/b"]),
        (divvy(&master.address, &["frobnicate"]), vec!["frobnicate"]),
    ];
    for (command, wanted) in cases {
        let shown = format!("{command:?}");
        let output = site.run(command);
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{shown} fails: {stderr}");
        assert!(output.status.code().is_some(), "{shown} ends by itself: {stderr}");
        assert!(!stderr.contains("panicked"), "{shown}: {stderr}");
        assert!(output.stdout.is_empty(), "{shown} prints nothing else");
        for word in wanted {
            assert!(stderr.contains(word), "{shown} names {word}: {stderr}");
        }
    }
}

#[test]
fn a_local_cluster_serves_other_hosts_only_where_that_is_meant() {
    let site = Site::new();
    let refused = site.run(divvy("127.0.0.1:1", &["local", "--listen", "0.0.0.0:0"]));
    let stderr = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && stderr.contains("--insecure"), "{stderr}");
    let local = site.start("local", divvy("127.0.0.1:1", &["local", "--listen", "0.0.0.0:0", "--insecure"]));
    agents(&site, &local.address, 1);
    assert!(local.stop().success());
}

fn agents(site: &Site, master: &str, count: usize) {
    until(&format!("{count} agents"), || {
        let output = site.run(divvy(master, &["agents", "--json"]));
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let list: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        if list.as_array().is_some_and(|list| list.len() == count) { Ok(()) } else { Err(text) }
    });
}
