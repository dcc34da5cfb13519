//! The one way to drive the master's core: for the service, the simulator, the fuzzer, unit tests and benches.
//!
//! [`Harness`] keeps the effects of a batch in the core's order and delivers them to an [`Outlet`] when the batch ends; it decides
//! nothing. [`ScriptedCluster`] and [`Restart`] put scripted agents and frameworks around it, for benches only: no promise is made of
//! them.

mod restart;
mod scripted;

#[cfg(test)]
pub(super) use self::scripted::facts;
pub use self::{
    restart::{Played, Restart, Restarted},
    scripted::{ScriptedCluster, Turned},
};
use super::core::{Effect, Input, Master};
use crate::types::Now;

/// So many effects the buffer keeps room for; what a peak needed beyond that is given back.
const ROOM: usize = 4_096;

/// Where effects go.
pub(crate) trait Outlet {
    /// Takes the next effect of the core.
    fn take(&mut self, now: Now, effect: Effect);
}

/// Records all effects: the default of everything that looks at them afterwards.
impl Outlet for Vec<Effect> {
    fn take(&mut self, _: Now, effect: Effect) {
        self.push(effect);
    }
}

/// A core, and the effects of the batch of inputs that it is being given.
#[derive(Debug)]
pub(crate) struct Harness {
    pub(crate) core: Master,
    effects: Vec<Effect>,
}

impl Harness {
    pub(crate) fn new(core: Master) -> Self {
        Self { core, effects: Vec::new() }
    }

    /// Gives the core a batch: each input, a tick if one is due then, and the offers that all of them have made possible.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn give(&mut self, now: Now, inputs: impl IntoIterator<Item = Input>, outlet: &mut impl Outlet) {
        for input in inputs {
            self.handle(now, input);
        }
        self.finish(now, outlet);
    }

    /// Gives the core one input of a batch.
    pub(crate) fn handle(&mut self, now: Now, input: Input) {
        self.core.handle(now, input, &mut self.effects);
    }

    /// Ends a batch.
    pub(crate) fn finish(&mut self, now: Now, outlet: &mut impl Outlet) {
        if self.core.deadline().is_some_and(|at| at <= now.mono_ns) {
            self.handle(now, Input::Ticked);
        }
        self.allocate(now);
        self.deliver(now, outlet);
    }

    /// Makes the offers that the inputs since the last time have made possible.
    pub(crate) fn allocate(&mut self, now: Now) {
        self.core.allocate_batch(now, &mut self.effects);
    }

    /// Hands the effects over, in order.
    pub(crate) fn deliver(&mut self, now: Now, outlet: &mut impl Outlet) {
        for effect in self.effects.drain(..) {
            outlet.take(now, effect);
        }
        self.effects.shrink_to(ROOM);
    }

    /// When the core is to be ticked, in monotonic nanoseconds.
    pub(crate) fn deadline(&self) -> Option<u64> {
        self.core.deadline()
    }
}

#[cfg(test)]
mod tests;
