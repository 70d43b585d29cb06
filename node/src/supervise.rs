//! The task tree: who spawns, awaits.
//!
//! In: futures with a name. Out: their end, awaited by [`Tasks::close`]. Each owner has one [`Tasks`]; cancelling a parent cancels its
//! children. A task that panics is logged as an error of its owner. Not here: which lane a task runs on (kith-raft's lanes).

use std::{future::Future, sync::Arc, time::Duration};

use tokio::runtime::Handle;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::clock::Stopwatch;

/// Between two looks at who still holds something.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Blocks until nobody else holds this, or it was long enough: a thread that reads for a task that was cancelled ends by itself, and soon. Says how many are left.
pub(crate) fn until_alone<T>(held: &Arc<T>, within: Duration) -> usize {
    let since = Stopwatch::start();
    while Arc::strong_count(held) > 1 && since.elapsed() < within {
        std::thread::sleep(LOOK_EVERY);
    }
    Arc::strong_count(held) - 1
}

/// The tasks of one owner.
#[derive(Clone, Debug)]
pub struct Tasks {
    tracker: TaskTracker,
    cancel: CancellationToken,
    runtime: Handle,
}

impl Tasks {
    /// A root that spawns on the given runtime.
    pub fn new(runtime: Handle) -> Self {
        Self { tracker: TaskTracker::new(), cancel: CancellationToken::new(), runtime }
    }
    /// The tasks of a part: cancelled with the whole, awaited on its own.
    #[must_use]
    pub fn child(&self) -> Self {
        Self { tracker: TaskTracker::new(), cancel: self.cancel.child_token(), runtime: self.runtime.clone() }
    }
    /// The same tasks of the same owner; what is spawned through it runs there.
    #[must_use]
    pub fn on(&self, runtime: &Handle) -> Self {
        Self { runtime: runtime.clone(), ..self.clone() }
    }
    /// Fires when the owner ends.
    pub fn cancelled(&self) -> CancellationToken {
        self.cancel.clone()
    }
    /// Runs a task until it ends or, being cancelled, is dropped at its next await.
    pub fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let cancel = self.cancel.clone();
        self.spawn_finishing(name, async move {
            tokio::select! {
                biased;
                () = cancel.cancelled() => {}
                () = task => {}
            }
        });
    }
    /// Runs a task to its own end; it watches [`Tasks::cancelled`] itself.
    pub fn spawn_finishing(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let guard = Watch { name };
        self.tracker.spawn_on(
            async move {
                task.await;
                drop(guard);
            },
            &self.runtime,
        );
    }
    /// How many run now.
    pub fn len(&self) -> usize {
        self.tracker.len()
    }
    /// Whether none runs now.
    pub fn is_empty(&self) -> bool {
        self.tracker.is_empty()
    }
    /// Cancels all and waits, at most so long. Says whether all have ended.
    pub async fn close(&self, within: Duration) -> bool {
        self.cancel.cancel();
        self.tracker.close();
        tokio::time::timeout(within, self.tracker.wait()).await.is_ok()
    }
}

struct Watch {
    name: &'static str,
}
impl Drop for Watch {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!(task = self.name, "a task panicked");
        }
    }
}

#[cfg(test)]
mod tests {
    use kith_raft::Lanes;
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn a_task_that_is_placed_runs_there_and_is_awaited_with_the_others() {
        let lanes = Lanes::start(2).expect("threads");
        let tasks = Tasks::new(lanes.handle(lanes.of_number(0)).clone());
        let (tell, told) = oneshot::channel();
        let tell = async move {
            let _ = tell.send(std::thread::current().name().map(str::to_owned));
        };
        tasks.on(lanes.handle(lanes.of_number(1))).spawn("test", tell);
        assert_eq!(told.await.expect("told").as_deref(), Some("kith-lane-1"));
        tasks.on(lanes.handle(lanes.of_number(1))).spawn("test", std::future::pending());
        assert!(tasks.close(Duration::from_secs(10)).await, "one owner");
        assert!(tasks.is_empty());
        tokio::task::spawn_blocking(move || lanes.stop()).await.expect("stopped");
    }
}
