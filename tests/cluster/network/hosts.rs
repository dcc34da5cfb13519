//! Hosts that are network namespaces, each with one interface on a switch of the test's own. Their links can be cut in
//! one or both directions, unplugged and slowed without any effect on the machine's network.
//!
//! Every host has permanent neighbour entries, so none sends ARP requests. A cut replaces such an entry with an unused
//! address: packets are lost, and no end receives an error. Every name contains the test's process id. A test removes
//! its namespaces at its end, also when it fails; those of a killed test are removed by the next.

use std::{
    fs::{self, File},
    net::Ipv4Addr,
    os::fd::AsFd as _,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
    thread,
};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Where the names of namespaces are kept.
const NAMES: &str = "/run/netns";
const PREFIX: &str = "divvy-test-";
/// An address that no interface has.
const VOID: &str = "02:00:00:00:ff:ff";

/// The hosts of one test and the switch between them.
pub(super) struct Network {
    /// Begins the name of each namespace.
    prefix: String,
    hosts: Vec<&'static str>,
}

impl Network {
    pub(super) fn new(hosts: &[&'static str]) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        assert_usable();
        remove_leftovers();
        let prefix = format!("{PREFIX}{}-{}-", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let network = Self { prefix, hosts: hosts.to_vec() };
        network.add_switch();
        for number in 0..network.hosts.len() {
            network.add_host(number);
        }
        network
    }

    fn add_switch(&self) {
        let switch = self.namespace("switch");
        ip(&["netns", "add", &switch]);
        ip(&["-n", &switch, "link", "add", "switch", "type", "bridge"]);
        ip(&["-n", &switch, "link", "set", "switch", "up"]);
    }

    fn add_host(&self, number: usize) {
        let host = self.hosts[number];
        let (name, switch, port) = (self.namespace(host), self.namespace("switch"), port(number));
        ip(&["netns", "add", &name]);
        ip(&["-n", &name, "link", "set", "lo", "up"]);
        let address = hardware(number);
        let link = ["-n", &switch, "link", "add", &port, "type", "veth", "peer", "name", "eth0", "address", &address];
        ip(&[&link[..], &["netns", &name]].concat());
        ip(&["-n", &switch, "link", "set", &port, "master", "switch", "up"]);
        ip(&["-n", &name, "address", "add", &format!("{}/24", self.address(host)), "dev", "eth0"]);
        ip(&["-n", &name, "link", "set", "eth0", "up"]);
        for other in self.hosts.iter().filter(|other| **other != host) {
            self.mend_one_way(host, other);
        }
    }

    fn namespace(&self, host: &str) -> String {
        format!("{}{host}", self.prefix)
    }

    fn number(&self, host: &str) -> usize {
        self.hosts.iter().position(|one| *one == host).unwrap_or_else(|| panic!("no host {host}"))
    }

    /// Where a host is in this network.
    pub(super) fn address(&self, host: &str) -> Ipv4Addr {
        Ipv4Addr::new(10, 77, 0, u8::try_from(self.number(host) + 1).expect("few hosts"))
    }

    /// A command that runs the program on that host.
    pub(super) fn command(&self, host: &str, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace(host), program]);
        command
    }

    /// Runs a closure on that host; threads that it starts stay there.
    pub(super) fn within<T: Send>(&self, host: &str, act: impl FnOnce() -> T + Send) -> T {
        let namespace = File::open(Path::new(NAMES).join(self.namespace(host))).expect("a namespace");
        let moved = || {
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).expect("may move");
            act()
        };
        thread::scope(|scope| scope.spawn(moved).join()).unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// Loses all packets from `from` to `to`; neither end receives an error.
    pub(super) fn cut_one_way(&self, from: &str, to: &str) {
        self.set_neighbour(from, to, VOID);
    }

    pub(super) fn mend_one_way(&self, from: &str, to: &str) {
        self.set_neighbour(from, to, &hardware(self.number(to)));
    }

    fn set_neighbour(&self, from: &str, to: &str, hardware: &str) {
        let (namespace, to) = (self.namespace(from), self.address(to).to_string());
        ip(&["-n", &namespace, "neigh", "replace", &to, "lladdr", hardware, "dev", "eth0", "nud", "permanent"]);
    }

    /// Loses all packets in both directions.
    pub(super) fn cut(&self, one: &str, other: &str) {
        self.cut_one_way(one, other);
        self.cut_one_way(other, one);
    }

    pub(super) fn mend(&self, one: &str, other: &str) {
        self.mend_one_way(one, other);
        self.mend_one_way(other, one);
    }

    /// Pulls the cable: the host sees that, the others do not.
    pub(super) fn unplug(&self, host: &str) {
        ip(&["-n", &self.namespace("switch"), "link", "set", &port(self.number(host)), "down"]);
    }

    pub(super) fn plug_in(&self, host: &str) {
        ip(&["-n", &self.namespace("switch"), "link", "set", &port(self.number(host)), "up"]);
    }

    /// Limits the host's link to so many kilobits a second in each direction.
    pub(super) fn slow(&self, host: &str, kilobits: u32) {
        let rate = format!("{kilobits}kbit");
        let shape = ["root", "tbf", "rate", &rate, "burst", "4kb", "latency", "500ms"];
        let (namespace, switch, port) = (self.namespace(host), self.namespace("switch"), port(self.number(host)));
        run("tc", &[&["-n", &namespace, "qdisc", "replace", "dev", "eth0"], &shape[..]].concat());
        run("tc", &[&["-n", &switch, "qdisc", "replace", "dev", &port], &shape[..]].concat());
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for host in self.hosts.iter().chain([&"switch"]) {
            remove(&self.namespace(host));
        }
    }
}

fn port(number: usize) -> String {
    format!("port{number}")
}

fn hardware(number: usize) -> String {
    format!("02:00:00:00:00:{number:02x}")
}

/// Fails first, with a way to install what is missing.
fn assert_usable() {
    let there = |program: &str| Command::new(program).arg("-V").output().is_ok_and(|output| output.status.success());
    let missing = ["ip", "tc"].into_iter().find(|program| !there(program));
    if let Some(program) = missing {
        panic!("these tests need `{program}`: apt-get install iproute2, which `cargo xtask test` does too");
    }
    assert!(
        rustix::process::geteuid().is_root(),
        "these tests make network namespaces, for which they have to be root"
    );
}

/// Removes the namespaces of tests whose process is gone.
fn remove_leftovers() {
    let names = fs::read_dir(NAMES).into_iter().flatten().flatten();
    for name in names.filter_map(|entry| entry.file_name().into_string().ok()) {
        let owner = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
        if owner.is_some_and(|pid| !PathBuf::from("/proc").join(pid).exists()) {
            remove(&name);
        }
    }
}

fn remove(namespace: &str) {
    let removed = Command::new("ip").args(["netns", "delete", namespace]).output();
    if !removed.is_ok_and(|output| output.status.success()) {
        eprintln!("the namespace {namespace} is left over");
    }
}

fn ip(arguments: &[&str]) {
    run("ip", arguments);
}

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().expect("starts");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {}: {stderr}", arguments.join(" "));
}
