//! What is done about damaged files when a store is opened.
//!
//! In: a folder. Out: two files that are whole, and what was lost. A damaged history is set aside: the cluster has it. From a damaged outbox
//! every row is read that can be; if their sums show that none is missing, the same device goes on. Else numbers may be lost, and with them
//! what has been sent: then the store becomes a new device, and what was queued is handed to the app, for it may stand already.
//! Files that are set aside are called `*.damaged`; the last ones are kept.

use std::{collections::BTreeMap, fs, io, path::Path};

use kith_wire::{client::Request, id::Conn};
use rusqlite::{Connection, OpenFlags};

use super::{
    SqliteOptions, StoreKey,
    database::name_of,
    history::History,
    history_path,
    outbox::{self, Device, Outbox},
    outbox_path,
    seal::Seal,
};
use crate::store::{Numbers, Snapshot, StoreFailed, StoreTrouble, StoredWrite};

/// What was damaged in a store, and what became of it.
#[derive(Clone, PartialEq, Debug, Default)]
#[non_exhaustive]
pub struct Salvage {
    /// The history was damaged: it is fetched anew.
    pub history_lost: bool,
    /// The outbox was damaged, and saved whole: nothing is lost.
    pub outbox_saved: bool,
    /// The outbox was damaged, and not all of it can be read: the store is a new device now. A login of the cluster's own accounts is bound to
    /// the old device: log in again.
    pub is_new_device: bool,
    /// With `is_new_device`: what was queued, as far as it can be read. Whether it was sent is not known: look before it is sent again.
    pub unsure: Vec<StoredWrite>,
}

/// Opens the history; sets a damaged one aside.
pub(super) fn history(folder: &Path, options: &SqliteOptions, was_damaged: bool, salvage: &mut Salvage) -> Result<History, StoreFailed> {
    let path = history_path(folder);
    let open = || History::open(&path, options.history_bytes_max, options.key.as_ref());
    match open() {
        Ok(history) if !was_damaged => Ok(history),
        Err(error) if error.trouble != StoreTrouble::Corrupt => Err(error),
        _ => {
            set_aside(&path)?;
            salvage.history_lost = true;
            open()
        }
    }
}

/// Opens the outbox; saves what can be saved of a damaged one.
pub(super) fn outbox(folder: &Path, key: Option<&StoreKey>, salvage: &mut Salvage) -> Result<Outbox, StoreFailed> {
    let path = outbox_path(folder);
    match Outbox::open(&path, key) {
        Err(error) if error.trouble == StoreTrouble::Corrupt => {}
        result => return result,
    }
    let (device, mut saved, is_whole) = read_what_can_be_read(&path, key);
    set_aside(&path)?;
    let mut outbox = Outbox::open(&path, key)?;
    if is_whole {
        salvage.outbox_saved = true;
    } else {
        salvage.is_new_device = true;
        salvage.unsure = std::mem::take(&mut saved.writes);
        salvage.unsure.retain(|write| !matches!(write.request, Request::Void { .. }));
        saved = Snapshot::default();
    }
    outbox.refill(&saved, device.generation)?;
    Ok(outbox)
}

/// The device, what it gave and queued, and whether nothing of it is missing.
fn read_what_can_be_read(path: &Path, key: Option<&StoreKey>) -> (Device, Snapshot, bool) {
    // It may be needed to take its log in, so it is opened for writing; nothing is written by us.
    let Ok(db) = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE) else { return Default::default() };
    // Without its seal nothing that was queued can be read.
    let Ok(seal) = Seal::read(&db, &name_of(path), key) else { return Default::default() };
    let device = outbox::read_device(&db).ok().flatten();
    let mut numbers = BTreeMap::new();
    let mut writes = BTreeMap::new();
    let mut parked = BTreeMap::new();
    for order in ["ASC", "DESC"] {
        // From both ends, up to what cannot be read.
        collect(&db, &format!("{} ORDER BY channel {order}", outbox::ALL_NUMBERS), |row| {
            if let Ok((channel, known, sum)) = outbox::read_numbers(row) {
                numbers.insert(channel, (known, sum));
            }
        });
        collect(&db, &format!("{} ORDER BY channel {order}, client_seq {order}", outbox::ALL_WRITES), |row| {
            if let Ok((write, sum)) = outbox::read_write(&seal, row) {
                writes.insert((write.channel, write.client_seq), (write, sum));
            }
        });
        collect(&db, &format!("{} ORDER BY channel {order}, client_seq {order}", outbox::ALL_PARKED), |row| {
            if let Ok((found, sum)) = outbox::read_parked(&seal, row) {
                parked.insert((found.write.channel, found.write.client_seq), (found, sum));
            }
        });
    }
    let sums = numbers.values().map(|(_, sum)| *sum).chain(writes.values().map(|(_, sum)| *sum)).chain(parked.values().map(|(_, sum)| *sum));
    let rows = sums.fold(0, i64::wrapping_add);
    let is_whole = device.as_ref().is_some_and(|device| device.rows == rows && device.identity.is_some());
    let device = device.unwrap_or_default();
    let snapshot = Snapshot {
        identity: device.identity,
        conn: Conn::new(device.conn),
        numbers: numbers.into_iter().map(|(channel, (known, _))| (channel, known)).collect::<std::collections::HashMap<_, Numbers>>(),
        writes: writes.into_values().map(|(write, _)| write).collect(),
        parked: parked.into_values().map(|(parked, _)| parked).collect(),
        ..Snapshot::default()
    };
    (device, snapshot, is_whole)
}

fn collect(db: &Connection, text: &str, mut take: impl FnMut(&rusqlite::Row<'_>)) {
    let Ok(mut select) = db.prepare(text) else { return };
    let Ok(mut found) = select.query([]) else { return };
    while let Ok(Some(row)) = found.next() {
        take(row);
    }
}

/// Moves a file and its log away, in the place of those that were before.
fn set_aside(path: &Path) -> Result<(), StoreFailed> {
    for suffix in ["", "-wal", "-shm"] {
        let from = with_suffix(path, suffix);
        let to = with_suffix(path, &format!("{suffix}.damaged"));
        match fs::rename(&from, &to) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(StoreFailed::new(StoreTrouble::Io, format!("setting a damaged file aside: {error}"))),
        }
    }
    Ok(())
}

fn with_suffix(path: &Path, suffix: &str) -> std::path::PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
