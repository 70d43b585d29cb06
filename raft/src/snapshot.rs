//! Snapshots between nodes: a group's rows out of one state database and into another, streamed.
//!
//! In: openraft's wish to send one, or one from a peer. Out: chunks for the transport, or rows in place of the old ones. Invariants: the
//! meta that is sent is the export's own; openraft hears of a snapshot only once it is whole on this disk and checked, for from then
//! on it counts on it. Bounds: one chunk in memory each way. Not here: staging and swapping (kith-storage), the stream (the transport).

use std::{io, sync::Arc, time::Duration};

use bytes::Bytes;
use kith_storage::InstallError;
use kith_wire::{
    log,
    peer::{AppendResult, SnapshotEnd, SnapshotHead},
};
use thiserror::Error;
use tokio::{sync::mpsc, task::JoinError};

use crate::{
    disk::{Exporting, Installing, Rows, off_lane},
    failpoint::{FailPoints, point},
    group::GroupHandle,
    transport::{SnapshotPart, SnapshotReadError, SnapshotSource},
    types::{RaftSnapshot, snapshot_meta, vote_in, vote_out},
};

/// What openraft hands around as a snapshot.
pub(crate) enum SnapshotData {
    /// Only a pointer to flushed state.
    Pointer,
    /// Rows to send.
    Export(Box<ExportSource>),
    /// Rows that were received, staged and checked.
    Received(Box<Received>),
}

impl SnapshotData {
    pub(crate) fn into_source(self) -> Result<Box<dyn SnapshotSource>, &'static str> {
        match self {
            Self::Export(source) => Ok(source),
            Self::Pointer | Self::Received(_) => Err("this snapshot cannot be sent"),
        }
    }

    /// Puts it in the place of what the group has; durable on return.
    pub(crate) async fn install(self, state: &Arc<dyn Rows>, head: log::Applied) -> io::Result<()> {
        let (state, blocks) = (Arc::clone(state), state.blocks());
        let install = move || match self {
            Self::Pointer => Err(io::Error::other("a pointer cannot be installed")),
            Self::Received(received) => received.installer.finish(received.end).map_err(io::Error::other),
            Self::Export(mut source) => {
                let mut installer = state.install(head).map_err(io::Error::other)?;
                while let Some(chunk) = source.next_chunk().map_err(io::Error::other)? {
                    installer.chunk(&chunk).map_err(io::Error::other)?;
                }
                installer.finish(source.end()).map_err(io::Error::other)
            }
        };
        off_lane(blocks, install).await.map_err(io::Error::other)?
    }
}

pub(crate) struct ExportSource(pub(crate) Box<dyn Exporting>);

impl SnapshotSource for ExportSource {
    fn next_chunk(&mut self) -> Result<Option<Bytes>, SnapshotReadError> {
        self.0.next_chunk()
    }
    fn end(&self) -> SnapshotEnd {
        self.0.end()
    }
}

/// Opens an export of a group's rows; `None` if it has none.
pub(crate) async fn export(state: &Arc<dyn Rows>) -> io::Result<Option<RaftSnapshot>> {
    if state.applied().last.is_none() {
        return Ok(None);
    }
    let (state, blocks) = (Arc::clone(state), state.blocks());
    // Waits until the state writer has written what is committed.
    let export = off_lane(blocks, move || state.export()).await.map_err(io::Error::other)?.map_err(io::Error::other)?;
    let meta = snapshot_meta(export.applied());
    Ok(Some(RaftSnapshot { meta, snapshot: SnapshotData::Export(Box::new(ExportSource(export))) }))
}

/// A snapshot that is staged is installed within this time, or the leader asks again.
const INSTALL_WITHIN: Duration = Duration::from_secs(60);

/// A snapshot in its staging file.
pub(crate) struct Received {
    installer: Box<dyn Installing>,
    end: SnapshotEnd,
}

#[derive(Debug, Error)]
enum StageError {
    #[error("cannot stage the snapshot")]
    Install(#[from] InstallError),
    #[error("the snapshot ended early")]
    Lost,
    #[error("staging the snapshot panicked")]
    Panicked(#[from] JoinError),
}

/// Stages a snapshot as it comes, then has openraft install it.
pub(crate) async fn receive(group: &GroupHandle, head: SnapshotHead, parts: mpsc::Receiver<SnapshotPart>, failpoints: &FailPoints) -> AppendResult {
    // A fault here is a sleep or the end of the process: there is nothing to refuse.
    let _ = failpoints.hit(point::BEFORE_SNAPSHOT_RECEIVE).await;
    let vote = vote_in(head.vote);
    let applied = log::Applied { last: head.last, membership_at: head.membership_at, membership: head.membership };
    let meta = snapshot_meta(&applied);
    let received = match stage(&group.0.state, applied, parts).await {
        Ok(received) => received,
        Err(error) => {
            tracing::warn!(group = %group.id(), cause = &error as &dyn std::error::Error, "a snapshot was not taken");
            return AppendResult::Closed;
        }
    };
    let _ = failpoints.hit(point::SNAPSHOT_STAGED).await;
    let snapshot = RaftSnapshot { meta, snapshot: SnapshotData::Received(Box::new(received)) };
    match group.raft().install_full_snapshot(vote, snapshot).await {
        Ok(answer) if answer.vote.leader_id() == vote.leader_id() => {
            // openraft answers before its state machine has it: told so early, a crash now would take back what the leader counts on.
            let index = |last: Option<log::LogId>| last.map(|last| last.index);
            let wait = group.raft().wait(Some(INSTALL_WITHIN));
            let installed = wait.metrics(|_| index(group.0.state.applied().last) >= index(head.last), "a snapshot is installed").await;
            if installed.is_ok() { AppendResult::Flushed(head.last) } else { AppendResult::Closed }
        }
        Ok(answer) => AppendResult::HigherVote(vote_out(&answer.vote)),
        Err(_) => AppendResult::Closed,
    }
}

async fn stage(state: &Arc<dyn Rows>, applied: log::Applied, mut parts: mpsc::Receiver<SnapshotPart>) -> Result<Received, StageError> {
    let blocks = state.blocks();
    let state = Arc::clone(state);
    let mut installer = off_lane(blocks, move || state.install(applied)).await??;
    loop {
        match parts.recv().await {
            Some(SnapshotPart::Chunk(chunk)) => {
                installer = off_lane(blocks, move || installer.chunk(&chunk).map(|()| installer)).await??;
            }
            Some(SnapshotPart::End(end)) => {
                installer.check(end)?;
                return Ok(Received { installer, end });
            }
            None => return Err(StageError::Lost),
        }
    }
}
