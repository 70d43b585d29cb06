//! The store in files: it does what the one in memory does, whatever is asked; and what becomes of damage, of a full disk, of old files.

use std::{
    collections::{BTreeMap, HashMap},
    fs::{self, OpenOptions},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use kith_wire::{
    act::Act,
    client::{Edge, Request, Send},
    code::Code,
    id::{ChannelId, ClientSeq, Conn, DeviceId, Incarnation, NodeId, RegionId, Seq, Timestamp, UserId, UserRev},
    log::{Content, IndexRow, Position, Record, Ref},
};
use rand::{RngExt, SeedableRng, rngs::SmallRng};
use tempfile::{TempDir, tempdir};

use super::*;
use crate::{
    memory::MemoryStore,
    store::{Identity, Snapshot, StoredWrite},
};

const ME: UserId = UserId::new(1);

fn channel(number: u64) -> ChannelId {
    ChannelId::direct(ME, UserId::new(10 + number))
}
fn at(seq: u64) -> Position {
    Position { seq: Seq::new(seq), cnt: seq }
}
fn record(seq: u64, sender: u64, content: Content) -> Arc<Record> {
    Arc::new(Record {
        at: at(seq),
        incarnation: Incarnation::default(),
        sender: UserId::new(sender),
        device: DeviceId::new(sender),
        client_seq: ClientSeq::new(seq),
        ts: Timestamp::new(1_000 + seq),
        content,
    })
}
fn text(text: impl Into<String>) -> Content {
    Content::Text { text: text.into(), reply_to: None, mentions: Vec::new(), extra: None }
}
fn write(channel: ChannelId, number: u64, text: &str) -> StoredWrite {
    let client_seq = ClientSeq::new(number);
    let send = Send { channel, client_seq, settled: ClientSeq::default(), text: text.to_owned(), reply_to: None, mentions: Vec::new() };
    StoredWrite { channel, client_seq, request: Request::Send(send) }
}
fn row(channel: ChannelId, rev: u64, incarnation: u32, read: u64) -> IndexRow {
    let news = Ref {
        channel,
        incarnation: Incarnation::new(incarnation),
        head: at(9),
        head_ts: Timestamp::new(9),
        head_sender: ME,
        member_seq: Seq::new(1),
        join: at(0),
        left: None,
        own: at(0),
        mentions: vec![Seq::new(3)],
        title: "title".into(),
        preview: "preview".into(),
    };
    IndexRow { rev: UserRev::new(rev), news, read: at(read), preferences: Default::default() }
}
fn edge(number: u64) -> Edge {
    Edge { node: NodeId::new(number), address: format!("h{number}:1"), region: RegionId::new(1), zone: "z".into() }
}
fn identity() -> Identity {
    Identity { user: ME, nonce: [7; 16] }
}
async fn open(folder: &TempDir) -> SqliteStore {
    SqliteStore::open(folder.path()).await.unwrap()
}
fn keyed(key: u8) -> SqliteOptions {
    SqliteOptions::default().key(StoreKey::new([key; StoreKey::BYTES]))
}

// ---------------------------------------------------------------- as the store in memory

/// Draws what a client might store, and what it would never.
struct Draw {
    rng: SmallRng,
    revs: u64,
    given: HashMap<ChannelId, u64>,
    tops: HashMap<ChannelId, u64>,
}

impl Draw {
    fn content(&mut self, seq: u64) -> Content {
        let target = Seq::new(self.rng.random_range(0..seq + 2));
        match self.rng.random_range(0..10) {
            0 => Content::Act(Act::Edit { target, text: format!("edit {seq}"), mentions: vec![ME] }),
            1 => Content::Act(Act::Delete { target }),
            2 => Content::Act(Act::React { target, emoji: "🦀".into(), on: true }),
            3 if self.rng.random_range(0..4) == 0 => Content::Erased { user: UserId::new(self.rng.random_range(1..4)) },
            4 => Content::Act(Act::Edit { target, text: String::new(), mentions: Vec::new() }),
            _ => text(format!("text {seq}")),
        }
    }
    fn record(&mut self, seq: u64) -> Arc<Record> {
        let sender = self.rng.random_range(1..4);
        let content = self.content(seq);
        record(seq, sender, content)
    }
    fn change(&mut self) -> Change {
        let channel = channel(self.rng.random_range(0..3));
        let below = |rng: &mut SmallRng, end: u64| rng.random_range(0..end);
        match self.rng.random_range(0..14) {
            12 | 13 => {
                let given = self.given.get(&channel).copied().unwrap_or(0);
                let client_seq = ClientSeq::new(below(&mut self.rng, given + 2));
                match self.rng.random_range(0..3) {
                    0 => Change::Dropped(channel, client_seq),
                    _ => Change::Parked { channel, client_seq, code: Code::Muted, why: format!("why {client_seq}") },
                }
            }
            0 => Change::Conn(Conn::new(below(&mut self.rng, 1_000))),
            1 => Change::UserRev(UserRev::new(below(&mut self.rng, 1_000))),
            2 | 3 => {
                let given = self.given.entry(channel).or_default();
                *given += 1;
                Change::Write(write(channel, *given, &format!("write {given}")))
            }
            4 => {
                let given = self.given.get(&channel).copied().unwrap_or(0);
                Change::Settled { channel, client_seq: ClientSeq::new(below(&mut self.rng, given + 2)), acked: self.rng.random() }
            }
            5 | 6 => {
                let top = self.tops.get(&channel).copied().unwrap_or(20);
                let mut seq = top;
                let mut records = Vec::new();
                for _ in 0..self.rng.random_range(0..4) {
                    seq += self.rng.random_range(1..3);
                    records.push(self.record(seq));
                }
                self.tops.insert(channel, seq);
                Change::Records(channel, records)
            }
            7 => {
                let first = self.rng.random_range(1..60);
                let span = Span::new(Seq::new(first), Seq::new(first + self.rng.random_range(0..12))).expect("rising");
                let seqs: Vec<_> = (span.first.get()..=span.last.get()).filter(|_| self.rng.random_range(0..4) > 0).collect();
                let records = seqs.into_iter().map(|seq| self.record(seq)).collect();
                // A page has nothing that came after it.
                Change::History { channel, records, span, head: Seq::new(span.last.get() + self.rng.random_range(0..20)) }
            }
            8 => {
                let from = self.rng.random_range(1..30);
                let max = from + self.rng.random_range(0..30) - 1;
                let head = Seq::new(max + self.rng.random_range(0..5));
                Change::Cursor(channel, Cursor { from: Seq::new(from), max: Seq::new(max), head })
            }
            9 => {
                self.revs += 1;
                Change::Row(row(channel, self.revs, self.rng.random_range(0..3), self.rng.random_range(0..20)))
            }
            10 => Change::Read(channel, at(self.rng.random_range(0..30))),
            _ => Change::Edges((0..self.rng.random_range(0..3)).map(edge).collect()),
        }
    }
}

async fn same(model: &MemoryStore, store: &SqliteStore, what: &str) {
    assert_eq!(store.load().await.unwrap(), model.load().await.unwrap(), "load: {what}");
    assert_eq!(store.rows().await.unwrap(), model.rows().await.unwrap(), "rows: {what}");
    for number in 0..4 {
        let id = channel(number);
        assert_eq!(store.cursor(id).await.unwrap(), model.cursor(id).await.unwrap(), "cursor of {number}: {what}");
        assert_eq!(store.spans(id).await.unwrap(), model.spans(id).await.unwrap(), "spans of {number}: {what}");
        for (first, last, limit) in [(0, u64::MAX, usize::MAX), (5, 25, 3), (30, 20, 9), (u64::MAX, u64::MAX, 1), (21, 21, 1), (0, 40, 0)] {
            let (first, last) = (Seq::new(first), Seq::new(last));
            let expected = model.records(id, first, last, limit).await.unwrap();
            assert_eq!(store.records(id, first, last, limit).await.unwrap(), expected, "records {first} to {last} of {number}: {what}");
        }
    }
}

fn seeds(default: u64) -> std::ops::RangeInclusive<u64> {
    match std::env::var("KITH_SEED").ok().and_then(|seed| seed.parse().ok()) {
        Some(seed) => seed..=seed,
        None => 1..=default,
    }
}

#[tokio::test]
async fn any_calls_have_the_same_results_as_in_memory() {
    for seed in seeds(10) {
        let again = format!("seed {seed}; again: KITH_SEED={seed} cargo nextest run -p kith-client any_calls_have_the_same_results_as_in_memory");
        let mut draw = Draw { rng: SmallRng::seed_from_u64(seed), revs: 0, given: HashMap::new(), tops: HashMap::new() };
        let folder = tempdir().unwrap();
        let options = if seed % 2 == 0 { keyed(1) } else { SqliteOptions::default() };
        let mut store = SqliteStore::open_with(folder.path(), options.clone()).await.unwrap();
        let model = MemoryStore::new(usize::MAX);
        for step in 0..40 {
            let mut changes: Vec<_> = (0..draw.rng.random_range(1..5)).map(|_| draw.change()).collect();
            if step == 3 {
                changes.push(Change::Identity(identity()));
            }
            store.commit(changes.clone()).await.unwrap_or_else(|error| panic!("{error}: step {step}, {again}"));
            model.apply(changes);
            match draw.rng.random_range(0..20) {
                0 => {
                    store.close().await.unwrap();
                    store = SqliteStore::open_with(folder.path(), options.clone()).await.unwrap();
                    assert_eq!(store.salvage(), None);
                }
                1 => store.park().await.unwrap(),
                2 => store.resume().await.unwrap(),
                _ => {}
            }
            if draw.rng.random_range(0..4) == 0 {
                same(&model, &store, &format!("step {step}, {again}")).await;
            }
        }
        same(&model, &store, &again).await;
    }
}

// ---------------------------------------------------------------- bounds

#[tokio::test]
async fn old_history_makes_room_and_the_outbox_never_does() {
    let folder = tempdir().unwrap();
    let store = SqliteStore::open_with(folder.path(), SqliteOptions::default().history_bytes_max(1)).await.unwrap();
    let big = "x".repeat(2_000);
    store.commit(vec![Change::Identity(identity())]).await.unwrap();
    store.commit((1..=30).map(|number| Change::Write(write(channel(0), number, &big))).collect()).await.unwrap();
    for seq in 1..=200 {
        // The first channel takes most.
        let mut changes = vec![Change::Records(channel(0), vec![record(seq, 2, text(big.clone()))])];
        changes.push(Change::Cursor(channel(0), Cursor { from: Seq::new(1), max: Seq::new(seq), head: Seq::new(seq) }));
        if seq % 20 == 0 {
            changes.push(Change::Records(channel(1), vec![record(seq, 2, text(big.clone()))]));
        }
        store.commit(changes).await.unwrap();
    }
    let held = store.records(channel(0), Seq::ZERO, Seq::new(u64::MAX), usize::MAX).await.unwrap();
    let seqs: Vec<_> = held.iter().map(|record| record.at.seq.get()).collect();
    assert!(seqs.len() < 40 && seqs.len() > 5, "{} are held", seqs.len());
    assert_eq!(seqs, (seqs[0]..=200).collect::<Vec<_>>(), "the newest, without a hole");
    assert_eq!(store.spans(channel(0)).await.unwrap(), [Span { first: held[0].at.seq, last: Seq::new(200) }]);
    assert!(!store.records(channel(1), Seq::ZERO, Seq::new(u64::MAX), 9).await.unwrap().is_empty());
    assert_eq!(store.load().await.unwrap().writes.len(), 30);
    store.close().await.unwrap();
    let bytes = fs::metadata(folder.path().join("history.db")).unwrap().len();
    assert!(bytes < 256 * 1024, "the file shrinks too: {bytes}");
}

/// Lets the files grow by so many pages.
pub(crate) async fn limit_pages(store: &SqliteStore, more: i64) {
    let limit = move |db: &rusqlite::Connection| {
        let pages: i64 = db.query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
        db.query_row(&format!("PRAGMA max_page_count = {}", pages + more), [], |_| Ok(())).unwrap();
    };
    let set = move |files: &mut Files| {
        limit(files.outbox.database());
        limit(files.history.database());
        Ok(())
    };
    store.with(set).await.unwrap();
}

#[tokio::test]
async fn a_full_disk_is_told_and_takes_nothing_of_what_was_stored() {
    let folder = tempdir().unwrap();
    let store = open(&folder).await;
    store.commit(vec![Change::Identity(identity()), Change::Write(write(channel(0), 1, "kept"))]).await.unwrap();
    let before = store.load().await.unwrap();
    limit_pages(&store, 0).await;
    let big = "x".repeat(20_000);
    let error = store.commit(vec![Change::Write(write(channel(0), 2, &big))]).await.unwrap_err();
    assert_eq!(error.trouble, StoreTrouble::Full, "{error}");
    let error = store.commit(vec![Change::Records(channel(0), vec![record(1, 2, text(big.clone()))])]).await.unwrap_err();
    assert_eq!(error.trouble, StoreTrouble::Full, "{error}");
    assert_eq!(store.load().await.unwrap(), before);
    assert_eq!(store.records(channel(0), Seq::ZERO, Seq::new(9), 9).await.unwrap(), []);
    limit_pages(&store, 100).await;
    store.commit(vec![Change::Write(write(channel(0), 2, &big))]).await.unwrap();
    assert_eq!(store.load().await.unwrap().writes.len(), 2);
}

// ---------------------------------------------------------------- damage

/// A store with something in every table, closed.
async fn filled(folder: &Path) {
    filled_with(folder, SqliteOptions::default()).await;
}
async fn filled_with(folder: &Path, options: SqliteOptions) {
    let store = SqliteStore::open_with(folder, options).await.unwrap();
    let mut changes = vec![Change::Identity(identity()), Change::Conn(Conn::new(5)), Change::UserRev(UserRev::new(9)), Change::Edges(vec![edge(1)])];
    changes.extend((1..=6).map(|number| Change::Write(write(channel(0), number, &format!("queued number {number}")))));
    changes.push(Change::Settled { channel: channel(0), client_seq: ClientSeq::new(1), acked: true });
    changes.push(Change::Records(channel(0), (1..=50).map(|seq| record(seq, 2, text(format!("said {seq} {}", "x".repeat(500))))).collect()));
    changes.push(Change::History {
        channel: channel(1),
        records: vec![record(3, 2, text("early"))],
        span: Span { first: Seq::new(2), last: Seq::new(4) },
        head: Seq::new(9),
    });
    changes.push(Change::Cursor(channel(0), Cursor { from: Seq::new(1), max: Seq::new(50), head: Seq::new(50) }));
    changes.push(Change::Row(row(channel(0), 7, 1, 2)));
    changes.push(Change::Read(channel(0), at(4)));
    store.commit(changes).await.unwrap();
    store.close().await.unwrap();
}

/// Writes over a file where these bytes are.
fn damage(path: &Path, needle: &[u8], by: &[u8]) {
    let bytes = fs::read(path).unwrap();
    let at = bytes.windows(needle.len()).position(|part| part == needle).expect("it is in the file");
    OpenOptions::new().write(true).open(path).unwrap().write_all_at(by, at as u64).unwrap();
}

fn queued(snapshot: &Snapshot) -> Vec<u64> {
    snapshot.writes.iter().map(|write| write.client_seq.get()).collect()
}

#[tokio::test]
async fn a_damaged_history_is_fetched_anew_and_the_outbox_stays() {
    for (at, bytes) in [(0, &[9_u8; 64][..]), (16_384, &[0xff; 30_000])] {
        let folder = tempdir().unwrap();
        filled(folder.path()).await;
        OpenOptions::new().write(true).open(folder.path().join("history.db")).unwrap().write_all_at(bytes, at).unwrap();
        let store = open(&folder).await;
        // Damage that nothing meets when it is opened is met by a call; the next opening heals it.
        let store = if store.salvage().is_none() {
            let error = store.records(channel(0), Seq::ZERO, Seq::new(99), 99).await.unwrap_err();
            assert_eq!(error.trouble, StoreTrouble::Corrupt, "{error}");
            let late = store.commit(vec![Change::UserRev(UserRev::new(10))]).await.unwrap_err();
            assert_eq!(late.trouble, StoreTrouble::Corrupt, "nothing is written to it any more");
            store.close().await.unwrap();
            open(&folder).await
        } else {
            store
        };
        assert_eq!(store.salvage(), Some(&Salvage { history_lost: true, ..Salvage::default() }));
        let snapshot = store.load().await.unwrap();
        assert_eq!((snapshot.identity, snapshot.conn, snapshot.user_rev), (Some(identity()), Conn::new(5), UserRev::ZERO));
        assert_eq!(queued(&snapshot), [2, 3, 4, 5, 6]);
        assert_eq!(snapshot.numbers[&channel(0)].last, ClientSeq::new(6));
        assert_eq!((snapshot.cursors, snapshot.rows), (HashMap::new(), HashMap::new()));
        assert!(folder.path().join("history.db.damaged").exists());
    }
}

#[tokio::test]
async fn a_damaged_outbox_that_can_be_read_whole_goes_on_as_it_was() {
    let folder = tempdir().unwrap();
    filled(folder.path()).await;
    // How many pages are free, in SQLite's header: wrong, and no row is hurt.
    OpenOptions::new().write(true).open(folder.path().join("outbox.db")).unwrap().write_all_at(&[0, 0, 0, 77], 36).unwrap();
    let store = open(&folder).await;
    assert_eq!(store.salvage(), Some(&Salvage { outbox_saved: true, ..Salvage::default() }));
    let snapshot = store.load().await.unwrap();
    assert_eq!((snapshot.identity, snapshot.conn, queued(&snapshot)), (Some(identity()), Conn::new(5), vec![2, 3, 4, 5, 6]));
    assert_eq!(snapshot.user_rev, UserRev::new(9), "the history stays");
    store.close().await.unwrap();
    assert_eq!(open(&folder).await.salvage(), None);
}

#[tokio::test]
async fn an_outbox_that_has_lost_a_row_becomes_a_new_device_and_shows_what_was_queued() {
    let folder = tempdir().unwrap();
    filled(folder.path()).await;
    damage(&folder.path().join("outbox.db"), b"queued number 4", b"?");
    let store = open(&folder).await;
    let salvage = store.salvage().unwrap();
    assert!(salvage.is_new_device && !salvage.outbox_saved && !salvage.history_lost);
    assert_eq!(salvage.unsure.iter().map(|write| write.client_seq.get()).collect::<Vec<_>>(), [2, 3, 5, 6]);
    let snapshot = store.load().await.unwrap();
    assert_eq!((snapshot.identity, snapshot.numbers, snapshot.writes), (None, HashMap::new(), Vec::new()));
}

// ---------------------------------------------------------------- who uses it

#[tokio::test]
async fn a_store_has_one_user_at_a_time_and_accounts_have_stores_of_their_own() {
    let folder = tempdir().unwrap();
    let ann = SqliteStore::open(folder.path().join("ann")).await.unwrap();
    let ben = SqliteStore::open(folder.path().join("ben")).await.unwrap();
    assert_eq!(SqliteStore::open(folder.path().join("ann")).await.map(drop).unwrap_err().trouble, StoreTrouble::InUse);
    ann.commit(vec![Change::Write(write(channel(0), 1, "ann's"))]).await.unwrap();
    assert_eq!(ben.load().await.unwrap().writes, []);
    drop(ann);
    let again = SqliteStore::open(folder.path().join("ann")).await.unwrap();
    assert_eq!(again.load().await.unwrap().writes.len(), 1);
}

/// Whether nobody holds a file of the store.
pub(crate) fn is_free(folder: &Path) -> bool {
    let lock = OpenOptions::new().write(true).open(folder.join("lock")).unwrap();
    let held = fs::read_dir("/proc/self/fd").unwrap().filter_map(|fd| fs::read_link(fd.unwrap().path()).ok());
    // The one that was just opened is no database.
    lock.try_lock().is_ok() && held.filter(|path| path.starts_with(folder) && !path.ends_with("lock")).count() == 0
}

#[tokio::test]
async fn a_store_that_is_let_go_of_holds_no_file_and_goes_on_afterwards() {
    let folder = tempdir().unwrap();
    let store = open(&folder).await;
    store.commit(vec![Change::Identity(identity())]).await.unwrap();
    assert!(!is_free(folder.path()));
    store.park().await.unwrap();
    assert!(is_free(folder.path()));
    store.commit(vec![Change::Write(write(channel(0), 1, "in the background"))]).await.unwrap();
    // The thread lets go after it has answered: a park is what waits for it.
    store.park().await.unwrap();
    assert!(is_free(folder.path()));
    store.resume().await.unwrap();
    assert!(!is_free(folder.path()));
    assert_eq!(store.load().await.unwrap().writes.len(), 1);

    store.park().await.unwrap();
    let other = open(&folder).await;
    other.commit(vec![Change::Write(write(channel(0), 2, "somebody else's"))]).await.unwrap();
    other.close().await.unwrap();
    assert_eq!(store.resume().await.unwrap_err().trouble, StoreTrouble::Changed);
    assert_eq!(store.load().await.unwrap_err().trouble, StoreTrouble::Changed);
}

// ---------------------------------------------------------------- keys

/// Everything in the files of a folder.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

/// Without what SQLite makes beside them to read.
fn databases(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    files(folder).into_iter().filter(|(path, _)| path.extension().is_some_and(|extension| extension == "db")).collect()
}

#[tokio::test]
async fn with_a_key_nothing_that_was_written_can_be_read_in_the_files() {
    let parts = ["queued number 4", "said 7 ", "early", "preview", "title", "h1:1"];
    for (options, are_readable) in [(SqliteOptions::default(), true), (keyed(1), false)] {
        let folder = tempdir().unwrap();
        filled_with(folder.path(), options.clone()).await;
        let all = files(folder.path());
        for part in parts {
            assert_eq!(all.values().any(|bytes| bytes.windows(part.len()).any(|found| found == part.as_bytes())), are_readable, "{part}");
        }
        // Also while it is in use: what has just been written is in the files beside it.
        let store = SqliteStore::open_with(folder.path(), options).await.unwrap();
        store.commit(vec![Change::Write(write(channel(2), 1, "in the log"))]).await.unwrap();
        let all = files(folder.path());
        assert_eq!(all.values().any(|bytes| bytes.windows(10).any(|found| found == b"in the log")), are_readable);
    }
}

#[tokio::test]
async fn a_wrong_key_is_told_and_changes_nothing() {
    for (made, others) in [(keyed(1), [keyed(2), SqliteOptions::default()]), (SqliteOptions::default(), [keyed(1), keyed(2)])] {
        let folder = tempdir().unwrap();
        filled_with(folder.path(), made.clone()).await;
        for lost in [None, Some("history.db"), Some("outbox.db")] {
            if let Some(lost) = lost {
                fs::rename(folder.path().join(lost), folder.path().join("lost")).unwrap();
            }
            let before = databases(folder.path());
            for other in &others {
                let error = SqliteStore::open_with(folder.path(), other.clone()).await.map(drop).unwrap_err();
                assert_eq!(error.trouble, StoreTrouble::WrongKey, "{error}");
            }
            assert_eq!(databases(folder.path()), before);
            assert!(lost.is_none_or(|lost| !folder.path().join(lost).exists()));
            if let Some(lost) = lost {
                fs::rename(folder.path().join("lost"), folder.path().join(lost)).unwrap();
            }
        }
        let store = SqliteStore::open_with(folder.path(), made).await.unwrap();
        assert_eq!((queued(&store.load().await.unwrap()), store.salvage()), (vec![2, 3, 4, 5, 6], None));
    }
}

#[tokio::test]
async fn damage_of_a_store_with_a_key_is_healed_as_of_one_without() {
    let folder = tempdir().unwrap();
    filled_with(folder.path(), keyed(1)).await;
    let history = OpenOptions::new().write(true).open(folder.path().join("history.db")).unwrap();
    history.write_all_at(&[0xff; 30_000], 20_480).unwrap();
    let outbox = OpenOptions::new().write(true).open(folder.path().join("outbox.db")).unwrap();
    outbox.write_all_at(&[0, 0, 0, 77], 36).unwrap();
    let mut store = SqliteStore::open_with(folder.path(), keyed(1)).await.unwrap();
    assert!(store.salvage().is_some_and(|salvage| salvage.outbox_saved));
    if store.records(channel(0), Seq::ZERO, Seq::new(99), 99).await.is_err() {
        store.close().await.unwrap();
        store = SqliteStore::open_with(folder.path(), keyed(1)).await.unwrap();
        assert!(store.salvage().is_some_and(|salvage| salvage.history_lost));
    }
    assert_eq!(queued(&store.load().await.unwrap()), [2, 3, 4, 5, 6]);
    store.close().await.unwrap();
    // Without its salt nothing opens any more.
    let db = rusqlite::Connection::open(folder.path().join("outbox.db")).unwrap();
    db.execute("UPDATE seal SET sum = sum + 1", []).unwrap();
    drop(db);
    let store = SqliteStore::open_with(folder.path(), keyed(1)).await.unwrap();
    assert!(store.salvage().is_some_and(|salvage| salvage.is_new_device && salvage.unsure.is_empty()), "what it was sealed with is gone");
}

// ---------------------------------------------------------------- versions

fn golden(version: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/store-v{version}"))
}
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for name in ["history.db", "outbox.db"] {
        fs::copy(from.join(name), to.join(name)).unwrap();
    }
}

#[tokio::test]
async fn stores_of_every_version_are_read() {
    let newest = history::STEPS.len();
    assert_eq!(newest, outbox::STEPS.len(), "both files have one version");
    if std::env::var("KITH_GOLDEN").as_deref() == Ok("write") {
        let folder = tempdir().unwrap();
        filled(folder.path()).await;
        copy(folder.path(), &golden(&newest.to_string()));
        let folder = tempdir().unwrap();
        filled_with(folder.path(), keyed(5)).await;
        copy(folder.path(), &golden(&format!("{newest}-with-key")));
    }
    // With a key since version 3.
    let plain = (1..=newest).map(|version| (version.to_string(), SqliteOptions::default()));
    for (version, options) in plain.chain((3..=newest).map(|version| (format!("{version}-with-key"), keyed(5)))) {
        let folder = tempdir().unwrap();
        copy(&golden(&version), folder.path());
        let store = SqliteStore::open_with(folder.path(), options).await.unwrap();
        assert_eq!(store.salvage(), None, "version {version}");
        let snapshot = store.load().await.unwrap();
        assert_eq!((snapshot.identity, snapshot.conn, snapshot.user_rev), (Some(identity()), Conn::new(5), UserRev::new(9)));
        assert_eq!((queued(&snapshot), snapshot.edges), (vec![2, 3, 4, 5, 6], vec![edge(1)]));
        assert_eq!(snapshot.writes[0], write(channel(0), 2, "queued number 2"));
        let rows = store.rows().await.unwrap();
        assert_eq!((rows.len(), rows[0].read), (1, at(4)));
        let held = store.records(channel(0), Seq::ZERO, Seq::new(99), 99).await.unwrap();
        assert_eq!(held.len(), 50);
        assert_eq!(store.spans(channel(1)).await.unwrap(), [Span { first: Seq::new(2), last: Seq::new(4) }]);
    }
}

#[tokio::test]
async fn a_store_of_a_newer_version_is_left_alone() {
    let folder = tempdir().unwrap();
    filled(folder.path()).await;
    let db = rusqlite::Connection::open(folder.path().join("outbox.db")).unwrap();
    db.pragma_update(None, "user_version", 99).unwrap();
    drop(db);
    let before = fs::read(folder.path().join("outbox.db")).unwrap();
    assert_eq!(SqliteStore::open(folder.path()).await.map(drop).unwrap_err().trouble, StoreTrouble::Newer);
    assert_eq!(fs::read(folder.path().join("outbox.db")).unwrap(), before);
}

#[test]
fn steps_lead_through_every_version() {
    // A file that was made by the first step alone, then by all: the same tables.
    let tables = |steps: &[&str]| {
        let folder = tempdir().unwrap();
        let path = folder.path().join("x.db");
        for count in 1..=steps.len() {
            drop(database::open(&path, database::Sync::Lazy, &steps[..count], |_| Ok(())).unwrap());
        }
        let db = rusqlite::Connection::open(&path).unwrap();
        let mut select = db.prepare("SELECT name, sql FROM sqlite_schema").unwrap();
        let rows = select.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, Option<String>>(1)?))).unwrap();
        rows.map(Result::unwrap).collect::<BTreeMap<_, _>>()
    };
    let two = ["CREATE TABLE a (x)", "ALTER TABLE a ADD COLUMN y"];
    assert!(tables(&two)["a"].as_deref().unwrap().contains("y"));
    assert_eq!(tables(history::STEPS).len(), 7, "with the index that SQLite makes for a unique column");
}
