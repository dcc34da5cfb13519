//! The other process: this program again, serving until its standard input ends.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    net::SocketAddr,
    process::{Child, Command, Stdio},
};

use divvy::master::{Master, Options};

use crate::{Outcome, echo};

const ROLE: &str = "DIVVY_BENCH_ROLE";

/// What a child serves.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Role {
    Master,
    Echo,
}

/// The role this process was started in; none for the one the user started.
pub(crate) fn role() -> Option<Role> {
    match std::env::var(ROLE).ok()?.as_str() {
        "master" => Some(Role::Master),
        _ => Some(Role::Echo),
    }
}

impl Role {
    fn name(self) -> &'static str {
        match self {
            Self::Master => "master",
            Self::Echo => "echo",
        }
    }

    /// Serves until the parent goes.
    pub(crate) fn serve(self) -> Outcome<()> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("connections")
            .enable_all()
            .build()?;
        runtime.block_on(async {
            match self {
                Self::Master => {
                    let mut options = Options::default();
                    options.listen = SocketAddr::from(([127, 0, 0, 1], 0));
                    let master = Master::start(options).await?;
                    println!("{}", master.address());
                    until_abandoned().await;
                    drop(master);
                }
                Self::Echo => {
                    let (address, serving) = echo::serve()?;
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

/// A running child; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Served {
    child: Child,
    pub(crate) address: String,
}

impl Served {
    pub(crate) fn start(role: Role) -> Outcome<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .env(ROLE, role.name())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let out = child.stdout.take().ok_or("the child has no output")?;
        let mut address = String::new();
        BufReader::new(out).read_line(&mut address)?;
        Ok(Self { child, address: address.trim().to_owned() })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
