//! The outbox: the device, the numbers that it gave, and the writes that await their answer.
//!
//! In: changes. Out: what the client goes on with. Invariants: each commit is synced; each row carries a sum over its bytes, and the device's
//! row the sum of those, so that a row that is gone is missed as one that is damaged is noticed. Bound: that of the client's outbox.
//!
//! ```text
//! device   user 8 B BE, nonce 16 B, conn, generation (times opened), rows (wrapping sum of the sums below), sum; none: a new store
//! numbers  channel 17 B → last, acked, sum
//! writes   channel 17 B, client_seq → request (a body: an encoded `ToEdge::Request` with id 0), sum (over the body as it is kept)
//! parked   as writes, with code and reason (since version 2)
//! seal     of a file with a key (since version 3): `seal`
//! ```

use std::path::Path;

use kith_wire::{
    client::{Request, ToEdge},
    code::Code,
    id::{ChannelId, ClientSeq, Conn, RequestId, UserId, hash},
};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{
    database::{self, Sync, damaged, failed, int, name_of, number},
    seal::{self, Place, Seal, StoreKey},
};
use crate::store::{Change, Identity, Numbers, Parked, Snapshot, StoreFailed, StoredWrite};

/// From version to version.
pub(super) const STEPS: &[&str] = &[
    "
    CREATE TABLE device (id INTEGER PRIMARY KEY CHECK (id = 1), user BLOB, nonce BLOB, conn INTEGER NOT NULL, generation INTEGER NOT NULL,
        rows INTEGER NOT NULL, sum INTEGER NOT NULL);
    CREATE TABLE numbers (channel BLOB PRIMARY KEY, last INTEGER NOT NULL, acked INTEGER NOT NULL, sum INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE writes (channel BLOB, client_seq INTEGER, request BLOB NOT NULL, sum INTEGER NOT NULL, PRIMARY KEY (channel, client_seq))
        WITHOUT ROWID;
",
    "
    CREATE TABLE parked (channel BLOB, client_seq INTEGER, request BLOB NOT NULL, code INTEGER NOT NULL, why TEXT NOT NULL, sum INTEGER NOT NULL,
        PRIMARY KEY (channel, client_seq)) WITHOUT ROWID;
",
    seal::STEP,
];

/// The row of the device.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Device {
    pub(super) identity: Option<Identity>,
    pub(super) conn: u64,
    pub(super) generation: u64,
    /// Of the sums of all other rows.
    pub(super) rows: i64,
}

pub(super) struct Outbox {
    db: Connection,
    seal: Seal,
    device: Device,
}

impl Outbox {
    /// Opens it, and looks at every row: there are few.
    pub(super) fn open(path: &Path, key: Option<&StoreKey>) -> Result<Self, StoreFailed> {
        let file = name_of(path);
        let db = database::open(path, Sync::Each, STEPS, |db| Seal::begin(db, &file, key))?;
        let seal = Seal::read(&db, &file, key)?;
        let whole: String = db.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0)).map_err(|error| failed("checking the outbox", &error))?;
        if whole != "ok" {
            return Err(damaged("the outbox"));
        }
        let device = read_device(&db)?.unwrap_or_default();
        let outbox = Self { db, seal, device };
        outbox.load()?;
        Ok(outbox)
    }
    /// Counts one more opening.
    pub(super) fn begin(&mut self) -> Result<u64, StoreFailed> {
        let mut device = self.device.clone();
        device.generation += 1;
        write_device(&self.db, &device)?;
        self.device = device;
        Ok(self.device.generation)
    }
    pub(super) fn load(&self) -> Result<Snapshot, StoreFailed> {
        let reading = |error| failed("reading the outbox", &error);
        let mut snapshot = Snapshot { identity: self.device.identity, conn: Conn::new(self.device.conn), ..Snapshot::default() };
        let mut rows = 0_i64;
        let mut select = self.db.prepare_cached(ALL_NUMBERS).map_err(reading)?;
        let mut found = select.query([]).map_err(reading)?;
        while let Some(row) = found.next().map_err(reading)? {
            let (channel, numbers, sum) = read_numbers(row)?;
            rows = rows.wrapping_add(sum);
            snapshot.numbers.insert(channel, numbers);
        }
        let mut select = self.db.prepare_cached(ALL_WRITES).map_err(reading)?;
        let mut found = select.query([]).map_err(reading)?;
        while let Some(row) = found.next().map_err(reading)? {
            let (write, sum) = read_write(&self.seal, row)?;
            rows = rows.wrapping_add(sum);
            snapshot.writes.push(write);
        }
        let mut select = self.db.prepare_cached(ALL_PARKED).map_err(reading)?;
        let mut found = select.query([]).map_err(reading)?;
        while let Some(row) = found.next().map_err(reading)? {
            let (parked, sum) = read_parked(&self.seal, row)?;
            rows = rows.wrapping_add(sum);
            snapshot.parked.push(parked);
        }
        if rows != self.device.rows {
            return Err(damaged("the outbox"));
        }
        snapshot.parked.sort_by_key(|parked| (parked.write.channel, parked.write.client_seq));
        snapshot.writes.sort_by_key(|write| (write.channel, write.client_seq));
        Ok(snapshot)
    }
    /// Applies what concerns the outbox, whole.
    pub(super) fn apply(&mut self, changes: &[Change]) -> Result<(), StoreFailed> {
        if !changes.iter().any(concerns) {
            return Ok(());
        }
        let writing = |error| failed("writing the outbox", &error);
        let mut device = self.device.clone();
        let all = self.db.transaction().map_err(writing)?;
        for change in changes {
            match change {
                Change::Identity(identity) => device.identity = Some(*identity),
                Change::Conn(conn) => device.conn = conn.get(),
                Change::Write(write) => {
                    let numbers = numbers_of(&all, write.channel)?.unwrap_or_default();
                    let last = numbers.last.max(write.client_seq);
                    put_numbers(&all, &mut device, write.channel, Numbers { last, ..numbers })?;
                    remove(&all, &mut device, "writes", write.channel, write.client_seq)?;
                    put_write(&all, &self.seal, &mut device, write)?;
                }
                Change::Settled { channel, client_seq, acked } => {
                    remove(&all, &mut device, "writes", *channel, *client_seq)?;
                    let mut numbers = numbers_of(&all, *channel)?.unwrap_or_default();
                    if *acked {
                        numbers.acked = numbers.acked.max(*client_seq);
                    }
                    put_numbers(&all, &mut device, *channel, numbers)?;
                }
                Change::Parked { channel, client_seq, code, why } => {
                    if let Some(write) = write_of(&all, &self.seal, *channel, *client_seq)? {
                        remove(&all, &mut device, "writes", *channel, *client_seq)?;
                        put_parked(&all, &self.seal, &mut device, &Parked { write, code: *code, why: why.clone() })?;
                    }
                }
                Change::Dropped(channel, client_seq) => remove(&all, &mut device, "parked", *channel, *client_seq)?,
                _ => {}
            }
        }
        write_device(&all, &device)?;
        all.commit().map_err(writing)?;
        self.device = device;
        Ok(())
    }
    /// Fills a new outbox with what was saved from an old one.
    pub(super) fn refill(&mut self, saved: &Snapshot, generation: u64) -> Result<(), StoreFailed> {
        let writing = |error| failed("writing the outbox", &error);
        let mut device = Device { identity: saved.identity, conn: saved.conn.get(), generation, rows: 0 };
        let all = self.db.transaction().map_err(writing)?;
        for (channel, numbers) in &saved.numbers {
            put_numbers(&all, &mut device, *channel, *numbers)?;
        }
        for write in &saved.writes {
            put_write(&all, &self.seal, &mut device, write)?;
        }
        for parked in &saved.parked {
            put_parked(&all, &self.seal, &mut device, parked)?;
        }
        write_device(&all, &device)?;
        all.commit().map_err(writing)?;
        self.device = device;
        Ok(())
    }
    #[cfg(test)]
    pub(super) fn database(&self) -> &Connection {
        &self.db
    }
}

pub(super) const ALL_NUMBERS: &str = "SELECT channel, last, acked, sum FROM numbers";
pub(super) const ALL_WRITES: &str = "SELECT channel, client_seq, request, sum FROM writes";
pub(super) const ALL_PARKED: &str = "SELECT channel, client_seq, request, sum, code, why FROM parked";

/// Whether a change is kept here, and not in the history.
pub(super) fn concerns(change: &Change) -> bool {
    matches!(change, Change::Identity(_) | Change::Conn(_) | Change::Write(_) | Change::Settled { .. } | Change::Parked { .. } | Change::Dropped(..))
}

pub(super) fn read_device(db: &Connection) -> Result<Option<Device>, StoreFailed> {
    let reading = |error| failed("reading the device", &error);
    let mut select = db.prepare_cached("SELECT user, nonce, conn, generation, rows, sum FROM device").map_err(reading)?;
    let mut found = select.query([]).map_err(reading)?;
    let Some(row) = found.next().map_err(reading)? else { return Ok(None) };
    let user: Option<[u8; 8]> = row.get(0).map_err(reading)?;
    let nonce: Option<[u8; 16]> = row.get(1).map_err(reading)?;
    let identity = user.zip(nonce).map(|(user, nonce)| Identity { user: UserId::new(u64::from_be_bytes(user)), nonce });
    let device = Device {
        identity,
        conn: number(row.get(2).map_err(reading)?)?,
        generation: number(row.get(3).map_err(reading)?)?,
        rows: row.get(4).map_err(reading)?,
    };
    let sum: i64 = row.get(5).map_err(reading)?;
    if sum == sum_of_device(&device) { Ok(Some(device)) } else { Err(damaged("the device")) }
}

fn write_device(db: &Connection, device: &Device) -> Result<(), StoreFailed> {
    let user = device.identity.map(|identity| identity.user.get().to_be_bytes());
    let nonce = device.identity.map(|identity| identity.nonce);
    let values = params![user, nonce, int(device.conn)?, int(device.generation)?, device.rows, sum_of_device(device)];
    let text = "INSERT OR REPLACE INTO device (id, user, nonce, conn, generation, rows, sum) VALUES (1, ?, ?, ?, ?, ?, ?)";
    execute(db, text, values)
}

fn numbers_of(db: &Connection, channel: ChannelId) -> Result<Option<Numbers>, StoreFailed> {
    let reading = |error| failed("reading the outbox", &error);
    let mut select = db.prepare_cached("SELECT channel, last, acked, sum FROM numbers WHERE channel = ?").map_err(reading)?;
    let mut found = select.query([channel.as_bytes()]).map_err(reading)?;
    found.next().map_err(reading)?.map(|row| read_numbers(row).map(|(_, numbers, _)| numbers)).transpose()
}

fn put_numbers(db: &Connection, device: &mut Device, channel: ChannelId, numbers: Numbers) -> Result<(), StoreFailed> {
    if let Some(before) = numbers_of(db, channel)? {
        device.rows = device.rows.wrapping_sub(sum_of_numbers(channel, before));
    }
    let sum = sum_of_numbers(channel, numbers);
    device.rows = device.rows.wrapping_add(sum);
    let values = params![channel.as_bytes(), int(numbers.last.get())?, int(numbers.acked.get())?, sum];
    execute(db, "INSERT OR REPLACE INTO numbers (channel, last, acked, sum) VALUES (?, ?, ?, ?)", values)
}

fn put_write(db: &Connection, seal: &Seal, device: &mut Device, write: &StoredWrite) -> Result<(), StoreFailed> {
    let bytes = bytes_of(write);
    let bytes = seal.close(Place::new("a write of the outbox", write.channel.as_bytes(), write.client_seq.get()), &bytes)?;
    let sum = sum_of_write(write.channel, write.client_seq.get(), &bytes);
    device.rows = device.rows.wrapping_add(sum);
    let values = params![write.channel.as_bytes(), int(write.client_seq.get())?, &bytes[..], sum];
    execute(db, "INSERT INTO writes (channel, client_seq, request, sum) VALUES (?, ?, ?, ?)", values)
}

fn put_parked(db: &Connection, seal: &Seal, device: &mut Device, parked: &Parked) -> Result<(), StoreFailed> {
    let Parked { write, code, why } = parked;
    remove(db, device, "parked", write.channel, write.client_seq)?;
    let bytes = bytes_of(write);
    let bytes = seal.close(Place::new("a refused text of the outbox", write.channel.as_bytes(), write.client_seq.get()), &bytes)?;
    let sum = sum_of_parked(write.channel, write.client_seq.get(), &bytes, code.number(), why);
    device.rows = device.rows.wrapping_add(sum);
    let values = params![write.channel.as_bytes(), int(write.client_seq.get())?, &bytes[..], code.number(), why, sum];
    execute(db, "INSERT INTO parked (channel, client_seq, request, code, why, sum) VALUES (?, ?, ?, ?, ?, ?)", values)
}

fn bytes_of(write: &StoredWrite) -> bytes::Bytes {
    ToEdge::Request { id: RequestId::default(), request: write.request.clone() }.encode()
}

fn write_of(db: &Connection, seal: &Seal, channel: ChannelId, client_seq: ClientSeq) -> Result<Option<StoredWrite>, StoreFailed> {
    let reading = |error| failed("reading the outbox", &error);
    let mut select = db.prepare_cached(&format!("{ALL_WRITES} WHERE channel = ? AND client_seq = ?")).map_err(reading)?;
    let mut found = select.query(params![channel.as_bytes(), int(client_seq.get())?]).map_err(reading)?;
    found.next().map_err(reading)?.map(|row| read_write(seal, row).map(|(write, _)| write)).transpose()
}

fn remove(db: &Connection, device: &mut Device, table: &str, channel: ChannelId, client_seq: ClientSeq) -> Result<(), StoreFailed> {
    let failed = |error| failed("writing the outbox", &error);
    let mut remove = db.prepare_cached(&format!("DELETE FROM {table} WHERE channel = ? AND client_seq = ? RETURNING sum")).map_err(failed)?;
    let sum: Option<i64> = remove.query_row(params![channel.as_bytes(), int(client_seq.get())?], |row| row.get(0)).optional().map_err(failed)?;
    device.rows = device.rows.wrapping_sub(sum.unwrap_or(0));
    Ok(())
}

pub(super) fn read_numbers(row: &Row<'_>) -> Result<(ChannelId, Numbers, i64), StoreFailed> {
    let reading = |error| failed("reading the outbox", &error);
    let channel = channel_of(row)?;
    let last = ClientSeq::new(number(row.get(1).map_err(reading)?)?);
    let acked = ClientSeq::new(number(row.get(2).map_err(reading)?)?);
    let (numbers, sum) = (Numbers { last, acked }, row.get(3).map_err(reading)?);
    if sum == sum_of_numbers(channel, numbers) { Ok((channel, numbers, sum)) } else { Err(damaged("a number of the outbox")) }
}

pub(super) fn read_write(seal: &Seal, row: &Row<'_>) -> Result<(StoredWrite, i64), StoreFailed> {
    let reading = |error| failed("reading the outbox", &error);
    let channel = channel_of(row)?;
    let client_seq = number(row.get(1).map_err(reading)?)?;
    let bytes: Vec<u8> = row.get(2).map_err(reading)?;
    let sum = row.get(3).map_err(reading)?;
    if sum != sum_of_write(channel, client_seq, &bytes) {
        return Err(damaged("a write of the outbox"));
    }
    let bytes = seal.open(Place::new("a write of the outbox", channel.as_bytes(), client_seq), bytes)?;
    Ok((stored(channel, client_seq, &bytes)?, sum))
}

pub(super) fn read_parked(seal: &Seal, row: &Row<'_>) -> Result<(Parked, i64), StoreFailed> {
    let reading = |error| failed("reading the outbox", &error);
    let channel = channel_of(row)?;
    let client_seq = number(row.get(1).map_err(reading)?)?;
    let bytes: Vec<u8> = row.get(2).map_err(reading)?;
    let (sum, code, why): (i64, u16, String) = (row.get(3).map_err(reading)?, row.get(4).map_err(reading)?, row.get(5).map_err(reading)?);
    if sum != sum_of_parked(channel, client_seq, &bytes, code, &why) {
        return Err(damaged("a refused text of the outbox"));
    }
    let bytes = seal.open(Place::new("a refused text of the outbox", channel.as_bytes(), client_seq), bytes)?;
    Ok((Parked { write: stored(channel, client_seq, &bytes)?, code: Code::from_number(code), why }, sum))
}

fn stored(channel: ChannelId, client_seq: u64, bytes: &[u8]) -> Result<StoredWrite, StoreFailed> {
    let is_numbered = |request: &Request| matches!(request, Request::Send(_) | Request::ChangeMembers(_) | Request::Act(_) | Request::Void { .. });
    match ToEdge::decode(bytes) {
        Ok(ToEdge::Request { request, .. }) if is_numbered(&request) => Ok(StoredWrite { channel, client_seq: ClientSeq::new(client_seq), request }),
        _ => Err(damaged("a write of the outbox")),
    }
}

fn channel_of(row: &Row<'_>) -> Result<ChannelId, StoreFailed> {
    let raw: Vec<u8> = row.get(0).map_err(|error| failed("reading the outbox", &error))?;
    ChannelId::from_bytes(&raw).map_err(|_| damaged("a channel of the outbox"))
}

fn execute(db: &Connection, text: &str, values: &[&dyn rusqlite::ToSql]) -> Result<(), StoreFailed> {
    let writing = |error| failed("writing the outbox", &error);
    db.prepare_cached(text).map_err(writing)?.execute(values).map_err(writing)?;
    Ok(())
}

fn sum_of_device(device: &Device) -> i64 {
    let Device { identity, conn, generation, rows } = device;
    let (user, nonce) = identity.map_or(([0; 8], [0; 16]), |identity| (identity.user.get().to_be_bytes(), identity.nonce));
    sum(&[b"device", &user, &nonce, &conn.to_be_bytes(), &generation.to_be_bytes(), &rows.to_be_bytes()])
}
fn sum_of_numbers(channel: ChannelId, numbers: Numbers) -> i64 {
    sum(&[b"numbers", channel.as_bytes(), &numbers.last.get().to_be_bytes(), &numbers.acked.get().to_be_bytes()])
}
fn sum_of_write(channel: ChannelId, client_seq: u64, bytes: &[u8]) -> i64 {
    sum(&[b"write", channel.as_bytes(), &client_seq.to_be_bytes(), bytes])
}
fn sum_of_parked(channel: ChannelId, client_seq: u64, bytes: &[u8], code: u16, why: &str) -> i64 {
    sum(&[b"parked", channel.as_bytes(), &client_seq.to_be_bytes(), bytes, &code.to_be_bytes(), why.as_bytes()])
}
fn sum(parts: &[&[u8]]) -> i64 {
    hash(parts).cast_signed()
}
