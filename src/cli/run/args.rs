//! The arguments of `divvy run`, and the task request they describe.

use clap::Args;

use crate::{
    allocator::TaskRequest,
    cli::SettingsError,
    proto::v1::{CommandInfo, Environment, environment::Variable},
};

/// Longest name of a run; its tasks' ids add a number.
const MAX_NAME: usize = 200;

/// Runs a command on the cluster and shows its output.
///
/// It waits for a slow reader of the output. When the output can no longer be written, all running instances are
/// killed; the exit code is 141 if the reader closed it, and 1 with the reason otherwise. While an agent is
/// disconnected, its output pauses; it continues where it stopped. Output that is missing at the end is reported.
#[derive(Args, Clone, Debug)]
pub struct RunArgs {
    /// Processors for each instance
    #[arg(long, default_value_t = 1.0, allow_negative_numbers = true, value_name = "NUMBER")]
    cpus: f64,
    /// Memory for each instance, in MiB
    #[arg(long, default_value_t = 128.0, allow_negative_numbers = true, value_name = "MIB")]
    mem: f64,
    /// How many instances to run
    #[arg(long, default_value_t = 1, value_name = "N")]
    count: u32,
    /// At most so many instances on one agent at a time
    #[arg(long, value_name = "N")]
    max_per_agent: Option<u32>,
    /// An environment variable for the command; may be given several times
    #[arg(long, value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// The name of the run; its tasks are NAME.0, NAME.1, ... [default: the command's name]
    #[arg(long)]
    name: Option<String>,
    /// Run what fits now, report what does not, and do not wait for resources
    #[arg(long)]
    pub(super) best_effort: bool,
    /// The program and its arguments, after `--`; write `-- sh -c '...'` for a shell's syntax
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<String>,
}

impl RunArgs {
    /// The task request.
    ///
    /// # Errors
    /// When an amount, the name or a variable is invalid.
    pub(super) fn request(&self) -> Result<TaskRequest, SettingsError> {
        let program = self.command.first().map(String::as_str).unwrap_or_default();
        if program.is_empty() {
            return Err(SettingsError::invalid("COMMAND", program, "there is no program to run"));
        }
        let name = self.name()?;
        let variables = self.env.iter().map(|text| variable(text)).collect::<Result<_, _>>()?;
        let command = CommandInfo {
            shell: Some(false),
            value: Some(program.to_owned()),
            arguments: self.command.clone(),
            environment: Some(Environment { variables }),
            ..CommandInfo::default()
        };
        for (flag, amount) in [("--cpus", self.cpus), ("--mem", self.mem)] {
            if !(amount.is_finite() && amount > 0.0) {
                return Err(SettingsError::invalid(flag, &amount.to_string(), "it has to be a number over 0"));
            }
        }
        for (flag, number) in [("--count", Some(self.count)), ("--max-per-agent", self.max_per_agent)] {
            if number == Some(0) {
                return Err(SettingsError::invalid(flag, "0", "it has to be at least 1"));
            }
        }
        let request = TaskRequest::new(name, command).cpus(self.cpus).mem_mib(self.mem).count(self.count);
        Ok(match self.max_per_agent {
            Some(limit) => request.max_per_agent(limit),
            None => request,
        })
    }

    /// The name given, if it is valid, or the program's name with invalid characters replaced.
    fn name(&self) -> Result<String, SettingsError> {
        let legal = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if let Some(name) = &self.name {
            if name.is_empty() || name.len() > MAX_NAME || name.starts_with('.') || !name.chars().all(legal) {
                let problem = "use letters, digits, '-', '_' and '.', at most 200 of them";
                return Err(SettingsError::invalid("--name", name, problem));
            }
            return Ok(name.clone());
        }
        let program = self.command.first().map(String::as_str).unwrap_or_default();
        let last = program.rsplit('/').next().unwrap_or_default().trim_start_matches('.');
        let name: String = last.chars().take(MAX_NAME).map(|c| if legal(c) { c } else { '-' }).collect();
        Ok(if name.is_empty() { "run".to_owned() } else { name })
    }
}

fn variable(text: &str) -> Result<Variable, SettingsError> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => {
            Ok(Variable { name: name.to_owned(), value: Some(value.to_owned()), ..Variable::default() })
        }
        Some(_) | None => Err(SettingsError::invalid("--env", text, "write NAME=VALUE")),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        run: RunArgs,
    }

    fn request(line: &[&str]) -> Result<TaskRequest, SettingsError> {
        let words = ["run"].into_iter().chain(line.iter().copied());
        Line::try_parse_from(words).expect("the flags exist").run.request()
    }

    #[test]
    fn a_command_line_becomes_a_request() {
        let line = "--cpus 0.5 --mem 64 --count 6 --max-per-agent 2 --env A=1=2 --name hi -- echo -n --x y";
        let request = request(&line.split(' ').collect::<Vec<_>>()).expect("all is well");
        assert_eq!((request.name.as_str(), request.count, request.max_per_agent), ("hi", 6, Some(2)));
        assert_eq!(request.command.value(), "echo");
        assert_eq!(request.command.arguments, ["echo", "-n", "--x", "y"]);
        let variables = request.command.environment.expect("one").variables;
        assert_eq!((variables[0].name.as_str(), variables[0].value()), ("A", "1=2"));
    }

    #[test]
    fn a_run_has_the_name_of_its_program_unless_named() {
        for (program, name) in
            [("/bin/echo", "echo"), ("./my prog", "my-prog"), ("a/", "run"), ("../.hidden", "hidden")]
        {
            assert_eq!(request(&["--", program]).expect(program).name, name);
        }
    }

    #[test]
    fn an_invalid_value_is_reported_with_its_flag() {
        for (line, wanted) in [
            (vec!["--cpus", "0", "--", "a"], "--cpus \"0\": it has to be a number over 0"),
            (vec!["--cpus", "-1", "--", "a"], "--cpus \"-1\": it has to be a number over 0"),
            (vec!["--mem", "nan", "--", "a"], "--mem \"NaN\": it has to be a number over 0"),
            (vec!["--count", "0", "--", "a"], "--count \"0\": it has to be at least 1"),
            (vec!["--env", "A", "--", "a"], "--env \"A\": write NAME=VALUE"),
            (vec!["--env", "=A", "--", "a"], "--env \"=A\": write NAME=VALUE"),
            (vec!["--name", "a/b", "--", "a"], "--name \"a/b\": use letters"),
            (vec!["--", ""], "COMMAND \"\": there is no program to run"),
        ] {
            let error = request(&line).expect_err(wanted).to_string();
            assert!(error.starts_with(wanted), "{error}");
        }
    }
}
