//! The baseline of the sockets: as many connections, as many bytes there and a short answer back, and nothing behind it.

use std::{future::Future, net::SocketAddr};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use crate::Outcome;

const ANSWER: [u8; 128] = [0; 128];

/// Answers every message, which is preceded by its length.
pub(crate) async fn serve() -> Outcome<(SocketAddr, impl Future<Output = Outcome<()>>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let serving = async move {
        loop {
            let (mut stream, _) = listener.accept().await?;
            tokio::spawn(async move {
                let length = usize::try_from(stream.read_u32().await?).unwrap_or_default();
                stream.read_exact(&mut vec![0; length]).await?;
                stream.write_all(&ANSWER).await
            });
        }
    };
    Ok((address, serving))
}

/// Connects and exchanges one message on each of so many connections.
pub(crate) async fn exchange(address: SocketAddr, connections: usize, bytes: usize) -> Outcome<()> {
    let mut all = JoinSet::new();
    for _ in 0..connections {
        all.spawn(async move {
            let mut stream = TcpStream::connect(address).await?;
            stream.write_u32(u32::try_from(bytes).unwrap_or(u32::MAX)).await?;
            stream.write_all(&vec![0; bytes]).await?;
            stream.read_exact(&mut [0; ANSWER.len()]).await
        });
    }
    while let Some(outcome) = all.join_next().await {
        outcome??;
    }
    Ok(())
}
