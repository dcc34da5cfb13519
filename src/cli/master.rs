//! `divvy-master`: offers what the agents have.

use std::process::ExitCode;

use clap::Parser;

use super::{
    Failure, Program, announce, logging, runtime,
    settings::{MasterArgs, MasterSettings},
    signals::Stop,
};
use crate::master::{Master, Options};

/// Collect what agents have and offer it to frameworks.
#[derive(Debug, Parser)]
#[command(name = "divvy-master", version)]
pub struct DivvyMaster {
    #[command(flatten)]
    args: MasterArgs,
}

/// Pings that may stay unanswered; the timeout is shared out among them.
const PINGS: u32 = 5;

impl Program for DivvyMaster {
    const NAME: &'static str = "divvy-master";

    fn run(self) -> Result<ExitCode, Failure> {
        let settings = self.args.resolve()?;
        logging::start(settings.log.as_deref(), "info", settings.log_format)?;
        runtime()?.block_on(serve(settings))
    }
}

async fn serve(settings: MasterSettings) -> Result<ExitCode, Failure> {
    let mut stop = Stop::listen()?;
    let mut master = Master::start(options(settings)).await.map_err(anyhow::Error::from)?;
    announce(DivvyMaster::NAME, &master.address().to_string());
    tokio::select! {
        _ = stop.asked() => {}
        reason = master.failed() => return Err(anyhow::anyhow!("{reason}").into()),
    }
    tracing::info!("stopping; agents and frameworks go on and look for the next master");
    master.stop().await;
    Ok(ExitCode::SUCCESS)
}

fn options(settings: MasterSettings) -> Options {
    let mut options = Options {
        listen: settings.listen,
        work_dir: Some(settings.work_dir),
        hostname: settings.hostname,
        insecure: settings.insecure,
        ..Options::default()
    };
    if let Some(timeout) = settings.offer_timeout {
        options.offer_timeout = Some(timeout);
    }
    if let Some(timeout) = settings.agent_ping_timeout {
        options.agent_ping_interval = timeout / PINGS;
        options.agent_pings_missed = PINGS;
    }
    options
}
