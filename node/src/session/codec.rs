//! Frames of a client's streams: bytes to typed values and back.

use bytes::{Bytes, BytesMut};
use kith_wire::{
    client::{Event, Page, Pull, ToClient, ToEdge},
    frame::{self, Frame, Framing, Kind},
    limit,
};

/// What a client's streams use: TLS protects them.
pub const FRAMING: Framing = Framing::Plain;

/// A decoder of what a client sends on a chat stream.
pub fn chat_decoder() -> frame::Decoder {
    frame::Decoder::new(FRAMING, limit::FRAME_BYTES_MAX)
}
/// Appends a frame for the client.
pub fn put(frame: &ToClient, out: &mut BytesMut) {
    frame::encode(FRAMING, Kind::ToClient, &frame.encode(), out);
}
/// An event as a whole frame, made once for many sessions.
pub fn event(event: &Event) -> Bytes {
    let mut out = BytesMut::new();
    put(&ToClient::Event(event.clone()), &mut out);
    out.freeze()
}
/// A page as a whole frame.
pub fn page(page: &Page) -> Bytes {
    let mut out = BytesMut::new();
    frame::encode(FRAMING, Kind::Page, &page.encode(), &mut out);
    out.freeze()
}
/// The value of a frame on the chat stream; `None` when it is not one.
pub fn to_edge(frame: &Frame) -> Option<ToEdge> {
    (frame.kind == Kind::ToEdge).then(|| ToEdge::decode(&frame.body).ok()).flatten()
}
/// The value of the first frame of a bulk stream; `None` when it is not one.
pub fn pull(frame: &Frame) -> Option<Pull> {
    (frame.kind == Kind::Pull).then(|| Pull::decode(&frame.body).ok()).flatten()
}
