//! Asking a node of this machine, over the socket beside its data directory.
//!
//! In: its data directory, a request. Out: status and body of the answer. Bound: [`WITHIN`], [`BODY_BYTES_MAX`]. Not here: what it answers
//! (`http::local`).

use std::{io, path::Path, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
};

use super::failure::Failure;
use crate::http::local::socket_of;

/// What a node said.
pub(super) struct Told {
    /// HTTP's status.
    pub(super) status: u16,
    /// The body.
    pub(super) body: String,
}

/// Asks the node of this data directory.
///
/// # Errors
/// It does not run, or does not answer in time.
pub(super) async fn ask(data: &Path, method: &str, path: &str, body: &str) -> Result<Told, Failure> {
    let asked = tokio::time::timeout(WITHIN, exchange(data, method, path, body)).await;
    asked.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map_err(|error| {
        Failure::local(
            "asking the node of this folder",
            &error,
            "see that it runs, and run this as its user; the settings are given by --config node.toml",
        )
    })
}

async fn exchange(data: &Path, method: &str, path: &str, body: &str) -> io::Result<Told> {
    let mut stream = UnixStream::connect(socket_of(data)).await?;
    let head = format!("{method} {path} HTTP/1.1\r\nhost: kith\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
    stream.write_all(format!("{head}{body}").as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(BODY_BYTES_MAX).read_to_end(&mut answer).await?;
    parse(&String::from_utf8_lossy(&answer)).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

fn parse(answer: &str) -> Option<Told> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some(Told { status, body: body.to_owned() })
}

/// For an answer.
const WITHIN: Duration = Duration::from_secs(10);
/// Of an answer; what is longer is cut.
const BODY_BYTES_MAX: u64 = 8 * 1024 * 1024;
