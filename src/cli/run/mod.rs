//! `divvy run`: a framework of one command, on the public framework API.
//!
//! [`state`] makes the decisions, [`session`] executes them, [`follow`] reads the tasks' output and [`printer`] prints
//! it.

mod args;
mod exit;
mod follow;
mod printer;
pub(crate) mod screen;
mod session;
mod state;

use std::process::ExitCode;

use anyhow::Context;

pub use self::args::RunArgs;
use self::{printer::Printer, session::Session, state::Run};
use super::{Failure, signals::Stop};
use crate::{
    framework::SchedulerDriver,
    proto::v1::FrameworkInfo,
    transport::connect::{self, Addresses},
};

/// How long tasks outlive a disconnected run, in seconds: long enough to restart a master.
const FAILOVER_SECS: f64 = 60.0;

/// Runs the command and returns the exit code.
///
/// # Errors
/// Invalid arguments, an unreachable master, or a request that no agent can ever satisfy.
pub async fn run(args: RunArgs, masters: Addresses) -> Result<ExitCode, Failure> {
    let request = args.request()?;
    let mut framework = FrameworkInfo::new(format!("divvy run {}", request.name));
    framework.failover_timeout = Some(FAILOVER_SECS);
    // The driver retries without limit, but a shell command must report that there is no master.
    drop(connect::master(&masters).await.map_err(anyhow::Error::from)?);
    let stop = Stop::listen()?;
    let (printer, finished) = Printer::start().context("cannot start a thread")?;
    let builder = SchedulerDriver::builder(framework).master(masters.to_string());
    let (driver, events) = builder.stream().map_err(anyhow::Error::from)?;
    driver.start().map_err(anyhow::Error::from)?;
    let session = Session::new(Run::new(request), driver, args.best_effort, printer, masters);
    Ok(ExitCode::from(session.serve(events, stop, finished).await?))
}
