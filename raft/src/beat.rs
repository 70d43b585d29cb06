//! Heartbeats of all groups to one peer, in one frame: each group has its own timer, and without this each its own packet.
//!
//! In: one group's heartbeat. Out: its answer, from an `Ask::Heartbeats` that carries whatever else came within [`GATHER`].
//! Invariant: a heartbeat waits for no other group's answer longer than its frame's. Bound: openraft has one heartbeat per group and
//! peer on its way, so a frame carries at most one per group. Not here: what a heartbeat means (openraft), the follower's side (`inbound`).

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use kith_wire::{
    id::NodeId,
    peer::{AppendResult, Ask, Heartbeat, Told},
};
use tokio::sync::{Notify, oneshot};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{lanes::Lanes, metrics::RaftMetrics, transport::PeerTransport};

/// How long a frame waits for more heartbeats: far below any timer, far above the time between two groups' ticks.
const GATHER: Duration = Duration::from_millis(5);

#[derive(Debug)]
struct Waiting {
    heartbeat: Heartbeat,
    answer: oneshot::Sender<AppendResult>,
}

#[derive(Debug, Default)]
struct ToPeer {
    waiting: Mutex<Vec<Waiting>>,
    some: Notify,
}

impl ToPeer {
    fn waiting(&self) -> MutexGuard<'_, Vec<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The heartbeats of a node.
pub(crate) struct Beats {
    peers: Mutex<HashMap<NodeId, Arc<ToPeer>>>,
    transport: Arc<dyn PeerTransport>,
    lanes: Arc<Lanes>,
    tasks: TaskTracker,
    stop: CancellationToken,
    within: Duration,
    metrics: Arc<RaftMetrics>,
}

impl Beats {
    pub(crate) fn new(
        transport: Arc<dyn PeerTransport>,
        lanes: Arc<Lanes>,
        tasks: TaskTracker,
        stop: CancellationToken,
        within: Duration,
        metrics: Arc<RaftMetrics>,
    ) -> Self {
        Self { peers: Mutex::default(), transport, lanes, tasks, stop, within, metrics }
    }

    /// Sends a heartbeat with the next frame. `None`: no answer came.
    pub(crate) async fn beat(&self, peer: NodeId, heartbeat: Heartbeat) -> Option<AppendResult> {
        let (answer, answered) = oneshot::channel();
        let to = self.to_peer(peer);
        to.waiting().push(Waiting { heartbeat, answer });
        to.some.notify_one();
        answered.await.ok()
    }

    fn to_peer(&self, peer: NodeId) -> Arc<ToPeer> {
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(peers.entry(peer).or_insert_with(|| {
            let to = Arc::new(ToPeer::default());
            let sender = Sender {
                peer,
                to: Arc::clone(&to),
                transport: Arc::clone(&self.transport),
                stop: self.stop.clone(),
                within: self.within,
                metrics: Arc::clone(&self.metrics),
            };
            self.tasks.spawn_on(sender.run(), self.lanes.handle(self.lanes.of_number(peer.get())));
            to
        }))
    }
}

/// One peer's task: ends when the node's groups stop; frames on their way are dropped then.
struct Sender {
    peer: NodeId,
    to: Arc<ToPeer>,
    transport: Arc<dyn PeerTransport>,
    stop: CancellationToken,
    within: Duration,
    metrics: Arc<RaftMetrics>,
}

impl Sender {
    async fn run(self) {
        let mut frames: FuturesUnordered<BoxFuture<'static, ()>> = FuturesUnordered::new();
        loop {
            // All branches are cancel safe: a notice that is dropped here was not yet consumed. Biased, so that a simulation repeats.
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                Some(()) = frames.next() => {}
                () = self.gathered() => {
                    let waiting = std::mem::take(&mut *self.to.waiting());
                    if !waiting.is_empty() {
                        frames.push(self.send(waiting));
                    }
                }
            }
        }
    }

    async fn gathered(&self) {
        while self.to.waiting().is_empty() {
            self.to.some.notified().await;
        }
        tokio::time::sleep(GATHER).await;
    }

    fn send(&self, waiting: Vec<Waiting>) -> BoxFuture<'static, ()> {
        let (heartbeats, answers): (Vec<_>, Vec<_>) = waiting.into_iter().map(|w| (w.heartbeat, w.answer)).unzip();
        self.metrics.heartbeat_frames.inc();
        self.metrics.heartbeats.inc_by(heartbeats.len() as u64);
        let groups = heartbeats.iter().map(|h| h.group).collect::<Vec<_>>();
        let asked = self.transport.ask(self.peer, Ask::Heartbeats(heartbeats), self.within);
        Box::pin(async move {
            // A dropped sender tells its heartbeat that no answer came.
            let Ok(Told::Heartbeats(told)) = asked.await else { return };
            for ((group, answer), told) in groups.into_iter().zip(answers).zip(told) {
                if told.group == group {
                    let _ = answer.send(told.result);
                }
            }
        })
    }
}
