//! A cluster whose parts are on hosts of their own.

use std::{fs, path::PathBuf, time::Duration};

use serde_json::Value;

use super::{
    directed::{Framework, Wanted},
    hosts::Network,
};
use crate::part::{Part, Site, get, until};

pub(super) const MASTER: &str = "master";
pub(super) const FRAMEWORK: &str = "framework";
/// Where another instance of the framework may be started.
pub(super) const OTHER: &str = "other";

/// Master, agents and framework. Fields drop in this order: the network last, when no process uses it.
pub(super) struct Cluster {
    pub(super) framework: Framework,
    _agents: Vec<Part>,
    master: Part,
    site: Site,
    pub(super) network: Network,
}

impl Cluster {
    /// Starts a master with this ping timeout, agents on hosts of these names, and a framework.
    pub(super) fn start(agents: &[&'static str], resources: &str, ping_timeout: Duration) -> Self {
        let hosts: Vec<&'static str> = [MASTER, FRAMEWORK, OTHER].into_iter().chain(agents.iter().copied()).collect();
        let network = Network::new(&hosts);
        let site = Site::new();
        let mut command = network.command(MASTER, env!("CARGO_BIN_EXE_divvy-master"));
        command.args(["--listen", &format!("{}:5050", network.address(MASTER)), "--insecure"]);
        command.args(["--agent-ping-timeout", &format!("{}ms", ping_timeout.as_millis()), "--work-dir"]);
        command.arg(site.path().join("registry"));
        let master = site.start(MASTER, command);
        let start = |host: &&'static str| {
            let mut command = network.command(host, env!("CARGO_BIN_EXE_divvy-agent"));
            command.args(["--listen", &format!("{}:5051", network.address(host)), "--insecure", "--hostname", host]);
            command.args(["--master", &master.address, "--resources", resources, "--work-dir"]);
            command.arg(site.path().join(host));
            site.start(host, command)
        };
        let started = agents.iter().map(start).collect();
        let framework = Framework::start(&network, FRAMEWORK, &master.address, None);
        Self { framework, _agents: started, master, site, network }
    }

    /// Starts another instance of the framework, which takes over.
    pub(super) fn start_second_instance(&self) -> Framework {
        Framework::start(&self.network, OTHER, &self.master.address, self.framework.id())
    }

    /// A task for that host that runs until its file `go` exists, and records its start and end.
    pub(super) fn waiting(&self, task: &str, host: &'static str, resources: &str) -> Wanted {
        let (ran, go) = (self.ran(task), self.go(task));
        let (ran, go) = (ran.display(), go.display());
        let command =
            format!("echo start >> {ran}; while [ ! -e {go} ]; do sleep 0.05; done; echo end >> {ran}; exit 0");
        let resources = resources.parse().expect("resources");
        Wanted { task: task.to_owned(), host, resources, command, data_bytes: 0 }
    }

    fn ran(&self, task: &str) -> PathBuf {
        self.site.path().join(format!("{task}.ran"))
    }

    fn go(&self, task: &str) -> PathBuf {
        self.site.path().join(format!("{task}.go"))
    }

    /// Lets a task end, and waits until it has.
    pub(super) fn end_task(&self, task: &str) {
        fs::write(self.go(task), "").expect("written");
        until(&format!("{task} to end"), || match self.noted(task) {
            noted if noted.ends_with("end\n") => Ok(()),
            noted => Err(noted),
        });
    }

    /// What a task recorded.
    pub(super) fn noted(&self, task: &str) -> String {
        fs::read_to_string(self.ran(task)).unwrap_or_default()
    }

    /// The master's `/state`, read on its own host.
    pub(super) fn state(&self) -> Value {
        let answer = self.network.within(MASTER, || get(&self.master.address, "/state"));
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        serde_json::from_str(body).unwrap_or_else(|error| panic!("/state is JSON: {error}: {answer}"))
    }
}
