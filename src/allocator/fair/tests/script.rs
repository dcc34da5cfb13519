//! A small cluster driven by a script of lines, so that published examples read as they are published.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::{Abilities, Allocator, Clients, Quota, Refusal, RoleId, Serve, Shares, Step, Terms};
use crate::proto::v1::resource::DiskInfo;
use crate::proto::v1::resource::disk_info::{Source, source};
use crate::types::{Amount, Kind, Milli, Now, Resource, Resources};

type Quantities = Vec<(Arc<str>, Milli)>;

/// The properties of the script's frameworks: all equal, but for minima of their own.
#[derive(Default)]
struct Frameworks {
    minimum: Vec<Quantities>,
    own: BTreeMap<String, Vec<Quantities>>,
    able: BTreeMap<String, Abilities>,
    demand: BTreeMap<String, Quantities>,
}

/// Framework, role, agent, and what it has.
type Held = (&'static str, RoleId, &'static str, Resources);

/// The allocator, and who holds what.
#[derive(Default)]
pub(super) struct ScriptedCluster {
    allocator: Allocator<&'static str, &'static str>,
    frameworks: Frameworks,
    clients: BTreeMap<&'static str, Vec<(String, RoleId)>>,
    free: BTreeMap<&'static str, Resources>,
    held: Vec<Held>,
    now: u64,
}

impl Clients<&'static str> for Frameworks {
    fn terms(&self, _: RoleId, framework: &'static str) -> Terms<'_> {
        let able = self.able.get(framework).copied();
        Terms {
            abilities: able.unwrap_or_else(|| Abilities { gpus: true, ..Abilities::default() }),
            minimum: self.own.get(framework).unwrap_or(&self.minimum),
            demand: self.demand.get(framework).cloned(),
        }
    }

    fn accepts_any(&self) -> bool {
        self.minimum.is_empty() || self.own.values().any(Vec::is_empty)
    }
}

/// Parses [`Resources`], and `mount:5` for a disk that is taken whole, `spare:5` for revocable cpus.
pub(super) fn resources(text: &str) -> Resources {
    let mut all = Resources::new();
    for item in text.split(';').filter(|item| !item.is_empty()) {
        let (name, value) = item.split_once(':').expect("name:value");
        let amount = || Amount::Scalar(value.parse().expect("a number"));
        match name {
            "mount" => {
                let source = Source { r#type: source::Type::Mount as i32, ..Source::default() };
                let disk = DiskInfo { source: Some(Box::new(source)), ..DiskInfo::default() };
                all.add(&Resource::new(Kind::new("disk").with_disk(Some(disk)), amount()));
            }
            "spare" => all.add(&Resource::new(Kind::new("cpus").with_revocable(true), amount())),
            _ => all += &item.parse().expect("resources"),
        }
    }
    all
}

fn quantities(text: &str) -> Quantities {
    resources(text).quantities()
}

fn pairs(text: &str) -> Vec<(String, f64)> {
    let one =
        |item: &str| item.split_once(':').map(|(name, value)| (name.to_owned(), value.parse().expect("a number")));
    text.split(';').filter_map(one).collect()
}

impl ScriptedCluster {
    /// Runs lines. At each `=> F1 A1 cpus:2 | F2 A2 cpus:1` or `=> nothing` a run over what is dirty has to grant just
    /// that.
    pub(super) fn check(lines: &[&'static str]) {
        let mut cluster = Self::default();
        for (number, line) in lines.iter().enumerate() {
            match line.strip_prefix("=> ") {
                Some(expected) => assert_eq!(cluster.run(), Self::read(expected), "line {number}: {line}"),
                None => cluster.step(line),
            }
        }
    }

    fn read(expected: &str) -> Vec<(String, String, String)> {
        let one = |grant: &str| {
            let words: Vec<&str> = grant.split(' ').collect();
            (words[0].to_owned(), words[1].to_owned(), resources(words[2]).to_string())
        };
        expected.split(" | ").filter(|grant| *grant != "nothing").map(one).collect()
    }

    fn run(&mut self) -> Vec<(String, String, String)> {
        self.allocator.begin(Serve::All);
        let mut granted = Vec::new();
        let now = Now { mono_ns: self.now, wall_ns: 0 };
        while let Step::Granted(grant) = self.allocator.step(now, &self.frameworks, &mut usize::MAX.clone()) {
            granted.push((grant.framework.to_owned(), grant.agent.to_owned(), grant.resources.to_string()));
            if let Some(open) = self.frameworks.demand.get_mut(grant.framework) {
                for (name, left) in open {
                    *left = left.saturating_sub(grant.resources.scalar(name));
                }
            }
            *self.free.get_mut(grant.agent).expect("an agent") -= &grant.resources;
            self.held.push((grant.framework, grant.role, grant.agent, grant.resources));
        }
        granted
    }

    fn step(&mut self, line: &'static str) {
        let words: Vec<&'static str> = line.split(' ').collect();
        match words[0] {
            "agent" => {
                let total = resources(words[2]);
                self.allocator.set_agent(words[1], &total);
                let mut free = total;
                self.held.iter().filter(|held| held.2 == words[1]).for_each(|held| free -= &held.3);
                self.set_free(words[1], free);
            }
            "gone" => {
                self.release(|held| held.2 == words[1], None);
                self.allocator.remove_agent(words[1]);
            }
            "framework" => {
                let role = self.allocator.add_client(words[2], words[1]);
                self.clients.entry(words[1]).or_default().push((words[2].to_owned(), role));
            }
            "exclude" => self.allocator = Allocator::new(Shares::excluding([words[1]])),
            "able" => drop(self.frameworks.able.insert(words[1].to_owned(), able(words[2]))),
            "minimum" => self.frameworks.minimum = words[1].split('|').map(quantities).collect(),
            "own" => drop(self.frameworks.own.insert(
                words[1].to_owned(),
                words[2].split('|').filter(|one| *one != "anything").map(quantities).collect(),
            )),
            "demand" => drop(self.frameworks.demand.insert(words[1].to_owned(), quantities(words[2]))),
            "weight" => self.allocator.set_weight(words[1], words[2].parse().expect("a weight")),
            "quota" => {
                let part = |word| words.iter().position(|one| *one == word).map_or("", |at| words[at + 1]);
                let quota = Quota::new(pairs(part("least")), pairs(part("most"))).expect("a quota");
                self.allocator.set_quota(words[1], (!quota.is_empty()).then_some(&quota));
            }
            "hold" => self.hold(words[1], words[2], &resources(words[3])),
            "free" => self.release(|held| held.0 == words[1] && held.2 == words[2], None),
            "decline" => {
                let until = self.now + words[3].parse::<u64>().expect("seconds");
                self.release(|held| held.0 == words[1] && held.2 == words[2], Some(until));
            }
            "wait" => {
                self.now += words[1].parse::<u64>().expect("seconds");
                for agent in self.free.keys() {
                    self.allocator.refusals_ended(agent, Now { mono_ns: self.now, wall_ns: 0 });
                }
            }
            "suppress" | "revive" => {
                for (role, id) in &self.clients[words[1]] {
                    if words.get(2).is_none_or(|named| named == role) {
                        self.allocator.set_active(*id, words[1], words[0] == "revive");
                        self.allocator.forget_refusals(*id, words[1]);
                    }
                }
            }
            other => panic!("no such step: {other}"),
        }
    }

    fn set_free(&mut self, agent: &'static str, free: Resources) {
        self.allocator.set_free(agent, &free);
        self.free.insert(agent, free);
    }

    /// Records that a framework's task of these resources runs in its first role.
    fn hold(&mut self, framework: &'static str, agent: &'static str, what: &Resources) {
        let role = self.clients[framework][0].1;
        let free = self.free[agent].clone() - what;
        self.set_free(agent, free);
        self.allocator.allocated(role, framework, what);
        self.held.push((framework, role, agent, what.clone()));
    }

    fn release(&mut self, which: impl Fn(&Held) -> bool, refused: Option<u64>) {
        let (gone, kept) = std::mem::take(&mut self.held).into_iter().partition(|held| which(held));
        self.held = kept;
        let gone: Vec<Held> = gone;
        for (framework, role, agent, what) in gone {
            let free = self.free[agent].clone() + &what;
            self.set_free(agent, free);
            self.allocator.unallocated(role, framework, &what);
            if let Some(until_ns) = refused {
                let refusal = Refusal { floor_ns: 0, until_ns, resources: Arc::new(what) };
                self.allocator.refuse(agent, role, framework, refusal);
            }
        }
    }
}

fn able(what: &str) -> Abilities {
    let has = |name| what.split(',').any(|one| one == name);
    Abilities { revocable: has("revocable"), shared: has("shared"), refinement: has("refinement"), gpus: has("gpus") }
}
