//! Search on one node: an index of the texts of its groups, beside the path of messages.
//!
//! In: effects of applied entries of every replica here (`follow`), asks for what somebody may read ([`Search::answer`]). Out: what was found, as the
//! asker may read it now. Invariants: apply waits for nothing here; a follower that missed something reads the log, or all rows where the log
//! is gone, so that replicas' indexes end alike; what the index proposes is read from the rows, from one view with the asker's membership,
//! before anybody sees it. Bounds: [`kith_search::Bounds`], [`LOOKS_MAX`] looks at once and [`WAITING_MAX`] that wait. Texts and words are in no log line.
//! Not here: which nodes to ask (`service::search`), words and the index itself (kith-search).

pub(crate) mod answer;
mod follow;
mod keep;
mod metrics;
mod missed;

use std::{
    collections::BTreeSet,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize},
    },
    time::Duration,
};

use arc_swap::ArcSwapOption;
use kith_machine::mutant::Quirk;
use kith_raft::Groups;
use kith_search::{Bounds, Index};
use kith_wire::id::{GroupId, NodeId, StoreId};
use tokio::sync::{Notify, Semaphore};

pub(crate) use self::metrics::{SearchMetrics, SearchReject};
use crate::{clock::SharedClock, cluster::map::Maps, supervise::Tasks};

/// How a node searches.
#[derive(Clone, Debug)]
pub struct SearchOptions {
    /// Where the index lies; `None`: this node has none, and others are asked.
    pub folder: Option<PathBuf>,
    /// The store that it is of.
    pub store: StoreId,
    /// What it may use.
    pub bounds: Bounds,
    /// How long changes wait for a commit at most. They are found meanwhile.
    pub commit_every: Duration,
    /// How it misbehaves, in a build that can.
    pub quirk: Quirk,
}

/// The node's search. Clones are the same one.
#[derive(Clone)]
pub struct Search(Arc<Inner>);

struct Inner {
    node: NodeId,
    groups: Arc<Groups>,
    maps: Maps,
    clock: SharedClock,
    options: SearchOptions,
    metrics: Arc<SearchMetrics>,
    /// `None`: being opened.
    index: ArcSwapOption<Index>,
    /// Groups whose index has all that was applied a moment ago.
    current: Mutex<BTreeSet<GroupId>>,
    /// So much waits that it should be committed.
    pressing: Notify,
    /// There is room again.
    committed: Notify,
    looks: Semaphore,
    waiting: AtomicUsize,
    /// A look has failed: the index is to be opened again, and checked.
    unsound: AtomicBool,
}

impl std::fmt::Debug for Search {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Search({})", self.0.node)
    }
}

impl Search {
    /// Not begun yet.
    pub(crate) fn new(
        node: NodeId,
        groups: Arc<Groups>,
        maps: Maps,
        clock: SharedClock,
        options: SearchOptions,
        metrics: Arc<SearchMetrics>,
    ) -> Self {
        Self(Arc::new(Inner {
            node,
            groups,
            maps,
            clock,
            options,
            metrics,
            index: ArcSwapOption::empty(),
            current: Mutex::default(),
            pressing: Notify::new(),
            committed: Notify::new(),
            looks: Semaphore::new(LOOKS_MAX),
            waiting: AtomicUsize::new(0),
            unsound: AtomicBool::new(false),
        }))
    }

    /// Opens the index and feeds it until the tasks are cancelled.
    pub fn start(&self, tasks: &Tasks) {
        if self.0.options.folder.is_some() {
            tasks.spawn_finishing("search.keep", keep::run(self.clone(), tasks.clone()));
        }
    }

    /// Whether the index has all that was applied of a group a moment ago.
    pub fn is_current(&self, group: GroupId) -> bool {
        self.current().contains(&group)
    }

    fn current(&self) -> MutexGuard<'_, BTreeSet<GroupId>> {
        // Single inserts and removals only.
        self.0.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Looks at the index at once: each takes a thread for some milliseconds.
const LOOKS_MAX: usize = 2;
/// Looks that wait for that. The next is `Busy`.
const WAITING_MAX: usize = 64;
