//! A store in files: SQLite, on one thread that is owned and awaited.
//!
//! In: the calls of a store. Out: what they say, in the order in which they were made. Layout: a folder with `lock` (held while the store is in
//! use), `outbox.db` (the device, its numbers, its unanswered writes: each commit synced) and `history.db` (records, rows, cursors: a loss of
//! power may take its last commits, all of each, and the cluster has them). Invariants: nothing of the outbox is ever evicted; what is damaged
//! is set aside when the store is opened, and the outbox saved from it (`salvage`); with a key, what users wrote is kept under it (`seal`). Bounds: `JOBS_MAX` calls wait; `history.db` holds about
//! `SqliteOptions::history_bytes_max`. Not here: the tables (`history`, `outbox`).

mod database;
mod history;
mod outbox;
mod salvage;
mod seal;
#[cfg(test)]
pub(crate) mod tests;

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    thread::JoinHandle,
};

use futures_util::future::BoxFuture;
use kith_wire::{
    id::{ChannelId, Seq},
    log::{IndexRow, Record},
};
use tokio::sync::{mpsc, oneshot};

use self::{history::History, outbox::Outbox, seal::Seal};
pub use self::{salvage::Salvage, seal::StoreKey};
use crate::store::{Change, Cursor, Snapshot, Span, Store, StoreFailed, StoreTrouble};

/// Calls that wait for the thread; more make their callers wait.
const JOBS_MAX: usize = 64;

/// How a store in files is kept.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SqliteOptions {
    /// What the history may take, about, in bytes; not less than 64 KiB. Over it, the channel that takes most loses its oldest quarter, and so on;
    /// it is asked from the cluster when it is wanted again. The outbox does not count, and is never touched. Default: 256 MiB.
    pub history_bytes_max: u64,
    /// What bodies are kept under: records, rows of the list of conversations, writes on their way, edges. Default: none, they stand as they are.
    /// Not under it are ids of users and conversations, numbers, times and lengths. A store keeps its key, or has none, for all of its life.
    pub key: Option<StoreKey>,
}

impl Default for SqliteOptions {
    fn default() -> Self {
        Self { history_bytes_max: 256 * 1024 * 1024, key: None }
    }
}

impl SqliteOptions {
    /// With another size of the history.
    #[must_use]
    pub fn history_bytes_max(self, bytes: u64) -> Self {
        Self { history_bytes_max: bytes, ..self }
    }
    /// With a key.
    #[must_use]
    pub fn key(self, key: StoreKey) -> Self {
        Self { key: Some(key), ..self }
    }
}

/// A device in a folder. Clones are the same store. End it with [`Store::close`], as [`crate::Client::close`] does; dropping the last clone
/// waits for the call under way.
#[derive(Clone, Debug)]
pub struct SqliteStore {
    thread: Arc<Thread>,
    salvage: Option<Arc<Salvage>>,
}

type Job = Box<dyn FnOnce(&mut Keeper) + Send>;

#[derive(Debug)]
struct Thread {
    jobs: Mutex<Option<mpsc::Sender<Job>>>,
    handle: Mutex<Option<JoinHandle<()>>>,
}

impl SqliteStore {
    /// Opens the store in this folder, and makes it if there is none. A folder is a device: one for each account, and never copied.
    ///
    /// # Errors
    /// `InUse`, `Newer`, `WrongKey`, `Full`, `Io`. Damage is no error: see [`SqliteStore::salvage`].
    pub async fn open(folder: impl Into<PathBuf>) -> Result<Self, StoreFailed> {
        Self::open_with(folder, SqliteOptions::default()).await
    }
    /// As [`SqliteStore::open`], kept in another way.
    ///
    /// # Errors
    /// As [`SqliteStore::open`].
    pub async fn open_with(folder: impl Into<PathBuf>, options: SqliteOptions) -> Result<Self, StoreFailed> {
        let mut keeper = Keeper { folder: folder.into(), options, files: None, parked: false, generation: None, ended: None };
        let (jobs, mut inbox) = mpsc::channel::<Job>(JOBS_MAX);
        let run = move || {
            while let Some(job) = inbox.blocking_recv() {
                job(&mut keeper);
                if keeper.parked {
                    keeper.let_go();
                }
            }
            keeper.let_go();
        };
        let handle = std::thread::Builder::new()
            .name("kith-store".to_owned())
            .spawn(run)
            .map_err(|error| StoreFailed::new(StoreTrouble::Io, format!("starting the store's thread: {error}")))?;
        let thread = Arc::new(Thread { jobs: Mutex::new(Some(jobs)), handle: Mutex::new(Some(handle)) });
        let mut store = Self { thread, salvage: None };
        store.salvage = store.call(|keeper| keeper.open()).await?.map(Arc::new);
        Ok(store)
    }
    /// What was damaged when it was opened, and what became of it; `None`: nothing was.
    pub fn salvage(&self) -> Option<&Salvage> {
        self.salvage.as_deref()
    }

    /// Has the thread do something, after all that was asked before.
    async fn call<T: Send + 'static>(&self, work: impl FnOnce(&mut Keeper) -> Result<T, StoreFailed> + Send + 'static) -> Result<T, StoreFailed> {
        let ended = || StoreFailed::new(StoreTrouble::Io, "the store is closed");
        let jobs = self.thread.jobs.lock().unwrap_or_else(PoisonError::into_inner).clone().ok_or_else(ended)?;
        let (done, result) = oneshot::channel();
        // A caller that went away needs no answer.
        let job: Job = Box::new(move |keeper| drop(done.send(work(keeper))));
        jobs.send(job).await.map_err(|_| ended())?;
        result.await.map_err(|_| ended())?
    }
    fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Files) -> Result<T, StoreFailed> + Send + 'static,
    ) -> BoxFuture<'_, Result<T, StoreFailed>> {
        Box::pin(self.call(move |keeper| keeper.with(work)))
    }
}

impl Store for SqliteStore {
    fn load(&self) -> BoxFuture<'_, Result<Snapshot, StoreFailed>> {
        self.with(|files| {
            let mut snapshot = files.outbox.load()?;
            files.history.load(&mut snapshot)?;
            Ok(snapshot)
        })
    }
    fn commit(&self, changes: Vec<Change>) -> BoxFuture<'_, Result<(), StoreFailed>> {
        self.with(move |files| {
            // If the second fails, no write is taken in or given up: what is in the history without it is only known twice.
            files.history.apply(&changes)?;
            files.outbox.apply(&changes)
        })
    }
    fn records(&self, channel: ChannelId, first: Seq, last: Seq, limit: usize) -> BoxFuture<'_, Result<Vec<Arc<Record>>, StoreFailed>> {
        self.with(move |files| files.history.records(channel, first, last, limit))
    }
    fn cursor(&self, channel: ChannelId) -> BoxFuture<'_, Result<Option<Cursor>, StoreFailed>> {
        self.with(move |files| files.history.cursor(channel))
    }
    fn rows(&self) -> BoxFuture<'_, Result<Vec<IndexRow>, StoreFailed>> {
        self.with(|files| files.history.rows())
    }
    fn spans(&self, channel: ChannelId) -> BoxFuture<'_, Result<Vec<Span>, StoreFailed>> {
        self.with(move |files| files.history.spans(channel))
    }
    fn park(&self) -> BoxFuture<'_, Result<(), StoreFailed>> {
        Box::pin(self.call(|keeper| {
            keeper.parked = true;
            keeper.let_go();
            Ok(())
        }))
    }
    fn resume(&self) -> BoxFuture<'_, Result<(), StoreFailed>> {
        Box::pin(self.call(|keeper| {
            keeper.parked = false;
            keeper.with(|_| Ok(()))
        }))
    }
    fn close(&self) -> BoxFuture<'_, Result<(), StoreFailed>> {
        Box::pin(async {
            // Closed twice is closed.
            let _ = self
                .call(|keeper| {
                    keeper.let_go();
                    Ok(())
                })
                .await;
            // The queue has ended, and the thread with it: nothing is left to wait for.
            self.thread.end();
            Ok(())
        })
    }
}

impl Thread {
    fn end(&self) {
        drop(self.jobs.lock().unwrap_or_else(PoisonError::into_inner).take());
        let handle = self.handle.lock().unwrap_or_else(PoisonError::into_inner).take();
        if handle.is_some_and(|handle| handle.join().is_err()) {
            tracing::error!("the store's thread panicked");
        }
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        self.end();
    }
}

/// What the thread owns.
struct Keeper {
    folder: PathBuf,
    options: SqliteOptions,
    files: Option<Files>,
    parked: bool,
    /// How often the store was opened, when this one did it last.
    generation: Option<u64>,
    /// Why it cannot be used any more.
    ended: Option<StoreFailed>,
}

struct Files {
    outbox: Outbox,
    history: History,
    /// Dropped last.
    _lock: Lock,
}

/// The store's lock.
struct Lock(File);

impl Drop for Lock {
    /// By name: to close the file is not enough while a process that was just forked still holds it too.
    fn drop(&mut self) {
        if let Err(error) = self.0.unlock() {
            tracing::debug!(%error, "the store's lock was not given back");
        }
    }
}

impl Keeper {
    fn with<T>(&mut self, work: impl FnOnce(&mut Files) -> Result<T, StoreFailed>) -> Result<T, StoreFailed> {
        if self.files.is_none() {
            self.open()?;
        }
        let files = self.files.as_mut().ok_or_else(|| StoreFailed::new(StoreTrouble::Io, "the store is not open"))?;
        let result = work(files);
        if let Err(error) = &result
            && error.trouble == StoreTrouble::Corrupt
        {
            // Whoever opens it next finds out what is left. Nothing is written to it before.
            self.ended = Some(error.clone());
            self.let_go();
            // So that damage which only a part of the calls meets is not overlooked.
            let _ = fs::write(self.folder.join(DAMAGED), b"");
        }
        result
    }
    fn open(&mut self) -> Result<Option<Salvage>, StoreFailed> {
        if let Some(error) = &self.ended {
            return Err(error.clone());
        }
        let refused = |action: &str, error: &dyn std::fmt::Display| StoreFailed::new(StoreTrouble::Io, format!("{action}: {error}"));
        fs::create_dir_all(&self.folder).map_err(|error| refused("making the store's folder", &error))?;
        let lock = OpenOptions::new().create(true).write(true).truncate(false).open(self.folder.join(LOCK));
        let lock = lock.map_err(|error| refused("opening the store's lock", &error))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(StoreFailed::new(StoreTrouble::InUse, "opening the store")),
            Err(TryLockError::Error(error)) => return Err(refused("locking the store", &error)),
        }
        let lock = Lock(lock);
        // Both before either is made: a wrong key leaves nothing behind.
        let key = self.options.key.as_ref();
        Seal::check(&outbox_path(&self.folder), key)?;
        Seal::check(&history_path(&self.folder), key)?;
        let was_damaged = fs::remove_file(self.folder.join(DAMAGED)).is_ok();
        let mut salvage = Salvage::default();
        let history = salvage::history(&self.folder, &self.options, was_damaged, &mut salvage)?;
        let outbox = salvage::outbox(&self.folder, key, &mut salvage)?;
        let mut files = Files { outbox, history, _lock: lock };
        let generation = files.outbox.begin()?;
        if self.generation.is_some_and(|before| before + 1 != generation) {
            let error = StoreFailed::new(StoreTrouble::Changed, "opening the store again");
            self.ended = Some(error.clone());
            return Err(error);
        }
        self.generation = Some(generation);
        self.files = Some(files);
        Ok((salvage != Salvage::default()).then_some(salvage))
    }
    /// Closes every file; locks go with them.
    fn let_go(&mut self) {
        self.files = None;
    }
}

/// Held while the store is in use.
const LOCK: &str = "lock";
/// There since damage was met.
const DAMAGED: &str = "damaged";

fn history_path(folder: &Path) -> PathBuf {
    folder.join("history.db")
}
fn outbox_path(folder: &Path) -> PathBuf {
    folder.join("outbox.db")
}
