//! A value that changes, of which only the latest matters.

use std::{any::Any, fmt, sync::Arc};

use tokio::sync::watch;

/// The latest value of something. Cheap to clone; keeps no history, so a slow reader misses steps but never the end.
#[derive(Clone)]
pub struct Live<T> {
    value: watch::Receiver<T>,
    /// Something that goes with the last clone.
    _held: Option<Arc<dyn Any + Send + Sync>>,
}

impl<T: fmt::Debug> fmt::Debug for Live<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Live").field(&*self.value.borrow()).finish()
    }
}

impl<T: Clone> Live<T> {
    pub(crate) fn new(receiver: watch::Receiver<T>) -> Self {
        Self { value: receiver, _held: None }
    }
    /// One that something hangs on: it goes with the last clone.
    pub(crate) fn held(receiver: watch::Receiver<T>, guard: Arc<dyn Any + Send + Sync>) -> Self {
        Self { value: receiver, _held: Some(guard) }
    }
    /// The value now.
    pub fn get(&self) -> T {
        self.value.borrow().clone()
    }
    /// Waits for the next change; `None` when there will be none. Cancel safe.
    pub async fn changed(&mut self) -> Option<T> {
        self.value.changed().await.ok()?;
        Some(self.value.borrow_and_update().clone())
    }
    /// Waits until the value is as wanted, which it may be already; `None` when it never will be. Cancel safe.
    pub async fn wait_for(&mut self, is_wanted: impl FnMut(&T) -> bool) -> Option<T> {
        self.value.wait_for(is_wanted).await.ok().map(|value| value.clone())
    }
}
