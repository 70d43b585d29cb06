//! The end of a store: the first failed write or fsync is reported once, and everything after it fails.
//!
//! Invariant: a failed write is never retried (one log carries all groups; after a failed fsync nobody knows what is on the disk).
//! Not here: stopping the node (whoever sets the hook does that).

use std::{
    error::Error,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use thiserror::Error;

use crate::sync::lock;

/// The store failed: nothing may be written to it any more in this process.
#[derive(Clone, Debug, Error)]
#[error("cannot {operation}: the store is out of service")]
pub struct FatalError {
    /// What was being done.
    pub operation: &'static str,
    /// What the disk or the database said.
    #[source]
    pub cause: Arc<dyn Error + Send + Sync>,
}

/// Called with the first failure, on the thread that met it.
pub type FatalHook = Box<dyn Fn(FatalError) + Send + Sync>;

#[derive(Default)]
struct State {
    error: Option<FatalError>,
    hook: Option<Arc<FatalHook>>,
}

#[derive(Default)]
pub(crate) struct Fatal {
    is_down: AtomicBool,
    state: Mutex<State>,
    #[cfg(test)]
    next_write: AtomicBool,
}

impl Fatal {
    /// Sets who is told; at once if the store has failed already.
    pub(crate) fn set_hook(&self, hook: FatalHook) {
        let hook = Arc::new(hook);
        let mut state = lock(&self.state);
        state.hook = Some(Arc::clone(&hook));
        let error = state.error.clone();
        drop(state);
        if let Some(error) = error {
            hook(error);
        }
    }

    /// Notes a failure; the first one is logged, reported, and is what all later callers get.
    pub(crate) fn raise(&self, operation: &'static str, cause: impl Error + Send + Sync + 'static) -> FatalError {
        let mut state = lock(&self.state);
        if let Some(error) = &state.error {
            return error.clone();
        }
        let error = FatalError { operation, cause: Arc::new(cause) };
        state.error = Some(error.clone());
        self.is_down.store(true, Ordering::Release);
        let hook = state.hook.clone();
        drop(state);
        tracing::error!(operation, cause = %error.cause, "storage failed; nothing is written any more");
        if let Some(hook) = hook {
            hook(error.clone());
        }
        error
    }

    /// # Errors
    /// The store has failed.
    pub(crate) fn check(&self) -> Result<(), FatalError> {
        if !self.is_down.load(Ordering::Acquire) {
            return Ok(());
        }
        lock(&self.state).error.clone().map_or(Ok(()), Err)
    }

    /// Makes the next write of a writer thread fail, as a full or broken disk would.
    #[cfg(test)]
    pub(crate) fn fail_next_write(&self) {
        self.next_write.store(true, Ordering::Release);
    }

    /// Whether a test asked this write to fail.
    pub(crate) fn injected(&self) -> Result<(), std::io::Error> {
        #[cfg(test)]
        if self.next_write.swap(false, Ordering::AcqRel) {
            return Err(std::io::Error::other("injected by a test"));
        }
        Ok(())
    }
}

/// A storage thread ended by a panic.
#[derive(Debug, Error)]
#[error("thread {0} panicked")]
pub(crate) struct Panicked(pub(crate) &'static str);
