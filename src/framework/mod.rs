//! The framework side: implement [`Scheduler`], or read an [`EventStream`]; the driver does the rest.
//!
//! A [`SchedulerDriver`] connects, subscribes, reconnects after a lost connection, acknowledges, reconciles, and
//! declines offers that stay unanswered. A framework is a value with one method:
//!
//! ```no_run
//! use divvy::allocator::{self, TaskRequest};
//! use divvy::framework::{self, Result, Scheduler, SchedulerDriver, async_trait};
//! use divvy::proto::v1::{FrameworkInfo, Offer};
//!
//! struct Hello {
//!     wanted: TaskRequest,
//! }
//!
//! #[async_trait]
//! impl Scheduler for Hello {
//!     async fn resource_offers(&mut self, driver: &SchedulerDriver, offers: Vec<Offer>) -> Result<()> {
//!         let plan = allocator::place(&offers, std::slice::from_ref(&self.wanted));
//!         self.wanted.count -= plan.placed();
//!         driver.apply(plan).await
//!     }
//! }
//!
//! # #[tokio::main]
//! # async fn main() -> Result<()> {
//! let wanted = TaskRequest::command("hello", "echo hello").cpus(0.5).mem_mib(64).count(6).max_per_agent(2);
//! framework::run(Hello { wanted }, FrameworkInfo::new("hello"), "127.0.0.1:5050").await
//! # }
//! ```
//!
//! The same events as a stream:
//!
//! ```no_run
//! use divvy::framework::{Result, SchedulerDriver, SchedulerEvent};
//! use divvy::proto::v1::FrameworkInfo;
//! use futures::StreamExt as _;
//!
//! # #[tokio::main]
//! # async fn main() -> Result<()> {
//! let (driver, mut events) = SchedulerDriver::builder(FrameworkInfo::new("watch")).stream()?;
//! driver.start()?;
//! while let Some(event) = events.next().await {
//!     match event {
//!         SchedulerEvent::ResourceOffers(offers) => {
//!             for offer in &offers {
//!                 driver.decline_offer(&offer.id, None).await?;
//!             }
//!         }
//!         SchedulerEvent::AgentLost(agent) => println!("lost {}", agent.value),
//!         _ => {}
//!     }
//! }
//! driver.join().await?;
//! # Ok(())
//! # }
//! ```
//!
#![doc = include_str!("../../docs/driver.md")]
//!
//! This module does not decide where tasks go (that is [`crate::allocator`]), and stores nothing on disk.

mod attach;
mod builder;
mod callbacks;
mod calls;
mod checks;
mod connection;
pub(crate) mod core;
mod counts;
mod driver;
pub(crate) mod environment;
mod error;
mod event;
pub(crate) mod listener;
pub(crate) mod scheduler;
mod service;
pub(crate) mod stream;
mod task_ids;
#[cfg(all(test, feature = "server"))]
mod tests;
mod unknown;
mod user;

pub use async_trait::async_trait;

pub use self::{
    builder::DriverBuilder,
    calls::CallSeq,
    counts::DriverCounts,
    driver::SchedulerDriver,
    error::{DriverError, Error, Result},
    event::{InDoubt, Refusal, SchedulerEvent},
    scheduler::Scheduler,
    stream::EventStream,
    unknown::UnknownTasks,
};
pub use crate::transport::connect::LEADER_METADATA;

use crate::proto::v1::FrameworkInfo;

/// Runs a scheduler until its driver ends.
///
/// `master` is `host:port`, or several of them separated by commas.
///
/// # Errors
/// An invalid address or framework, or an error of [`SchedulerDriver::join`].
pub async fn run(scheduler: impl Scheduler + 'static, framework: FrameworkInfo, master: &str) -> Result<()> {
    let driver = SchedulerDriver::builder(framework).master(master).build(scheduler)?;
    Ok(driver.run().await?)
}
