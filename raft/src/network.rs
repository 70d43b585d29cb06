//! openraft's network over a [`PeerTransport`]: which message goes which way, and with which deadline.
//!
//! In: openraft's requests. Out: asks and tells. Appends go over sessions, heartbeats are gathered per peer, votes are asks with a
//! deadline below half the shortest election timeout. Not here: what comes in from peers (`inbound`, `registry`).

use std::{fmt::Display, future::Future, sync::Arc, time::Duration};

use futures_util::{Stream, StreamExt, stream};
use kith_wire::{
    id::{GroupId, NodeId},
    peer::{AppendResult, Ask, Heartbeat, SnapshotHead, Told},
};
use openraft::{
    OptionalSend, RaftNetworkFactory,
    base::{BoxFuture, BoxStream},
    errors::{RPCError, ReplicationClosed, StreamingError, Unreachable},
    network::{Backoff, NetBackoff, NetSnapshot, NetStreamAppend, NetTransferLeader, NetVote, RPCOption},
    raft::{
        AppendEntriesRequest, SnapshotResponse, StreamAppendError, StreamAppendResult, TransferLeaderError, TransferLeaderRequest,
        TransferLeaderResponse, VoteRequest, VoteResponse,
    },
};

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::{
    beat::Beats,
    config::Timers,
    failpoint::{FailPoints, point},
    metrics::RaftMetrics,
    session::{AppendStream, Sessions},
    snapshot::SnapshotData,
    transport::{PeerTransport, TransportError},
    types::{RaftSnapshot, RaftVote, Types, applied_out, log_id_in, log_id_out, vote_in, vote_out},
};

/// Snapshots that a node sends at once, and receives at once: they share disk and network with everything else.
pub(crate) const SNAPSHOTS_MAX: usize = 2;

/// What the network clients of all groups share.
pub(crate) struct Shared {
    pub(crate) transport: Arc<dyn PeerTransport>,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) beats: Beats,
    pub(crate) timers: Timers,
    pub(crate) snapshots: Semaphore,
    pub(crate) metrics: Arc<RaftMetrics>,
    pub(crate) failpoints: FailPoints,
}

/// Makes the clients of one group.
pub(crate) struct Network {
    pub(crate) group: GroupId,
    /// The group stops.
    pub(crate) stop: CancellationToken,
    pub(crate) shared: Arc<Shared>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Anything,
    Heartbeats,
}

/// A client of one group to one peer.
pub(crate) struct Client {
    group: GroupId,
    peer: NodeId,
    purpose: Purpose,
    stop: CancellationToken,
    shared: Arc<Shared>,
}

impl Network {
    fn client(&self, target: u64, purpose: Purpose) -> Client {
        Client { group: self.group, peer: NodeId::new(target), purpose, stop: self.stop.clone(), shared: Arc::clone(&self.shared) }
    }
}

impl RaftNetworkFactory<Types> for Network {
    type Network = Client;

    async fn new_client(&mut self, target: u64, _node: &()) -> Client {
        self.client(target, Purpose::Anything)
    }
    async fn new_heartbeat_client(&mut self, target: u64, _node: &()) -> Client {
        self.client(target, Purpose::Heartbeats)
    }
}

fn unreachable(why: impl Display) -> Unreachable<Types> {
    Unreachable::from_string(why)
}

impl Client {
    async fn ask(&self, ask: Ask, within: Duration) -> Result<Told, TransportError> {
        self.shared.transport.ask(self.peer, ask, within).await
    }

    async fn ask_vote(&self, request: VoteRequest<Types>, pre: bool) -> Result<VoteResponse<Types>, RPCError<Types>> {
        let ask = Ask::Vote {
            group: self.group,
            vote: vote_out(&request.vote),
            last: request.last_log_id.as_ref().map(log_id_out),
            pre,
            transfer: request.leadership_transfer,
        };
        match self.ask(ask, self.shared.timers.vote_deadline()).await {
            Ok(Told::Vote { vote, granted, last }) => Ok(VoteResponse::new(vote_in(vote), last.map(log_id_in), granted)),
            Ok(_) => Err(unreachable("another answer than asked for").into()),
            Err(error) => Err(unreachable(error).into()),
        }
    }

    async fn heartbeat(&self, request: AppendEntriesRequest<Types>) -> Result<StreamAppendResult<Types>, RPCError<Types>> {
        let heartbeat = Heartbeat {
            group: self.group,
            vote: vote_out(&request.vote),
            prev: request.prev_log_id.as_ref().map(log_id_out),
            committed: request.leader_commit.as_ref().map(log_id_out),
        };
        let answer = self.shared.beats.beat(self.peer, heartbeat).await;
        // openraft's core may have ended while this was on its way, and its worker would take the answer that it cannot give for a fault.
        if self.stop.is_cancelled() {
            return Err(unreachable("the group stops").into());
        }
        match answer {
            Some(AppendResult::Flushed(id)) => Ok(Ok(id.map(log_id_in))),
            Some(AppendResult::HigherVote(vote)) => Ok(Err(StreamAppendError::HigherVote(vote_in(vote)))),
            Some(AppendResult::Conflict(id)) => match id.map(log_id_in).or(request.prev_log_id) {
                Some(id) => Ok(Err(StreamAppendError::Conflict(id))),
                None => Err(unreachable("a conflict before the first entry").into()),
            },
            Some(AppendResult::Closed) => Err(unreachable("the peer does not run the group").into()),
            None => Err(unreachable("no answer to a heartbeat").into()),
        }
    }
}

impl NetBackoff<Types> for Client {
    fn backoff(&self) -> Option<Backoff> {
        None
    }
}

impl NetStreamAppend<Types> for Client {
    fn stream_append<'s, S>(
        &'s mut self,
        mut input: S,
        _option: RPCOption,
    ) -> BoxFuture<'s, Result<BoxStream<'s, Result<StreamAppendResult<Types>, RPCError<Types>>>, RPCError<Types>>>
    where
        S: Stream<Item = AppendEntriesRequest<Types>> + OptionalSend + Unpin + 'static,
    {
        Box::pin(async move {
            if self.purpose == Purpose::Heartbeats {
                // openraft sends exactly one request on such a stream, and puts a time limit on it.
                let Some(request) = input.next().await else { return Ok(stream::empty().boxed() as BoxStream<'s, _>) };
                let this = &*self;
                return Ok(Box::pin(stream::once(this.heartbeat(request))) as BoxStream<'s, _>);
            }
            let shared = &self.shared;
            let stream = AppendStream::new(
                self.group,
                self.peer,
                Arc::clone(&shared.sessions),
                Arc::clone(&shared.transport),
                shared.timers.append_deadline(),
                input,
            );
            Ok(Box::pin(stream) as BoxStream<'s, _>)
        })
    }
}

impl NetVote<Types> for Client {
    async fn vote(&mut self, request: VoteRequest<Types>, _option: RPCOption) -> Result<VoteResponse<Types>, RPCError<Types>> {
        self.ask_vote(request, false).await
    }
    async fn pre_vote(&mut self, request: VoteRequest<Types>, _option: RPCOption) -> Result<VoteResponse<Types>, RPCError<Types>> {
        self.ask_vote(request, true).await
    }
}

impl NetTransferLeader<Types> for Client {
    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<Types>,
        _option: RPCOption,
    ) -> Result<TransferLeaderResponse<Types>, RPCError<Types>> {
        let last = request.last_log_id().map(log_id_out);
        let ask = Ask::TransferLeader { group: self.group, from: vote_out(request.from_leader()), to: NodeId::new(*request.to_node_id()), last };
        match self.ask(ask, self.shared.timers.vote_deadline()).await {
            Ok(Told::Done) => Ok(Ok(())),
            Ok(_) => Err(unreachable("another answer than asked for").into()),
            Err(TransportError::Refused(..)) => {
                Ok(Err(TransferLeaderError::LogNotFlushed { expected: request.last_log_id().copied(), actual: None }))
            }
            Err(error) => Err(unreachable(error).into()),
        }
    }
}

impl NetSnapshot<Types> for Client {
    type SnapshotData = SnapshotData;

    async fn full_snapshot(
        &mut self,
        vote: RaftVote,
        snapshot: RaftSnapshot,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        let applied = applied_out(snapshot.meta.last_log_id.as_ref(), &snapshot.meta.last_membership);
        let source = snapshot.snapshot.into_source().map_err(unreachable)?;
        let head = SnapshotHead {
            group: self.group,
            vote: vote_out(&vote),
            last: applied.last,
            membership_at: applied.membership_at,
            membership: applied.membership,
        };
        let sending = async {
            let _turn = self.shared.snapshots.acquire().await;
            let failpoints = &self.shared.failpoints;
            // A fault here is a sleep or the end of the process: there is nothing to refuse.
            let _ = failpoints.hit(point::BEFORE_SNAPSHOT_SEND).await;
            let sent = self.shared.transport.send_snapshot(self.peer, head, source).await;
            let _ = failpoints.hit(point::AFTER_SNAPSHOT_SEND).await;
            sent
        };
        // Dropping the transport's future cancels the transfer, whichever branch wins.
        let sent = tokio::select! {
            biased;
            closed = cancel => return Err(closed.into()),
            () = tokio::time::sleep(option.hard_ttl()) => return Err(unreachable("the snapshot took too long").into()),
            sent = sending => sent,
        };
        match sent {
            Ok(AppendResult::Flushed(_)) => {
                self.shared.metrics.snapshots_sent.inc();
                Ok(SnapshotResponse::new(vote))
            }
            Ok(AppendResult::HigherVote(higher)) => Ok(SnapshotResponse::new(vote_in(higher))),
            Ok(AppendResult::Conflict(_) | AppendResult::Closed) => Err(unreachable("the peer does not take the snapshot").into()),
            Err(error) => Err(unreachable(error).into()),
        }
    }
}
