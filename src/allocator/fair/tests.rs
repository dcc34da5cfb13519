//! Published examples as tables, and the comparison with a slow reference.

mod allocations;
mod figures;
mod from_scratch;
mod quotas;
mod reference;
mod script;
mod world;

use super::*;

/// "cpus:5;mem:2.5" as quantities.
fn quantities(text: &str) -> Vec<(String, Milli)> {
    let amount = |text: &str| Milli::from_f64(text.parse().expect("a number")).expect("a legal amount");
    text.split(';')
        .filter_map(|item| item.split_once(':'))
        .map(|(name, value)| (name.to_owned(), amount(value)))
        .collect()
}

/// One framework, `()`, in each role, so that roles are the clients of the published examples.
#[derive(Default)]
struct Table {
    shares: Shares<()>,
    total: Vec<(String, Milli)>,
}

impl Table {
    /// Runs lines such as `total cpus:1`, `add a`, `remove a`, `weight a 2`, `deactivate a`, `+a cpus:1`, `-a cpus:1`,
    /// and compares the order at each `=> a,b`.
    fn check(lines: &[&str]) {
        let mut table = Self::default();
        for (number, line) in lines.iter().enumerate() {
            match line.strip_prefix("=> ") {
                Some(expected) => assert_eq!(table.order(), expected, "line {number}"),
                None => table.step(line),
            }
        }
    }

    fn step(&mut self, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        let (head, role) = (words[0], *words.get(1).unwrap_or(&""));
        match head {
            "add" => drop(self.shares.add_client(role, ())),
            "remove" => self.shares.remove_client(self.id(role), ()),
            "activate" => self.shares.activate(self.id(role), ()),
            "deactivate" => self.shares.deactivate(self.id(role), ()),
            "weight" => self.shares.set_weight(role, words[2].parse().expect("a weight")),
            "total" => {
                self.shares.remove_total(&self.total);
                self.total = quantities(words[1]);
                self.shares.add_total(&self.total);
            }
            _ => match head.split_at(1) {
                ("+", role) => self.shares.allocated(self.id(role), (), &quantities(words[1])),
                ("-", role) => self.shares.unallocated(self.id(role), (), &quantities(words[1])),
                other => panic!("no such step: {other:?}"),
            },
        }
    }

    fn id(&self, role: &str) -> RoleId {
        self.shares.role(role).expect("a role that was added")
    }

    fn order(&mut self) -> String {
        let ids: Vec<RoleId> = self.shares.order().map(|(role, ())| role).collect();
        ids.iter().map(|&id| self.shares.path(id).to_string()).collect::<Vec<_>>().join(",")
    }
}
