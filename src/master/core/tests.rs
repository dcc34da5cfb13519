//! One input into the core at a time: the answer, the effects, the state.

mod world;

mod agents;
mod frameworks;
mod launches;
mod offers;
mod quotas;
mod shares;
mod statuses;
