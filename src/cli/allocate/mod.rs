//! `divvy allocate`: the allocator on JSON, with no cluster.
//!
//! It reads offers and tasks, and prints the placements and the reasons for unplaced tasks. The exit code is 0 when
//! everything is placed, 1 when something is not, and 2 for invalid input. The output is deterministic to the byte.

mod answer;
mod fragments;
mod offers;
mod read;
mod tasks;
#[cfg(test)]
mod tests;

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use clap::{Args, ValueEnum};

pub(crate) use self::read::Input;
use self::{answer::Answer, offers::OfferText, tasks::TaskText};
use super::{Failure, output};
use crate::{
    allocator::{Placer, Strategy},
    proto::v1,
};

/// The most instances in one call: the answer lists every one.
const MOST_INSTANCES: u64 = 10_000_000;

/// Places tasks of a file on offers of a file.
#[derive(Args, Clone, Debug)]
pub struct AllocateArgs {
    /// The offers as a JSON array; `-` for standard input
    #[arg(long, value_name = "FILE")]
    offers: PathBuf,
    /// The tasks as a JSON array; `-` for standard input
    #[arg(long, value_name = "FILE")]
    tasks: PathBuf,
    #[command(flatten)]
    way: Way,
}

/// How to place.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct Way {
    /// How agents with enough free resources are chosen
    #[arg(long, value_enum, default_value_t)]
    pub(crate) strategy: StrategyName,
    /// Place what fits even if not everything does
    #[arg(long)]
    pub(crate) best_effort: bool,
}

/// The strategies by name.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(crate) enum StrategyName {
    /// First fit, the largest offers first, without a search
    Naive,
    /// Fill agents up
    #[default]
    Binpack,
    /// Use the emptiest agents
    Spread,
}

/// Limits for a list of tasks.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// The most instances in all.
    instances: u64,
    /// Whether a task may request no resources.
    allows_empty: bool,
}

/// Reads the files, places, prints.
///
/// # Errors
/// [`Failure::Usage`] when a file cannot be read or is invalid, [`Failure::Failed`] when the answer cannot
/// be written.
pub fn run(args: &AllocateArgs) -> Result<ExitCode, Failure> {
    if args.offers == args.tasks && args.offers.as_os_str() == "-" {
        return Err(Failure::Usage("--offers and --tasks are both -: standard input can be only one of them".into()));
    }
    let (offers, tasks) = (read::file(&args.offers)?, read::file(&args.tasks)?);
    let (answer, complete) = allocate(&offers, &tasks, args.way, MOST_INSTANCES)?;
    output::print(&answer)?;
    Ok(ExitCode::from(u8::from(!complete)))
}

/// The answer as JSON, and whether it is complete.
pub(crate) fn allocate(offers: &Input, tasks: &Input, way: Way, instances: u64) -> Result<(String, bool), Failure> {
    let (offer_texts, task_texts) = (offers.list::<OfferText>()?, tasks.list::<TaskText>()?);
    let placed_on: Vec<v1::Offer> = offers::offers(&offer_texts).map_err(|error| offers.error(&error))?;
    let limits = Limits { instances, allows_empty: matches!(way.strategy, StrategyName::Naive) };
    let requests = tasks::requests(&task_texts, limits).map_err(|error| tasks.error(&error))?;
    let plan = way.placer().place(&placed_on, &requests);
    let text = serde_json::to_string(&Answer::of(&plan, &placed_on)).context("cannot write the answer as JSON")?;
    Ok((text, plan.is_complete()))
}

impl Way {
    fn placer(self) -> Placer<'static> {
        let placer = Placer::new().strategy(match self.strategy {
            StrategyName::Naive => Strategy::Naive,
            StrategyName::Binpack => Strategy::Binpack,
            StrategyName::Spread => Strategy::Spread,
        });
        if self.best_effort { placer } else { placer.all_or_nothing() }
    }
}
