//! Exactly once through the death of a real process: it is killed (-9) at every step of the outbox, over a store in files and a network that
//! loses, and begun again. `make sdk-death` runs 200 schedules, the tests a few.

use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicI32, AtomicU32, Ordering},
    },
    time::Duration,
};

use futures_util::future::BoxFuture;
use kith_wire::{
    id::{ChannelId, Seq, UserId},
    log::{IndexRow, Record},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use rand::{RngExt, SeedableRng, rngs::SmallRng};

use super::{FakeServer, Fault, WriteStep};
use crate::{
    Backfill, Client, RetryPolicy, SqliteStore, Trust,
    store::{Change, Cursor, Snapshot, Span, Store, StoreFailed},
};

/// Where it dies: in the store's commits, or by what the server sees.
const POINTS: [&str; 7] = ["before-write", "after-write", "arrived", "recorded", "answered", "before-delete", "after-delete"];

/// What a process is told, in its environment.
const SCRIPT: &str = "KITH_DYING_APP";

#[derive(Clone, Debug)]
struct Script {
    address: String,
    folder: PathBuf,
    user: UserId,
    token: String,
    /// Texts are called `RUN.n`.
    run: u64,
    sends: u64,
    point: String,
    /// How often it passes there before.
    passes: u32,
}

impl Script {
    fn to_text(&self) -> String {
        let Self { address, folder, user, token, run, sends, point, passes } = self;
        format!("{address}|{}|{}|{token}|{run}|{sends}|{point}|{passes}", folder.display(), user.get())
    }
    fn from_text(text: &str) -> Self {
        let parts: Vec<_> = text.split('|').collect();
        let number = |at: usize| parts[at].parse::<u64>().expect("a number");
        Self {
            address: parts[0].to_owned(),
            folder: parts[1].into(),
            user: UserId::new(number(2)),
            token: parts[3].to_owned(),
            run: number(4),
            sends: number(5),
            point: parts[6].to_owned(),
            passes: number(7) as u32,
        }
    }
}

fn room(user: UserId) -> ChannelId {
    ChannelId::direct(user, UserId::new(u64::MAX))
}

/// A store whose process dies.
struct DyingStore {
    inner: SqliteStore,
    point: String,
    passes: AtomicU32,
}

impl DyingStore {
    fn pass(&self, point: &str, is_there: bool) {
        if is_there && self.point == point && self.passes.fetch_sub(1, Ordering::Relaxed) == 0 {
            kill(Pid::this(), Signal::SIGKILL).expect("it may end itself");
            // The signal is on its way: nothing is done any more.
            std::thread::sleep(Duration::MAX);
        }
    }
}

impl Store for DyingStore {
    fn load(&self) -> BoxFuture<'_, Result<Snapshot, StoreFailed>> {
        self.inner.load()
    }
    fn commit(&self, changes: Vec<Change>) -> BoxFuture<'_, Result<(), StoreFailed>> {
        Box::pin(async {
            let has_write = changes.iter().any(|change| matches!(change, Change::Write(_)));
            let has_answer = changes.iter().any(|change| matches!(change, Change::Settled { .. }));
            self.pass("before-write", has_write);
            self.pass("before-delete", has_answer);
            self.inner.commit(changes).await?;
            self.pass("after-write", has_write);
            self.pass("after-delete", has_answer);
            Ok(())
        })
    }
    fn records(&self, channel: ChannelId, first: Seq, last: Seq, limit: usize) -> BoxFuture<'_, Result<Vec<Arc<Record>>, StoreFailed>> {
        self.inner.records(channel, first, last, limit)
    }
    fn cursor(&self, channel: ChannelId) -> BoxFuture<'_, Result<Option<Cursor>, StoreFailed>> {
        self.inner.cursor(channel)
    }
    fn rows(&self) -> BoxFuture<'_, Result<Vec<IndexRow>, StoreFailed>> {
        self.inner.rows()
    }
    fn spans(&self, channel: ChannelId) -> BoxFuture<'_, Result<Vec<Span>, StoreFailed>> {
        self.inner.spans(channel)
    }
    fn close(&self) -> BoxFuture<'_, Result<(), StoreFailed>> {
        self.inner.close()
    }
}

/// Not a test by itself: the process that dies.
#[tokio::test]
async fn dying_app() {
    let Ok(script) = std::env::var(SCRIPT) else { return };
    let script = Script::from_text(&script);
    let pem = std::fs::read(script.folder.join("ca.pem")).expect("the authority");
    let store = SqliteStore::open(script.folder.join("store")).await.expect("a store");
    let dying = DyingStore { inner: store.clone(), point: script.point.clone(), passes: AtomicU32::new(script.passes) };
    let client = Client::builder(&script.address)
        .tokens(script.token.clone())
        .trust(Trust::ca_pem(&pem).expect("a PEM"))
        .user(script.user)
        .backfill(Backfill::Off)
        .retry(RetryPolicy { min: Duration::from_millis(5), max: Duration::from_millis(20) })
        .store(dying)
        .build()
        .await
        .expect("a client");
    for number in 0..script.sends {
        if number == script.sends / 2 {
            client.connect().await.expect("online");
        }
        let text = format!("{}.{number}", script.run);
        client.channel(room(script.user)).send(text.as_str()).await.expect("stored");
        println!("stored {text}");
    }
    client.connect().await.expect("online");
    while !store.load().await.expect("the store").writes.is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    client.close().await;
    println!("done");
}

/// Runs the process to its end. What it said was stored, and whether it lived.
fn run(script: &Script, pid: &AtomicI32) -> (Vec<String>, bool) {
    let mut child = Command::new(std::env::current_exe().expect("this program"))
        .args(["testing::death::dying_app", "--exact", "--nocapture"])
        .env(SCRIPT, script.to_text())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a process");
    pid.store(i32::try_from(child.id()).expect("a process id"), Ordering::SeqCst);
    let lines: Vec<_> = BufReader::new(child.stdout.take().expect("its output")).lines().map_while(Result::ok).collect();
    child.wait().expect("it ends");
    pid.store(0, Ordering::SeqCst);
    // What the test's own harness says may stand before it.
    let stored = lines.iter().filter_map(|line| Some(line.split_once("stored ")?.1.to_owned())).collect();
    (stored, lines.iter().any(|line| line.ends_with("done")))
}

async fn schedule(server: &FakeServer, seed: u64) -> Result<BTreeSet<String>, String> {
    let mut rng = SmallRng::seed_from_u64(seed);
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    std::fs::write(folder.path().join("ca.pem"), server.ca_pem()).map_err(|error| error.to_string())?;
    let user = server.user(&format!("user of {seed}"));
    let pid = Arc::new(AtomicI32::new(0));
    let (mut stored, mut died) = (Vec::new(), BTreeSet::new());
    for run_number in 0..4 {
        let is_last = run_number == 3;
        let point = if is_last { "never" } else { POINTS[rng.random_range(0..POINTS.len())] };
        let passes = rng.random_range(0..6);
        let script = Script {
            address: server.address(),
            folder: folder.path().to_owned(),
            user,
            token: server.token(user),
            run: run_number,
            sends: rng.random_range(2..10),
            point: point.to_owned(),
            passes,
        };
        for _ in 0..rng.random_range(0..3) {
            server.next(if rng.random() { Fault::LoseAnswer } else { Fault::LoseRequest });
        }
        let (killed, mut left) = (Arc::clone(&pid), i64::from(passes));
        server.on_write(move |step| {
            let is_there =
                matches!((step, point), (WriteStep::Arrived, "arrived") | (WriteStep::Recorded, "recorded") | (WriteStep::Answered, "answered"));
            left -= i64::from(is_there);
            let pid = killed.load(Ordering::SeqCst);
            if is_there && left < 0 && pid != 0 {
                // It may be gone already.
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
        });
        let child_pid = Arc::clone(&pid);
        let (said, lived) = tokio::task::spawn_blocking(move || run(&script, &child_pid)).await.map_err(|error| error.to_string())?;
        stored.extend(said);
        if is_last && !lived {
            return Err("the last process did not end by itself".to_owned());
        }
        if !lived {
            died.insert(point.to_owned());
        }
    }
    let log = server.texts(room(user));
    let number = |text: &str| text.parse::<u64>().expect("a number");
    let numbers: Vec<_> = log.iter().filter_map(|text| text.split_once('.')).map(|(run, at)| (number(run), number(at))).collect();
    if numbers.windows(2).any(|pair| pair[0] >= pair[1]) {
        return Err(format!("not once and in order: {log:?}"));
    }
    match stored.iter().find(|text| !log.contains(text)) {
        Some(missing) => Err(format!("{missing} was stored, and is not in {log:?}")),
        None => Ok(died),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_is_killed_sends_once_what_it_stored() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds = number("KITH_SEED").map_or_else(|| 1..=number("KITH_DEATHS").unwrap_or(4), |seed| seed..=seed);
    let server = FakeServer::start().expect("a server");
    let mut died = BTreeSet::new();
    for seed in seeds.clone() {
        match schedule(&server, seed).await {
            Ok(points) => died.extend(points),
            Err(error) => panic!(
                "{error}; seed {seed}; again: KITH_SEED={seed} cargo nextest run -p kith-client a_process_that_is_killed_sends_once_what_it_stored"
            ),
        }
    }
    if seeds.count() >= 50 {
        assert_eq!(died.len(), POINTS.len(), "each place was died at: {died:?}");
    }
}
