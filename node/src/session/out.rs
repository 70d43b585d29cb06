//! Frames of one session on their way to its client.
//!
//! In: frames, in order. Out: chunks of bytes for the transport, as few as can be; what it has taken is told to [`Out::sent`]. Bound: the driver's,
//! which adds nothing while `WRITE_BYTES_MAX` wait. Not here: what is written when (`driver`), how (`link`).

use std::{collections::VecDeque, time::Duration};

use bytes::{Buf, Bytes, BytesMut};
use kith_wire::client::ToClient;

use super::codec;
use crate::clock::Instant;

/// A client that takes nothing of what is to be written for so long is gone.
pub(super) const STUCK_MAX: Duration = Duration::from_secs(75);

/// Frames that wait.
pub(super) struct Out {
    chunks: VecDeque<Bytes>,
    tail: BytesMut,
    bytes: usize,
    frames: u32,
    moved: Instant,
}

impl Out {
    pub(super) fn new(now: Instant) -> Self {
        Self { chunks: VecDeque::new(), tail: BytesMut::new(), bytes: 0, frames: 0, moved: now }
    }
    pub(super) fn push(&mut self, frame: &ToClient, now: Instant) {
        self.begin(now);
        let before = self.tail.len();
        codec::put(frame, &mut self.tail);
        self.bytes += self.tail.len() - before;
    }
    pub(super) fn push_bytes(&mut self, frame: Bytes, now: Instant) {
        self.begin(now);
        self.bytes += frame.len();
        // Small frames are copied together: a chunk of its own costs more than the copy.
        self.tail.extend_from_slice(&frame);
    }
    /// Bytes that the transport has not taken.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
    pub(super) fn is_empty(&self) -> bool {
        self.bytes == 0
    }
    /// Something was written; gives how many frames have been pushed since the last time.
    pub(super) fn moved(&mut self, now: Instant) -> u32 {
        self.moved = now;
        std::mem::take(&mut self.frames)
    }
    pub(super) fn stuck_at(&self) -> Option<Instant> {
        (!self.is_empty()).then(|| self.moved + STUCK_MAX)
    }
    pub(super) fn is_stuck(&self, now: Instant) -> bool {
        self.stuck_at().is_some_and(|at| at <= now)
    }

    /// What is to be written next, at most so many chunks; they stay until [`Out::sent`].
    pub(super) fn chunks(&mut self, max: usize) -> Vec<Bytes> {
        self.seal();
        self.chunks.iter().take(max).cloned().collect()
    }
    /// So many bytes of the chunks were taken.
    pub(super) fn sent(&mut self, bytes: usize) {
        self.bytes -= bytes;
        let mut left = bytes;
        while let Some(front) = self.chunks.front_mut() {
            if front.len() > left {
                front.advance(left);
                break;
            }
            left -= front.len();
            self.chunks.pop_front();
        }
    }
    /// Takes the next chunk out. It counts as waiting until [`Out::flushed`].
    pub(super) fn take(&mut self) -> Option<Bytes> {
        self.seal();
        self.chunks.pop_front()
    }
    /// So many bytes of what was taken are on their way.
    pub(super) fn flushed(&mut self, bytes: usize) {
        self.bytes -= bytes;
    }

    fn begin(&mut self, now: Instant) {
        if self.is_empty() {
            self.moved = now;
        }
        self.frames += 1;
    }
    fn seal(&mut self) {
        if !self.tail.is_empty() {
            self.chunks.push_back(self.tail.split().freeze());
        }
    }
}
