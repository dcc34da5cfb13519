//! The job file: what to run, with what, and when.
//!
//! TOML, or JSON where the file is called `*.json`. No field is ignored: an unknown name is an error with its line and
//! the known names.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use serde::Deserialize;

use crate::schedule::{Schedule, ScheduleError};

/// A job that passed validation.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    /// Unique in the file; task ids begin with it.
    pub(crate) name: String,
    /// Run by `/bin/sh -c`.
    pub(crate) command: String,
    pub(crate) cpus: f64,
    pub(crate) mem_mib: f64,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) schedule: Schedule,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    jobs: Vec<Entry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    command: String,
    #[serde(default = "default_cpus")]
    cpus: f64,
    #[serde(default = "default_mem_mib")]
    mem_mib: f64,
    #[serde(default)]
    env: BTreeMap<String, String>,
    schedule: String,
    #[serde(default = "default_time_zone")]
    time_zone: String,
}

fn default_cpus() -> f64 {
    0.1
}

fn default_mem_mib() -> f64 {
    32.0
}

fn default_time_zone() -> String {
    "UTC".to_owned()
}

/// Why a job file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JobsError {
    #[error("cannot read {}: {reason}; name another job file with --jobs", path.display())]
    Read { path: PathBuf, reason: io::Error },
    #[error("{}:{line}: {message}", path.display())]
    Syntax { path: PathBuf, line: usize, message: String },
    #[error("{}: there are no jobs in it; begin one with [[jobs]]", path.display())]
    Empty { path: PathBuf },
    #[error("{}: job {name:?}: {problem}", path.display())]
    Job { path: PathBuf, name: String, problem: Problem },
}

/// What is wrong with one job.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Problem {
    #[error("a name is made of letters, digits, '-', '_' and '.', and has at most 100 of them")]
    Name,
    #[error("there are two jobs of this name")]
    Twice,
    #[error("the command is empty")]
    Command,
    #[error("{field} is {amount}; it has to be a number over 0")]
    Amount { field: &'static str, amount: f64 },
    #[error("{0:?} is no name for an environment variable")]
    Variable(String),
    #[error(transparent)]
    Schedule(#[from] ScheduleError),
}

/// Reads and checks a job file. `now` decides whether a schedule still fires.
pub(crate) fn load(path: &Path, now: Timestamp) -> Result<Vec<Job>, JobsError> {
    let text = fs::read_to_string(path).map_err(|reason| JobsError::Read { path: path.to_owned(), reason })?;
    parse(path, &text, now)
}

fn parse(path: &Path, text: &str, now: Timestamp) -> Result<Vec<Job>, JobsError> {
    let file = read(path, text)?;
    if file.jobs.is_empty() {
        return Err(JobsError::Empty { path: path.to_owned() });
    }
    let mut names = BTreeSet::new();
    let jobs = file.jobs.into_iter().map(|entry| {
        let name = entry.name.clone();
        let problem = |problem| JobsError::Job { path: path.to_owned(), name: name.clone(), problem };
        if !names.insert(entry.name.clone()) {
            return Err(problem(Problem::Twice));
        }
        check(entry, now).map_err(problem)
    });
    jobs.collect()
}

fn read(path: &Path, text: &str) -> Result<File, JobsError> {
    let syntax = |line, message: &str| {
        let message = message.replace('\n', " ");
        JobsError::Syntax { path: path.to_owned(), line, message }
    };
    if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json")) {
        return serde_json::from_str(text).map_err(|error| syntax(error.line(), &error.to_string()));
    }
    toml::from_str(text).map_err(|error| {
        let before = error.span().map_or(0, |span| span.start).min(text.len());
        let line = 1 + text.get(..before).map_or(0, |before| before.matches('\n').count());
        syntax(line, error.message())
    })
}

fn check(entry: Entry, now: Timestamp) -> Result<Job, Problem> {
    let legal = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if entry.name.is_empty() || entry.name.len() > 100 || entry.name.starts_with('.') || !entry.name.chars().all(legal)
    {
        return Err(Problem::Name);
    }
    if entry.command.trim().is_empty() {
        return Err(Problem::Command);
    }
    for (field, amount) in [("cpus", entry.cpus), ("mem_mib", entry.mem_mib)] {
        if !amount.is_finite() || amount <= 0.0 {
            return Err(Problem::Amount { field, amount });
        }
    }
    if let Some(name) = entry.env.keys().find(|name| name.is_empty() || name.contains(['=', '\0'])) {
        return Err(Problem::Variable(name.clone()));
    }
    let schedule = Schedule::parse(&entry.schedule, &entry.time_zone)?;
    if schedule.next_after(now).is_none() {
        return Err(ScheduleError::Never(entry.schedule).into());
    }
    let Entry { name, command, cpus, mem_mib, env, .. } = entry;
    Ok(Job { name, command, cpus, mem_mib, env, schedule })
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = r#"
[[jobs]]
name = "report"
command = "make report"
cpus = 0.5
mem_mib = 64
schedule = "0 6 * * MON-FRI"
time_zone = "Europe/Berlin"
env = { LEVEL = "3" }
"#;

    fn now() -> Timestamp {
        "2026-01-01T00:00:00Z".parse().expect("an instant")
    }

    fn error(path: &str, text: &str) -> String {
        parse(Path::new(path), text, now()).expect_err("it is wrong").to_string()
    }

    #[test]
    fn a_job_is_read_from_toml_and_from_json() {
        let json = r#"{"jobs": [{"name": "report", "command": "make report", "cpus": 0.5, "mem_mib": 64,
            "schedule": "0 6 * * MON-FRI", "time_zone": "Europe/Berlin", "env": {"LEVEL": "3"}}]}"#;
        for (path, text) in [("jobs.toml", WHOLE), ("jobs.JSON", json)] {
            let jobs = parse(Path::new(path), text, now()).expect(path);
            let [job] = jobs.as_slice() else { panic!("{path}: {jobs:?}") };
            assert_eq!((job.name.as_str(), job.command.as_str()), ("report", "make report"));
            assert!((job.cpus - 0.5).abs() < 1e-9 && (job.mem_mib - 64.0).abs() < 1e-9);
            assert_eq!(job.env["LEVEL"], "3");
            assert_eq!(job.schedule.to_string(), "0 6 * * MON-FRI Europe/Berlin");
        }
    }

    #[test]
    fn an_unknown_field_is_named_with_its_place_and_the_known_ones() {
        let known = "unknown field `memory`, expected one of `name`, `command`, `cpus`, `mem_mib`, `env`, `schedule`, \
                     `time_zone`";
        assert_eq!(error("jobs.toml", &WHOLE.replace("mem_mib", "memory")), format!("jobs.toml:6: {known}"));
        let json = "{\"jobs\": [\n{\"memory\": 3}]}";
        assert_eq!(error("jobs.json", json), format!("jobs.json:2: {known} at line 2 column 9"));
        assert!(error("jobs.toml", &WHOLE.replace("[[jobs]]", "[[job]]")).contains("unknown field `job`"));
    }

    #[test]
    fn what_is_missing_or_of_the_wrong_kind_is_named_with_its_line() {
        assert_eq!(error("j.toml", "[[jobs]]\nname = 3\n"), "j.toml:2: invalid type: integer `3`, expected a string");
        let error = error("j.toml", "[[jobs]]\nname = \"a\"\ncommand = \"b\"\n");
        assert_eq!(error, "j.toml:1: missing field `schedule`");
    }

    #[test]
    fn a_job_that_cannot_work_is_named_with_the_reason() {
        for (from, to, reason) in [
            ("\"report\"", "\"a/b\"", "a name is made of"),
            ("\"report\"", "\"\"", "a name is made of"),
            ("\"make report\"", "\" \"", "the command is empty"),
            ("0.5", "0", "cpus is 0; it has to be a number over 0"),
            ("0.5", "nan", "cpus is NaN"),
            ("64", "-1", "mem_mib is -1"),
            ("LEVEL", "\"A=B\"", "\"A=B\" is no name for an environment variable"),
            ("0 6 * * MON-FRI", "0 0 30 2 *", "schedule \"0 0 30 2 *\" never fires again"),
            ("0 6 * * MON-FRI", "0 25 * * *", "\"25\" is no hour"),
            ("Europe/Berlin", "Europe/Bärlin", "unknown time zone \"Europe/Bärlin\""),
        ] {
            let error = error("jobs.toml", &WHOLE.replace(from, to));
            assert!(error.starts_with("jobs.toml: job ") && error.contains(reason), "{error}");
        }
        assert!(error("jobs.toml", &[WHOLE, WHOLE].concat()).contains("two jobs of this name"));
        assert!(error("jobs.toml", "jobs = []").contains("there are no jobs"));
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let error = load(Path::new("/nowhere/jobs.toml"), now()).expect_err("it is not there").to_string();
        assert!(error.starts_with("cannot read /nowhere/jobs.toml: ") && error.ends_with("with --jobs"), "{error}");
    }

    #[test]
    fn the_sample_that_ships_is_sound() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/cron-framework/jobs.toml");
        let jobs = load(&path, now()).expect("the sample");
        let names: Vec<&str> = jobs.iter().map(|job| job.name.as_str()).collect();
        assert_eq!(names, ["heartbeat", "analytics", "metering"]);
    }
}
