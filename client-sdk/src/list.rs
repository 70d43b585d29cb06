//! A list that changes, step by step.
//!
//! In: changes, from whoever owns it. Out: the items now, then each change. Bound: `DIFFS_MAX` changes wait for a reader; one that is slower gets the
//! whole list anew (`Reset`). Not here: what is in it (`timeline`, `board`).

use std::{any::Any, fmt, sync::Arc};

use eyeball_im::{ObservableVector, VectorSubscriberStream};
pub use eyeball_im::{Vector, VectorDiff};
use futures_util::StreamExt;

/// Changes that wait for a reader.
pub(crate) const DIFFS_MAX: usize = 256;

/// The items of a list, and each change from then on. Ends when it is dropped.
pub struct LiveList<T> {
    items: Vector<T>,
    changes: VectorSubscriberStream<T>,
    /// What keeps the list up to date goes with the last of these.
    _held: Option<Arc<dyn Any + Send + Sync>>,
}

impl<T: fmt::Debug + Clone> fmt::Debug for LiveList<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LiveList").field(&self.items).finish()
    }
}

impl<T: Clone + Send + Sync + 'static> LiveList<T> {
    pub(crate) fn new(of: &ObservableVector<T>, held: Option<Arc<dyn Any + Send + Sync>>) -> Self {
        let (items, changes) = of.subscribe().into_values_and_stream();
        Self { items, changes, _held: held }
    }
    /// The items, as of the last change that was read.
    pub fn items(&self) -> &Vector<T> {
        &self.items
    }
    /// The next change, which the items then have; `None`: there will be none. Cancel safe.
    pub async fn next(&mut self) -> Option<VectorDiff<T>> {
        let change = self.changes.next().await?;
        change.clone().apply(&mut self.items);
        Some(change)
    }
    /// Reads changes until the items are as wanted, which they may be already; `None` when they never will be. Cancel safe.
    pub async fn wait_for(&mut self, mut is_wanted: impl FnMut(&Vector<T>) -> bool) -> Option<&Vector<T>> {
        while !is_wanted(&self.items) {
            self.next().await?;
        }
        Some(&self.items)
    }
}
