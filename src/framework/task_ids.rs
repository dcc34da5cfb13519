//! Unique ids for tasks that are launched from a plan: `name.instance.attempt`.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::proto::v1::TaskId;

/// Ids become directory names, which have at most 255 bytes; this leaves room for the numbers.
const MAX_NAME_BYTES: usize = 200;
const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";

/// A generator of task ids. Two generators differ in their stamp, the ids of one in their count.
#[derive(Debug)]
pub(super) struct TaskIds {
    stamp: String,
    next: AtomicU64,
}

impl TaskIds {
    /// A generator whose stamp is derived from the unique `identity` of this instance.
    pub(super) fn new(identity: [u8; 16]) -> Self {
        let (pairs, _) = identity.as_chunks::<2>();
        let digit = |pair: &[u8; 2]| char::from(DIGITS[usize::from(u16::from_le_bytes(*pair)) % DIGITS.len()]);
        let stamp = pairs.iter().map(digit).collect();
        Self { stamp, next: AtomicU64::new(1) }
    }

    pub(super) fn mint(&self, name: &str, instance: u32) -> TaskId {
        let count = self.next.fetch_add(1, Ordering::Relaxed);
        TaskId { value: format!("{}.{instance}.{}-{count}", legal(name), self.stamp) }
    }
}

/// Replaces the characters that an id may not contain.
fn legal(name: &str) -> String {
    let mut legal: String = name.chars().map(|c| if c.is_control() || "/\\".contains(c) { '-' } else { c }).collect();
    legal.truncate(legal.floor_char_boundary(MAX_NAME_BYTES));
    legal
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::validate_id;

    #[test]
    fn ids_contain_name_and_instance_and_never_repeat() {
        let ids = TaskIds::new([1; 16]);
        let (one, other) = (ids.mint("web", 3), ids.mint("web", 3));
        assert!(one.value.starts_with("web.3."), "{one}");
        assert_ne!(one, other);
        let successor = TaskIds::new([2; 16]);
        assert_ne!(one, successor.mint("web", 3));
    }

    #[test]
    fn any_name_makes_a_legal_id() {
        let ids = TaskIds::new([1; 16]);
        for name in ["", "..", "a/b\\c\n", &"ä".repeat(300)] {
            let id = ids.mint(name, u32::MAX);
            assert_eq!(validate_id("task id", &id.value), Ok(()), "{name}");
        }
    }
}
