//! The rows as the items of a batch see them: what earlier items wrote, over the view that the batch began with.

use std::sync::Arc;

use crate::view::{Held, Row, RowKey, RowValue, Scan, StateView, ViewError, WriteSet, required, row};

/// A view and what was written since.
pub(crate) struct Overlay<'a> {
    base: &'a dyn StateView,
    writes: WriteSet,
}

impl<'a> Overlay<'a> {
    pub(crate) fn new(base: &'a dyn StateView) -> Self {
        Self { base, writes: WriteSet::default() }
    }
    pub(crate) fn put(&mut self, key: RowKey, row: impl Into<Row>) {
        self.writes.put(key, row);
    }
    pub(crate) fn delete(&mut self, key: RowKey) {
        self.writes.delete(key);
    }
    pub(crate) fn row<T: RowValue>(&self, key: &RowKey) -> Result<Option<Held<T>>, ViewError> {
        row(self, key)
    }
    pub(crate) fn required<T: RowValue>(&self, key: &RowKey) -> Result<Held<T>, ViewError> {
        required(self, key)
    }
    pub(crate) fn writes(&self) -> &WriteSet {
        &self.writes
    }
    pub(crate) fn into_writes(self) -> WriteSet {
        self.writes
    }
}

impl StateView for Overlay<'_> {
    fn get(&self, key: &RowKey) -> Result<Option<Arc<Row>>, ViewError> {
        match self.writes.rows.get(key) {
            Some(written) => Ok(written.clone()),
            None => self.base.get(key),
        }
    }

    fn scan(&self, scan: &Scan, reverse: bool, limit: usize) -> Result<Vec<(RowKey, Arc<Row>)>, ViewError> {
        let Some((first, last)) = scan.bounds() else { return Ok(Vec::new()) };
        let written: Vec<_> = self.writes.rows.range(first..=last).filter(|(key, _)| scan.holds(key)).collect();
        if written.is_empty() {
            return self.base.scan(scan, reverse, limit);
        }
        // Each written key can hide at most one row of the base, so this many are enough.
        let mut rows = self.base.scan(scan, reverse, limit.saturating_add(written.len()))?;
        rows.retain(|(key, _)| !self.writes.rows.contains_key(key));
        rows.extend(written.into_iter().filter_map(|(key, row)| Some((key.clone(), row.clone()?))));
        rows.sort_by(|(a, _), (b, _)| if reverse { scan.compare(b, a) } else { scan.compare(a, b) });
        rows.truncate(limit);
        Ok(rows)
    }
}
