//! Failover: a new instance of a framework starts while the old one is isolated or slow, and the old one reconnects.
//!
//! The old instance's callbacks no longer return, but its driver runs. Every master it connects to sends it the error that
//! it was replaced, and it ends.

use rand::Rng as _;

use super::{
    chance::percent,
    fact::Fact,
    nodes::{Client, Node},
    queue::Event,
    world::World,
};
use crate::framework::core::Finished;

impl World {
    /// Fails a framework over to a new instance, if it has its id on disk and was registered.
    pub(super) fn fail_over_some(&mut self) {
        if self.frameworks.is_empty() {
            return;
        }
        let index = self.chance.faults.random_range(0..self.frameworks.len());
        let node = &mut self.frameworks[index];
        let known = node.store.framework_id.is_some()
            && node.process.as_ref().is_some_and(|it| it.harness.core.was_registered());
        let Some(mut process) = node.process.take_if(|_| known) else { return };
        process.wake_ns = None;
        let under_way = process.link.pending_attempt();
        *self.counted.entry("Failover".to_owned()).or_default() += 1;
        let old = Client::Replaced(self.replaced.len());
        self.replaced.push(Some(process));
        self.fact(Fact::FailedOver { framework: index, old });
        self.links.rename(Client::Framework(index), old);
        if let Some(attempt) = under_way {
            self.queue.at(self.now_ns, Event::Unreached { client: old, life: 0, attempt });
        }
        if percent(&mut self.chance.faults, 60) {
            let until_ns = self.until(90_000);
            self.isolate(old, until_ns);
        }
        self.schedule_wake(Node::Replaced(self.replaced.len() - 1));
        let after = self.outage();
        self.after(after, Event::Restart { node: Node::Framework(index) });
    }

    /// Checks the end of a replaced instance: its framework has a newer one, or was removed.
    pub(super) fn replaced_finished(&mut self, index: usize, how: &Finished) {
        let expected = ["Framework failed over", "Framework has been removed"];
        if !matches!(how, Finished::Failed(text) if expected.contains(&text.as_str())) {
            self.broken = Some(("latest_run", format!("replaced instance {index} ended as {how:?}")));
        }
        self.replaced[index] = None;
        self.drop_links(Client::Replaced(index), std::time::Duration::from_millis(500));
    }
}
