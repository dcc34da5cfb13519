//! A slow reference that sorts from scratch with exact fractions, and the comparison after every event. Weights are
//! powers of two, where the kept order detects every tie.

use std::cmp::Ordering;

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Event {
    Total([i64; 2]),
    Add(usize, u32),
    Remove(usize, u32),
    Activate(usize, u32, bool),
    Weight(usize, u32),
    Allocate(usize, u32, [i64; 2]),
    Free(usize, u32),
}

pub(super) const ROLES: [&str; 7] = ["a", "a/b", "a/c", "a/b/d", "e", "e-f", "g/h"];
pub(super) const NAMES: [&str; 2] = ["cpus", "mem"];

fn event() -> impl Strategy<Value = Event> {
    let (role, client) = (0..ROLES.len(), 0..3u32);
    let amounts = [0..9i64, 0..9i64];
    prop_oneof![
        1 => [1..40i64, 0..40i64].prop_map(Event::Total),
        4 => (role.clone(), client.clone()).prop_map(|(r, c)| Event::Add(r, c)),
        1 => (role.clone(), client.clone()).prop_map(|(r, c)| Event::Remove(r, c)),
        2 => (role.clone(), client.clone(), any::<bool>()).prop_map(|(r, c, on)| Event::Activate(r, c, on)),
        1 => (role.clone(), 0..3u32).prop_map(|(r, w)| Event::Weight(r, 1 << w)),
        8 => (role.clone(), client.clone(), amounts).prop_map(|(r, c, q)| Event::Allocate(r, c, q)),
        2 => (role, client).prop_map(|(r, c)| Event::Free(r, c)),
    ]
}

#[derive(Debug, Clone)]
pub(super) struct Client {
    pub(super) held: [i64; 2],
    pub(super) active: bool,
}

/// Everything by its definition: no tree, no kept order. Counts are kept per path prefix as long as the prefix has
/// clients.
#[derive(Debug, Default)]
pub(super) struct Reference {
    pub(super) total: [i64; 2],
    pub(super) weights: BTreeMap<String, i64>,
    pub(super) clients: BTreeMap<(String, u32), Client>,
    pub(super) counts: BTreeMap<String, u64>,
}

/// A sibling to compare: held amounts, weight, count of allocations, and what breaks the last tie.
struct Sibling {
    held: [i64; 2],
    weight: i64,
    count: u64,
    name: String,
    key: String,
}

impl Reference {
    /// The paths that count an allocation of this client: its roles, the own group, the client.
    pub(super) fn keys(role: &str, client: u32) -> Vec<String> {
        let ends = role.match_indices('/').map(|(at, _)| at).chain([role.len()]);
        let mut keys: Vec<String> = ends.map(|end| role[..end].to_owned()).collect();
        keys.extend([format!("{role}/."), format!("{role}/./{client}")]);
        keys
    }

    fn under<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a (String, u32), &'a Client)> + 'a {
        let inside = move |role: &str, client| Self::keys(role, client).iter().any(|key| key == prefix);
        self.clients.iter().filter(move |((role, client), _)| inside(role, *client))
    }

    fn forget_counts(&mut self) {
        let known: Vec<String> = self.clients.keys().flat_map(|(role, client)| Self::keys(role, *client)).collect();
        self.counts.retain(|key, _| known.contains(key));
    }

    pub(super) fn order(&self) -> Vec<(String, u32)> {
        let mut out = Vec::new();
        self.visit("", &mut out);
        out
    }

    fn visit(&self, parent: &str, out: &mut Vec<(String, u32)>) {
        let depth = if parent.is_empty() { 0 } else { Self::depth(parent) };
        let mut children: Vec<String> = Vec::new();
        for ((role, client), _) in self.clients.iter().filter(|(_, client)| client.active) {
            let keys = Self::keys(role, *client);
            let inside = depth == 0 || keys.get(depth - 1).is_some_and(|key| key == parent);
            if let (true, Some(key)) = (inside, keys.get(depth)) {
                children.push(key.clone());
            }
        }
        children.sort();
        children.dedup();
        let mut siblings: Vec<Sibling> = children.iter().map(|key| self.sibling(key)).collect();
        siblings.sort_by(|a, b| self.compare(a, b));
        for sibling in siblings {
            match sibling.key.split_once("/./") {
                Some((role, client)) => out.push((role.to_owned(), client.parse().expect("a client's number"))),
                None => self.visit(&sibling.key, out),
            }
        }
    }

    fn depth(key: &str) -> usize {
        key.split('/').count()
    }

    fn sibling(&self, key: &str) -> Sibling {
        let mut held = [0; 2];
        for (_, client) in self.under(key) {
            (0..2).for_each(|i| held[i] += client.held[i]);
        }
        let weight = self.weights.get(key).copied().unwrap_or(1);
        let name = key.rsplit('/').next().expect("a last part").to_owned();
        Sibling { held, weight, count: self.counts.get(key).copied().unwrap_or(0), name, key: key.to_owned() }
    }

    /// The dominant share per unit of weight as numerator and denominator.
    fn share(&self, sibling: &Sibling) -> (i64, i64) {
        let fractions =
            (0..2).filter(|&i| self.total[i] > 0).map(|i| (sibling.held[i], self.total[i] * sibling.weight));
        fractions.max_by(|a, b| (a.0 * b.1).cmp(&(b.0 * a.1))).unwrap_or((0, 1))
    }

    fn compare(&self, a: &Sibling, b: &Sibling) -> Ordering {
        let (x, y) = (self.share(a), self.share(b));
        (x.0 * y.1).cmp(&(y.0 * x.1)).then(a.count.cmp(&b.count)).then_with(|| a.name.cmp(&b.name))
    }
}

/// Both, driven by the same events.
#[derive(Default)]
struct Pair {
    shares: Shares<u32>,
    reference: Reference,
}

impl Pair {
    fn apply(&mut self, event: &Event) {
        match *event {
            Event::Total(total) => {
                self.shares.remove_total(&named(self.reference.total));
                self.shares.add_total(&named(total));
                self.reference.total = total;
            }
            Event::Weight(role, weight) => {
                self.shares.set_weight(ROLES[role], f64::from(weight));
                self.reference.weights.insert(ROLES[role].to_owned(), i64::from(weight));
            }
            Event::Add(role, client) => {
                self.shares.add_client(ROLES[role], client);
                let new = Client { held: [0; 2], active: true };
                self.reference.clients.entry((ROLES[role].to_owned(), client)).or_insert(new);
            }
            Event::Remove(role, client) => self.remove(role, client),
            Event::Activate(role, client, on) => self.activate(role, client, on),
            Event::Allocate(role, client, amounts) => self.allocate(role, client, amounts),
            Event::Free(role, client) => self.free(role, client),
        }
    }

    fn find(&mut self, role: usize, client: u32) -> Option<(RoleId, &mut Client)> {
        let known = self.reference.clients.get_mut(&(ROLES[role].to_owned(), client))?;
        Some((self.shares.role(ROLES[role]).expect("a role with clients"), known))
    }

    fn remove(&mut self, role: usize, client: u32) {
        let Some((id, _)) = self.find(role, client) else { return };
        self.shares.remove_client(id, client);
        self.reference.clients.remove(&(ROLES[role].to_owned(), client));
        self.reference.forget_counts();
    }

    fn activate(&mut self, role: usize, client: u32, on: bool) {
        let Some((id, known)) = self.find(role, client) else { return };
        known.active = on;
        if on { self.shares.activate(id, client) } else { self.shares.deactivate(id, client) }
    }

    fn allocate(&mut self, role: usize, client: u32, amounts: [i64; 2]) {
        let Some((id, known)) = self.find(role, client) else { return };
        (0..2).for_each(|i| known.held[i] += amounts[i]);
        self.shares.allocated(id, client, &named(amounts));
        for key in Reference::keys(ROLES[role], client) {
            *self.reference.counts.entry(key).or_default() += 1;
        }
    }

    fn free(&mut self, role: usize, client: u32) {
        let Some((id, known)) = self.find(role, client) else { return };
        let held = std::mem::take(&mut known.held);
        self.shares.unallocated(id, client, &named(held));
    }

    fn order(&mut self) -> Vec<(String, u32)> {
        let ids: Vec<(RoleId, u32)> = self.shares.order().collect();
        ids.iter().map(|&(role, client)| (self.shares.path(role).to_string(), client)).collect()
    }
}

fn named(amounts: [i64; 2]) -> Vec<(&'static str, Milli)> {
    NAMES.into_iter().zip(amounts.map(Milli::from_units)).collect()
}

proptest! {
    #[test]
    fn the_kept_order_equals_sorting_from_scratch_after_every_event(events in prop::collection::vec(event(), 0..80)) {
        let mut pair = Pair::default();
        for event in &events {
            pair.apply(event);
            prop_assert_eq!(pair.order(), pair.reference.order(), "after {:?}", event);
        }
    }

    #[test]
    fn reading_the_order_seldom_changes_nothing_in_it(events in prop::collection::vec(event(), 0..80)) {
        let (mut often, mut once) = (Pair::default(), Pair::default());
        for event in &events {
            often.apply(event);
            often.order();
            once.apply(event);
        }
        prop_assert_eq!(often.order(), once.order());
    }
}
