//! The end of a history: checks repeatedly whether the cluster is quiescent, and whether it serves new work.

use std::time::Duration;

use super::{
    chance::millis,
    invariants::{killed_ends, quiescent},
    queue::Event,
    world::{Phase, World, bound_ns},
};

/// New tasks of each framework once the cluster is quiescent.
const NEW_TASKS: u32 = 2;

impl World {
    /// Removes the framework as an operator, if the master knows it.
    fn try_tear_down(&mut self, index: usize) -> bool {
        let Some(id) = self.frameworks[index].store.framework_id.clone() else { return false };
        let known = self.master.process.is_some() && quiescent::has_framework(self, &id.value);
        if known {
            self.tear_down(id.value);
        }
        known
    }

    pub(super) fn tear_down_soon(&mut self, framework: usize) {
        if self.phase == Phase::Faults && !self.try_tear_down(framework) {
            self.after(Duration::from_millis(500), Event::TearDown { framework });
        }
    }

    pub(super) fn check_quiescence(&mut self) {
        for index in 0..self.frameworks.len() {
            if self.frameworks[index].plan.torn_down {
                self.try_tear_down(index);
            }
        }
        let (until_ns, next) = match self.phase {
            Phase::Quiescing { until_ns } => (until_ns, Phase::Serving { until_ns: self.now_ns + bound_ns() }),
            Phase::Serving { until_ns } => (until_ns, Phase::Done),
            Phase::Faults | Phase::Healed | Phase::Done => return,
        };
        match quiescent::check_quiescent(self) {
            Ok(()) => {
                self.phase = next;
                if next != Phase::Done {
                    self.add_new_work();
                }
            }
            Err(text) if self.now_ns >= until_ns => {
                let survivor = killed_ends::survivor(self).map(|text| ("killed_ends", text));
                self.broken = survivor.or(Some(("quiescent", text)));
            }
            Err(_) => {}
        }
        let wait = millis(&mut self.chance.hosts, 500, 1_500);
        self.after(wait, Event::CheckQuiescence);
    }

    fn add_new_work(&mut self) {
        for index in 0..self.frameworks.len() {
            if !self.frameworks[index].over && !self.frameworks[index].plan.torn_down {
                self.add_tasks(index, NEW_TASKS);
                self.revive(index);
            }
        }
    }
}
