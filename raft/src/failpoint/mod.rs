//! Named fail points: a test arms a point with an action, the code that passes it then pauses, fails or calls back; a process takes orders for its points at its
//! start, to be held up or to end there as by SIGKILL.
//!
//! Only with the cargo feature `failpoint`; without it [`FailPoints`] is an empty value and [`FailPoints::hit`] compiles to nothing,
//! which a test checks. There is no global registry: each node has its own, handed in with its options.
//! Not here: what a failure means at a point; each caller decides and says so.

use thiserror::Error;

#[cfg(feature = "failpoint")]
mod order;

#[cfg(feature = "failpoint")]
pub use order::{Orders, OrdersError};

/// What a point belongs to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Part {
    /// The log and the vote reach the disk.
    Persist,
    /// A proposal is committed, and its proposer told.
    Commit,
    /// Entries become rows.
    Apply,
    /// A snapshot is built, sent, received and installed.
    Snapshot,
    /// News of a channel is committed at the homes of its members.
    Ref,
    /// A channel's leader is owed acks of refs, and forgets what was acked.
    Outbox,
    /// A push is decided, sent, and noted.
    Push,
    /// Buckets move from one group to another.
    Move,
}

impl Part {
    /// As it is printed.
    pub fn name(self) -> &'static str {
        match self {
            Self::Persist => "persist",
            Self::Commit => "commit",
            Self::Apply => "apply",
            Self::Snapshot => "snapshot",
            Self::Ref => "ref",
            Self::Outbox => "outbox",
            Self::Push => "push",
            Self::Move => "move",
        }
    }
}

/// Names of the points, so that a test cannot arm one that does not exist by a slip of the pen.
pub mod point {
    use kith_storage::step;

    use super::Part;

    macro_rules! points {
        ($($(#[$doc:meta])* $Part:ident $NAME:ident $name:literal;)*) => {
            $($(#[$doc])* pub const $NAME: &str = $name;)*
            const OWN: &[(Part, &str)] = &[$((Part::$Part, $NAME),)*];
        };
    }

    points! {
        /// Before entries are queued for the log writer. Failing here stops the group.
        Persist BEFORE_APPEND "raft.append.before";
        /// In the log writer's thread: entries are synced, but nobody has been told. Failing here is a failed write.
        Persist APPEND_PERSISTED "raft.append.persisted";
        /// Before a vote is queued for the log writer. Failing here stops the group.
        Persist BEFORE_VOTE "raft.vote.before";
        /// A vote is synced, and nobody has been told. Failing here stops the group.
        Persist VOTE_PERSISTED "raft.vote.persisted";
        /// Before entries that another leader does not have are dropped. Failing here stops the group.
        Persist BEFORE_TRUNCATE "raft.truncate.before";
        /// Before entries that a snapshot covers are dropped. Failing here stops the group.
        Persist BEFORE_PURGE "raft.purge.before";
        /// Before a batch of items is proposed. Failing here does nothing.
        Commit BEFORE_PROPOSE "raft.propose.before";
        /// A batch is committed and applied, or refused, and nobody who waits has been told. Failing here does nothing.
        Commit AFTER_PROPOSE "raft.propose.after";
        /// openraft says that more is committed. Failing here stops the group.
        Commit COMMITTED "raft.commit.noted";
        /// Before an entry is applied. Failing here stops the group.
        Apply BEFORE_APPLY "raft.apply.before";
        /// After an entry's rows are committed, before its proposer and the feed hear of it. Failing here stops the group.
        Apply AFTER_APPLY "raft.apply.after";
        /// Before state is pointed to, or flushed to be pointed to. Failing here stops the group.
        Snapshot BEFORE_BUILD "raft.snapshot.build.before";
        /// A snapshot is a pointer to durable state, and openraft does not know it yet. Failing here stops the group.
        Snapshot AFTER_BUILD "raft.snapshot.build.after";
        /// Before a snapshot is sent. Failing here does nothing.
        Snapshot BEFORE_SNAPSHOT_SEND "raft.snapshot.send.before";
        /// A peer has answered to a snapshot. Failing here does nothing.
        Snapshot AFTER_SNAPSHOT_SEND "raft.snapshot.send.after";
        /// A snapshot begins to come. Failing here does nothing.
        Snapshot BEFORE_SNAPSHOT_RECEIVE "raft.snapshot.receive.before";
        /// A snapshot is staged and checked, and openraft does not know it yet. Failing here does nothing.
        Snapshot SNAPSHOT_STAGED "raft.snapshot.receive.staged";
        /// A snapshot is in place, and openraft does not know it yet. Failing here stops the group.
        Snapshot SNAPSHOT_INSTALLED "raft.snapshot.installed";
        /// In the node: refs are about to be sent to a home. Failing here does nothing.
        Ref BEFORE_REF_SEND "fanout.refs.before_send";
        /// In the node: refs have arrived at the home leader and are not proposed yet. Failing here loses them, as a crash would.
        Ref BEFORE_REF_COMMIT "fanout.refs.before_commit";
        /// In the node: refs are committed and their source does not know it yet. Failing here loses the ack, as a crash would.
        Ref AFTER_REF_COMMIT "fanout.refs.after_commit";
        /// In the node: a home says that it has committed refs. Failing here does nothing.
        Outbox REF_ACKED "outbox.acked";
        /// In the node: all homes have a channel's refs, and it is about to be noted. Failing here does nothing.
        Outbox BEFORE_FORGET "outbox.before_forget";
        /// In the node: it is noted that all homes have them. Failing here does nothing.
        Outbox AFTER_FORGET "outbox.after_forget";
        /// In the node: it is decided that a device is pushed to, and nothing was sent. Failing here sends nothing, as a crash would.
        Push PUSH_DECIDED "push.decided";
        /// In the node: a provider has a push, and it is not noted. Failing here notes nothing, as a crash would.
        Push PUSH_SENT "push.sent";
        /// In the node: it is noted that a device was pushed to, and the conversation is not settled. Failing here does nothing.
        Push PUSH_NOTED "push.noted";
        /// In the node, at who leads a source: a piece of buckets that it still serves is about to be sent. Failing here sends nothing, as a crash would.
        Move MOVE_COPIES "move.copies";
        /// At the same: buckets are handed over, and their new group is about to be sent the last of them. Failing here sends nothing.
        Move MOVE_HANDED "move.handed";
        /// At the same: the new group has the buckets, and that is about to be logged here. Failing here logs nothing.
        Move MOVE_TAKEN "move.taken";
        /// At the same: rows that went over are about to be dropped. Failing here drops nothing.
        Move MOVE_SWEEPS "move.sweeps";
    }

    /// All points, those of the store among them.
    pub fn all() -> impl Iterator<Item = (Part, &'static str)> {
        let of = |part, names: &'static [&'static str]| names.iter().map(move |name| (part, *name));
        let store = of(Part::Persist, step::log::ALL).chain(of(Part::Apply, step::state::ALL)).chain(of(Part::Snapshot, step::install::ALL));
        OWN.iter().copied().chain(store)
    }
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
        /// What the store is to tell of its steps: nothing in this build.
        pub fn steps(&self) -> kith_storage::step::Steps {
            kith_storage::step::Steps {}
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

    use kith_storage::step::Steps;
    use tokio::sync::Notify;

    use super::{FailPointError, Orders, order::Deed};

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
        orders: Orders,
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
        /// Those of a process that was told at its start what to do at which.
        pub fn ordered(orders: Orders) -> Self {
            let points = Points { orders, ..Points::default() };
            Self { shared: Arc::new(Shared { points: Mutex::new(points), ..Shared::default() }) }
        }
        /// Has the store pass its steps as points of these. Failing there does nothing.
        pub fn steps(&self) -> Steps {
            let points = self.clone();
            Steps::new(move |step| {
                let _ = points.hit_blocking(step);
            })
        }
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
            if let Some(Deed::Sleep(length)) = self.count(point) {
                tokio::time::sleep(length).await;
            }
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
            if let Some(Deed::Sleep(length)) = self.count(point) {
                std::thread::sleep(length);
            }
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
        /// Notes a pass; gives what was ordered for it, if this process is still there to do it.
        fn count(&self, point: &'static str) -> Option<Deed> {
            let mut points = self.points();
            let pass = points.hits.entry(point).or_default();
            *pass += 1;
            let pass = *pass;
            let due = points.orders.due(point, pass);
            drop(points);
            self.wake();
            let deed = due?;
            // Where a harness looks for it: a process that is about to be killed has no other way to say it.
            match deed {
                Deed::Kill => {
                    eprintln!("failpoint {point} kill at pass {pass}");
                    kill();
                }
                Deed::Sleep(length) => eprintln!("failpoint {point} sleep {} ms at pass {pass}", length.as_millis()),
            }
            Some(deed)
        }
        fn wake(&self) {
            self.shared.changed.notify_waiters();
            self.shared.changed_blocking.notify_all();
        }
        fn points(&self) -> MutexGuard<'_, Points> {
            self.shared.points.lock().unwrap_or_else(PoisonError::into_inner)
        }
    }

    /// Ends this process as the kernel ends one: nothing is cleaned up, flushed or said.
    fn kill() -> ! {
        // It does not return; if the kernel refused, abort would be the next best end.
        let _ = nix::sys::signal::kill(nix::unistd::Pid::this(), nix::sys::signal::Signal::SIGKILL);
        std::process::abort();
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
