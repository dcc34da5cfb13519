//! The cron in a simulated cluster: a day of it, with and without faults.

use std::{collections::BTreeMap, time::Duration};

use divvy::sim::{Fault, Faults, SimCluster, TaskRun};

use super::{Shell, jobs::Job, schedule::Schedule};

fn job(name: &str, schedule: &str) -> Job {
    let schedule = Schedule::parse(schedule, "UTC").expect(schedule);
    Job { name: name.to_owned(), command: "true".to_owned(), cpus: 1.0, mem_mib: 32.0, env: BTreeMap::new(), schedule }
}

/// Simulates a day; returns the start and end of each job's processes.
fn simulate_a_day(cluster: SimCluster) -> BTreeMap<String, Vec<(Duration, Duration)>> {
    let begin = |driver, mut events| async move {
        let jobs = vec![job("hourly", "7 * * * *"), job("quarterly", "*/15 * * * *")];
        let mut shell = Shell::new(jobs, driver, None);
        Ok(shell.serve(&mut events, std::future::pending()).await?)
    };
    let cluster = cluster.tasks(|_job, _chance| TaskRun::exits(0).after(Duration::from_mins(3)));
    let run = cluster.run_events(begin, Duration::from_hours(24)).unwrap_or_else(|failure| panic!("{failure}"));
    let mut runs: BTreeMap<String, Vec<_>> = BTreeMap::new();
    for task in run.tasks() {
        for process in &task.processes {
            let ended = process.ended.unwrap_or_else(|| run.elapsed());
            runs.entry(task.name.clone()).or_default().push((process.started, ended));
        }
    }
    for runs in runs.values_mut() {
        runs.sort_unstable();
    }
    runs
}

#[test]
fn each_instant_of_a_day_has_its_run_within_a_second() {
    let runs = simulate_a_day(SimCluster::new(1).agents(2));
    assert_eq!((runs["hourly"].len(), runs["quarterly"].len()), (24, 96));
    for (name, apart) in [("hourly", Duration::from_hours(1)), ("quarterly", Duration::from_mins(15))] {
        for pair in runs[name].windows(2) {
            let late = pair[1].0.abs_diff(pair[0].0 + apart);
            assert!(late < Duration::from_secs(1), "{name}: {pair:?}");
        }
    }
}

#[test]
fn a_wall_clock_that_is_set_never_keeps_a_job_from_its_next_run() {
    for seed in 5..7 {
        let faults = Faults::none().with(Fault::WallStep).every(Duration::from_mins(40));
        let runs = simulate_a_day(SimCluster::new(seed).agents(1).faults(faults));
        // Just before an instant the clock may be set to just after it; steps are no more frequent than that.
        let (runs, limit) = (&runs["quarterly"], Duration::from_mins(31));
        let gap = runs.windows(2).find(|pair| pair[1].0.saturating_sub(pair[0].0) > limit);
        assert_eq!(gap, None, "seed {seed}");
        assert!(runs.last().is_some_and(|last| last.0 + limit > Duration::from_hours(24)), "seed {seed}: {runs:?}");
    }
}

#[test]
fn faults_delay_runs_and_never_double_one() {
    let faults =
        Faults::none().with(Fault::MasterCrash).with(Fault::AgentCrash).with(Fault::Cut).with(Fault::Isolation);
    for seed in 2..5 {
        let runs = simulate_a_day(SimCluster::new(seed).agents(2).faults(faults.clone().every(Duration::from_mins(5))));
        for (name, runs) in &runs {
            let overlap = runs.windows(2).find(|pair| pair[0].1 > pair[1].0);
            assert_eq!(overlap, None, "{name} ran twice at a time");
        }
        assert!(runs["hourly"].len() >= 20 && runs["quarterly"].len() >= 80, "seed {seed}: {runs:?}");
    }
}
