//! What the cluster has too: records, rows of the index, cursors, edges.
//!
//! In: changes. Out: what they left. Invariants: a list of changes is applied whole; a cursor and the records that it passes are of one commit.
//! Bound: `bytes_max`, over which the channel that takes most loses its oldest quarter; a page of SQLite more or less.
//!
//! ```text
//! meta      key → value: "user_rev" (integer), "edges" (a body: a framed `ToClient::Answer` with id 0)
//! channels  id, channel 17 B; first, max, head (the cursor, or none); rev, incarnation, row (a body: the index row, or none); read_seq, read_cnt;
//!           bytes (of its records), kept (below it the records that grew were dropped)
//! records   channel (id), seq → target (of an edit or deletion; -1: an erasure), bytes (a body)
//! spans     channel (id), first → last: parts of a history besides the one that grows
//! seal      of a file with a key (since version 3): `seal`
//! ```

use std::{collections::BTreeMap, path::Path, sync::Arc};

use kith_wire::{
    client::{Answer, ToClient},
    id::{ChannelId, RequestId, Seq, UserRev},
    log::{IndexRow, Position, Record},
};
use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::{
    database::{self, Sync, damaged, failed, int, name_of, number},
    outbox,
    seal::{self, Place, Seal, StoreKey},
};
use crate::{
    amend::{Touches, amended, touches},
    span::{Span, Spans},
    store::{Change, Cursor, Snapshot, StoreFailed},
};

/// From version to version.
pub(super) const STEPS: &[&str] = &[
    "
    CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
    CREATE TABLE channels (id INTEGER PRIMARY KEY, channel BLOB NOT NULL UNIQUE, first INTEGER, max INTEGER, head INTEGER,
        rev INTEGER, incarnation INTEGER, row BLOB, read_seq INTEGER NOT NULL DEFAULT 0, read_cnt INTEGER NOT NULL DEFAULT 0,
        bytes INTEGER NOT NULL DEFAULT 0, kept INTEGER NOT NULL DEFAULT 0);
    CREATE TABLE records (channel INTEGER NOT NULL, seq INTEGER NOT NULL, target INTEGER, bytes BLOB NOT NULL, PRIMARY KEY (channel, seq))
        WITHOUT ROWID;
    CREATE INDEX records_target ON records (channel, target) WHERE target IS NOT NULL;
    CREATE TABLE spans (channel INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL, PRIMARY KEY (channel, first)) WITHOUT ROWID;
",
    "
    -- Version 2 is the outbox's.
",
    seal::STEP,
];

/// The least that a history may be bounded to.
const BYTES_MAX_MIN: u64 = 64 * 1024;
/// What a record takes besides its bytes, about.
const RECORD_BYTES: usize = 24;
/// The target of what touches all that is older.
const TARGET_ALL: i64 = -1;

pub(super) struct History {
    db: Connection,
    seal: Seal,
    bytes_max: i64,
    /// Of all records.
    bytes: i64,
}

impl History {
    pub(super) fn open(path: &Path, bytes_max: u64, key: Option<&StoreKey>) -> Result<Self, StoreFailed> {
        let file = name_of(path);
        let db = database::open(path, Sync::Lazy, STEPS, |db| Seal::begin(db, &file, key))?;
        let seal = Seal::read(&db, &file, key)?;
        let bytes = db.query_row("SELECT COALESCE(SUM(bytes), 0) FROM channels", [], |row| row.get(0)).map_err(reading)?;
        let history = Self { db, seal, bytes_max: i64::try_from(bytes_max.max(BYTES_MAX_MIN)).unwrap_or(i64::MAX), bytes };
        // What a client goes on with is looked at now: damage there is healed before it begins.
        history.load(&mut Snapshot::default())?;
        history.rows()?;
        Ok(history)
    }
    pub(super) fn load(&self, snapshot: &mut Snapshot) -> Result<(), StoreFailed> {
        let user_rev: Option<i64> = self.meta("user_rev")?;
        snapshot.user_rev = UserRev::new(number(user_rev.unwrap_or(0))?);
        let edges: Option<Vec<u8>> = self.meta("edges")?;
        if let Some(bytes) = edges {
            let bytes = self.seal.open(edges_place(), bytes)?;
            let Ok(ToClient::Answer { answer: Ok(Answer::Edges(edges)), .. }) = ToClient::decode(&bytes) else { return Err(damaged("the edges")) };
            snapshot.edges = edges;
        }
        let mut select = self.db.prepare_cached("SELECT channel, first, max, head, rev FROM channels").map_err(reading)?;
        let mut found = select.query([]).map_err(reading)?;
        while let Some(row) = found.next().map_err(reading)? {
            let raw: Vec<u8> = row.get(0).map_err(reading)?;
            let channel = ChannelId::from_bytes(&raw).map_err(|_| damaged("a channel"))?;
            if let Some(cursor) = cursor_of(row, 1)? {
                snapshot.cursors.insert(channel, cursor);
            }
            let rev: Option<i64> = row.get(4).map_err(reading)?;
            if let Some(rev) = rev {
                snapshot.rows.insert(channel, UserRev::new(number(rev)?));
            }
        }
        Ok(())
    }
    /// Applies what concerns the history, whole.
    pub(super) fn apply(&mut self, changes: &[Change]) -> Result<(), StoreFailed> {
        if changes.iter().all(outbox::concerns) {
            return Ok(());
        }
        let all = self.db.transaction().map_err(writing)?;
        let mut bytes = self.bytes;
        for change in changes {
            bytes += apply(&all, &self.seal, change)?;
        }
        let is_over = bytes > self.bytes_max;
        if is_over {
            bytes = evict(&all, bytes, self.bytes_max - self.bytes_max / 10)?;
        }
        all.commit().map_err(writing)?;
        self.bytes = bytes;
        if is_over {
            // Pages that are free are given back, a few at a time; what fails here is done the next time.
            let freed = self.db.execute_batch("PRAGMA incremental_vacuum(4096)");
            if let Err(error) = freed {
                tracing::debug!(%error, "the store could not give pages back");
            }
        }
        Ok(())
    }
    pub(super) fn records(&self, channel: ChannelId, first: Seq, last: Seq, limit: usize) -> Result<Vec<Arc<Record>>, StoreFailed> {
        let Some(id) = find(&self.db, channel)? else { return Ok(Vec::new()) };
        let text = "SELECT seq, bytes FROM records WHERE channel = ? AND seq BETWEEN ? AND ? ORDER BY seq LIMIT ?";
        let (first, last, limit) = (bound(first), bound(last), i64::try_from(limit).unwrap_or(i64::MAX));
        if first == i64::MAX {
            return Ok(Vec::new());
        }
        select_records(&self.db, &self.seal, id, text, params![id, first, last, limit])
    }
    pub(super) fn cursor(&self, channel: ChannelId) -> Result<Option<Cursor>, StoreFailed> {
        let mut select = self.db.prepare_cached("SELECT first, max, head FROM channels WHERE channel = ?").map_err(reading)?;
        let mut found = select.query([channel.as_bytes()]).map_err(reading)?;
        found.next().map_err(reading)?.map_or(Ok(None), |row| cursor_of(row, 0))
    }
    pub(super) fn rows(&self) -> Result<Vec<IndexRow>, StoreFailed> {
        let text = "SELECT row, read_seq, read_cnt, id FROM channels WHERE row IS NOT NULL";
        let mut select = self.db.prepare_cached(text).map_err(reading)?;
        let mut found = select.query([]).map_err(reading)?;
        let mut rows = Vec::new();
        while let Some(row) = found.next().map_err(reading)? {
            let bytes: Vec<u8> = row.get(0).map_err(reading)?;
            let bytes = self.seal.open(row_place(&row.get::<_, i64>(3).map_err(reading)?.to_be_bytes()), bytes)?;
            let mut index = IndexRow::decode(&bytes).map_err(|_| damaged("a row of the index"))?;
            let read = Position { seq: seq(row.get(1).map_err(reading)?)?, cnt: number(row.get(2).map_err(reading)?)? };
            if index.read.seq < read.seq {
                index.read = read;
            }
            rows.push(index);
        }
        rows.sort_by_key(|row| (std::cmp::Reverse(row.rev), row.news.channel));
        Ok(rows)
    }
    pub(super) fn spans(&self, channel: ChannelId) -> Result<Vec<Span>, StoreFailed> {
        let Some(id) = find(&self.db, channel)? else { return Ok(Vec::new()) };
        let kept: i64 = self.db.query_row("SELECT kept FROM channels WHERE id = ?", [id], |row| row.get(0)).map_err(reading)?;
        let growing = self.cursor(channel)?.and_then(|cursor| Span::new(cursor.from.max(Seq::new(kept.max(0).cast_unsigned())), cursor.max));
        Ok(spans_of(&self.db, id)?.with(growing))
    }
    fn meta<T: rusqlite::types::FromSql>(&self, key: &str) -> Result<Option<T>, StoreFailed> {
        let mut select = self.db.prepare_cached("SELECT value FROM meta WHERE key = ?").map_err(reading)?;
        select.query_row([key], |row| row.get(0)).optional().map_err(reading)
    }
    #[cfg(test)]
    pub(super) fn database(&self) -> &Connection {
        &self.db
    }
}

/// Applies one change. Returns by how many bytes the records grew.
fn apply(all: &Transaction<'_>, seal: &Seal, change: &Change) -> Result<i64, StoreFailed> {
    match change {
        Change::UserRev(rev) => set(all, "user_rev", &int(rev.get())?)?,
        Change::Edges(edges) => {
            let frame = ToClient::Answer { id: RequestId::default(), answer: Ok(Answer::Edges(edges.clone())) };
            set(all, "edges", &seal.close(edges_place(), &frame.encode())?)?;
        }
        Change::Cursor(channel, cursor) => {
            let id = make(all, *channel)?;
            let values = params![int(cursor.from.get())?, int(cursor.max.get())?, int(cursor.head.get())?, id];
            execute(all, "UPDATE channels SET first = ?, max = ?, head = ? WHERE id = ?", values)?;
        }
        Change::Row(row) => {
            let id = make(all, row.news.channel)?;
            let bytes = row.encode();
            let bytes = seal.close(row_place(&id.to_be_bytes()), &bytes)?;
            let values = params![int(row.rev.get())?, row.news.incarnation.get(), &bytes[..], id];
            // A position that was read in an older incarnation may lie in a tail that was lost.
            let text = "UPDATE channels SET read_seq = 0, read_cnt = 0 WHERE id = ? AND incarnation < ?";
            execute(all, text, params![id, row.news.incarnation.get()])?;
            execute(all, "UPDATE channels SET rev = ?, incarnation = ?, row = ? WHERE id = ?", values)?;
        }
        Change::Read(channel, read) => {
            let id = make(all, *channel)?;
            let at = int(read.seq.get())?;
            let values = params![at, int(read.cnt)?, id, at];
            execute(all, "UPDATE channels SET read_seq = ?, read_cnt = ? WHERE id = ? AND read_seq < ?", values)?;
        }
        Change::Records(channel, records) => {
            let id = make(all, *channel)?;
            let mut grown = 0;
            for record in records {
                grown += amend(all, seal, id, record)? + put(all, seal, id, record)?;
            }
            grow(all, id, grown)?;
            return Ok(grown);
        }
        Change::History { channel, records, span, head } => {
            let id = make(all, *channel)?;
            let mut grown = 0;
            for record in records {
                if !holds(all, id, record.at.seq)? {
                    let record = as_of_now(all, seal, id, record, *head)?;
                    grown += put(all, seal, id, &record)?;
                }
            }
            let mut spans = spans_of(all, id)?;
            if let Some(dropped) = spans.add(*span) {
                grown -= remove(all, id, dropped)?;
            }
            put_spans(all, id, &spans)?;
            grow(all, id, grown)?;
            return Ok(grown);
        }
        // The outbox's.
        Change::Identity(_) | Change::Conn(_) | Change::Write(_) | Change::Settled { .. } | Change::Parked { .. } | Change::Dropped(..) => {}
    }
    Ok(0)
}

/// Keeps what a record leaves of older ones.
fn amend(all: &Transaction<'_>, seal: &Seal, id: i64, by: &Record) -> Result<i64, StoreFailed> {
    let held = match touches(by) {
        Touches::Nothing => return Ok(0),
        Touches::Target(target) => {
            let text = "SELECT seq, bytes FROM records WHERE channel = ?1 AND seq = ?2
                UNION ALL SELECT seq, bytes FROM records WHERE channel = ?1 AND target = ?2 AND seq <> ?2";
            select_records(all, seal, id, text, params![id, bound(target)])?
        }
        Touches::All => {
            let text = "SELECT seq, bytes FROM records WHERE channel = ? AND seq < ?";
            select_records(all, seal, id, text, params![id, bound(by.at.seq)])?
        }
    };
    let mut grown = 0;
    for record in held {
        if let Some(left) = amended(&record, by) {
            grown += put(all, seal, id, &left)?;
        }
    }
    Ok(grown)
}

/// A record of an older view, with what has changed since that is held.
fn as_of_now(all: &Transaction<'_>, seal: &Seal, id: i64, record: &Arc<Record>, head: Seq) -> Result<Arc<Record>, StoreFailed> {
    let mut later = BTreeMap::new();
    let targets = [Some(int(record.at.seq.get())?), target_of(record), Some(TARGET_ALL)];
    for target in targets.into_iter().flatten() {
        let text = "SELECT seq, bytes FROM records WHERE channel = ? AND target = ? AND seq > ?";
        later.extend(select_records(all, seal, id, text, params![id, target, bound(head)])?.into_iter().map(|by| (by.at.seq, by)));
    }
    Ok(later.values().fold(Arc::clone(record), |record, by| amended(&record, by).unwrap_or(record)))
}

/// Drops the oldest records of the channels that take most, until no more than `aim` is left. Returns what is left.
fn evict(all: &Transaction<'_>, mut bytes: i64, aim: i64) -> Result<i64, StoreFailed> {
    while bytes > aim {
        let text = "SELECT id, bytes FROM channels ORDER BY bytes DESC, id LIMIT 1";
        let most = all.query_row(text, [], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?))).optional().map_err(reading)?;
        let Some((id, _)) = most.filter(|(_, held)| *held > 0) else { return Ok(bytes) };
        let count: i64 = all.query_row("SELECT COUNT(*) FROM records WHERE channel = ?", [id], |row| row.get(0)).map_err(reading)?;
        let text = "SELECT seq FROM records WHERE channel = ? ORDER BY seq LIMIT 1 OFFSET ?";
        let last: i64 = all.query_row(text, [id, count / 4], |row| row.get(0)).map_err(reading)?;
        let last = seq(last)?;
        let freed = remove(all, id, Span { first: Seq::ZERO, last })?;
        let mut spans = spans_of(all, id)?;
        spans.trim_below(last.next());
        put_spans(all, id, &spans)?;
        execute(all, "UPDATE channels SET kept = MAX(kept, ?) WHERE id = ?", params![bound(last.next()), id])?;
        grow(all, id, -freed)?;
        bytes -= freed;
    }
    Ok(bytes)
}

/// Writes a record. Returns by how many bytes the records grew.
fn put(all: &Connection, seal: &Seal, id: i64, record: &Record) -> Result<i64, StoreFailed> {
    let at = int(record.at.seq.get())?;
    let before = length(all, id, at)?;
    let bytes = record.encode();
    let bytes = seal.close(record_place(&id.to_be_bytes(), at), &bytes)?;
    let values = params![id, at, target_of(record), &bytes[..]];
    execute(all, "INSERT OR REPLACE INTO records (channel, seq, target, bytes) VALUES (?, ?, ?, ?)", values)?;
    Ok((bytes.len() + RECORD_BYTES) as i64 - before.unwrap_or(0))
}

fn holds(all: &Connection, id: i64, seq: Seq) -> Result<bool, StoreFailed> {
    Ok(length(all, id, int(seq.get())?)?.is_some())
}

fn length(all: &Connection, id: i64, at: i64) -> Result<Option<i64>, StoreFailed> {
    let mut select = all.prepare_cached("SELECT LENGTH(bytes) FROM records WHERE channel = ? AND seq = ?").map_err(reading)?;
    let held: Option<i64> = select.query_row([id, at], |row| row.get(0)).optional().map_err(reading)?;
    Ok(held.map(|bytes| bytes + RECORD_BYTES as i64))
}

/// Removes records. Returns their bytes.
fn remove(all: &Connection, id: i64, span: Span) -> Result<i64, StoreFailed> {
    let values = params![id, bound(span.first), bound(span.last)];
    let text = "SELECT COUNT(*), COALESCE(SUM(LENGTH(bytes)), 0) FROM records WHERE channel = ? AND seq BETWEEN ? AND ?";
    let (count, bytes): (i64, i64) = all.query_row(text, values, |row| Ok((row.get(0)?, row.get(1)?))).map_err(reading)?;
    execute(all, "DELETE FROM records WHERE channel = ? AND seq BETWEEN ? AND ?", values)?;
    Ok(bytes + count * RECORD_BYTES as i64)
}

fn grow(all: &Connection, id: i64, bytes: i64) -> Result<(), StoreFailed> {
    execute(all, "UPDATE channels SET bytes = bytes + ? WHERE id = ?", params![bytes, id])
}

fn spans_of(db: &Connection, id: i64) -> Result<Spans, StoreFailed> {
    let mut select = db.prepare_cached("SELECT first, last FROM spans WHERE channel = ? ORDER BY first").map_err(reading)?;
    let mut found = select.query([id]).map_err(reading)?;
    let mut spans = Vec::new();
    while let Some(row) = found.next().map_err(reading)? {
        spans.push(Span { first: seq(row.get(0).map_err(reading)?)?, last: seq(row.get(1).map_err(reading)?)? });
    }
    Ok(Spans::from_sorted(spans))
}

fn put_spans(all: &Connection, id: i64, spans: &Spans) -> Result<(), StoreFailed> {
    execute(all, "DELETE FROM spans WHERE channel = ?", params![id])?;
    for span in spans.as_slice() {
        let values = params![id, int(span.first.get())?, int(span.last.get())?];
        execute(all, "INSERT INTO spans (channel, first, last) VALUES (?, ?, ?)", values)?;
    }
    Ok(())
}

fn set(all: &Connection, key: &str, value: &dyn rusqlite::ToSql) -> Result<(), StoreFailed> {
    execute(all, "INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", params![key, value])
}

fn find(db: &Connection, channel: ChannelId) -> Result<Option<i64>, StoreFailed> {
    let mut select = db.prepare_cached("SELECT id FROM channels WHERE channel = ?").map_err(reading)?;
    select.query_row([channel.as_bytes()], |row| row.get(0)).optional().map_err(reading)
}

fn make(all: &Connection, channel: ChannelId) -> Result<i64, StoreFailed> {
    if let Some(id) = find(all, channel)? {
        return Ok(id);
    }
    execute(all, "INSERT INTO channels (channel) VALUES (?)", params![channel.as_bytes()])?;
    Ok(all.last_insert_rowid())
}

fn select_records(db: &Connection, seal: &Seal, id: i64, text: &str, values: &[&dyn rusqlite::ToSql]) -> Result<Vec<Arc<Record>>, StoreFailed> {
    let mut select = db.prepare_cached(text).map_err(reading)?;
    let mut found = select.query(values).map_err(reading)?;
    let mut records = Vec::new();
    while let Some(row) = found.next().map_err(reading)? {
        let bytes = seal.open(record_place(&id.to_be_bytes(), row.get(0).map_err(reading)?), row.get(1).map_err(reading)?)?;
        records.push(Arc::new(Record::decode(&bytes).map_err(|_| damaged("a record"))?));
    }
    Ok(records)
}

fn record_place(id: &[u8], at: i64) -> Place<'_> {
    Place::new("a record", id, at.cast_unsigned())
}
fn row_place(id: &[u8]) -> Place<'_> {
    Place::new("a row of the index", id, 0)
}
fn edges_place() -> Place<'static> {
    Place::new("the edges", &[], 0)
}

fn cursor_of(row: &rusqlite::Row<'_>, at: usize) -> Result<Option<Cursor>, StoreFailed> {
    let from: Option<i64> = row.get(at).map_err(reading)?;
    let Some(from) = from else { return Ok(None) };
    Ok(Some(Cursor { from: seq(from)?, max: seq(row.get(at + 1).map_err(reading)?)?, head: seq(row.get(at + 2).map_err(reading)?)? }))
}

fn target_of(record: &Record) -> Option<i64> {
    match touches(record) {
        Touches::Nothing => None,
        Touches::Target(target) => Some(bound(target)),
        Touches::All => Some(TARGET_ALL),
    }
}

/// A seq that is only compared with.
fn bound(seq: Seq) -> i64 {
    i64::try_from(seq.get()).unwrap_or(i64::MAX)
}
fn seq(int: i64) -> Result<Seq, StoreFailed> {
    number(int).map(Seq::new)
}
fn execute(db: &Connection, text: &str, values: &[&dyn rusqlite::ToSql]) -> Result<(), StoreFailed> {
    db.prepare_cached(text).map_err(writing)?.execute(values).map_err(writing)?;
    Ok(())
}
fn reading(error: rusqlite::Error) -> StoreFailed {
    failed("reading the history", &error)
}
fn writing(error: rusqlite::Error) -> StoreFailed {
    failed("writing the history", &error)
}
