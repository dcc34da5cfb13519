//! Allocation: pure functions over offers, requests and shares.
//!
//! For frameworks, [`place`] puts [`TaskRequest`]s onto offers and returns for everything left over the reason, agent
//! by agent. For the master, [`fair`] orders roles and frameworks by their fair shares. Both sides and the agent call
//! [`feasible`] to check whether a task fits. Everything here is deterministic (same input, same output) and uses no
//! clock, socket, file or random source.

mod board;
mod constraint;
pub mod fair;
pub mod feasible;
mod fitness;
mod place;
mod plan;
mod pools;
mod problem;
mod reason;
mod request;
pub mod shortage;

pub use self::constraint::{Broken, ClusterAgent, ClusterTasks, ClusterView, Constraint, ConstraintError};
pub use self::fitness::{BinPack, DominantShare, Fitness, Prospect, Score, Weighted, WorstFit};
pub use self::place::{Placer, Ranked, Search, Strategy, place, place_all};
pub use self::plan::{Hopeless, Launch, Placed, Plan, Refusal, Unblock, Unplaced};
pub use self::reason::{AgentReason, Host, Reason};
pub use self::request::{Demand, RequestError, SetDemand, TaskRequest};
