//! Outbound frames of one stream, by class: raft traffic never waits behind forwarded requests.
//!
//! In: encoded bodies with their class. Out: one buffer per wake, with a share for each class. Bounds: frames and bytes per class; beyond
//! them a push is refused and counted. Not here: the stream (`link`, `accept`).

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::{Bytes, BytesMut};
use kith_wire::frame::{Framing, Kind, encode};
use prometheus_client::{
    encoding::EncodeLabelValue,
    metrics::{gauge::Gauge, histogram::Histogram},
};
use thiserror::Error;
use tokio::sync::Notify;

use super::metrics::{ClassLabel, PeerMetrics, QueueLabel, QueueReject};
use crate::clock::Stopwatch;

/// What a frame is, and so with whom it shares a bound.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, EncodeLabelValue)]
pub enum Class {
    /// Raft, beats.
    Raft,
    /// Forwarded requests and their answers.
    Ask,
    /// Fan-out.
    Fan,
}

impl Class {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Raft, Self::Ask, Self::Fan];
}

/// The class's bound is reached, or the stream has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum PushError {
    /// Shed: the peer reads too slowly.
    #[error("the queue to the peer is full")]
    Full,
    /// The stream is gone.
    #[error("the link to the peer is down")]
    Closed,
}

/// The queue of one stream.
#[derive(Debug)]
pub struct FrameQueue {
    state: Mutex<State>,
    wake: Notify,
    metrics: Arc<PeerMetrics>,
    /// By class; found once, since each frame is counted.
    counters: [Counters; 3],
}

#[derive(Debug)]
struct Counters {
    frames: Gauge,
    bytes: Gauge,
    wait: Histogram,
}

#[derive(Debug, Default)]
struct State {
    classes: [Lane; 3],
    closed: bool,
}

#[derive(Debug, Default)]
struct Lane {
    frames: VecDeque<(Kind, Bytes, Stopwatch)>,
    bytes: usize,
}

impl FrameQueue {
    /// An empty queue.
    pub fn new(metrics: Arc<PeerMetrics>) -> Self {
        let counters = Class::ALL.map(|class| {
            let label = ClassLabel { class };
            let (frames, bytes) = (metrics.queue_frames.get_or_create_owned(&label), metrics.queue_bytes.get_or_create_owned(&label));
            Counters { frames, bytes, wait: metrics.queue_wait.get_or_create_owned(&label) }
        });
        Self { state: Mutex::default(), wake: Notify::new(), metrics, counters }
    }

    /// Queues a body; never waits.
    ///
    /// # Errors
    /// The class is full, or the queue was closed.
    pub fn push(&self, class: Class, kind: Kind, body: Bytes) -> Result<(), PushError> {
        let mut state = self.lock();
        if state.closed {
            drop(state);
            self.reject(class, QueueReject::Closed);
            return Err(PushError::Closed);
        }
        let lane = &mut state.classes[class as usize];
        if lane.frames.len() >= CLASS_FRAMES_MAX || (lane.bytes + body.len() > CLASS_BYTES_MAX && !lane.frames.is_empty()) {
            drop(state);
            self.reject(class, QueueReject::Full);
            return Err(PushError::Full);
        }
        self.count(class, 1, body.len() as i64);
        lane.bytes += body.len();
        lane.frames.push_back((kind, body, Stopwatch::start()));
        drop(state);
        self.wake.notify_one();
        Ok(())
    }

    /// Refuses all later pushes; what is queued still comes out.
    pub fn close(&self) {
        self.lock().closed = true;
        self.wake.notify_one();
    }

    /// The next buffer to write, framed; waits for one. `None` once closed and empty. Cancel safe.
    pub async fn next(&self) -> Option<Bytes> {
        loop {
            let wake = self.wake.notified();
            if let Some(buffer) = self.take() {
                return Some(buffer);
            }
            if self.lock().closed {
                return None;
            }
            wake.await;
        }
    }

    /// Frames and bytes that wait.
    pub fn depth(&self) -> (usize, usize) {
        self.lock().classes.iter().fold((0, 0), |(frames, bytes), lane| (frames + lane.frames.len(), bytes + lane.bytes))
    }

    fn reject(&self, class: Class, reason: QueueReject) {
        self.metrics.queue_rejects.get_or_create(&QueueLabel { class, reason }).inc();
    }
    fn count(&self, class: Class, frames: i64, bytes: i64) {
        let counters = &self.counters[class as usize];
        counters.frames.inc_by(frames);
        counters.bytes.inc_by(bytes);
    }

    fn take(&self) -> Option<Bytes> {
        let mut picked = Vec::new();
        let mut bytes = 0;
        {
            let mut state = self.lock();
            for ((lane, share), class) in state.classes.iter_mut().zip(SHARES).zip(Class::ALL) {
                let (mut taken, before) = (0, (lane.frames.len(), lane.bytes));
                if let Some((_, _, since)) = lane.frames.front() {
                    self.counters[class as usize].wait.observe(since.elapsed().as_secs_f64());
                }
                while taken < share
                    && let Some((kind, body, _)) = lane.frames.pop_front()
                {
                    lane.bytes -= body.len();
                    taken += body.len() + OVERHEAD_BYTES;
                    picked.push((kind, body));
                }
                if taken > 0 {
                    self.count(class, lane.frames.len() as i64 - before.0 as i64, lane.bytes as i64 - before.1 as i64);
                }
                bytes += taken;
            }
        }
        if picked.is_empty() {
            return None;
        }
        let mut out = BytesMut::with_capacity(bytes);
        for (kind, body) in &picked {
            encode(Framing::Checked, *kind, body, &mut out);
        }
        Some(out.freeze())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for FrameQueue {
    fn drop(&mut self) {
        let left = std::mem::take(&mut self.lock().classes);
        for (lane, class) in left.iter().zip(Class::ALL) {
            self.count(class, -(lane.frames.len() as i64), -(lane.bytes as i64));
        }
    }
}

/// Frames of one class. Beyond it a push is refused: asks are answered `Busy`, live pushes are dropped, raft tries again.
const CLASS_FRAMES_MAX: usize = 8_192;
/// Bytes of one class, as above; one frame always fits.
const CLASS_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Bytes of each class in one write, at least one frame each.
const SHARES: [usize; 3] = [256 * 1024, 128 * 1024, 128 * 1024];
/// Length, kind and checksum.
const OVERHEAD_BYTES: usize = 10;

#[cfg(test)]
mod tests {
    use kith_wire::frame::Decoder;

    use super::*;

    #[tokio::test]
    async fn raft_frames_leave_before_asks_that_came_first() {
        let queue = FrameQueue::new(Arc::default());
        queue.push(Class::Ask, Kind::ToPeer, Bytes::from_static(b"ask")).unwrap();
        queue.push(Class::Raft, Kind::ToPeer, Bytes::from_static(b"raft")).unwrap();
        let mut decoder = Decoder::new(Framing::Checked, 1_000);
        decoder.push(&queue.next().await.unwrap());
        assert_eq!(decoder.poll().unwrap().unwrap().body, "raft");
        assert_eq!(decoder.poll().unwrap().unwrap().body, "ask");
        assert!(decoder.poll().unwrap().is_none());
    }

    #[tokio::test]
    async fn full_class_refuses_and_leaves_the_others_open() {
        let metrics: Arc<PeerMetrics> = Arc::default();
        let queue = FrameQueue::new(metrics.clone());
        for _ in 0..CLASS_FRAMES_MAX {
            queue.push(Class::Ask, Kind::ToPeer, Bytes::new()).unwrap();
        }
        assert_eq!(queue.push(Class::Ask, Kind::ToPeer, Bytes::new()), Err(PushError::Full));
        assert_eq!(metrics.queue_rejects.get_or_create(&QueueLabel { class: Class::Ask, reason: QueueReject::Full }).get(), 1);
        let waiting = metrics.queue_frames.clone();
        assert_eq!(waiting.get_or_create(&ClassLabel { class: Class::Ask }).get(), CLASS_FRAMES_MAX as i64);
        queue.push(Class::Raft, Kind::ToPeer, Bytes::new()).unwrap();
        queue.close();
        assert_eq!(queue.push(Class::Raft, Kind::ToPeer, Bytes::new()), Err(PushError::Closed));
        while queue.next().await.is_some() {}
        assert_eq!(queue.depth(), (0, 0));
        assert_eq!(waiting.get_or_create(&ClassLabel { class: Class::Ask }).get(), 0);
    }
}
