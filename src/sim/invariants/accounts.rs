//! The bytes that the master's core charges to a session are those in its queue or not yet reported as written.

use std::collections::BTreeMap;

use super::{Invariant, Known, View};

#[derive(Debug, Default)]
pub(super) struct Accounts;

impl Invariant for Accounts {
    fn name(&self) -> &'static str {
        "accounts"
    }

    fn inspect(&mut self, _known: &Known, view: &View<'_>) -> Result<(), String> {
        let Some(process) = &view.world.master.process else { return Ok(()) };
        let charged: BTreeMap<_, usize> = process.harness.core.charged_bytes().collect();
        if let Some((session, bytes)) = charged.iter().find(|(session, _)| !process.sessions.contains_key(session)) {
            return Err(format!("{session:?} is over, and {bytes} bytes are charged to it"));
        }
        for (session, known) in &process.sessions {
            let charged = charged.get(session).copied().unwrap_or_default();
            let (waiting, unreported) = (known.outbox.bytes(), known.reader.unreported);
            if charged != waiting + unreported {
                return Err(format!(
                    "{charged} bytes are charged to {session:?}: {waiting} wait there and {unreported} are not reported yet"
                ));
            }
        }
        Ok(())
    }
}
