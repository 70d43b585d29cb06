//! A device's connection: frames of a chat stream both ways, in order, each some time under way.
//!
//! In: frames. Out: the same at the other end, or nothing any more. It ends when one end is dropped, and the other notices; once it has
//! gone silent nobody notices anything: what is sent vanishes. Bound: [`FRAMES_MAX`] under way each way, one more is the end.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};

use crate::net::Net;

/// Frames under way.
const FRAMES_MAX: usize = 4_096;

/// One end of a connection.
pub(crate) struct End<Sent, Heard> {
    net: Net,
    to: mpsc::Sender<(Instant, Sent)>,
    from: mpsc::Receiver<(Instant, Heard)>,
    /// The next frame, still under way.
    next: Option<(Instant, Heard)>,
    /// When the last one that was sent arrives: none overtakes it.
    arrives: Instant,
    silent: Arc<AtomicBool>,
}

/// The two ends of a new connection.
pub(crate) fn wire<A, B>(net: &Net) -> (End<A, B>, End<B, A>) {
    let ((to_b, from_a), (to_a, from_b)) = (mpsc::channel(FRAMES_MAX), mpsc::channel(FRAMES_MAX));
    let (silent, arrives) = (Arc::new(AtomicBool::new(false)), Instant::now());
    (
        End { net: net.clone(), to: to_b, from: from_b, next: None, arrives, silent: silent.clone() },
        End { net: net.clone(), to: to_a, from: from_a, next: None, arrives, silent },
    )
}

impl<Sent, Heard> End<Sent, Heard> {
    /// Sends a frame; says whether the connection still stands.
    pub(crate) fn send(&mut self, frame: Sent) -> bool {
        if self.is_silent() {
            return true;
        }
        self.arrives = self.arrives.max(Instant::now() + self.net.latency());
        self.to.try_send((self.arrives, frame)).is_ok()
    }
    /// Waits for the next frame; `None`: the other end is gone. Cancel safe: a frame under way is kept.
    pub(crate) async fn recv(&mut self) -> Option<Heard> {
        if self.next.is_none() {
            match self.from.recv().await {
                Some(next) => self.next = Some(next),
                None if self.is_silent() => std::future::pending().await,
                None => return None,
            }
        }
        let at = self.next.as_ref().map_or_else(Instant::now, |(at, _)| *at);
        sleep_until(at).await;
        self.next.take().map(|(_, frame)| frame)
    }
    /// From now on nothing arrives, and nobody is told.
    pub(crate) fn silence(&self) {
        self.silent.store(true, Ordering::Relaxed);
    }
    /// Whether it has gone silent.
    pub(crate) fn is_silent(&self) -> bool {
        self.silent.load(Ordering::Relaxed)
    }
}
