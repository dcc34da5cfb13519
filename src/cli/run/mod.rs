//! `divvy run`: a framework of one command, written with the public framework interface like anybody's.
//!
//! [`state`] decides, [`session`] carries out, [`follow`] reads what the tasks write and [`printer`] shows it.

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

/// How long the tasks of a run that was cut off live on, in seconds: long enough for a master to be restarted.
const FAILOVER_SECS: f64 = 60.0;

/// Runs the command and tells the exit code.
///
/// # Errors
/// A command line that makes no sense, a master that is not there, a request that no agent could ever satisfy.
pub async fn run(args: RunArgs, masters: Addresses) -> Result<ExitCode, Failure> {
    let request = args.request()?;
    let mut framework = FrameworkInfo::new(format!("divvy run {}", request.name));
    framework.failover_timeout = Some(FAILOVER_SECS);
    // The driver would look for a master for ever; somebody at a shell wants to know that there is none.
    drop(connect::master(&masters).await.map_err(anyhow::Error::from)?);
    let stop = Stop::listen()?;
    let (printer, finished) = Printer::start().context("cannot start a thread")?;
    let builder = SchedulerDriver::builder(framework).master(masters.to_string());
    let (driver, events) = builder.stream().map_err(anyhow::Error::from)?;
    driver.start().map_err(anyhow::Error::from)?;
    let session = Session::new(Run::new(request), driver, args.best_effort, printer, masters);
    Ok(ExitCode::from(session.serve(events, stop, finished).await?))
}
