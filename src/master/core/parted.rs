//! A hash map that grows incrementally.
//!
//! A full hash table or vector moves all its entries at once: tens of milliseconds for a million entries, in the turn
//! that adds the next. Here entries lie in chunks that never move, and several small tables find them, which grow one
//! at a time. A table keeps enough of each hash to grow without reading the entries.

use std::{
    borrow::Borrow,
    hash::{BuildHasher as _, Hash, RandomState},
};

use hashbrown::HashTable;

const TABLES: usize = 16;
/// Entries of a chunk: few in tests, so that all of them cross its bounds.
const CHUNK: usize = if cfg!(test) { 8 } else { 4096 };

/// A hash map that grows incrementally; see the [module](self).
///
/// Entries are in the order of insertion, except that the last one takes the place of a removed one.
#[derive(Debug)]
pub(super) struct PartedMap<K, V> {
    /// Empty until the first insertion.
    tables: Vec<HashTable<Slot>>,
    chunks: Vec<Vec<(K, V)>>,
    len: usize,
    hasher: RandomState,
}

/// Where an entry is.
#[derive(Clone, Copy, Debug)]
struct Slot {
    hash: u32,
    at: u32,
}

/// The hash of a key: its table, and the bits that the table keeps.
#[derive(Clone, Copy)]
struct Hashed {
    table: usize,
    hash: u32,
}

/// The position of a visit: the number of entries still to be visited. A visit goes from the last entry to the first.
/// So the entry that takes the place of a removed one was already visited, and none is missed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Cursor(usize);

impl<K, V> Default for PartedMap<K, V> {
    fn default() -> Self {
        Self { tables: Vec::new(), chunks: Vec::new(), len: 0, hasher: RandomState::new() }
    }
}

impl<K: Hash + Eq, V> PartedMap<K, V> {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn get<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        let Hashed { table, hash } = self.hash(key);
        let is_it = |slot: &Slot| slot.hash == hash && self.entry(slot.at).0.borrow() == key;
        let slot = self.tables.get(table)?.find(spread(hash), is_it)?;
        Some(&self.entry(slot.at).1)
    }

    pub(super) fn contains_key<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.get(key).is_some()
    }

    /// Inserts an entry; returns the former value of its key.
    ///
    /// # Panics
    /// There are four billion entries.
    pub(super) fn insert(&mut self, key: K, value: V) -> Option<V> {
        let Hashed { table, hash } = self.hash(&key);
        if self.tables.is_empty() {
            self.tables.resize_with(TABLES, HashTable::new);
        }
        let is_it = |slot: &Slot| slot.hash == hash && self.entry(slot.at).0 == key;
        if let Some(slot) = self.tables[table].find(spread(hash), is_it).copied() {
            return Some(std::mem::replace(&mut self.entry_mut(slot.at).1, value));
        }
        let at = u32::try_from(self.len).expect("fewer entries than memory holds");
        self.tables[table].insert_unique(spread(hash), Slot { hash, at }, |slot| spread(slot.hash));
        if self.chunks.len() <= self.len / CHUNK {
            // The first chunk grows with its entries; only large maps have more.
            self.chunks.push(if self.len == 0 { Vec::new() } else { Vec::with_capacity(CHUNK) });
        }
        self.chunks[self.len / CHUNK].push((key, value));
        self.len += 1;
        None
    }

    /// Removes an entry; the last takes its place.
    pub(super) fn remove<Q: Hash + Eq + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let Hashed { table, hash } = self.hash(key);
        let chunks = &self.chunks;
        let is_it = |slot: &Slot| slot.hash == hash && entry(chunks, slot.at).0.borrow() == key;
        let found = self.tables.get_mut(table)?.find_entry(spread(hash), is_it).ok()?;
        let (Slot { at, .. }, _) = found.remove();
        self.len -= 1;
        let chunk = self.len / CHUNK;
        let mut entry = self.chunks[chunk].pop().expect("the last chunk has the last entry");
        // One more chunk is kept, so that a length around a bound allocates nothing.
        self.chunks.truncate(chunk + 2);
        let last = u32::try_from(self.len).expect("it had a number");
        if at != last {
            let Hashed { table, hash } = self.hash(&entry.0);
            let moved = self.tables[table].find_mut(spread(hash), |slot| slot.at == last);
            moved.expect("each entry is in a table").at = at;
            std::mem::swap(&mut entry, self.entry_mut(at));
        }
        Some(entry.1)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.chunks.iter().flatten().map(|(key, value)| (key, value))
    }

    /// The start of a visit of all entries.
    pub(super) fn end(&self) -> Cursor {
        Cursor(self.len)
    }

    /// The next entry of a visit; entries inserted since it began are not visited.
    pub(super) fn visit(&self, cursor: &mut Cursor) -> Option<(&K, &V)> {
        let at = cursor.0.min(self.len).checked_sub(1);
        cursor.0 = at.unwrap_or(0);
        let (key, value) = &self.chunks[at? / CHUNK][at? % CHUNK];
        Some((key, value))
    }

    fn hash<Q: Hash + ?Sized>(&self, key: &Q) -> Hashed {
        let hash = self.hasher.hash_one(key);
        let table = usize::try_from((hash >> 32) % TABLES as u64).expect("there are few tables");
        Hashed { table, hash: u32::try_from(hash & u64::from(u32::MAX)).expect("these bits are few enough") }
    }

    fn entry(&self, at: u32) -> &(K, V) {
        entry(&self.chunks, at)
    }

    fn entry_mut(&mut self, at: u32) -> &mut (K, V) {
        let at = at as usize;
        &mut self.chunks[at / CHUNK][at % CHUNK]
    }
}

fn entry<T>(chunks: &[Vec<T>], at: u32) -> &T {
    let at = at as usize;
    &chunks[at / CHUNK][at % CHUNK]
}

/// Spreads a hash over 64 bits: a table uses the highest and the lowest ones.
fn spread(hash: u32) -> u64 {
    u64::from(hash).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

impl Cursor {
    /// Whether the visit is over.
    pub(super) fn is_over(self) -> bool {
        self.0 == 0
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Insert(u8, u32),
        Remove(u8),
        Visit,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (any::<u8>(), any::<u32>()).prop_map(|(key, value)| Step::Insert(key, value)),
            2 => any::<u8>().prop_map(Step::Remove),
            3 => Just(Step::Visit),
        ]
    }

    proptest! {
        #[test]
        fn it_holds_what_a_plain_map_holds_and_a_visit_leaves_nothing_out(
            first in prop::collection::btree_map(any::<u8>(), any::<u32>(), 0..100),
            steps in prop::collection::vec(step(), 0..200),
        ) {
            let (mut map, mut model): (PartedMap<u8, u32>, BTreeMap<u8, u32>) = Default::default();
            for (key, value) in first {
                prop_assert_eq!(map.insert(key, value), model.insert(key, value));
            }
            let mut cursor = map.end();
            // Those that were there all the time, and those visited.
            let (mut stayed, mut visited): (BTreeSet<u8>, BTreeSet<u8>) = (model.keys().copied().collect(), BTreeSet::new());
            for step in steps {
                match step {
                    Step::Insert(key, value) => prop_assert_eq!(map.insert(key, value), model.insert(key, value)),
                    Step::Remove(key) => {
                        stayed.remove(&key);
                        prop_assert_eq!(map.remove(&key), model.remove(&key));
                    }
                    Step::Visit => visited.extend(map.visit(&mut cursor).map(|(key, _)| *key)),
                }
                prop_assert_eq!(map.len(), model.len());
            }
            while let Some((key, value)) = map.visit(&mut cursor) {
                prop_assert_eq!(model.get(key), Some(value));
                visited.insert(*key);
            }
            prop_assert!(cursor.is_over() && stayed.is_subset(&visited));
            prop_assert_eq!(map.iter().map(|(key, value)| (*key, *value)).collect::<BTreeMap<_, _>>(), model.clone());
            prop_assert!((0..=u8::MAX).all(|key| map.get(&key) == model.get(&key)));
        }
    }

    #[test]
    fn no_entry_that_is_added_makes_more_than_one_table_grow_and_none_has_far_more_than_its_part() {
        let mut map = PartedMap::default();
        let capacities = |map: &PartedMap<String, ()>| map.tables.iter().map(HashTable::capacity).collect::<Vec<_>>();
        for number in 0..50_000 {
            let before = capacities(&map);
            map.insert(format!("task-{number}"), ());
            let grown = capacities(&map).iter().zip(&before).filter(|(now, then)| now != then).count();
            assert!(grown <= 1, "{grown} tables at entry {number}");
        }
        let longest = map.tables.iter().map(HashTable::len).max().expect("there are tables");
        assert!(longest < 2 * 50_000 / TABLES, "{longest} of 50,000 in one table");
        assert!(map.chunks.iter().all(|chunk| chunk.capacity() <= CHUNK), "a chunk is never moved");
    }
}
