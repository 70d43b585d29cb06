//! openraft's state machine: the machine's decisions, the storage's rows, and the news of it.
//!
//! In: committed entries of one group, in order. Out: rows and the applied row in one commit, then recent history, feed, replies.
//! Invariants: an entry is applied only once the local log has it on the disk, so that state never outruns the log of this node; an
//! error here is corruption and stops this group alone. Runs on the group's lane and lets others run between entries.

use std::{io, sync::Arc};

use futures_util::{Stream, TryStreamExt};
use kith_machine::{Meta, mutant::Mutant, reply::Reply, view::WriteSet};
use kith_wire::{
    id::{GroupId, LogIndex, Term},
    log,
};
use openraft::{
    EntryPayload, OptionalSend, RaftSnapshotBuilder,
    storage::{EntryResponder, RaftStateMachine},
};
use tokio::sync::{oneshot, watch};
use tracing::Instrument;

use crate::{
    disk::{Disk, Rows, off_lane},
    failpoint::{FailPoints, point},
    feed::{AppliedEvent, FeedSender},
    flusher::Durable,
    metrics::{RaftMetrics, Stopwatch},
    recent::Recent,
    served::Ownership,
    snapshot::{self, SnapshotData},
    types::{
        Proposal, RaftLogId, RaftSnapshot, RaftSnapshotMeta, RaftStoredMembership, Replies, Types, applied_in, applied_out, log_id_out,
        membership_out, snapshot_meta,
    },
};

/// Entries applied before other tasks of the lane get a turn.
const ENTRIES_PER_TURN: u32 = 16;

/// Whether entries come out of this node's log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum LogBelow {
    /// They do: each is waited for.
    Present,
    /// openraft's conformance suite applies entries that no log has.
    #[allow(dead_code)]
    None,
}

/// One group's state machine.
pub(crate) struct Machine {
    pub(crate) group: GroupId,
    pub(crate) storage: Arc<dyn Disk>,
    pub(crate) state: Arc<dyn Rows>,
    pub(crate) log: LogBelow,
    /// Term of the last entry applied.
    pub(crate) applied_term: watch::Sender<Term>,
    pub(crate) recent: Arc<Recent>,
    pub(crate) ownership: Arc<Ownership>,
    pub(crate) feed: FeedSender,
    pub(crate) durable: Durable,
    pub(crate) failpoints: FailPoints,
    pub(crate) metrics: Arc<RaftMetrics>,
}

impl Machine {
    async fn apply_entry(&self, id: log::LogId, payload: EntryPayload<crate::types::Proposal, u64, ()>) -> io::Result<Vec<Reply>> {
        self.failpoints.hit(point::BEFORE_APPLY).await.map_err(io::Error::other)?;
        self.wait_flushed(id.index).await?;
        let watch = Stopwatch::start();
        let mut applied = self.state.applied();
        assert!(applied.last < Some(id), "entries are applied once and in order: {:?} after {:?}", id, applied.last);
        applied.last = Some(id);
        let (writes, replies, effects) = match payload {
            EntryPayload::Blank => (WriteSet::default(), Vec::new(), Vec::new()),
            EntryPayload::Membership(membership) => {
                applied.membership_at = Some(id);
                applied.membership = membership_out(&membership);
                (WriteSet::default(), Vec::new(), Vec::new())
            }
            EntryPayload::Normal(proposal) => {
                let done = kith_machine::apply(&*self.state, &proposal.0, Meta { group: self.group, id }).map_err(io::Error::other)?;
                (done.writes, done.replies, done.effects)
            }
        };
        // Before the commit: a reader that has seen a deletion must not get the text from the cache. One that has not asks for nothing newer.
        self.recent.note(&effects);
        self.ownership.note(id.index, &writes);
        self.state.commit(writes, applied).map_err(io::Error::other)?;
        self.failpoints.hit(point::AFTER_APPLY).await.map_err(io::Error::other)?;
        if !effects.is_empty() {
            self.feed.publish(AppliedEvent { index: id.index, term: id.term, effects });
        }
        self.note_term(id.term);
        self.metrics.applied_entries.inc();
        self.metrics.apply_seconds.observe(watch.elapsed().as_secs_f64());
        Ok(replies)
    }

    /// What a follower applies: as it is, unless the node is a mutant.
    fn disordered(&self, payload: EntryPayload<Proposal, u64, ()>) -> EntryPayload<Proposal, u64, ()> {
        match payload {
            EntryPayload::Normal(proposal) if self.state.quirk().is(Mutant::ApplyOutOfOrder) => {
                let reversed = log::Batch::decode_bytes(proposal.0.clone()).ok().and_then(|mut batch| {
                    let is_records = batch.items.iter().all(|item| matches!(item.command, log::Command::Append { .. }));
                    batch.items.reverse();
                    is_records.then(|| Proposal(batch.encode()))
                });
                EntryPayload::Normal(reversed.unwrap_or(proposal))
            }
            other => other,
        }
    }

    async fn wait_flushed(&self, index: LogIndex) -> io::Result<()> {
        if self.log == LogBelow::None {
            return Ok(());
        }
        let (done, flushed) = oneshot::channel();
        self.storage.log().flushed_wait(self.group, index, Box::new(move |result| drop(done.send(result))));
        flushed.await.map_err(io::Error::other)?.map_err(io::Error::other)
    }

    fn builder(&self, basis: Basis) -> Builder {
        Builder { basis, failpoints: self.failpoints.clone() }
    }
    fn flushing(&self) -> Builder {
        self.builder(Basis::Flush(Arc::clone(&self.storage), self.state.applied()))
    }

    fn note_term(&self, term: Term) {
        self.applied_term.send_if_modified(|last| std::mem::replace(last, term) != term);
    }
}

impl RaftStateMachine<Types> for Machine {
    type SnapshotData = SnapshotData;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> io::Result<(Option<RaftLogId>, RaftStoredMembership)> {
        Ok(applied_in(&self.state.applied()))
    }

    async fn apply<Strm>(&mut self, mut entries: Strm) -> io::Result<()>
    where
        Strm: Stream<Item = io::Result<EntryResponder<Types>>> + Unpin + OptionalSend,
    {
        let mut in_turn = 0;
        while let Some((entry, responder)) = entries.try_next().await? {
            let id = log_id_out(&entry.log_id);
            let span = tracing::trace_span!("raft.apply", group = %self.group, term = %id.term, index = %id.index);
            let payload = if responder.is_none() { self.disordered(entry.payload) } else { entry.payload };
            let replies = self.apply_entry(id, payload).instrument(span).await?;
            if let Some(responder) = responder {
                responder.send(Replies(replies));
            }
            in_turn += 1;
            if in_turn == ENTRIES_PER_TURN {
                in_turn = 0;
                tokio::task::yield_now().await;
            }
        }
        Ok(())
    }

    async fn try_create_snapshot_builder(&mut self, force: bool) -> Option<Builder> {
        match self.durable.get() {
            _ if force => Some(self.flushing()),
            durable => durable.map(|durable| self.builder(Basis::Pointer(durable))),
        }
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        self.flushing()
    }

    async fn install_snapshot(&mut self, meta: &RaftSnapshotMeta, snapshot: SnapshotData) -> io::Result<()> {
        let head = applied_out(meta.last_log_id.as_ref(), &meta.last_membership);
        self.ownership.note_all(head.last.unwrap_or_default().index);
        snapshot.install(&self.state, head.clone()).await?;
        self.recent.clear();
        let last = head.last.unwrap_or_default();
        self.note_term(last.term);
        self.feed.publish_replaced(last.index, last.term);
        self.durable.set(head);
        self.metrics.snapshots_installed.inc();
        self.failpoints.hit(point::SNAPSHOT_INSTALLED).await.map_err(io::Error::other)
    }

    /// One consistent export; its meta is what the export itself says, for newer rows under an older id would be applied twice.
    async fn get_current_snapshot(&mut self) -> io::Result<Option<RaftSnapshot>> {
        snapshot::export(&self.state).await
    }
}

/// Builds what openraft calls a snapshot: a pointer to durable state.
pub(crate) struct Builder {
    basis: Basis,
    failpoints: FailPoints,
}

/// What a snapshot points to.
enum Basis {
    /// To what the last flush made durable.
    Pointer(log::Applied),
    /// To what is applied now, by a flush of its own.
    Flush(Arc<dyn Disk>, log::Applied),
}

impl RaftSnapshotBuilder<Types> for Builder {
    type SnapshotData = SnapshotData;

    async fn build_snapshot(&mut self) -> io::Result<RaftSnapshot> {
        self.failpoints.hit(point::BEFORE_BUILD).await.map_err(io::Error::other)?;
        let durable = match &self.basis {
            Basis::Pointer(durable) => durable,
            Basis::Flush(storage, applied) => {
                let (storage, blocks) = (Arc::clone(storage), storage.blocks());
                off_lane(blocks, move || storage.flush()).await.map_err(io::Error::other)?.map_err(io::Error::other)?;
                applied
            }
        };
        let snapshot = RaftSnapshot { meta: snapshot_meta(durable), snapshot: SnapshotData::Pointer };
        self.failpoints.hit(point::AFTER_BUILD).await.map_err(io::Error::other)?;
        Ok(snapshot)
    }
}
