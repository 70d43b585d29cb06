//! One SQLite file: how it is opened, brought to the present version, and what its errors mean.
//!
//! In: a path, the steps from version to version. Out: a connection, errors of the store. Invariants: write-ahead log; the steps are done whole or
//! not at all, with what begins a new file; a file of a newer version is left alone. Bound: `BUSY_WAIT`.

use std::{path::Path, time::Duration};

use rusqlite::{Connection, ErrorCode};

use crate::store::{StoreFailed, StoreTrouble};

/// How long a lock of somebody else is waited for. The store's own lock keeps other clients away, so this is a tool that looks into the file.
const BUSY_WAIT: Duration = Duration::from_secs(5);

/// Whether a commit waits for the disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Sync {
    /// It does: what is committed outlives the loss of power.
    Each,
    /// The log is synced when it is taken in: the loss of power may take the last commits, whole.
    Lazy,
}

/// Opens a file, and brings it to the version that is the number of `steps`: step n leads from version n to n + 1. A new file is begun by `begin`.
pub(super) fn open(
    path: &Path,
    sync: Sync,
    steps: &[&str],
    begin: impl FnOnce(&Connection) -> Result<(), StoreFailed>,
) -> Result<Connection, StoreFailed> {
    let failed = |error| failed(&format!("opening {}", name_of(path)), &error);
    let mut db = Connection::open(path).map_err(failed)?;
    db.busy_timeout(BUSY_WAIT).map_err(failed)?;
    // Nothing is written to a file of a newer version, not even its header.
    let version: i64 = db.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(failed)?;
    let known = steps.len() as i64;
    if version > known || version < 0 {
        let text = format!("{} is of version {version}, this one knows up to {known}", name_of(path));
        return Err(StoreFailed::new(StoreTrouble::Newer, text));
    }
    if version == 0 {
        // Before the first table, or it has no effect: a history that shrinks gives its pages back.
        db.pragma_update(None, "auto_vacuum", "INCREMENTAL").map_err(failed)?;
    }
    db.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(())).map_err(failed)?;
    db.pragma_update(None, "synchronous", if sync == Sync::Each { "FULL" } else { "NORMAL" }).map_err(failed)?;
    db.pragma_update(None, "foreign_keys", false).map_err(failed)?;
    if version < known {
        let all = db.transaction().map_err(failed)?;
        for step in steps.iter().skip(version as usize) {
            all.execute_batch(step).map_err(failed)?;
        }
        all.pragma_update(None, "user_version", known).map_err(failed)?;
        if version == 0 {
            begin(&all)?;
        }
        all.commit().map_err(failed)?;
    }
    Ok(db)
}

/// What an error of SQLite means.
pub(super) fn failed(action: &str, error: &rusqlite::Error) -> StoreFailed {
    let trouble = match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => StoreTrouble::Full,
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => StoreTrouble::Corrupt,
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreTrouble::InUse,
        Some(_) => StoreTrouble::Io,
        // A column of another type, a row that must be there: what is in the file is not what was written.
        None => StoreTrouble::Corrupt,
    };
    StoreFailed::new(trouble, format!("{action}: {error}"))
}

/// Bytes in the file that nobody wrote.
pub(super) fn damaged(what: &str) -> StoreFailed {
    StoreFailed::new(StoreTrouble::Corrupt, format!("{what} is not as it was written"))
}

/// A number as SQLite keeps it.
pub(super) fn int(number: u64) -> Result<i64, StoreFailed> {
    i64::try_from(number).map_err(|_| StoreFailed::new(StoreTrouble::Io, format!("{number} is too large to be kept")))
}

/// A number as SQLite kept it.
pub(super) fn number(int: i64) -> Result<u64, StoreFailed> {
    u64::try_from(int).map_err(|_| damaged("a number"))
}

pub(super) fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
