//! Leader-only duties: begun when this node serves a group, cancelled when it no longer does.
//!
//! In: the leadership watch of each group. Out: `begin` and `end` calls, always paired, in order, per group. A duty is idempotent: two
//! leaders may overlap for a moment, and what must happen is a row that the next one walks again.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use kith_raft::GroupHandle;
use kith_wire::id::{GroupId, Term};

use crate::supervise::Tasks;

/// What a leader does besides serving proposals.
pub trait Duty: Send + Sync + 'static {
    /// This node leads the group and has applied the first entry of its term. Must not block: spawn.
    fn begin(&self, group: GroupId, term: Term);
    /// It no longer does. Must not block.
    fn end(&self, group: GroupId, term: Term);
}

/// A task for each group that this node leads: what most duties are.
#[derive(Debug)]
pub(crate) struct PerGroup {
    tasks: Tasks,
    running: Mutex<BTreeMap<GroupId, Tasks>>,
}

impl PerGroup {
    /// None runs yet; they will among `tasks`.
    pub(crate) fn new(tasks: Tasks) -> Self {
        Self { tasks, running: Mutex::default() }
    }
    /// Runs a group's task until [`PerGroup::end`].
    pub(crate) fn begin(&self, group: GroupId, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let tasks = self.tasks.child();
        tasks.spawn(name, task);
        // Single inserts and removals only.
        self.running.lock().unwrap_or_else(PoisonError::into_inner).insert(group, tasks);
    }
    /// Cancels it.
    pub(crate) fn end(&self, group: GroupId) {
        if let Some(tasks) = self.running.lock().unwrap_or_else(PoisonError::into_inner).remove(&group) {
            tasks.cancelled().cancel();
        }
    }
}

/// Watches a group until the tasks are cancelled; ends what it has begun.
pub fn watch(tasks: &Tasks, group: &GroupHandle, duties: Arc<[Arc<dyn Duty>]>) {
    let (id, mut leadership, cancel) = (group.id(), group.leader(), tasks.cancelled());
    let task = async move {
        let mut serving: Option<Serving> = None;
        loop {
            let now = *leadership.borrow_and_update();
            let wanted = now.serving.then_some(now.term);
            if serving.as_ref().map(|serving| serving.term) != wanted {
                drop(serving.take());
                serving = wanted.map(|term| Serving::begin(id, term, &duties));
            }
            tokio::select! {
                biased;
                changed = leadership.changed() => if changed.is_err() { return },
                () = cancel.cancelled() => return,
            }
        }
    };
    tasks.spawn_finishing("leadership.watch", task);
}

struct Serving {
    group: GroupId,
    term: Term,
    duties: Arc<[Arc<dyn Duty>]>,
}
impl Serving {
    fn begin(group: GroupId, term: Term, duties: &Arc<[Arc<dyn Duty>]>) -> Self {
        tracing::info!(%group, %term, "leadership.begin");
        duties.iter().for_each(|duty| duty.begin(group, term));
        Self { group, term, duties: duties.clone() }
    }
}
impl Drop for Serving {
    fn drop(&mut self) {
        tracing::info!(group = %self.group, term = %self.term, "leadership.end");
        self.duties.iter().for_each(|duty| duty.end(self.group, self.term));
    }
}
