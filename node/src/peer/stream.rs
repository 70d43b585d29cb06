//! Frames over one QUIC stream: shared by both sides of a link.

use kith_wire::frame::{Decoder, Frame, FrameError};
use thiserror::Error;

use super::queue::FrameQueue;

/// Why a stream between nodes ended.
#[derive(Debug, Error)]
pub enum StreamError {
    /// The other side ended it, or it was silent for too long.
    #[error("the connection ended")]
    Connection(#[from] quinn::ConnectionError),
    /// Reading failed.
    #[error("the stream cannot be read")]
    Read(#[from] quinn::ReadError),
    /// Writing failed.
    #[error("the stream cannot be written")]
    Write(#[from] quinn::WriteError),
    /// What came is no frame.
    #[error("a frame cannot be read")]
    Frame(#[from] FrameError),
    /// What came is a frame of the wrong kind or content.
    #[error("{0}")]
    Content(&'static str),
    /// A frame's body cannot be read.
    #[error("a frame's body cannot be read")]
    Decode(#[from] kith_wire::error::DecodeError),
    /// The stream ended.
    #[error("the stream ended")]
    Ended,
    /// Nothing came in time.
    #[error("nothing came in time")]
    Timeout,
}

/// The next frame of a stream; `None` at its end. Cancel safe: what was read stays in the decoder.
///
/// # Errors
/// The stream breaks, or carries what is no frame.
pub async fn read_frame(stream: &mut quinn::RecvStream, decoder: &mut Decoder) -> Result<Option<Frame>, StreamError> {
    loop {
        if let Some(frame) = decoder.poll()? {
            return Ok(Some(frame));
        }
        match stream.read_chunk(READ_BYTES_MAX, true).await? {
            Some(chunk) => decoder.push(&chunk.bytes),
            None => return Ok(None),
        }
    }
}

/// Writes what is queued, one buffer per wake, until the queue is closed and empty.
///
/// # Errors
/// The stream breaks.
pub async fn drain(stream: &mut quinn::SendStream, queue: &FrameQueue) -> Result<(), StreamError> {
    while let Some(buffer) = queue.next().await {
        stream.write_chunk(buffer).await?;
    }
    Ok(())
}

/// Bytes taken from a stream at once.
const READ_BYTES_MAX: usize = 256 * 1024;
