//! A group's rows at one moment, in chunks, for a replica that is too far behind.
//!
//! Invariant: rows and the applied row come from one RocksDB snapshot, so they always agree. Chunks are made as they are asked for: one in memory.
//! Bound: `limit::SNAPSHOT_CHUNK_BYTES` per chunk, one row always fits. Not here: sending.

use std::sync::Arc;

use bytes::Bytes;
use kith_machine::{
    mutant::{Mutant, Quirk},
    view::{RowKey, ViewError},
};
use kith_wire::{id::GroupId, limit::SNAPSHOT_CHUNK_BYTES, log::Applied, peer::SnapshotEnd};
use rocksdb::ReadOptions;
use thiserror::Error;

use crate::{
    chunk::{self, Tally},
    fatal::FatalError,
    group::{GroupState, Phase},
    key::{self, Family},
    merge::{self, Pinned, Source},
    quarantine::Damage,
    row::view_error,
    state::{AppliedError, parse_applied},
};

/// A snapshot cannot be made.
#[derive(Debug, Error)]
pub enum ExportError {
    /// The store is out of service.
    #[error("the store has failed")]
    Store(#[from] FatalError),
    /// The group serves nothing now.
    #[error("cannot export the group")]
    NotServing(#[from] ViewError),
    /// RocksDB refuses.
    #[error("cannot read the group's rows")]
    Database(#[from] rocksdb::Error),
    /// The group's applied row is damaged.
    #[error("cannot read where the group stands")]
    Applied(#[from] AppliedError),
}

/// A snapshot being read: an iterator of its chunks. Holds back the database's clean-up until it is dropped.
pub struct Export {
    pinned: Pinned,
    damage: Arc<Damage>,
    group: GroupId,
    applied: Applied,
    /// Family to read next, and from which key on.
    next: Option<(usize, Vec<u8>)>,
    tally: Tally,
    quirk: Quirk,
}

impl GroupState {
    /// Opens a snapshot of everything committed so far.
    ///
    /// # Errors
    /// The store has failed, or the group serves nothing now.
    pub fn export(&self) -> Result<Export, ExportError> {
        self.shared.drain()?;
        let held = self.held();
        if let Phase::Refusing(reason) = held.phase {
            return Err(view_error(&"export", reason).into());
        }
        let pinned = merge::pin(&self.shared.databases);
        drop(held);
        let mut options = ReadOptions::default();
        options.set_snapshot(pinned.borrow_dependent());
        let databases = &self.shared.databases;
        let value = databases.state.get_cf_opt(databases.applied_cf(), self.id().get().to_be_bytes(), &options)?;
        let applied = value.as_deref().map(parse_applied).transpose()?.unwrap_or_default();
        let next = Some((0, key::whole(self.id()).0));
        Ok(Export {
            pinned,
            damage: Arc::clone(&self.shared.damage),
            group: self.id(),
            applied,
            next,
            tally: Tally::default(),
            quirk: self.shared.quirk,
        })
    }
}

impl Export {
    /// What is applied in it: the head of the snapshot.
    pub fn applied(&self) -> &Applied {
        &self.applied
    }

    /// The end of the snapshot, once the last chunk was taken.
    pub fn end(&self) -> SnapshotEnd {
        self.tally.end()
    }

    fn read_chunk(&mut self) -> Result<Option<Bytes>, rocksdb::Error> {
        let Some((mut at, mut from)) = self.next.take() else { return Ok(None) };
        let mut out = vec![0; chunk::HEADER_BYTES];
        let mut count = 0_u32;
        while let Some(family) = Family::ALL.get(at) {
            let mut rows = Source::Pinned(&self.pinned).rows(*family, from, key::whole(self.group).1);
            rows.seek_to_first();
            while let Some((key, value)) = rows.item() {
                if self.quirk.is(Mutant::DedupNotInSnapshot) && matches!(key::decode(*family, key), Ok((_, RowKey::Dedup(..)))) {
                    rows.next();
                    continue;
                }
                if count > 0 && out.len() + key.len() + value.len() + 8 > SNAPSHOT_CHUNK_BYTES {
                    self.next = Some((at, key.to_vec()));
                    return Ok(Some(chunk::finish(out, count)));
                }
                chunk::put(&mut out, *family, &key[4..], value);
                count += 1;
                rows.next();
            }
            rows.status()?;
            at += 1;
            from = key::whole(self.group).0;
        }
        Ok((count > 0).then(|| chunk::finish(out, count)))
    }
}

impl Iterator for Export {
    type Item = Result<Bytes, ExportError>;

    fn next(&mut self) -> Option<Self::Item> {
        let chunk = self.read_chunk().transpose()?;
        if let Ok(chunk) = &chunk {
            self.tally.add(chunk);
        }
        Some(chunk.map_err(|error| {
            self.damage.report(self.group, &error);
            ExportError::from(error)
        }))
    }
}
