//! What `divvy-agent` is told.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::Args;
use serde::Deserialize;

use super::{SettingsError, duration, hostname, listen_address, master_addresses, meaning, read_file, resources};
use crate::{
    agent::{Recover, supervisor},
    cli::logging::LogFormat,
    transport::connect::Addresses,
    types::{Attributes, DeclaredResources},
};

/// The flags; each also as an environment variable and, with underscores, in the file that `--config` names.
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AgentArgs {
    /// The master, or all masters of which one leads, separated by commas [default: 127.0.0.1:5050]
    #[arg(long, env = "DIVVY_MASTER", value_name = "HOST:PORT")]
    pub master: Option<String>,
    /// Address and port to serve on; port 0 picks a free one [default: 127.0.0.1:5051]
    #[arg(long, env = "DIVVY_LISTEN", value_name = "ADDR:PORT")]
    pub listen: Option<String>,
    /// Where records and sandboxes are kept; made if it is not there [default: ./divvy-agent]
    #[arg(long, env = "DIVVY_WORK_DIR", value_name = "DIR")]
    pub work_dir: Option<PathBuf>,
    /// What to offer, for example 'cpus:8;mem(web):8192;ports:[31000-32000]', as a JSON array of Mesos' resources, or the
    /// absolute path of a file with either. What is not named is detected, zero of a name means none [default: what
    /// this host has]
    #[arg(long, env = "DIVVY_RESOURCES", value_name = "TEXT|JSON|FILE")]
    pub resources: Option<String>,
    /// The role to which resources are reserved that name no role; `*` reserves them to none [default: *]
    #[arg(long, env = "DIVVY_DEFAULT_ROLE", value_name = "ROLE")]
    pub default_role: Option<String>,
    /// What is special about this host, for example 'rack:r1;zone:a'
    #[arg(long, env = "DIVVY_ATTRIBUTES", value_name = "TEXT")]
    pub attributes: Option<String>,
    /// The name or number under which others reach this host [default: its host name]
    #[arg(long, env = "DIVVY_HOSTNAME", value_name = "NAME")]
    pub hostname: Option<String>,
    /// What to do with what an earlier agent left here: reconnect, cleanup (end it all and tell of it) or strict
    /// (as reconnect, but end with code 3 and touch nothing when a record is damaged) [default: reconnect]
    #[arg(long, env = "DIVVY_RECOVER", value_name = "HOW")]
    pub recover: Option<String>,
    /// How long a supervisor stays that no agent comes to and that runs nothing [default: 10m]
    #[arg(long, env = "DIVVY_SUPERVISOR_IDLE", value_name = "TIME")]
    pub supervisor_idle: Option<String>,
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
pub struct AgentSettings {
    /// The masters.
    pub master: Addresses,
    /// Where to serve.
    pub listen: SocketAddr,
    /// Where records and sandboxes are.
    pub work_dir: PathBuf,
    /// What to offer; what it does not mention is detected.
    pub resources: DeclaredResources,
    /// What is special about the host.
    pub attributes: Attributes,
    /// The name to be known by.
    pub hostname: Option<String>,
    /// How to take up what an earlier agent left.
    pub recover: Recover,
    /// How long a supervisor that no agent comes to stays when nothing runs.
    pub supervisor_idle: Duration,
    /// Whether an address others can reach is meant.
    pub insecure: bool,
    /// What to log.
    pub log: Option<String>,
    /// How log lines look.
    pub log_format: LogFormat,
}

impl AgentArgs {
    /// Adds what the file says and reads everything.
    ///
    /// # Errors
    /// When the file or a value cannot be understood.
    pub fn resolve(self) -> Result<AgentSettings, SettingsError> {
        let file: Self = read_file(self.config.as_deref())?;
        let all = self.over(file);
        Ok(AgentSettings {
            master: master_addresses(all.master.as_deref())?,
            listen: listen_address(all.listen.as_deref(), SocketAddr::from(([127, 0, 0, 1], 5051)))?,
            work_dir: all.work_dir.unwrap_or_else(|| PathBuf::from("divvy-agent")),
            resources: resources(all.resources.as_deref(), all.default_role.as_deref())?,
            attributes: meaning("--attributes", all.attributes.as_deref(), "rack:r1;zone:a")?.unwrap_or_default(),
            hostname: hostname(all.hostname)?,
            recover: meaning("--recover", all.recover.as_deref(), "reconnect")?.unwrap_or_default(),
            supervisor_idle: duration("--supervisor-idle", all.supervisor_idle.as_deref())?.unwrap_or(supervisor::IDLE),
            insecure: all.insecure.unwrap_or(false),
            log: all.log,
            log_format: all.log_format.unwrap_or_default(),
        })
    }

    fn over(self, file: Self) -> Self {
        Self {
            master: self.master.or(file.master),
            listen: self.listen.or(file.listen),
            work_dir: self.work_dir.or(file.work_dir),
            resources: self.resources.or(file.resources),
            default_role: self.default_role.or(file.default_role),
            attributes: self.attributes.or(file.attributes),
            hostname: self.hostname.or(file.hostname),
            recover: self.recover.or(file.recover),
            supervisor_idle: self.supervisor_idle.or(file.supervisor_idle),
            insecure: self.insecure.or(file.insecure),
            log: self.log.or(file.log),
            log_format: self.log_format.or(file.log_format),
            config: self.config,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resources_that_cannot_be_read_are_told_with_an_example() {
        let args = AgentArgs { resources: Some("cpus:many".to_owned()), ..AgentArgs::default() };
        let error = args.resolve().expect_err("many is no number").to_string();
        assert!(error.starts_with("--resources \"cpus:many\": "), "{error}");
        assert!(error.ends_with("; for example 'cpus:8;mem(web):8192;ports:[31000-32000]'"), "{error}");
    }

    #[test]
    fn a_setting_means_the_same_from_a_flag_and_from_the_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("agent.toml");
        let text = "cpus:2;mem:0;disk:0;ports:[];gpus(web):1";
        std::fs::write(&path, format!("resources = \"{text}\"\nattributes = \"rev:1.10\"\ndefault_role = \"eng\"\n"))
            .expect("a file");
        let from_file = AgentArgs { config: Some(path), ..AgentArgs::default() }.resolve().expect("all is well");
        let owned = |text: &str| Some(text.to_owned());
        let flags = AgentArgs {
            resources: owned(text),
            attributes: owned("rev:1.10"),
            default_role: owned("eng"),
            ..AgentArgs::default()
        };
        let from_flags = flags.resolve().expect("all is well");
        assert_eq!((&from_file.resources, &from_file.attributes), (&from_flags.resources, &from_flags.attributes));
        let (resources, attributes) = (from_flags.resources, from_flags.attributes);
        let wanted = "cpus(reservations: [(STATIC,eng)]):2; gpus(reservations: [(STATIC,web)]):1";
        assert_eq!(resources.resources().to_string(), wanted);
        assert!(["mem", "disk", "ports"].iter().all(|name| resources.mentions(name)));
        assert_eq!(attributes.text("rev"), Some("1.10"));
    }

    #[test]
    fn a_way_to_recover_that_there_is_not_is_told_with_those_that_there_are() {
        let args = |how: &str| AgentArgs { recover: Some(how.to_owned()), ..AgentArgs::default() };
        assert_eq!(args("strict").resolve().expect("known").recover, Recover::Strict);
        let error = args("hope").resolve().expect_err("unknown").to_string();
        assert_eq!(error, "--recover \"hope\": it has to be reconnect, cleanup or strict; for example 'reconnect'");
    }

    #[test]
    fn several_masters_are_read_and_a_wrong_one_is_told() {
        let args = |master: &str| AgentArgs { master: Some(master.to_owned()), ..AgentArgs::default() };
        assert_eq!(args("a:1,b:2").resolve().expect("two").master.to_string(), "a:1,b:2");
        let error = args("a:1,b").resolve().expect_err("no port").to_string();
        assert_eq!(error, "--master \"a:1,b\": there is no port; write HOST:PORT, for example 127.0.0.1:5050");
    }
}
