//! The end of a history: it is looked at again and again whether all has come to rest, and whether new work is served.

use std::time::Duration;

use super::{
    chance::millis,
    invariants::{killed_ends, settled},
    queue::Event,
    world::{Phase, World, bound_ns},
};

/// New work after all has settled: tasks of each framework.
const NEW_TASKS: u32 = 2;

impl World {
    /// An operator removes the framework, if the master knows it.
    fn try_tear_down(&mut self, index: usize) -> bool {
        let Some(id) = self.frameworks[index].store.framework_id.clone() else { return false };
        let known = self.master.process.is_some() && settled::knows(self, &id.value);
        if known {
            self.tear_down(id.value);
        }
        known
    }

    pub(super) fn tear_down_soon(&mut self, framework: usize) {
        if self.phase == Phase::Trouble && !self.try_tear_down(framework) {
            self.after(Duration::from_millis(500), Event::TearDown { framework });
        }
    }

    pub(super) fn look(&mut self) {
        for index in 0..self.frameworks.len() {
            if self.frameworks[index].wishes.torn_down {
                self.try_tear_down(index);
            }
        }
        let (until_ns, next) = match self.phase {
            Phase::Settling { until_ns } => (until_ns, Phase::Serving { until_ns: self.now_ns + bound_ns() }),
            Phase::Serving { until_ns } => (until_ns, Phase::Done),
            Phase::Trouble | Phase::Calm | Phase::Done => return,
        };
        match settled::settled(self) {
            Ok(()) => {
                self.phase = next;
                if next != Phase::Done {
                    self.bring_new_work();
                }
            }
            Err(text) if self.now_ns >= until_ns => {
                let survivor = killed_ends::survivor(self).map(|text| ("killed_ends", text));
                self.broken = survivor.or(Some(("settled", text)));
            }
            Err(_) => {}
        }
        let wait = millis(&mut self.chance.hosts, 500, 1_500);
        self.after(wait, Event::Look);
    }

    fn bring_new_work(&mut self) {
        for index in 0..self.frameworks.len() {
            if !self.frameworks[index].over && !self.frameworks[index].wishes.torn_down {
                self.want(index, NEW_TASKS);
                self.revive(index);
            }
        }
    }
}
