//! Which of the masters a session goes to: the one that another named as the leader, or the list, from the one whose turn
//! it is. The core counts the turns; those that do not even accept a connection are passed over at once.

use std::sync::{Arc, Mutex, PoisonError};

use crate::transport::connect::{Address, Addresses};

/// Masters that may pass the agent on to another one in a row; then the list has its turn again.
const HINTS: u32 = 3;

/// Where a master said to go instead; clones are the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Hint {
    leader: Arc<Mutex<Option<Address>>>,
}

impl Hint {
    pub(super) fn set(&self, leader: Option<Address>) {
        *self.leader.lock().unwrap_or_else(PoisonError::into_inner) = leader;
    }

    fn take(&self) -> Option<Address> {
        self.leader.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// All masters there may be.
#[derive(Debug)]
pub(super) struct Masters {
    all: Addresses,
    hint: Hint,
    /// Hints followed in a row.
    followed: u32,
}

impl Masters {
    pub(super) fn new(all: Addresses) -> Self {
        Self { all, hint: Hint::default(), followed: 0 }
    }

    /// For a session to say what its master named.
    pub(super) fn hint(&self) -> Hint {
        self.hint.clone()
    }

    /// Those that the next session tries, in order.
    pub(super) fn in_order(&mut self, turn: u64) -> Addresses {
        match self.hint.take().filter(|_| self.followed < HINTS) {
            Some(leader) => {
                self.followed += 1;
                leader.into()
            }
            None => {
                self.followed = 0;
                self.all.from_turn(turn)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_go_round_the_list_and_hints_come_before_it_but_not_for_ever() {
        let mut masters = Masters::new("a:1,b:2,c:3".parse().expect("addresses"));
        let mut tried = |hint: Option<&str>, turn| {
            masters.hint().set(hint.map(|leader| leader.parse().expect("an address")));
            masters.in_order(turn).to_string()
        };
        assert_eq!([0, 1, 5].map(|turn| tried(None, turn)), ["a:1,b:2,c:3", "b:2,c:3,a:1", "c:3,a:1,b:2"]);
        let hinted: Vec<_> = (6..11).map(|turn| tried(Some("d:4"), turn)).collect();
        assert_eq!(hinted, ["d:4", "d:4", "d:4", "a:1,b:2,c:3", "d:4"]);
    }
}
