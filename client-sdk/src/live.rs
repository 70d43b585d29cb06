//! A value that changes, of which only the latest matters.

use tokio::sync::watch;

/// The latest value of something. Cheap to clone; keeps no history, so a slow reader misses steps but never the end.
#[derive(Clone, Debug)]
pub struct Live<T>(watch::Receiver<T>);

impl<T: Clone> Live<T> {
    pub(crate) fn new(receiver: watch::Receiver<T>) -> Self {
        Self(receiver)
    }
    /// The value now.
    pub fn get(&self) -> T {
        self.0.borrow().clone()
    }
    /// Waits for the next change; `None` when there will be none. Cancel safe.
    pub async fn changed(&mut self) -> Option<T> {
        self.0.changed().await.ok()?;
        Some(self.0.borrow_and_update().clone())
    }
    /// Waits until the value is as wanted, which it may be already; `None` when it never will be. Cancel safe.
    pub async fn wait_for(&mut self, is_wanted: impl FnMut(&T) -> bool) -> Option<T> {
        self.0.wait_for(is_wanted).await.ok().map(|value| value.clone())
    }
}
