//! The command line's devices: what must outlive one call, in a file per device.
//!
//! In: changes from the SDK. Out: identity, connection count, numbers and unanswered writes of the last call. Records, cursors and rows are
//! not kept: each call asks for what it shows. Layout: `DIR/devices/NAME-<n>.json`, n from 0, locked while in use, so that two calls as one
//! user at the same time are two devices. Invariant: a change is in the file before what depends on it is sent.

use std::{
    collections::HashMap,
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use futures_util::future::BoxFuture;
use kith_client::{
    MemoryStore,
    store::{Change, Cursor, Identity, Numbers, Snapshot, Span, Store, StoreFailed, StoreTrouble, StoredWrite},
    wire::{
        client::{Request, ToEdge},
        id::{ChannelId, ClientSeq, Conn, RequestId, Seq, UserId},
        limit,
        log::{IndexRow, Record},
    },
};
use serde::{Deserialize, Serialize};

use super::failure::Failure;

/// A device in a file. It is free for the next call when this is dropped.
pub(crate) struct DeviceFile {
    path: PathBuf,
    /// Locked; the file itself is replaced with each change, so the lock is on another.
    _lock: File,
    kept: Mutex<Kept>,
    rest: MemoryStore,
}

/// What is in the file.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug, Default)]
#[serde(deny_unknown_fields)]
struct Kept {
    user: Option<u64>,
    nonce: String,
    conn: u64,
    channels: HashMap<String, KeptChannel>,
}

/// What is kept of a channel.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug, Default)]
#[serde(deny_unknown_fields)]
struct KeptChannel {
    last: u64,
    acked: u64,
    /// Unanswered writes by number, as they are framed, in hexadecimal.
    #[serde(default, skip_serializing_if = "HashMap::is_empty")]
    writes: HashMap<u64, String>,
}

impl DeviceFile {
    /// Takes the first device of a name that no other call uses now.
    pub(crate) fn take(folder: &Path, name: &str) -> Result<Self, Failure> {
        let failed = |error: &io::Error| Failure::local("opening this user's device files", error, "see that you may write to the cluster's folder");
        let devices = folder.join("devices");
        fs::create_dir_all(&devices).map_err(|error| failed(&error))?;
        let stem = file_stem(name);
        for number in 0..limit::DEVICES_MAX {
            let path = devices.join(format!("{stem}-{number}.json"));
            let lock =
                OpenOptions::new().create(true).write(true).truncate(false).open(path.with_extension("lock")).map_err(|error| failed(&error))?;
            match lock.try_lock() {
                Ok(()) => return Self::open(path, lock),
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => return Err(failed(&error)),
            }
        }
        Err(Failure::usage(format!("{name} has {} devices in use", limit::DEVICES_MAX), "end some of the programs that run as this user"))
    }

    /// The device of a login, by its nonce: there is one for each, and the next program goes on with it.
    pub(crate) fn of_login(folder: &Path, nonce: &[u8; 16]) -> Result<Self, Failure> {
        let failed = |error: &io::Error| Failure::local("opening this login's device file", error, "see that you may write to the cluster's folder");
        let path = Self::path_of_login(folder, nonce);
        fs::create_dir_all(folder.join("devices")).map_err(|error| failed(&error))?;
        let lock = OpenOptions::new().create(true).write(true).truncate(false).open(path.with_extension("lock")).map_err(|error| failed(&error))?;
        match lock.try_lock() {
            Ok(()) => Self::open(path, lock),
            Err(TryLockError::WouldBlock) => Err(Failure::usage("another program uses this login's device now", "end it first")),
            Err(TryLockError::Error(error)) => Err(failed(&error)),
        }
    }
    /// Forgets the device of a login that has ended.
    pub(crate) fn forget_login(folder: &Path, nonce: &[u8; 16]) {
        // What is not there is forgotten.
        let path = Self::path_of_login(folder, nonce);
        let _ = fs::remove_file(path.with_extension("lock"));
        let _ = fs::remove_file(path);
    }
    fn path_of_login(folder: &Path, nonce: &[u8; 16]) -> PathBuf {
        folder.join("devices").join(format!("login-{}.json", hex(nonce)))
    }

    fn open(path: PathBuf, lock: File) -> Result<Self, Failure> {
        let hint = "move the file away: the next call is a new device, and what this one had not sent is lost";
        let kept = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| Failure::local(&format!("reading {}", path.display()), &error, hint))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Kept::default(),
            Err(error) => return Err(Failure::local(&format!("reading {}", path.display()), &error, hint)),
        };
        Ok(Self { path, _lock: lock, kept: Mutex::new(kept), rest: MemoryStore::default() })
    }

    /// Whose it is, once that is known.
    pub(crate) fn user(&self) -> Option<UserId> {
        self.lock().user.map(UserId::new)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Kept> {
        // A change is made on a copy, so a panic elsewhere leaves it whole.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps what the changes say, in the file first. Does nothing when they say nothing that is kept.
    fn keep(&self, changes: &[Change]) -> Result<(), StoreFailed> {
        let mut kept = self.lock();
        let mut next = kept.clone();
        changes.iter().for_each(|change| next.apply(change));
        if next != *kept {
            let bytes = serde_json::to_vec(&next).map_err(io::Error::from);
            bytes
                .and_then(|bytes| replace(&self.path, &bytes))
                .map_err(|error| refused(&error, format!("writing {}: {error}", self.path.display())))?;
            *kept = next;
        }
        Ok(())
    }
}

impl Kept {
    fn apply(&mut self, change: &Change) {
        match change {
            Change::Identity(identity) => {
                self.user = Some(identity.user.get());
                self.nonce = hex(&identity.nonce);
            }
            Change::Conn(conn) => self.conn = conn.get(),
            Change::Write(write) => {
                let channel = self.channels.entry(write.channel.to_string()).or_default();
                channel.last = channel.last.max(write.client_seq.get());
                let frame = ToEdge::Request { id: RequestId::default(), request: write.request.clone() };
                channel.writes.insert(write.client_seq.get(), hex(&frame.encode()));
            }
            // A command tells of a refusal itself, and keeps no text.
            Change::Parked { channel, client_seq, .. } => {
                self.channels.entry(channel.to_string()).or_default().writes.remove(&client_seq.get());
            }
            Change::Settled { channel, client_seq, acked } => {
                let channel = self.channels.entry(channel.to_string()).or_default();
                channel.writes.remove(&client_seq.get());
                if *acked {
                    channel.acked = channel.acked.max(client_seq.get());
                }
            }
            _ => {}
        }
    }

    /// Fills in what the SDK goes on with; `None` when the file is malformed.
    fn fill(&self, snapshot: &mut Snapshot) -> Option<()> {
        if let Some(user) = self.user {
            snapshot.identity = Some(Identity { user: UserId::new(user), nonce: unhex(&self.nonce)?.try_into().ok()? });
        }
        snapshot.conn = Conn::new(self.conn);
        for (channel, kept) in &self.channels {
            let channel = ChannelId::from_hex(channel).ok()?;
            snapshot.numbers.insert(channel, Numbers { last: ClientSeq::new(kept.last), acked: ClientSeq::new(kept.acked) });
            for (&client_seq, frame) in &kept.writes {
                let ToEdge::Request { request, .. } = ToEdge::decode(&unhex(frame)?).ok()? else { return None };
                if matches!(request, Request::Send(_) | Request::ChangeMembers(_) | Request::Act(_)) {
                    snapshot.writes.push(StoredWrite { channel, client_seq: ClientSeq::new(client_seq), request });
                }
            }
        }
        snapshot.writes.sort_by_key(|write| (write.channel, write.client_seq));
        Some(())
    }
}

impl Store for DeviceFile {
    fn load(&self) -> BoxFuture<'_, Result<Snapshot, StoreFailed>> {
        Box::pin(async {
            let mut snapshot = self.rest.load().await?;
            self.lock()
                .fill(&mut snapshot)
                .ok_or_else(|| StoreFailed::new(StoreTrouble::Corrupt, format!("{} is malformed: move it away", self.path.display())))?;
            Ok(snapshot)
        })
    }
    fn commit(&self, changes: Vec<Change>) -> BoxFuture<'_, Result<(), StoreFailed>> {
        Box::pin(async {
            // A few hundred bytes, and one call a message that a person typed: no thread of its own.
            self.keep(&changes)?;
            self.rest.commit(changes).await
        })
    }
    fn records(&self, channel: ChannelId, first: Seq, last: Seq, limit: usize) -> BoxFuture<'_, Result<Vec<Arc<Record>>, StoreFailed>> {
        self.rest.records(channel, first, last, limit)
    }
    fn cursor(&self, channel: ChannelId) -> BoxFuture<'_, Result<Option<Cursor>, StoreFailed>> {
        self.rest.cursor(channel)
    }
    fn rows(&self) -> BoxFuture<'_, Result<Vec<IndexRow>, StoreFailed>> {
        self.rest.rows()
    }
    fn spans(&self, channel: ChannelId) -> BoxFuture<'_, Result<Vec<Span>, StoreFailed>> {
        self.rest.spans(channel)
    }
}

fn refused(error: &io::Error, text: String) -> StoreFailed {
    let trouble = if error.kind() == io::ErrorKind::StorageFull { StoreTrouble::Full } else { StoreTrouble::Io };
    StoreFailed::new(trouble, text)
}

/// Writes a new file, for its owner only, and moves it over the old one: at any moment, and after the loss of power, one of them is there and whole.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let next = path.with_extension("next");
    let mut file = OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(&next)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(next, path)?;
    // The name is in the folder: until that is synced, the loss of power brings the old file back.
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

/// A name as part of a file's name: what is not plain is written as its bytes.
pub(super) fn file_stem(name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    name.trim().to_lowercase().bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02x}") }).collect()
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(super) fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use kith_client::wire::client::Send;

    use super::*;

    fn write(channel: ChannelId, number: u64) -> Change {
        let client_seq = ClientSeq::new(number);
        let send = Send { channel, client_seq, settled: ClientSeq::new(1), text: "hi".into(), reply_to: None, mentions: Vec::new() };
        Change::Write(StoredWrite { channel, client_seq, request: Request::Send(send) })
    }

    #[tokio::test]
    async fn the_next_call_goes_on_where_the_last_one_ended() {
        let folder = tempfile::tempdir().unwrap();
        let channel = ChannelId::direct(UserId::new(1), UserId::new(2));
        let identity = Identity { user: UserId::new(1), nonce: [7; 16] };
        let device = DeviceFile::take(folder.path(), "ann").unwrap();
        assert_eq!(device.load().await.unwrap().identity, None);
        device.commit(vec![Change::Identity(identity), Change::Conn(Conn::new(3)), write(channel, 1), write(channel, 2)]).await.unwrap();
        device.commit(vec![Change::Settled { channel, client_seq: ClientSeq::new(1), acked: true }]).await.unwrap();
        drop(device);
        let again = DeviceFile::take(folder.path(), "Ann").unwrap();
        assert_eq!(again.user(), Some(UserId::new(1)));
        let snapshot = again.load().await.unwrap();
        assert_eq!((snapshot.identity, snapshot.conn), (Some(identity), Conn::new(3)));
        assert_eq!(snapshot.numbers[&channel], Numbers { last: ClientSeq::new(2), acked: ClientSeq::new(1) });
        assert_eq!(vec![Change::Write(snapshot.writes[0].clone())], vec![write(channel, 2)]);
    }

    #[test]
    fn two_calls_at_once_are_two_devices() {
        let folder = tempfile::tempdir().unwrap();
        let one = DeviceFile::take(folder.path(), "ann").unwrap();
        let two = DeviceFile::take(folder.path(), "ann").unwrap();
        assert_ne!(one.path, two.path);
        let path = one.path.clone();
        drop(one);
        assert_eq!(DeviceFile::take(folder.path(), "ann").unwrap().path, path);
    }

    #[test]
    fn a_file_is_replaced_whole_and_is_its_owners_only() {
        use std::os::unix::fs::PermissionsExt;

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.json");
        replace(&path, b"first, and longer").unwrap();
        replace(&path, b"second").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"second");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left over");
    }

    #[test]
    fn names_make_different_file_names() {
        assert_eq!(file_stem("Ann_1"), "ann_1");
        assert_eq!(file_stem("a/b"), "a%2fb");
        assert_eq!(file_stem("../x"), "%2e%2e%2fx");
    }
}
