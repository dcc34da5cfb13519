//! The other process: this program again, as a master or as a bare server, until it is killed.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use divvy::master::{Master, Options};

use crate::{Outcome, bare};

const ROLE: &str = "DIVVY_BENCH_ROLE";

/// What a child serves, and where.
#[derive(Clone, Debug)]
pub(crate) enum Role {
    Master { work_dir: PathBuf, address: SocketAddr },
    Bare,
}

/// The role this process was started in; none for the one the user started.
pub(crate) fn role() -> Option<Role> {
    let text = std::env::var(ROLE).ok()?;
    let Some((address, work_dir)) = text.split_once(' ') else { return Some(Role::Bare) };
    Some(Role::Master { work_dir: work_dir.into(), address: address.parse().ok()? })
}

impl Role {
    pub(crate) fn serve(self) -> Outcome<()> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        runtime.block_on(async {
            match self {
                Self::Master { work_dir, address } => {
                    let mut options = Options::default();
                    options.listen = address;
                    options.work_dir = Some(work_dir);
                    let master = Master::start(options).await?;
                    println!("{}", master.address());
                    until_abandoned().await;
                    drop(master);
                }
                Self::Bare => {
                    let (address, serving) = bare::serve().await?;
                    println!("{address}");
                    tokio::select! {
                        outcome = serving => outcome?,
                        () = until_abandoned() => {}
                    }
                }
            }
            Ok(())
        })
    }
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
    pub(crate) fn master(work_dir: &Path, address: SocketAddr) -> Outcome<Self> {
        Self::start(&format!("{address} {}", work_dir.display()))
    }

    pub(crate) fn bare() -> Outcome<Self> {
        Self::start("bare")
    }

    fn start(role: &str) -> Outcome<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        let mut child = command.env(ROLE, role).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let out = child.stdout.take().ok_or("the child has no output")?;
        let mut address = String::new();
        BufReader::new(out).read_line(&mut address)?;
        Ok(Self { child, address: address.trim().parse()? })
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
