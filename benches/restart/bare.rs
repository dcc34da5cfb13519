//! The baseline of the sockets: as many connections, each with as many bytes and a short answer, without a master.

use std::{future::Future, net::SocketAddr};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    task::JoinSet,
};

use crate::Outcome;

const ANSWER: [u8; 128] = [0; 128];

/// Answers every message, which is preceded by its length. As many connections may wait as before a master's port.
pub(crate) fn serve() -> Outcome<(SocketAddr, impl Future<Output = Outcome<()>>)> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
    let listener = socket.listen(u16::MAX.into())?;
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
    let mut answered = 0;
    while let Some(outcome) = all.join_next().await {
        outcome?
            .map_err(|error| format!("{error}, when {answered} of {connections} bare connections were answered"))?;
        answered += 1;
    }
    Ok(())
}
