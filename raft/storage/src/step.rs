//! Steps of the store at which a fault harness may hold it up, or end the process.
//!
//! In: a hook, with the options. Out: a call of it at each step, on the thread that takes the step, which waits meanwhile. Only with the cargo feature `failpoint`; without it
//! [`Steps`] has no size and passing a step compiles to nothing. Not here: what the hook does (kith-raft's fail points).

macro_rules! steps {
    ($($(#[$doc:meta])* $NAME:ident $name:literal;)*) => {
        $($(#[$doc])* pub const $NAME: &str = $name;)*
        /// All of them.
        pub const ALL: &[&str] = &[$($NAME,)*];
    };
}

/// The log writer's thread and its batches.
pub mod log {
    steps! {
        /// A batch is about to be written and synced.
        BEFORE_SYNC "storage.log.before_sync";
        /// A batch is on the disk, and nobody has been told.
        AFTER_SYNC "storage.log.after_sync";
    }
}

/// The state writer's thread, and flushes.
pub mod state {
    steps! {
        /// A batch of rows is about to be written.
        BEFORE_BATCH "storage.state.before_batch";
        /// A batch is in the database, not on the disk.
        AFTER_BATCH "storage.state.after_batch";
        /// All families are about to be flushed.
        BEFORE_FLUSH "storage.state.before_flush";
        /// They are on the disk, and nobody has been told.
        AFTER_FLUSH "storage.state.after_flush";
    }
}

/// The install of a snapshot, in the order of its steps.
pub mod install {
    steps! {
        /// The staging file is synced.
        STAGED "storage.install.staged";
        /// The mark that names it is synced.
        MARKED "storage.install.marked";
        /// The old rows are deleted, in memory.
        DELETED "storage.install.deleted";
        /// One more chunk is written.
        HALF_WRITTEN "storage.install.half_written";
        /// All rows and the applied row are written.
        WRITTEN "storage.install.written";
        /// They are flushed; log and mark are as before.
        FLUSHED "storage.install.flushed";
        /// The log is purged, the mark is cleared.
        SETTLED "storage.install.settled";
    }
}

#[cfg(feature = "failpoint")]
pub use hooked::Steps;
#[cfg(not(feature = "failpoint"))]
pub use unhooked::Steps;

#[cfg(not(feature = "failpoint"))]
mod unhooked {
    /// Whom the store tells of its steps: nobody in this build.
    #[derive(Clone, Debug, Default)]
    pub struct Steps {}

    impl Steps {
        #[inline(always)]
        pub(crate) fn pass(&self, _step: &'static str) {}
    }

    const _: () = assert!(size_of::<Steps>() == 0, "steps are passed in silence in this build");
}

#[cfg(feature = "failpoint")]
mod hooked {
    use std::{fmt, sync::Arc};

    type Hook = Arc<dyn Fn(&'static str) + Send + Sync>;

    /// Whom the store tells of its steps; clones share it.
    #[derive(Clone, Default)]
    pub struct Steps(Option<Hook>);

    impl Steps {
        /// Tells this hook. It may block, which holds up the step.
        pub fn new(hook: impl Fn(&'static str) + Send + Sync + 'static) -> Self {
            Self(Some(Arc::new(hook)))
        }

        pub(crate) fn pass(&self, step: &'static str) {
            if let Some(hook) = &self.0 {
                hook(step);
            }
        }
    }

    impl fmt::Debug for Steps {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "Steps({})", if self.0.is_some() { "hooked" } else { "none" })
        }
    }
}
