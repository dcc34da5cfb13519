//! `divvy allocate`: the allocator on JSON, with no cluster.
//!
//! Reads offers and tasks, prints what is placed where and why the rest is not. The exit code is 0 when everything is
//! placed, 1 when something is not, 2 when the input makes no sense. The same input gives the same output, byte for byte.

mod answer;
mod fragments;
mod offers;
mod read;
mod tasks;
#[cfg(test)]
mod tests;

use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::Context as _;
use clap::Args;

use self::{answer::Answer, offers::OfferText, read::Named, tasks::TaskText};
use super::Failure;
use crate::{
    allocator::{self, Plan, TaskRequest},
    proto::v1,
};

/// Places tasks of a file on offers of a file.
#[derive(Args, Clone, Debug)]
pub struct AllocateArgs {
    /// The offers as a JSON array; `-` for standard input
    #[arg(long, value_name = "FILE")]
    offers: PathBuf,
    /// The tasks as a JSON array; `-` for standard input
    #[arg(long, value_name = "FILE")]
    tasks: PathBuf,
    /// Place what fits even if not everything does
    #[arg(long)]
    best_effort: bool,
}

/// Reads the files, places, prints.
///
/// # Errors
/// [`Failure::Usage`] when a file cannot be read or makes no sense, [`Failure::Failed`] when nobody takes the answer.
pub fn run(args: &AllocateArgs) -> Result<ExitCode, Failure> {
    if args.offers == args.tasks && args.offers.as_os_str() == "-" {
        return Err(Failure::Usage("--offers and --tasks are both -: standard input can be only one of them".into()));
    }
    let (offers, requests) = (read::list(&args.offers)?, read::list(&args.tasks)?);
    let (answer, complete) = allocate(&offers, &requests, args.best_effort)?;
    let mut out = io::stdout().lock();
    writeln!(out, "{answer}").context("cannot write the answer to standard output")?;
    Ok(ExitCode::from(u8::from(!complete)))
}

/// The answer as JSON, and whether it is complete.
fn allocate(
    offers: &Named<Vec<OfferText>>,
    tasks: &Named<Vec<TaskText>>,
    best_effort: bool,
) -> Result<(String, bool), Failure> {
    let offers: Vec<v1::Offer> = offers::offers(&offers.value).map_err(|error| offers.wrong(&error))?;
    let requests: Vec<TaskRequest> = tasks::requests(&tasks.value).map_err(|error| tasks.wrong(&error))?;
    let plan = place(&offers, &requests, best_effort);
    let text = serde_json::to_string(&Answer::of(&plan, &offers)).context("cannot write the answer as JSON")?;
    Ok((text, plan.is_complete()))
}

fn place(offers: &[v1::Offer], requests: &[TaskRequest], best_effort: bool) -> Plan {
    if best_effort { allocator::place(offers, requests) } else { allocator::place_all(offers, requests) }
}
