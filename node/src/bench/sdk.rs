//! What a device uses: the SDK with its store in files, as a phone has it.
//!
//! In: a cluster of one node. Out: [`Outcome`]. Invariant: what is counted is the SDK's alone: clients that nobody asks anything are in a thread of
//! their own; while a device takes in what it has missed, nothing else goes on in this process. Bounds: `IDLE_CLIENTS`, `IDLE`, and the texts below.

use std::{path::Path, time::Duration};

use futures_util::{StreamExt, TryStreamExt, stream};
use kith_client::{
    Backfill, Client, Error, SqliteStore, StoreFailed, Traffic, Trust,
    store::{Change, Identity, Store},
};
use kith_wire::{
    code::Code,
    id::{ChannelId, Incarnation, Seq, Timestamp, UserId, UserRev},
    log::{IndexRow, Position, Ref},
};
use serde::Serialize;
use tokio::time::{sleep, timeout};

use super::{
    BenchError,
    rate::share,
    stage::{Stage, temporary_folder},
};
use crate::{clock::Stopwatch, operator::ensure_account, usage};

/// Clients that nobody asks anything.
const IDLE_CLIENTS: usize = 20;
/// For how long: two heartbeats of each.
const IDLE: Duration = Duration::from_secs(65);
/// For what a connection leaves to do.
const SETTLE: Duration = Duration::from_secs(5);
/// Texts one after the other.
const TEXTS: u64 = 200;
/// Texts that a device has missed.
const MISSED: u64 = 10_000;
/// Of those, on their way at once.
const AT_ONCE: usize = 256;
/// Conversations of a device that is long in use.
const CONVERSATIONS: u64 = 10_000;
/// Starts, of which the median is told.
const STARTS: usize = 5;
/// IPv4 and UDP, in bytes.
const HEADERS: u64 = 28;
/// Longer than any run.
const TOKEN_TTL: Duration = Duration::from_secs(12 * 3600);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(20);
/// For a device to take in what it has missed.
const CAUGHT_UP_WITHIN: Duration = Duration::from_secs(120);

/// What was measured. The names are those of the row.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Outcome {
    /// Nothing happens.
    pub idle: Idle,
    /// One text after the other.
    pub texts: Texts,
    /// What was missed.
    #[serde(rename = "break")]
    pub missed: Missed,
    /// A device that is long in use.
    pub start: Start,
}

/// An hour of a client in which nothing happens.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Idle {
    /// How often its thread is woken up.
    pub wakeups_per_h: f64,
    /// KiB both ways, headers included.
    pub kib_per_h: f64,
}

/// Bytes both ways, headers included.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Texts {
    /// At the device that sends.
    pub bytes_per_sent: f64,
    /// At the device that receives.
    pub bytes_per_received: f64,
}

/// What a device takes in after a break.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Missed {
    /// Processor milliseconds of the device for 1,000 texts.
    pub cpu_ms_per_1000: f64,
    /// Texts that did not come.
    pub missing: u64,
}

/// From opening the files to the list of conversations.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Start {
    /// Milliseconds.
    pub ms: f64,
}

/// Measures.
///
/// # Errors
/// The cluster cannot be run, a client is refused, or a text is lost.
pub async fn run() -> Result<Outcome, BenchError> {
    let stage = Stage::set(1, 1, None).await?;
    let measured = measure(&stage).await;
    stage.strike().await;
    measured
}

async fn measure(stage: &Stage) -> Result<Outcome, BenchError> {
    let folder = temporary_folder()?;
    let crowd = Crowd::make(stage, IDLE_CLIENTS).await?;
    let start = start(&crowd.trust, folder.path()).await?;
    let texts = texts(&crowd, folder.path()).await?;
    let missed = missed(&crowd, folder.path()).await?;
    let (own, at) = (crowd, folder.path().to_owned());
    // A thread of its own: it is woken up by nothing but these clients.
    let idle = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|source| BenchError::Io { what: "making a runtime", source })?;
        runtime.block_on(idle(&own, &at))
    });
    let joined = tokio::task::spawn_blocking(move || idle.join()).await.map_err(super::broke_off)?;
    let idle = joined.map_err(|_| BenchError::Untrue("the thread of idle clients panicked".into()))??;
    Ok(Outcome { idle, texts, missed, start })
}

/// Accounts, and how their devices get in.
struct Crowd {
    address: String,
    trust: Trust,
    people: Vec<(UserId, String)>,
}

impl Crowd {
    async fn make(stage: &Stage, count: usize) -> Result<Self, BenchError> {
        let admin = stage.operator.admin().await?;
        admin.connect().await?;
        let mut people = Vec::new();
        for number in 0..count {
            let name = format!("device-{number}");
            let (user, _) = ensure_account(&admin, &name).await?;
            people.push((user, stage.operator.token(user, &name, TOKEN_TTL)?));
        }
        admin.close().await;
        let address = stage.addresses().into_iter().next().unwrap_or_default();
        Ok(Self { address, trust: Trust::ca_pem(stage.operator.files().ca_pem.as_bytes())?, people })
    }
    /// A device of somebody, with a store in this folder; not connected.
    async fn device(&self, number: usize, folder: &Path) -> Result<Client, BenchError> {
        let (_, token) = &self.people[number];
        let store = SqliteStore::open(folder).await.map_err(failed)?;
        Ok(Client::builder(&self.address).tokens(token.clone()).trust(self.trust.clone()).store(store).backfill(Backfill::All).build().await?)
    }
}

fn failed(error: StoreFailed) -> BenchError {
    BenchError::Client(Error::new(Code::Internal, error.to_string()))
}

fn bytes(before: Traffic, after: Traffic) -> f64 {
    let of = |traffic: Traffic| traffic.sent_bytes + traffic.received_bytes + HEADERS * (traffic.sent_packets + traffic.received_packets);
    of(after).saturating_sub(of(before)) as f64
}

async fn idle(crowd: &Crowd, folder: &Path) -> Result<Idle, BenchError> {
    let mut clients = Vec::new();
    for number in 0..IDLE_CLIENTS {
        let client = crowd.device(number, &folder.join(format!("idle-{number}"))).await?;
        client.connect().await?;
        clients.push(client);
    }
    sleep(SETTLE).await;
    let (before, begun) = (traffic(&clients).await?, Stopwatch::start());
    let wakeups = || usage::thread_wakeups().ok_or_else(|| BenchError::Untrue("this system does not tell how often a thread was woken up".into()));
    let woken = wakeups()?;
    sleep(IDLE).await;
    let woken = wakeups()? - woken;
    let hours = begun.elapsed().as_secs_f64() / 3_600.0 * IDLE_CLIENTS as f64;
    let used = bytes(before, traffic(&clients).await?);
    for client in clients {
        client.close().await;
    }
    Ok(Idle { wakeups_per_h: share(woken as f64, hours), kib_per_h: share(used / 1_024.0, hours) })
}

async fn traffic(clients: &[Client]) -> Result<Traffic, Error> {
    let mut sum = Traffic::default();
    for client in clients {
        sum = sum + client.traffic().await?;
    }
    Ok(sum)
}

async fn texts(crowd: &Crowd, folder: &Path) -> Result<Texts, BenchError> {
    let (ann, bob) = (crowd.device(0, &folder.join("ann")).await?, crowd.device(1, &folder.join("bob")).await?);
    ann.connect().await?;
    bob.connect().await?;
    let room = ChannelId::direct(ann.me(), bob.me());
    send(&ann, room, 1).await?;
    held(&bob, room, 1).await?;
    sleep(SETTLE).await;
    let (anns, bobs) = (ann.traffic().await?, bob.traffic().await?);
    send(&ann, room, TEXTS).await?;
    held(&bob, room, TEXTS + 1).await?;
    let (anns, bobs) = (bytes(anns, ann.traffic().await?), bytes(bobs, bob.traffic().await?));
    ann.close().await;
    bob.close().await;
    Ok(Texts { bytes_per_sent: share(anns, TEXTS as f64), bytes_per_received: share(bobs, TEXTS as f64) })
}

/// One after the other.
async fn send(client: &Client, room: ChannelId, count: u64) -> Result<(), BenchError> {
    for number in 0..count {
        client.channel(room).send(text(number)).await?.sent().await?;
    }
    Ok(())
}

/// 100 bytes.
fn text(number: u64) -> String {
    format!("{number:0>100}")
}

/// Waits until a device has all up to a place.
async fn held(client: &Client, room: ChannelId, seq: u64) -> Result<(), BenchError> {
    let channel = client.channel(room);
    let wait = async {
        loop {
            if channel.held().await?.is_some_and(|cursor| cursor.max >= Seq::new(seq)) {
                return Ok::<_, Error>(());
            }
            sleep(LOOK).await;
        }
    };
    timeout(CAUGHT_UP_WITHIN, wait).await.map_err(|_| BenchError::Untrue("a device did not get what was sent".into()))??;
    Ok(())
}

async fn missed(crowd: &Crowd, folder: &Path) -> Result<Missed, BenchError> {
    let (ann, bob) = (crowd.device(0, &folder.join("ann")).await?, folder.join("bob"));
    ann.connect().await?;
    let room = ChannelId::direct(ann.me(), crowd.people[1].0);
    let one = |number| {
        let channel = ann.channel(room);
        async move { channel.send(text(number)).await?.sent().await.map(drop) }
    };
    stream::iter(0..MISSED).map(one).buffer_unordered(AT_ONCE).try_collect::<()>().await?;
    ann.close().await;
    let me = [std::process::id()];
    let before = usage::cpu_seconds(&me);
    let bob = crowd.device(1, &bob).await?;
    bob.connect().await?;
    let end = TEXTS + 1 + MISSED;
    held(&bob, room, end).await?;
    let used = usage::cpu_seconds(&me) - before;
    let records = bob.channel(room).records(Seq::new(TEXTS + 2), Seq::new(end), usize::MAX).await?;
    bob.close().await;
    Ok(Missed { cpu_ms_per_1000: share(used * 1e6, MISSED as f64), missing: MISSED - (records.len() as u64).min(MISSED) })
}

async fn start(trust: &Trust, folder: &Path) -> Result<Start, BenchError> {
    let (folder, me) = (folder.join("start"), UserId::new(1));
    let store = SqliteStore::open(&folder).await.map_err(failed)?;
    let mut changes = vec![Change::Identity(Identity { user: me, nonce: [1; 16] })];
    changes.extend((0..CONVERSATIONS).map(|number| Change::Row(row(me, number))));
    store.commit(changes).await.map_err(failed)?;
    store.close().await.map_err(failed)?;
    let mut took = Vec::new();
    for _ in 0..STARTS {
        let begun = Stopwatch::start();
        let store = SqliteStore::open(&folder).await.map_err(failed)?;
        // Nobody is dialled: a start needs no network.
        let client = Client::builder("127.0.0.1:9").tokens("none".to_owned()).trust(trust.clone()).user(me).store(store).build().await?;
        let rows = client.channels().await?.len() as u64;
        took.push(begun.elapsed().as_secs_f64() * 1_000.0);
        client.close().await;
        if rows != CONVERSATIONS {
            return Err(BenchError::Lost(CONVERSATIONS.saturating_sub(rows)));
        }
    }
    took.sort_by(f64::total_cmp);
    Ok(Start { ms: took[STARTS / 2] })
}

fn row(me: UserId, number: u64) -> IndexRow {
    let at = |seq: u64| Position { seq: Seq::new(seq), cnt: seq };
    let peer = UserId::new(1_000 + number);
    let news = Ref {
        channel: ChannelId::direct(me, peer),
        incarnation: Incarnation::default(),
        head: at(100),
        head_ts: Timestamp::new(1_700_000_000_000 + number),
        head_sender: peer,
        member_seq: Seq::ZERO,
        join: at(0),
        left: None,
        own: at(0),
        mentions: Vec::new(),
        title: "".into(),
        preview: format!("what somebody said last, number {number}"),
    };
    IndexRow { rev: UserRev::new(number + 1), news, read: at(90), preferences: Default::default() }
}
