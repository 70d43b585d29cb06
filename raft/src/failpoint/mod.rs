//! Named fail points: a test arms a point with an action, the code that passes it then pauses, fails or calls back.
//!
//! Only with the cargo feature `failpoint`; without it [`FailPoints`] is an empty value and [`FailPoints::hit`] compiles to nothing,
//! which a test checks. There is no global registry: each node has its own, handed in with its options.
//! Not here: what a failure means at a point; each caller decides and says so.

use thiserror::Error;

/// Names of the points, so that a test cannot arm one that does not exist by a slip of the pen.
pub mod point {
    /// In the log writer's thread: entries are synced, but nobody has been told. Failing here is a failed write.
    pub const APPEND_PERSISTED: &str = "raft.append.persisted";
    /// Before entries are queued for the log writer. Failing here stops the group.
    pub const BEFORE_APPEND: &str = "raft.append.before";
    /// Before an entry is applied. Failing here stops the group.
    pub const BEFORE_APPLY: &str = "raft.apply.before";
    /// After an entry's rows are committed, before its proposer and the feed hear of it. Failing here stops the group.
    pub const AFTER_APPLY: &str = "raft.apply.after";
    /// In the node: refs have arrived at the home leader and are not proposed yet. Failing here loses them, as a crash would.
    pub const BEFORE_REF_COMMIT: &str = "fanout.refs.before_commit";
    /// In the node: refs are committed and their source does not know it yet. Failing here loses the ack, as a crash would.
    pub const AFTER_REF_COMMIT: &str = "fanout.refs.after_commit";
}

/// A fail point was armed to fail.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("fail point {0} is armed")]
pub struct FailPointError(pub &'static str);

#[cfg(feature = "failpoint")]
pub use armed::{Action, FailPoints};
#[cfg(not(feature = "failpoint"))]
pub use disarmed::FailPoints;

#[cfg(not(feature = "failpoint"))]
mod disarmed {
    use super::FailPointError;

    /// The fail points of a node: none in this build.
    #[derive(Clone, Debug, Default)]
    pub struct FailPoints;

    impl FailPoints {
        /// Passes a point: always does.
        ///
        /// # Errors
        /// Never in this build.
        #[inline(always)]
        pub async fn hit(&self, _point: &'static str) -> Result<(), FailPointError> {
            Ok(())
        }
        /// As [`FailPoints::hit`], for a thread that may block.
        ///
        /// # Errors
        /// Never in this build.
        #[inline(always)]
        pub fn hit_blocking(&self, _point: &'static str) -> Result<(), FailPointError> {
            Ok(())
        }
    }

    // The whole price of fail points in a release build.
    const _: () = assert!(size_of::<FailPoints>() == 0, "fail points are absent from this build");
}

#[cfg(feature = "failpoint")]
mod armed {
    use std::{
        collections::HashMap,
        fmt,
        sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    };

    use tokio::sync::Notify;

    use super::FailPointError;

    /// What an armed point does to whoever passes it.
    #[derive(Clone)]
    pub enum Action {
        /// Holds it until the point is armed otherwise or released.
        Pause,
        /// Gives it an error, each time.
        Fail,
        /// Calls this, such as to kill the node, then lets it pass.
        Call(Arc<dyn Fn() + Send + Sync>),
    }

    impl fmt::Debug for Action {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(match self {
                Self::Pause => "Pause",
                Self::Fail => "Fail",
                Self::Call(_) => "Call",
            })
        }
    }

    #[derive(Debug, Default)]
    struct Points {
        armed: HashMap<&'static str, Action>,
        hits: HashMap<&'static str, u64>,
    }

    #[derive(Debug, Default)]
    struct Shared {
        points: Mutex<Points>,
        changed: Notify,
        changed_blocking: Condvar,
    }

    /// The fail points of a node; clones share them.
    #[derive(Clone, Debug, Default)]
    pub struct FailPoints {
        shared: Arc<Shared>,
    }

    impl FailPoints {
        /// Arms a point; replaces what it was armed with.
        pub fn arm(&self, point: &'static str, action: Action) {
            self.points().armed.insert(point, action);
            self.wake();
        }
        /// Disarms a point and lets go whoever it holds.
        pub fn release(&self, point: &'static str) {
            self.points().armed.remove(point);
            self.wake();
        }
        /// How often a point was reached.
        pub fn hits(&self, point: &'static str) -> u64 {
            self.points().hits.get(point).copied().unwrap_or(0)
        }
        /// Waits until a point was reached that often.
        pub async fn wait_hits(&self, point: &'static str, at_least: u64) {
            loop {
                let mut changed = std::pin::pin!(self.shared.changed.notified());
                changed.as_mut().enable();
                if self.hits(point) >= at_least {
                    return;
                }
                changed.await;
            }
        }
        /// Passes a point, or does what it is armed with.
        ///
        /// # Errors
        /// The point is armed to fail.
        pub async fn hit(&self, point: &'static str) -> Result<(), FailPointError> {
            self.count(point);
            loop {
                let mut changed = std::pin::pin!(self.shared.changed.notified());
                changed.as_mut().enable();
                match self.action(point) {
                    Some(Action::Pause) => changed.await,
                    other => return run(point, other),
                }
            }
        }
        /// As [`FailPoints::hit`], for a thread that may block.
        ///
        /// # Errors
        /// The point is armed to fail.
        pub fn hit_blocking(&self, point: &'static str) -> Result<(), FailPointError> {
            self.count(point);
            let mut points = self.points();
            while matches!(points.armed.get(point), Some(Action::Pause)) {
                points = self.shared.changed_blocking.wait(points).unwrap_or_else(PoisonError::into_inner);
            }
            let action = points.armed.get(point).cloned();
            drop(points);
            run(point, action)
        }
        fn action(&self, point: &'static str) -> Option<Action> {
            self.points().armed.get(point).cloned()
        }
        fn count(&self, point: &'static str) {
            *self.points().hits.entry(point).or_default() += 1;
            self.wake();
        }
        fn wake(&self) {
            self.shared.changed.notify_waiters();
            self.shared.changed_blocking.notify_all();
        }
        fn points(&self) -> MutexGuard<'_, Points> {
            self.shared.points.lock().unwrap_or_else(PoisonError::into_inner)
        }
    }

    fn run(point: &'static str, action: Option<Action>) -> Result<(), FailPointError> {
        match action {
            Some(Action::Fail) => Err(FailPointError(point)),
            Some(Action::Call(call)) => {
                call();
                Ok(())
            }
            Some(Action::Pause) | None => Ok(()),
        }
    }
}
