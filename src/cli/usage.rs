//! Parses the command line, with errors of one line.

use std::{
    ffi::OsString,
    io::{self, IsTerminal},
};

use clap::{Parser, error::ErrorKind};

use super::{Failure, Program, output};

/// Parses the arguments; help and version are printed and end the process.
pub(super) fn parse<P: Program>(arguments: impl IntoIterator<Item = OsString>) -> Result<P, Failure> {
    parse_any(arguments)
}

fn parse_any<P: Parser>(arguments: impl IntoIterator<Item = OsString>) -> Result<P, Failure> {
    P::try_parse_from(arguments).map_err(|error| match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => match print(&error) {
            Ok(()) => std::process::exit(0),
            Err(failure) => failure,
        },
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            output::note(error.render().to_string().trim_end());
            std::process::exit(2)
        }
        _ => Failure::Usage(one_line(&error.render().to_string())),
    })
}

/// Prints help or a version, with colours on a terminal.
fn print(error: &clap::Error) -> Result<(), Failure> {
    let text = error.render();
    let text = if io::stdout().is_terminal() { text.ansi().to_string() } else { text.to_string() };
    output::print(text.trim_end())
}

/// Reduces clap's paragraphs to the error and its tip, on one line.
fn one_line(rendered: &str) -> String {
    let kept = rendered.lines().map(str::trim).filter(|line| !line.is_empty()).take_while(|line| !is_footer(line));
    let text = kept.collect::<Vec<_>>().join(" ").replace(" tip: ", "; ");
    format!("{}; see --help", text.strip_prefix("error: ").unwrap_or(&text))
}

fn is_footer(line: &str) -> bool {
    line.starts_with("Usage:") || line.starts_with("For more information")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Parser)]
    struct Arguments {
        #[arg(long)]
        listen: Option<String>,
        #[arg(long)]
        count: u32,
    }

    fn error(arguments: &[&str]) -> String {
        parse_any::<Arguments>(arguments.iter().map(OsString::from)).expect_err("it is wrong").to_string()
    }

    #[test]
    fn a_usage_error_is_one_line_that_names_the_argument() {
        assert_eq!(
            error(&["x", "--lisen", "a"]),
            "unexpected argument '--lisen' found; a similar argument exists: '--listen'; see --help"
        );
        assert_eq!(error(&["x"]), "the following required arguments were not provided: --count <COUNT>; see --help");
        assert_eq!(
            error(&["x", "--count", "many"]),
            "invalid value 'many' for '--count <COUNT>': invalid digit found in string; see --help"
        );
    }
}
