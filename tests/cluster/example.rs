//! The cron framework, run as the README describes.

use std::{fs, path::PathBuf, process::Command};

use super::part::{Running, Site, processes_below, until};

/// Examples are built beside the tests.
fn program() -> PathBuf {
    let here = std::env::current_exe().expect("this test is a file");
    let target = here.parent().and_then(|deps| deps.parent()).expect("target/debug");
    target.join("examples/cron-framework")
}

fn jobs() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("examples/cron-framework/jobs.toml")
}

#[test]
fn the_example_runs_real_jobs_and_leaves_nothing_behind() {
    let site = Site::new();
    let mut command = Command::new(program());
    command.env("TMPDIR", site.path()).env("CARGO_MANIFEST_DIR", env!("CARGO_MANIFEST_DIR")).arg("--jobs").arg(jobs());
    let running = Running::start(&site, "cron", command);
    until("a job to have run", || {
        let log = running.out() + &running.err();
        if log.contains("exited") || log.contains("FINISHED") || log.contains("finished") { Ok(()) } else { Err(log) }
    });
    running.signal("INT");
    let (status, out, err) = running.wait();
    assert!(status.success(), "{out}{err}");
    until("every process to be gone", || {
        let left = processes_below(site.path());
        if left.is_empty() { Ok(()) } else { Err(left) }
    });
}

#[test]
fn a_job_file_with_an_unknown_field_or_a_schedule_that_never_fires_is_refused_in_words() {
    let site = Site::new();
    for (jobs, wanted) in [
        ("[[jobs]]\nname = \"a\"\ncommand = \"true\"\nschedul = \"@hourly\"\n", "schedul"),
        ("[[jobs]]\nname = \"never\"\ncommand = \"true\"\nschedule = \"0 0 30 2 *\"\n", "never"),
        ("[[jobs]]\nname = \"a/b\"\ncommand = \"true\"\nschedule = \"@hourly\"\n", "a/b"),
    ] {
        let file = site.path().join("jobs.toml");
        fs::write(&file, jobs).expect("written");
        let mut command = Command::new(program());
        command.arg("--jobs").arg(&file);
        let output = site.run(command);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && stderr.contains(wanted) && !stderr.contains("panicked"), "{stderr}");
    }
}
