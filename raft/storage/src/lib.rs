//! kith-storage: what a node keeps on its disk, in two RocksDB databases per node: the raft logs of all groups (synced) and their applied rows
//! (no WAL: replayed from the log).
//!
//! In: raft entries and votes, typed rows of apply, snapshots. Out: callbacks once something is on the disk, views of the rows, snapshots.
//! Invariants: what a log callback confirmed survives any crash; a group's state on the disk is an exact applied prefix of its log, never beyond
//! what its log holds; every stored value carries a version and a checksum, and damaged bytes are a typed error, never a panic; the first failed
//! write ends the store.
//! Bounds: [`Options`]. Threads: one log writer, one state writer, joined by [`Storage::close`] or on drop.
//! Not here: consensus (kith-raft), rules of rows (kith-machine), anything asynchronous: calls that wait for the disk say so.

mod cache;
pub mod check;
pub mod chunk;
mod codec;
mod commit;
mod db;
mod export;
mod fatal;
#[doc(hidden)]
pub mod fuzz;
mod group;
pub mod history;
mod install;
mod local;
mod log;
mod loss;
mod mark;
mod merge;
mod metrics;
mod options;
mod overlay;
mod quarantine;
mod row;
mod state;
pub mod step;
mod sync;
#[cfg(test)]
mod testing;
mod witness;

use std::{
    io,
    path::Path,
    sync::{Arc, Mutex, mpsc},
    thread::{self, JoinHandle},
};

pub use codec::EnvelopeError;
pub use db::{Identity, OpenError};
pub use export::{Export, ExportError};
pub use fatal::{FatalError, FatalHook};
pub use group::{CommitError, GroupState, NotServing, Reader};
pub use install::{InstallError, Installer};
pub use local::LocalError;
pub use log::{Bounds, Done, LogDb, ReadError, WriteFailed};
pub use metrics::{Histogram, LogMetrics, StateMetrics};
pub use options::Options;
pub use quarantine::{Condition, DamageHook};
pub use state::{AppliedError, StateDb};

use kith_machine::{key, mutant::Quirk};
use kith_wire::{id::GroupId, log::Applied, upgrade::ClusterVersion};

use crate::{
    commit::Queue,
    db::{Databases, Opened},
    fatal::Fatal,
    group::Phase,
    local::Local,
    metrics::LogCounters,
    quarantine::{Damage, Stages},
    sync::lock,
};

/// Names of the node's own values are kept apart from the store's marks.
const USER_VALUES: &str = "value/";
const DESTROYING: &str = "destroy/";

/// A node's data directory, open.
pub struct Storage {
    identity: Identity,
    databases: Arc<Databases>,
    log: Arc<LogDb>,
    state: StateDb,
    local: Arc<Local>,
    queue: Arc<Queue>,
    fatal: Arc<Fatal>,
    stages: Stages,
    damage: Arc<Damage>,
    mark: Mutex<ClusterVersion>,
    threads: Mutex<Threads>,
}

#[derive(Default)]
struct Threads {
    log_writer: Option<JoinHandle<()>>,
    state_writer: Option<JoinHandle<()>>,
}

impl Storage {
    /// Opens a data directory, makes it if it is not there, completes what an earlier run left unfinished, and raises the boot epoch.
    ///
    /// # Errors
    /// Another process has it open, it cannot be read or written, or what every group depends on is damaged; or it is of a cluster that this build does not
    /// serve: then nothing of it was touched.
    pub fn open(dir: &Path, options: Options) -> Result<Arc<Self>, OpenError> {
        let mut opened = Databases::open(dir, &options)?;
        let identity = opened.boot()?;
        let mark = Mutex::new(opened.mark);
        let Opened { databases, log_damage, state_damage, .. } = opened;
        let (databases, damage) = (Arc::new(databases), Arc::new(Damage::default()));
        let (fatal, counters) = (Arc::new(Fatal::default()), Arc::new(LogCounters::new()));
        let queue = Arc::new(Queue::new(options.log_queue_bytes_max, Arc::clone(&counters)));
        let local = Arc::new(Local::new(Arc::clone(&databases), Arc::clone(&queue)));
        let log = LogDb::open(
            Arc::clone(&databases),
            Arc::clone(&queue),
            Arc::clone(&counters),
            Arc::clone(&fatal),
            Arc::clone(&damage),
            options.log_tail_bytes,
        )?;
        let log = Arc::new(log);
        let state = StateDb::open(Arc::clone(&databases), Arc::clone(&local), Arc::clone(&log), Arc::clone(&fatal), Arc::clone(&damage), &options)?;
        let stages = Stages::load(Arc::clone(&local))?;
        let log_writer = commit::Writer {
            databases: Arc::clone(&databases),
            log: Arc::clone(&log),
            queue: Arc::clone(&queue),
            fatal: Arc::clone(&fatal),
            counters,
            options,
        };
        let state_writer = state::Writer::new(Arc::clone(&state.shared));
        // From here on, dropping the store ends and joins what was started.
        let storage = Arc::new(Self { identity, databases, log, state, local, queue, fatal, stages, damage, mark, threads: Mutex::default() });
        let mut threads = lock(&storage.threads);
        threads.log_writer = Some(spawn("kith-log", move || log_writer.run())?);
        threads.state_writer = Some(spawn("kith-state", move || state_writer.run())?);
        drop(threads);
        storage.recover().map_err(OpenError::Unfinished)?;
        storage.judge(&log_damage, &state_damage).map_err(OpenError::Unfinished)?;
        Ok(storage)
    }

    /// What this directory is, and how often it was started.
    pub fn identity(&self) -> Identity {
        self.identity
    }

    /// What is wrong with this node; nothing in any build that is shipped.
    pub fn quirk(&self) -> Quirk {
        self.state.shared.quirk
    }

    /// The version of the cluster that the directory is marked with: builds that do not know it do not open it.
    pub fn cluster_version(&self) -> ClusterVersion {
        *lock(&self.mark)
    }

    /// Marks the directory with a higher version of its cluster; a lower one changes nothing. Blocks until that is on the disk.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn mark(&self, version: ClusterVersion) -> io::Result<()> {
        let mut marked = lock(&self.mark);
        if version > *marked {
            mark::write(&self.databases.dir, version)?;
            *marked = version;
        }
        Ok(())
    }

    /// The raft logs.
    pub fn log(&self) -> &LogDb {
        &self.log
    }

    /// The applied rows.
    pub fn state(&self) -> &StateDb {
        &self.state
    }

    /// How much the log has synced, ever: rises with each synced batch, over restarts. A store that shows less than it has shown is an old copy.
    pub fn position(&self) -> u64 {
        self.databases.position()
    }

    /// Synced batches of the log since it was opened.
    pub fn synced_batches(&self) -> u64 {
        self.queue.synced_batches()
    }

    /// Sets who is told of the first failed write, on the thread that met it; at once if there was one. Everything after it fails: the node
    /// should report it and stop.
    pub fn on_fatal(&self, hook: FatalHook) {
        self.fatal.set_hook(hook);
    }

    /// Keeps a value of the node itself; blocks until it is synced.
    ///
    /// # Errors
    /// The store has failed or is closed.
    pub fn local_put(&self, name: &str, value: &[u8]) -> Result<(), WriteFailed> {
        self.local.set(&format!("{USER_VALUES}{name}"), Some(value))
    }

    /// A value of the node itself.
    ///
    /// # Errors
    /// It is damaged.
    pub fn local_get(&self, name: &str) -> Result<Option<Vec<u8>>, LocalError> {
        self.local.get(&format!("{USER_VALUES}{name}"))
    }

    /// Whether there are entries of a group's log, or it was purged.
    pub fn holds(&self, group: GroupId) -> bool {
        let bounds = self.log.bounds(group);
        bounds.last.is_some() || bounds.purged.is_some()
    }

    /// About how many bytes a group's rows take on the disk; what is still in memory is not counted. Cheap: no row is read.
    pub fn bytes(&self, group: GroupId) -> u64 {
        let (from, to) = key::whole(group);
        let of = |family| {
            let sizes = self.databases.state.get_approximate_sizes_cf(self.databases.state_cf(family), &[rocksdb::Range::new(&from, &to)]);
            sizes.first().copied().unwrap_or(0)
        };
        key::Family::ALL.into_iter().map(of).sum()
    }

    /// Removes a group from this node: rows, log and vote. Blocks until that is on the disk; a crash in between is completed at the next start.
    ///
    /// # Errors
    /// The store has failed.
    pub fn destroy(&self, group: GroupId) -> Result<(), InstallError> {
        let mark = format!("{DESTROYING}{group}");
        self.local.set(&mark, Some(&[]))?;
        let shared = &self.state.shared;
        let removed = sync::write(&shared.groups).remove(&group);
        if let Some(state) = removed {
            shared.freed(state.reset(Phase::Refusing(NotServing::Destroyed), Applied::default()));
            shared.drain()?;
        }
        install::wipe(shared, group)?;
        shared.flush_database()?;
        shared.forget_durable(group);
        let (done, is_done) = mpsc::sync_channel(1);
        self.log.destroy(group, vec![mark, install::mark(group)], Box::new(move |result| drop(done.send(result))));
        Ok(is_done.recv().unwrap_or(Err(WriteFailed::Closed))?)
    }

    /// Writes what is committed, flushes, and ends the threads. Afterwards every write fails or is lost; reads still work.
    ///
    /// # Errors
    /// The store has failed, now or before.
    pub fn close(&self) -> Result<(), FatalError> {
        self.stop();
        self.fatal.check()?;
        self.state.flush()
    }

    fn recover(&self) -> Result<(), InstallError> {
        for (group, _) in self.local.with_prefix(DESTROYING)? {
            if let Ok(group) = group.parse() {
                self.destroy(GroupId::new(group))?;
            }
        }
        install::recover(&self.state)
    }

    /// Ends the threads: the state writer first, since it needs the log to be whole; then the log, whose queue is written to its end.
    fn stop(&self) {
        let mut threads = lock(&self.threads);
        self.state.close();
        join(threads.state_writer.take());
        self.queue.close();
        join(threads.log_writer.take());
    }
}

impl Drop for Storage {
    fn drop(&mut self) {
        self.stop();
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, OpenError> {
    thread::Builder::new().name(name.to_owned()).spawn(work).map_err(OpenError::Thread)
}

fn join(thread: Option<JoinHandle<()>>) {
    let Some(thread) = thread else { return };
    // A callback may hold the last reference to the store: a thread cannot wait for itself, and ends by itself after this.
    if thread.thread().id() != thread::current().id() {
        // A panic was caught inside, reported and made fatal: nothing is left to say here.
        let _ = thread.join();
    }
}
