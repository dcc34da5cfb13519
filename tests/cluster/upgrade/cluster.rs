//! A master and two agents, each of the old binaries or the new, on ports and in work directories that stay.

use std::{
    env,
    ffi::OsString,
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::Command,
};

use divvy::{
    proto::{
        ext::operator_client::OperatorClient,
        v1::{WeightInfo, master, quota::QuotaConfig, value::Scalar},
    },
    transport::connect::Address,
};
use serde_json::Value;

use crate::part::{Part, Running, Site, connected_agents, state, supervisors_of};

/// The folder of the old binaries.
const OLD: &str = "DIVVY_UPGRADE_FROM";

pub(super) const AGENTS: [&str; 2] = ["a", "b"];

/// Which binaries a part runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    Old,
    New,
}

/// How a part ends before its successor starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Stopped,
    Killed,
}

fn program(version: Version, name: &str) -> OsString {
    match (version, name) {
        (Version::Old, name) => {
            let folder = env::var_os(OLD).unwrap_or_else(|| panic!("{OLD} names the folder of the old binaries"));
            Path::new(&folder).join(name).into()
        }
        (Version::New, "divvy-master") => env!("CARGO_BIN_EXE_divvy-master").into(),
        (Version::New, "divvy-agent") => env!("CARGO_BIN_EXE_divvy-agent").into(),
        (Version::New, _) => env!("CARGO_BIN_EXE_divvy").into(),
    }
}

pub(super) struct Cluster<'a> {
    site: &'a Site,
    pub(super) address: String,
    master: Option<Part>,
    /// Each with its address.
    agents: [(String, Option<Part>); 2],
}

impl<'a> Cluster<'a> {
    /// All old.
    pub(super) fn start(site: &'a Site) -> Self {
        let [master, a, b] = own_ports();
        let mut cluster = Self { site, address: master, master: None, agents: [(a, None), (b, None)] };
        cluster.start_master(Version::Old);
        for number in 0..AGENTS.len() {
            cluster.start_agent(number, Version::Old);
        }
        cluster
    }

    pub(super) fn start_master(&mut self, version: Version) {
        let mut command = Command::new(program(version, "divvy-master"));
        command.args(["--listen", &self.address, "--work-dir"]).arg(self.site.path().join("master"));
        self.master = Some(self.site.start("master", command));
    }

    pub(super) fn start_agent(&mut self, number: usize, version: Version) {
        let (name, (address, part)) = (AGENTS[number], &mut self.agents[number]);
        let mut command = Command::new(program(version, "divvy-agent"));
        command.args(["--listen", address, "--master", &self.address, "--work-dir"]).arg(self.site.path().join(name));
        command.args(["--resources", "cpus:40;mem:4096", "--attributes", &format!("name:{name}")]);
        *part = Some(self.site.start(name, command));
    }

    pub(super) fn end_master(&mut self, how: End) {
        end(self.master.take().expect("it runs"), how);
    }

    pub(super) fn end_agent(&mut self, number: usize, how: End) {
        end(self.agents[number].1.take().expect("it runs"), how);
    }

    /// A `divvy` of this version, not waited for.
    pub(super) fn divvy(&self, version: Version, name: &str, arguments: &[&str]) -> Running {
        let mut command = Command::new(program(version, "divvy"));
        command.args(["--master", &self.address]).args(arguments);
        Running::start(self.site, name, command)
    }

    /// What a `divvy` of this version lists as JSON.
    pub(super) fn list(&self, version: Version, what: &str) -> Vec<Value> {
        let mut command = Command::new(program(version, "divvy"));
        command.args(["--master", &self.address, what, "--json"]);
        let output = self.site.run(command);
        let list: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
        list.as_array().expect("a list").clone()
    }

    /// The master's `/state`.
    pub(super) fn state(&self) -> Value {
        state(&self.address)
    }

    /// The ids of all agents; waits until all are connected.
    pub(super) fn agent_ids(&self) -> Vec<String> {
        connected_agents(&self.address, AGENTS.len())
    }

    /// The processes of this agent's supervisors.
    pub(super) fn supervisors(&self, agent: &str) -> Vec<u32> {
        supervisors_of(&self.site.path().join(agent))
    }

    /// Whether a process runs the new agent's program file.
    pub(super) fn runs_new(pid: u32) -> bool {
        let file = |path: &Path| fs::canonicalize(path).ok();
        file(&PathBuf::from(format!("/proc/{pid}/exe"))) == file(Path::new(env!("CARGO_BIN_EXE_divvy-agent")))
    }

    async fn ask(&self, call: master::Call) -> master::Response {
        let address: Address = self.address.parse().expect("an address");
        let channel = address.endpoint().expect("an endpoint").connect().await.expect("connects");
        OperatorClient::new(channel).call(call).await.expect("an answer").into_inner()
    }

    /// Sets a weight and a quota, which only the registry keeps.
    pub(super) async fn set_weight_and_quota(&self) {
        let weight = WeightInfo { weight: 2.5, role: Some("heavy".to_owned()) };
        self.ask(master::Call {
            r#type: Some(master::call::Type::UpdateWeights.into()),
            update_weights: Some(master::call::UpdateWeights { weight_infos: vec![weight] }),
            ..master::Call::default()
        })
        .await;
        let limits = [("cpus".to_owned(), Scalar { value: 3.0 })].into();
        let quota = QuotaConfig { role: "limited".to_owned(), limits, ..QuotaConfig::default() };
        self.ask(master::Call {
            r#type: Some(master::call::Type::UpdateQuota.into()),
            update_quota: Some(master::call::UpdateQuota { force: None, quota_configs: vec![quota] }),
            ..master::Call::default()
        })
        .await;
    }

    /// Both as the master has them.
    pub(super) async fn weight_and_quota(&self) -> (Vec<WeightInfo>, Vec<QuotaConfig>) {
        let of = |kind: master::call::Type| master::Call { r#type: Some(kind.into()), ..master::Call::default() };
        let weights = self.ask(of(master::call::Type::GetWeights)).await.get_weights.expect("weights");
        let quota = self.ask(of(master::call::Type::GetQuota)).await.get_quota.expect("quotas");
        (weights.weight_infos, quota.status.configs)
    }
}

fn end(part: Part, how: End) {
    match how {
        End::Stopped => assert!(part.stop().success(), "it stops in order"),
        End::Killed => drop(part.kill()),
    }
}

/// Free ports below those that the system gives to connections, so that a part finds its own free after a restart.
fn own_ports<const N: usize>() -> [String; N] {
    let first = 10_000 + u16::try_from(std::process::id() % 15_000).expect("small");
    let bound = (first..first + 1_000).filter_map(|port| TcpListener::bind(("127.0.0.1", port)).ok());
    let bound: Vec<TcpListener> = bound.take(N).collect();
    std::array::from_fn(|number| bound[number].local_addr().expect("it is bound").to_string())
}
