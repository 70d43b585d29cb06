//! A disk in memory under the real log-store glue: what was not synced is lost at a crash, and what was being written may be torn.
//!
//! In: what kith-raft writes ([`kith_raft::Disk`]). Out: the same, after a while, on a [`Platter`] that outlives the node. Invariants: see
//! `log` and `rows`. All waiting is on simulated time; nothing blocks. Not here: RocksDB, threads and files (kith-storage's own tests and
//! the fault runs).

mod log;
mod platter;
mod rows;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use kith_raft::{
    Disk,
    disk::{LogDisk, Rows},
    storage::{FatalError, Identity},
};
use kith_wire::id::{BootEpoch, GroupId, NodeId, StoreId};

pub(crate) use self::platter::{Change, OnPlatter, Platter};
use self::{log::Logs, rows::SimRows};
use crate::{Mutant, random::Random, watch::Watch};

/// A platter that several lives of a node use one after the other.
pub(crate) type SharedPlatter = Arc<Mutex<Platter>>;

/// A node's disk from its start to its crash.
pub(crate) struct SimDisk {
    life: Arc<Life>,
    groups: Mutex<BTreeMap<GroupId, Arc<SimRows>>>,
}

struct Life {
    node: NodeId,
    boot: u64,
    platter: SharedPlatter,
    logs: Logs,
    dead: AtomicBool,
    slow_by: AtomicU64,
    mutant: Option<Mutant>,
    watch: Arc<Watch>,
}

impl Life {
    fn platter(&self) -> MutexGuard<'_, Platter> {
        self.platter.lock().unwrap_or_else(PoisonError::into_inner)
    }
    fn is_dead(&self) -> bool {
        self.dead.load(Ordering::Relaxed)
    }
}

impl SimDisk {
    /// Starts on what the platter holds. The second value is the disk at work: to be run until it ends, which it does after a crash.
    pub(crate) fn start(
        node: NodeId,
        platter: SharedPlatter,
        mutant: Option<Mutant>,
        watch: Arc<Watch>,
        random: Random,
    ) -> (Arc<Self>, impl Future<Output = ()> + Send + 'static) {
        let boot = {
            let mut platter = platter.lock().unwrap_or_else(PoisonError::into_inner);
            platter.boots += 1;
            platter.boots
        };
        let mut life = Life { node, boot, platter, logs: Logs::default(), dead: AtomicBool::new(false), slow_by: AtomicU64::new(1), mutant, watch };
        life.logs = Logs::load(&life);
        let life = Arc::new(life);
        let disk = Arc::new(Self { life: Arc::clone(&life), groups: Mutex::default() });
        (disk, Logs::run(life, random))
    }

    /// The power fails: nothing reaches the platter any more, and everybody who still waits for it is told so.
    pub(crate) fn crash(&self, random: &mut Random) {
        self.life.dead.store(true, Ordering::Relaxed);
        Logs::crash(&self.life, random);
    }

    /// Every sync takes so many times as long from now on.
    pub(crate) fn slow_by(&self, times: u64) {
        self.life.slow_by.store(times, Ordering::Relaxed);
    }

    fn groups(&self) -> MutexGuard<'_, BTreeMap<GroupId, Arc<SimRows>>> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Disk for SimDisk {
    fn identity(&self) -> Identity {
        let mut raw = [0; 16];
        raw[..8].copy_from_slice(&self.life.node.get().to_be_bytes());
        Identity { store: StoreId::new(raw), boot: BootEpoch::new(self.life.boot) }
    }

    fn log(&self) -> &dyn LogDisk {
        &*self.life
    }

    fn group(&self, group: GroupId) -> Arc<dyn Rows> {
        let mut groups = self.groups();
        Arc::<SimRows>::clone(groups.entry(group).or_insert_with(|| Arc::new(SimRows::load(group, &self.life))))
    }

    fn flush(&self) -> Result<(), FatalError> {
        if self.life.is_dead() {
            return Err(FatalError { operation: "flush", cause: Arc::new(std::io::Error::other("the power is off")) });
        }
        let held: Vec<_> = self.groups().values().map(|rows| (rows.group, rows.held().clone())).collect();
        let mut platter = self.life.platter();
        for (group, held) in held {
            let on = platter.groups.entry(group).or_default();
            (on.rows, on.applied) = (held.rows, held.applied);
        }
        Ok(())
    }

    fn blocks(&self) -> bool {
        false
    }
}
