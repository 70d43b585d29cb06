//! Takes a group's rows from a snapshot: staged in a file, verified, then swapped in so that a crash at any step loses nothing.
//!
//! ```text
//! DIR/staging/group-G-N.snap:  "kithsnp1" | applied length u32 BE | applied row, sealed | chunks: length u32 BE | chunk | 0 u32 | rows u64 BE | crc u32 BE
//! ```
//! Steps: (1) chunks go to the file, every row checked as it comes; (2) count and crc are compared, the file is synced; (3) a mark that names
//! it goes to the log database, synced; (4) old rows are deleted, new ones written, the applied row last, all flushed; (5) the log is
//! purged up to it, and the mark is cleared.
//! Before (3) a crash leaves the old state. After it the next start repeats (4) from the file. If the file cannot be read then, the group is
//! emptied and refuses until another snapshot is installed; vote and log stay.
//! Bound: one chunk in memory. Not here: receiving.

use std::{
    fs::{self, File},
    io::{self, BufReader, BufWriter, Read, Write},
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering},
};

use kith_wire::{id::GroupId, limit::PEER_FRAME_BYTES_MAX, log::Applied, peer::SnapshotEnd};
use rocksdb::WriteBatch;
use thiserror::Error;

use crate::{
    chunk::{self, ChunkError, Tally},
    fatal::FatalError,
    group::{GroupState, NotServing, Phase},
    key::{self, Family},
    local::LocalError,
    log::WriteFailed,
    state::{AppliedError, Shared, StateDb, parse_applied, seal_applied},
};

const MAGIC: &[u8; 8] = b"kithsnp1";
const MARK: &str = "install/";
/// A snapshot chunk on its way in, in bytes: as much as a peer frame can carry.
const CHUNK_BYTES_MAX: usize = PEER_FRAME_BYTES_MAX;

/// A snapshot was not installed. Unless it says that the store has failed, the group is as it was.
#[derive(Debug, Error)]
pub enum InstallError {
    /// The store is out of service.
    #[error("the store has failed")]
    Store(#[from] FatalError),
    /// The mark could not be written.
    #[error("cannot mark the install")]
    Mark(#[from] WriteFailed),
    /// Marks of an earlier run cannot be read.
    #[error("cannot read marks of an earlier run")]
    Marks(#[from] LocalError),
    /// The staging file cannot be written or read.
    #[error("cannot use staging file {}", path.display())]
    File { path: PathBuf, source: io::Error },
    /// The staging file is not one.
    #[error("staging file {} is damaged", .0.display())]
    Damaged(PathBuf),
    /// What came is not a snapshot.
    #[error("snapshot of group {group} is damaged")]
    Chunk { group: GroupId, source: ChunkError },
    /// What came is not all, or not what was sent.
    #[error("snapshot of group {group} has {found:?}, its end says {expected:?}")]
    Incomplete { group: GroupId, expected: SnapshotEnd, found: SnapshotEnd },
    /// The applied row could not be read back.
    #[error("cannot read back where the group stands")]
    Applied(#[from] AppliedError),
    /// The group was removed.
    #[error("group {0} was removed")]
    Destroyed(GroupId),
    /// A test stopped here.
    #[cfg(test)]
    #[error("stopped by a test")]
    Stopped,
}

/// Where a test may stop an install, as a crash would.
#[cfg(test)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Step {
    Staged,
    Marked,
    Deleted,
    HalfWritten,
    Written,
    Flushed,
}

macro_rules! step {
    ($shared:expr, $step:ident, $name:ident) => {
        $shared.steps.pass(crate::step::install::$name);
        #[cfg(test)]
        if *crate::sync::lock(&$shared.stop_at) == Some(Step::$step) {
            return Err(InstallError::Stopped);
        }
    };
}

/// A snapshot on its way in. Dropped before [`Installer::finish`] it leaves nothing behind.
pub struct Installer {
    group: Arc<GroupState>,
    applied: Applied,
    file: BufWriter<File>,
    staged: Staged,
    tally: Tally,
    /// Family and key of the last row, to see that rows rise.
    last: Option<(Family, Vec<u8>)>,
    key: Vec<u8>,
}

/// A staging file, removed when dropped unless it is kept.
struct Staged {
    path: PathBuf,
    is_kept: bool,
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.is_kept
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "cannot remove a staging file");
        }
    }
}

impl GroupState {
    /// Begins to take a snapshot; `applied` is its head. The group serves on until [`Installer::finish`].
    ///
    /// # Errors
    /// The staging file cannot be made, or the group was removed.
    pub fn install(self: &Arc<Self>, applied: Applied) -> Result<Installer, InstallError> {
        if self.refusal() == Some(NotServing::Destroyed) {
            return Err(InstallError::Destroyed(self.id()));
        }
        let dir = staging(&self.shared.databases.dir);
        let number = self.shared.snapshots.fetch_add(1, Ordering::Relaxed);
        let path = dir.join(format!("group-{}-{number}.snap", self.id()));
        let file = fs::create_dir_all(&dir).and_then(|()| File::create(&path)).map_err(|source| InstallError::File { path: path.clone(), source })?;
        let mut installer = Installer {
            group: Arc::clone(self),
            file: BufWriter::new(file),
            staged: Staged { path, is_kept: false },
            tally: Tally::default(),
            last: None,
            key: Vec::new(),
            applied,
        };
        let head = seal_applied(&installer.applied);
        installer.write(&[MAGIC, &(head.len() as u32).to_be_bytes(), &head])?;
        Ok(installer)
    }
}

impl Installer {
    /// Takes the next chunk.
    ///
    /// # Errors
    /// It is damaged or out of order, or the staging file cannot be written: drop the installer.
    pub fn chunk(&mut self, chunk: &[u8]) -> Result<(), InstallError> {
        let group = self.group.id();
        let refused = |source| InstallError::Chunk { group, source };
        for row in chunk::parse(chunk).map_err(refused)? {
            chunk::verify(group, &row, &mut self.key).map_err(refused)?;
            let rises = self.last.as_ref().is_none_or(|(family, key)| (*family, key.as_slice()) < (row.family, row.key));
            if !rises {
                return Err(refused(ChunkError::Order));
            }
            let (family, key) = self.last.get_or_insert_with(|| (row.family, Vec::new()));
            *family = row.family;
            key.clear();
            key.extend_from_slice(row.key);
        }
        self.tally.add(chunk);
        self.write(&[&(chunk.len() as u32).to_be_bytes(), chunk])
    }

    /// Checks that everything came, so that what is wrong is known while the group can still go on without the snapshot.
    ///
    /// # Errors
    /// Something is missing or was changed on the way.
    pub fn check(&self, end: SnapshotEnd) -> Result<(), InstallError> {
        let found = self.tally.end();
        if found == end { Ok(()) } else { Err(InstallError::Incomplete { group: self.group.id(), expected: end, found }) }
    }

    /// Checks that everything came, and puts it in the place of what the group has. Blocks until it is on the disk; the group serves nothing
    /// meanwhile. After it, `applied` is the snapshot's head and durable, and the log is purged up to there.
    ///
    /// # Errors
    /// Something is missing or was changed on the way, or the store has failed.
    pub fn finish(mut self, end: SnapshotEnd) -> Result<(), InstallError> {
        self.check(end)?;
        self.write(&[&0_u32.to_be_bytes(), &end.rows.to_be_bytes(), &end.crc.to_be_bytes()])?;
        let (path, shared) = (self.staged.path.clone(), Arc::clone(&self.group.shared));
        let dir = staging(&shared.databases.dir);
        self.file
            .flush()
            .and_then(|()| self.file.get_ref().sync_all())
            .and_then(|()| File::open(&dir)?.sync_all())
            .map_err(|source| InstallError::File { path: path.clone(), source })?;
        step!(shared, Staged, STAGED);
        let mark = mark(self.group.id());
        let name = path.file_name().map(|name| name.as_encoded_bytes().to_vec()).unwrap_or_default();
        shared.local.set(&mark, Some(&name))?;
        self.staged.is_kept = true;
        step!(shared, Marked, MARKED);
        shared.freed(self.group.reset(Phase::Refusing(NotServing::Installing), Applied::default()));
        // Whatever the state writer had taken of this group is in the database after this, and nothing follows.
        shared.drain()?;
        let applied = swap(&shared, self.group.id(), &path)?;
        settle(&shared, &self.group, applied)?;
        self.staged.is_kept = false;
        Ok(())
    }

    fn write(&mut self, parts: &[&[u8]]) -> Result<(), InstallError> {
        parts.iter().try_for_each(|part| self.file.write_all(part)).map_err(|source| InstallError::File { path: self.staged.path.clone(), source })
    }
}

/// Replaces a group's rows by those of a staging file, and flushes. Repeatable.
fn swap(shared: &Shared, group: GroupId, path: &Path) -> Result<Applied, InstallError> {
    let mut file = Reading::open(path)?;
    let applied = parse_applied(&file.head()?)?;
    wipe(shared, group)?;
    step!(shared, Deleted, DELETED);
    let (mut tally, mut key) = (Tally::default(), Vec::new());
    let end = loop {
        let Some(chunk) = file.chunk()? else { break file.end()? };
        tally.add(&chunk);
        let mut batch = WriteBatch::with_capacity_bytes(chunk.len() + chunk.len() / 4);
        for row in chunk::parse(&chunk).map_err(|source| InstallError::Chunk { group, source })? {
            chunk::full_key(group, row.key, &mut key);
            batch.put_cf(shared.databases.state_cf(row.family), &key, row.value);
        }
        shared.write(batch)?;
        step!(shared, HalfWritten, HALF_WRITTEN);
    };
    // The file was checked when it was staged; this finds what the disk did to it since.
    if tally.end() != end {
        return Err(InstallError::Incomplete { group, expected: end, found: tally.end() });
    }
    let mut batch = WriteBatch::new();
    batch.put_cf(shared.databases.applied_cf(), group.get().to_be_bytes(), seal_applied(&applied));
    shared.write(batch)?;
    step!(shared, Written, WRITTEN);
    shared.flush_database()?;
    step!(shared, Flushed, FLUSHED);
    Ok(applied)
}

/// Serves what was swapped in. The log is purged up to it before the mark goes, so that no state is ahead of its log without a mark.
fn settle(shared: &Shared, group: &GroupState, applied: Applied) -> Result<(), InstallError> {
    let last = applied.last;
    group.reset(Phase::Serving, applied);
    shared.note_durable(group.id())?;
    if let Some(last) = last {
        shared.log.purge(group.id(), last);
    }
    shared.local.set(&mark(group.id()), None)?;
    shared.steps.pass(crate::step::install::SETTLED);
    Ok(())
}

/// Deletes all rows of a group, in memory: a flush makes it last.
pub(crate) fn wipe(shared: &Shared, group: GroupId) -> Result<(), FatalError> {
    let (from, to) = key::whole(group);
    let mut batch = WriteBatch::new();
    for family in Family::ALL {
        batch.delete_range_cf(shared.databases.state_cf(family), &from, &to);
    }
    batch.delete_cf(shared.databases.applied_cf(), group.get().to_be_bytes());
    shared.write(batch)
}

/// Completes the installs that an earlier run marked, and removes staging files that nobody marked.
pub(crate) fn recover(state: &StateDb) -> Result<(), InstallError> {
    let shared = &state.shared;
    let dir = staging(&shared.databases.dir);
    for (group, name) in shared.local.with_prefix(MARK)? {
        let Ok(group) = group.parse().map(GroupId::new) else { continue };
        let path = dir.join(String::from_utf8_lossy(&name).as_ref());
        match swap(shared, group, &path) {
            Ok(applied) => {
                settle(shared, &state.group(group), applied)?;
                tracing::info!(%group, "completed the install of a snapshot that an earlier run began");
            }
            Err(InstallError::Store(error)) => return Err(error.into()),
            Err(error) => {
                tracing::error!(%group, error = &error as &dyn std::error::Error, "cannot complete an install; the group needs another snapshot");
                wipe(shared, group)?;
                shared.flush_database()?;
                shared.forget_durable(group);
                // The mark stays, so that the next start knows as well.
                state.group(group).reset(Phase::Refusing(NotServing::NeedsSnapshot), Applied::default());
            }
        }
    }
    match fs::remove_dir_all(&dir) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(InstallError::File { path: dir, source }),
        _ => Ok(()),
    }
}

/// Name of the mark that a group is being installed.
pub(crate) fn mark(group: GroupId) -> String {
    format!("{MARK}{group}")
}

/// The group that a local value of this name marks as being installed.
pub(crate) fn marked(name: &str) -> Option<GroupId> {
    name.strip_prefix(MARK)?.parse().ok().map(GroupId::new)
}

fn staging(dir: &Path) -> PathBuf {
    dir.join("staging")
}

/// A staging file being read.
struct Reading {
    file: BufReader<File>,
    path: PathBuf,
}

impl Reading {
    fn open(path: &Path) -> Result<Self, InstallError> {
        let file = File::open(path).map_err(|source| InstallError::File { path: path.to_owned(), source })?;
        Ok(Self { file: BufReader::new(file), path: path.to_owned() })
    }

    fn head(&mut self) -> Result<Vec<u8>, InstallError> {
        if self.array::<8>()? != *MAGIC {
            return Err(InstallError::Damaged(self.path.clone()));
        }
        self.sized()
    }

    fn chunk(&mut self) -> Result<Option<Vec<u8>>, InstallError> {
        self.sized().map(|chunk| Some(chunk).filter(|chunk| !chunk.is_empty()))
    }

    fn end(&mut self) -> Result<SnapshotEnd, InstallError> {
        Ok(SnapshotEnd { rows: u64::from_be_bytes(self.array()?), crc: u32::from_be_bytes(self.array()?) })
    }

    fn sized(&mut self) -> Result<Vec<u8>, InstallError> {
        let length = u32::from_be_bytes(self.array()?) as usize;
        if length > CHUNK_BYTES_MAX {
            return Err(InstallError::Damaged(self.path.clone()));
        }
        let mut bytes = vec![0; length];
        self.file.read_exact(&mut bytes).map_err(|source| InstallError::File { path: self.path.clone(), source })?;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], InstallError> {
        let mut raw = [0; N];
        self.file.read_exact(&mut raw).map_err(|source| InstallError::File { path: self.path.clone(), source })?;
        Ok(raw)
    }
}

#[cfg(test)]
mod tests;
