//! Logs go to standard error, so that standard output is for what was asked for.

use tracing_subscriber::EnvFilter;

use super::settings::SettingsError;

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Starts logging: what `filter` selects (or `RUST_LOG`, or else `fallback`), in `format`.
///
/// # Errors
/// When the filter cannot be understood.
pub fn start(filter: Option<&str>, fallback: &str, format: LogFormat) -> Result<(), SettingsError> {
    let from_environment = std::env::var("RUST_LOG").ok().filter(|text| !text.is_empty());
    let text = filter.map(str::to_owned).or(from_environment).unwrap_or_else(|| fallback.to_owned());
    let filter = EnvFilter::builder()
        .parse(&text)
        .map_err(|error| SettingsError::invalid("--log", &text, &format!("{error}; for example info,divvy=debug")))?;
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    let started = match format {
        LogFormat::Text => logs.try_init(),
        LogFormat::Json => logs.json().with_target(true).try_init(),
    };
    // A second start in one process (tests) keeps the first.
    drop(started);
    Ok(())
}
