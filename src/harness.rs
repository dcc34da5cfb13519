//! The one way to drive a state machine: for the services, the simulator, the fuzzer, unit tests and benches.
//!
//! A [`Harness`] keeps the effects of a batch of inputs in the core's order and delivers them to an [`Outlet`] when the batch ends;
//! it decides nothing.

use crate::types::Now;

/// So many effects the buffer keeps room for; what a peak needed beyond that is given back.
const ROOM: usize = 4_096;

/// A state machine: inputs and the time go in, effects come out.
pub(crate) trait Core {
    type Input;
    type Effect;

    /// Takes one input and appends what has to be done to `out`.
    fn handle(&mut self, now: Now, input: Self::Input, out: &mut Vec<Self::Effect>);

    /// The monotonic time, in nanoseconds, at which a [`tick`](Self::tick) is due.
    fn deadline(&self) -> Option<u64>;

    /// The input that says that the deadline has come.
    fn tick() -> Self::Input;

    /// What is decided once for a whole batch of inputs.
    fn end_batch(&mut self, _now: Now, _out: &mut Vec<Self::Effect>) {}
}

/// Where effects go.
#[cfg(feature = "master")]
pub(crate) trait Outlet<Effect> {
    /// Takes the next effect of the core.
    fn take(&mut self, now: Now, effect: Effect);
}

/// Records all effects: the default of everything that looks at them afterwards.
#[cfg(feature = "master")]
impl<Effect> Outlet<Effect> for Vec<Effect> {
    fn take(&mut self, _: Now, effect: Effect) {
        self.push(effect);
    }
}

/// A core, and the effects of the batch of inputs that it is being given.
#[derive(Debug)]
pub(crate) struct Harness<C: Core> {
    pub(crate) core: C,
    effects: Vec<C::Effect>,
}

impl<C: Core> Harness<C> {
    pub(crate) fn new(core: C) -> Self {
        Self::begun(core, Vec::new())
    }

    /// A core that had something to do at its start.
    pub(crate) fn begun(core: C, effects: Vec<C::Effect>) -> Self {
        Self { core, effects }
    }

    /// Gives the core a batch: each input, a tick if one is due then, and what is decided once for all of them.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn give(
        &mut self,
        now: Now,
        inputs: impl IntoIterator<Item = C::Input>,
        outlet: &mut impl Outlet<C::Effect>,
    ) {
        for input in inputs {
            self.handle(now, input);
        }
        self.finish(now);
        self.deliver(now, outlet);
    }

    /// Gives the core one input of a batch.
    pub(crate) fn handle(&mut self, now: Now, input: C::Input) {
        self.core.handle(now, input, &mut self.effects);
    }

    /// Ends a batch.
    pub(crate) fn finish(&mut self, now: Now) {
        if self.core.deadline().is_some_and(|at| at <= now.mono_ns) {
            self.handle(now, C::tick());
        }
        self.end_batch(now);
    }

    /// Decides what is decided once for a batch, without a tick.
    pub(crate) fn end_batch(&mut self, now: Now) {
        self.core.end_batch(now, &mut self.effects);
    }

    /// Hands the effects over, in order.
    #[cfg(feature = "master")]
    pub(crate) fn deliver(&mut self, now: Now, outlet: &mut impl Outlet<C::Effect>) {
        let mut effects = self.take();
        for effect in effects.drain(..) {
            outlet.take(now, effect);
        }
        self.reuse(effects);
    }

    /// The effects since they were last taken, in order.
    pub(crate) fn take(&mut self) -> Vec<C::Effect> {
        std::mem::take(&mut self.effects)
    }

    /// Takes back the buffer of effects that were taken and carried out.
    pub(crate) fn reuse(&mut self, mut buffer: Vec<C::Effect>) {
        if self.effects.is_empty() {
            buffer.clear();
            buffer.shrink_to(ROOM);
            self.effects = buffer;
        }
    }

    /// When the core is to be ticked, in monotonic nanoseconds.
    pub(crate) fn deadline(&self) -> Option<u64> {
        self.core.deadline()
    }
}

#[cfg(all(test, feature = "master"))]
#[path = "harness_tests.rs"]
mod tests;
