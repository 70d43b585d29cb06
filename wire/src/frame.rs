//! Framing: bytes in, frames out, no IO.
