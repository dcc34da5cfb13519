//! What `divvy-master` is told.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::Args;
use serde::Deserialize;

use super::{SettingsError, duration, listen_address, read_file};
use crate::cli::logging::LogFormat;

/// The flags; each also as an environment variable and, with underscores, in the file that `--config` names.
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MasterArgs {
    /// Address and port to serve on; port 0 picks a free one [default: 127.0.0.1:5050]
    #[arg(long, env = "DIVVY_LISTEN", value_name = "ADDR:PORT")]
    pub listen: Option<String>,
    /// Where the registry is kept; made if it is not there [default: ./divvy-master]
    #[arg(long, env = "DIVVY_WORK_DIR", value_name = "DIR")]
    pub work_dir: Option<PathBuf>,
    /// The name or number under which others reach this host [default: the address listened on]
    #[arg(long, env = "DIVVY_HOSTNAME", value_name = "NAME")]
    pub hostname: Option<String>,
    /// How long a framework may hold an offer that nobody else wants [default: 2m]
    #[arg(long, env = "DIVVY_OFFER_TIMEOUT", value_name = "TIME")]
    pub offer_timeout: Option<String>,
    /// How long an agent may be silent before its tasks are told to be unreachable [default: 75s]
    #[arg(long, env = "DIVVY_AGENT_PING_TIMEOUT", value_name = "TIME")]
    pub agent_ping_timeout: Option<String>,
    /// Serve on an address that other hosts can reach although nothing asks them who they are
    #[arg(long, env = "DIVVY_INSECURE", num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub insecure: Option<bool>,
    /// What to log: error, warn, info, debug, trace, or by part: info,divvy=debug [default: info]
    #[arg(long, env = "DIVVY_LOG", value_name = "FILTER")]
    pub log: Option<String>,
    /// How log lines look [default: text]
    #[arg(long, env = "DIVVY_LOG_FORMAT")]
    pub log_format: Option<LogFormat>,
    /// A TOML file with any of these settings
    #[arg(long, env = "DIVVY_CONFIG", value_name = "FILE")]
    #[serde(skip)]
    pub config: Option<PathBuf>,
}

/// The same, read for its meaning.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct MasterSettings {
    /// Where to serve.
    pub listen: SocketAddr,
    /// Where the registry is.
    pub work_dir: PathBuf,
    /// The name to be known by.
    pub hostname: Option<String>,
    /// How long an offer holds; `None`: the master's own default.
    pub offer_timeout: Option<Duration>,
    /// How long an agent may be silent; `None`: the master's own default.
    pub agent_ping_timeout: Option<Duration>,
    /// Whether an address others can reach is meant.
    pub insecure: bool,
    /// What to log.
    pub log: Option<String>,
    /// How log lines look.
    pub log_format: LogFormat,
}

impl MasterArgs {
    /// Adds what the file says and reads everything.
    ///
    /// # Errors
    /// When the file or a value cannot be understood.
    pub fn resolve(self) -> Result<MasterSettings, SettingsError> {
        let file: Self = read_file(self.config.as_deref())?;
        let all = self.over(file);
        Ok(MasterSettings {
            listen: listen_address(all.listen.as_deref(), SocketAddr::from(([127, 0, 0, 1], 5050)))?,
            work_dir: all.work_dir.unwrap_or_else(|| PathBuf::from("divvy-master")),
            hostname: all.hostname,
            offer_timeout: duration("--offer-timeout", all.offer_timeout.as_deref())?,
            agent_ping_timeout: duration("--agent-ping-timeout", all.agent_ping_timeout.as_deref())?,
            insecure: all.insecure.unwrap_or(false),
            log: all.log,
            log_format: all.log_format.unwrap_or_default(),
        })
    }

    fn over(self, file: Self) -> Self {
        Self {
            listen: self.listen.or(file.listen),
            work_dir: self.work_dir.or(file.work_dir),
            hostname: self.hostname.or(file.hostname),
            offer_timeout: self.offer_timeout.or(file.offer_timeout),
            agent_ping_timeout: self.agent_ping_timeout.or(file.agent_ping_timeout),
            insecure: self.insecure.or(file.insecure),
            log: self.log.or(file.log),
            log_format: self.log_format.or(file.log_format),
            config: self.config,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn with_file(text: &str, args: MasterArgs) -> Result<MasterSettings, SettingsError> {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("master.toml");
        std::fs::write(&path, text).expect("a file");
        MasterArgs { config: Some(path), ..args }.resolve()
    }

    #[test]
    fn a_flag_beats_the_file_and_the_file_beats_the_default() {
        let args = MasterArgs { listen: Some("127.0.0.1:7".to_owned()), ..MasterArgs::default() };
        let file =
            "listen = \"127.0.0.1:8\"\nwork_dir = \"/data\"\noffer_timeout = \"1m 30s\"\nlog_format = \"json\"\n";
        let settings = with_file(file, args).expect("all is well");
        assert_eq!(settings.listen, SocketAddr::from(([127, 0, 0, 1], 7)));
        assert_eq!(settings.work_dir, Path::new("/data"));
        assert_eq!(settings.offer_timeout, Some(Duration::from_secs(90)));
        assert_eq!(settings.log_format, LogFormat::Json);
        let settings = MasterArgs::default().resolve().expect("defaults");
        assert_eq!(settings.listen, SocketAddr::from(([127, 0, 0, 1], 5050)));
        assert!(!settings.insecure && settings.agent_ping_timeout.is_none());
    }

    #[test]
    fn an_unknown_name_in_the_file_is_told_with_its_line_and_the_known_ones() {
        let error =
            with_file("insecure = true\nlisen = \"x\"\n", MasterArgs::default()).expect_err("lisen").to_string();
        assert!(
            error.contains("master.toml:2: unknown field `lisen`, expected one of `listen`, `work_dir`"),
            "{error}"
        );
    }

    #[test]
    fn a_value_that_makes_no_sense_is_told_with_an_example() {
        for (file, wanted) in [
            ("listen = \"5050\"", "--listen \"5050\": write ADDR:PORT with numbers, for example 127.0.0.1:5050"),
            ("offer_timeout = \"soon\"", "--offer-timeout \"soon\": expected number at 0; for example 90s, 2m or 1h"),
            ("offer_timeout = \"0s\"", "--offer-timeout \"0s\": it has to be longer than nothing"),
        ] {
            assert_eq!(with_file(file, MasterArgs::default()).expect_err(file).to_string(), wanted);
        }
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let args = MasterArgs { config: Some(PathBuf::from("/nowhere/x.toml")), ..MasterArgs::default() };
        let error = args.resolve().expect_err("it is not there").to_string();
        assert!(error.starts_with("cannot read /nowhere/x.toml: "), "{error}");
    }
}
