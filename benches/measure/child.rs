//! The other process of a bench: this program again, in a role, serving until its standard input ends.
//!
//! The process under measurement is separate, so that its memory and processor time can be measured alone. A child
//! prints its address on its first line of output.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    net::SocketAddr,
    process::{Child, Command, Stdio},
};

use divvy::master::{Master, Options};

use super::Outcome;

const ROLE: &str = "DIVVY_BENCH_ROLE";

/// The role this process was started in; none for the one the user started.
pub(crate) fn role() -> Option<String> {
    std::env::var(ROLE).ok()
}

/// Serves what `start` sets up: the address, and the work to be done there until the parent ends.
pub(crate) fn serve<W>(start: impl Future<Output = Outcome<(SocketAddr, W)>>) -> Outcome<()>
where
    W: Future<Output = Outcome<()>>,
{
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).thread_name("connections").enable_all().build()?;
    runtime.block_on(async {
        let (address, work) = start.await?;
        println!("{address}");
        tokio::select! {
            outcome = work => outcome,
            () = until_abandoned() => Ok(()),
        }
    })
}

/// Serves as a master.
pub(crate) fn master(options: Options) -> Outcome<()> {
    serve(async {
        let mut master = Master::start(options).await?;
        Ok((master.address(), async move { Err(master.failed().await.into()) }))
    })
}

async fn until_abandoned() {
    let waiting = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()));
    drop(waiting.await);
}

/// A running child; it is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Served {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Served {
    /// Starts this program in a role and waits until it serves.
    pub(crate) fn start(role: &str) -> Outcome<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        let mut child = command.env(ROLE, role).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let out = child.stdout.take().ok_or("the child has no output")?;
        let mut address = String::new();
        BufReader::new(out).read_line(&mut address)?;
        let address = address
            .trim()
            .parse()
            .map_err(|error| format!("the child in the role {role} prints no address: {error}"))?;
        Ok(Self { child, address })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
