//! One input into the core at a time: the answer, the effects, the state.

mod world;

mod agents;
mod effects;
mod frameworks;
mod identity;
mod launches;
mod offers;
mod orphans;
mod partitions;
mod policies;
mod quotas;
mod recovery;
mod shares;
mod silence;
mod statuses;
mod weights;
