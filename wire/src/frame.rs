//! Framing: bytes in, frames out, no IO.
//!
//! ```text
//! length u32 BE (bytes of body) | kind u16 BE | crc32 u32 BE over kind and body (Checked only) | body
//! ```
//! Invariants: any bytes, cut anywhere, give the same frames or the same error; after an error the decoder gives nothing but that error.
//! Bound: a decoder holds at most one header and `body_max` bytes beyond what one `push` brought; a longer length is refused from its header.
//! Not here: what a body says (`client`, `peer`).

use bytes::{Buf, BufMut, Bytes, BytesMut};
use thiserror::Error;

/// Whether frames carry a checksum.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Framing {
    /// None: TLS protects it end to end. Client streams.
    Plain,
    /// crc32 over kind and body. Peer streams and files.
    Checked,
}

impl Framing {
    /// Bytes before the body.
    pub const fn header_bytes(self) -> usize {
        match self {
            Self::Plain => 6,
            Self::Checked => 10,
        }
    }
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $number:literal;)*) => {
        /// What a frame's body is. The number is on the wire.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum Kind { $($(#[$doc])* $name,)* /** Of a newer version; the reader decides. */ Unknown(u16) }
        impl Kind {
            /// Every kind this version knows, by rising number.
            pub const ALL: &[Self] = &[$(Self::$name),*];
            /// The number on the wire.
            pub const fn number(self) -> u16 { match self { $(Self::$name => $number,)* Self::Unknown(n) => n } }
            /// The kind of a number; unknown ones are kept.
            pub const fn from_number(n: u16) -> Self { match n { $($number => Self::$name,)* other => Self::Unknown(other) } }
        }
    };
}

kinds! {
    /// [`crate::client::ToEdge`]
    ToEdge = 1;
    /// [`crate::client::ToClient`]
    ToClient = 2;
    /// [`crate::client::Pull`]
    Pull = 3;
    /// [`crate::client::Page`]
    Page = 4;
    /// [`crate::peer::ToPeer`]
    ToPeer = 16;
    /// [`crate::peer::FromPeer`]
    FromPeer = 17;
    /// [`crate::peer::SnapshotHead`]
    SnapshotHead = 18;
    /// Rows of a snapshot, as the storage wrote them.
    SnapshotChunk = 19;
    /// [`crate::peer::SnapshotEnd`]
    SnapshotEnd = 20;
    /// The receiver's answer to a snapshot: an encoded [`crate::peer::AppendResult`].
    SnapshotDone = 21;
}

/// One frame.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Frame {
    /// What the body is.
    pub kind: Kind,
    /// At most the decoder's `body_max` bytes; may be empty.
    pub body: Bytes,
}

/// The stream is not one of ours, or was damaged: close it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum FrameError {
    /// The header says more than this side takes.
    #[error("frame of {length} bytes is over {max}")]
    TooLong {
        /// What the header says.
        length: usize,
        /// What this side takes.
        max: usize,
    },
    /// The checksum differs.
    #[error("frame checksum is {found:08x}, not {sent:08x}")]
    Checksum {
        /// In the header.
        sent: u32,
        /// Over what arrived.
        found: u32,
    },
}

/// Appends a frame to `out`.
///
/// # Panics
/// A body of 4 GiB or more; every limit is far below.
pub fn encode(framing: Framing, kind: Kind, body: &[u8], out: &mut BytesMut) {
    out.reserve(framing.header_bytes() + body.len());
    out.put_u32(u32::try_from(body.len()).expect("a frame's body is below 4 GiB"));
    out.put_u16(kind.number());
    if framing == Framing::Checked {
        out.put_u32(checksum(kind, body));
    }
    out.put_slice(body);
}

/// Cuts a stream into frames.
#[derive(Debug)]
pub struct Decoder {
    framing: Framing,
    body_max: usize,
    buffer: BytesMut,
    failed: Option<FrameError>,
}

impl Decoder {
    /// For a stream whose bodies have at most `body_max` bytes.
    pub fn new(framing: Framing, body_max: usize) -> Self {
        Self { framing, body_max, buffer: BytesMut::new(), failed: None }
    }

    /// Takes bytes as they arrive. Poll until `None` before the next push, so that only the start of one frame is held.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.failed.is_none() {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// The next whole frame; `None` when more bytes are needed.
    ///
    /// # Errors
    /// The length is over `body_max` or the checksum differs; from then on every call gives the same error.
    pub fn poll(&mut self) -> Result<Option<Frame>, FrameError> {
        match self.failed {
            Some(error) => Err(error),
            None => self.cut().inspect_err(|error| {
                self.failed = Some(*error);
                self.buffer = BytesMut::new();
            }),
        }
    }

    /// Bytes that are held.
    pub fn buffered(&self) -> usize {
        self.buffer.len()
    }

    fn cut(&mut self) -> Result<Option<Frame>, FrameError> {
        let header_bytes = self.framing.header_bytes();
        let mut header = self.buffer.as_ref();
        let Ok(length) = header.try_get_u32() else { return Ok(None) };
        let length = length as usize;
        if length > self.body_max {
            return Err(FrameError::TooLong { length, max: self.body_max });
        }
        if self.buffer.len() < header_bytes + length {
            return Ok(None);
        }
        let kind = Kind::from_number(header.get_u16());
        let sent = (self.framing == Framing::Checked).then(|| header.get_u32());
        let mut body = self.buffer.split_to(header_bytes + length);
        body.advance(header_bytes);
        match sent {
            Some(sent) if sent != checksum(kind, &body) => Err(FrameError::Checksum { sent, found: checksum(kind, &body) }),
            _ => Ok(Some(Frame { kind, body: body.freeze() })),
        }
    }
}

fn checksum(kind: Kind, body: &[u8]) -> u32 {
    let mut state = crc32fast::Hasher::new();
    state.update(&kind.number().to_be_bytes());
    state.update(body);
    state.finalize()
}
