//! The rows as the items of a batch see them: what earlier items wrote, over the view that the batch began with.

use std::sync::Arc;

use crate::mutant::Quirk;
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
    pub(crate) fn put_new(&mut self, key: RowKey, row: impl Into<Row>) {
        self.writes.put_new(key, row);
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
    fn quirk(&self) -> Quirk {
        self.base.quirk()
    }

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

#[cfg(all(test, feature = "testing"))]
mod tests {
    use kith_wire::id::{Seq, UserId, UserRev};

    use super::*;
    use crate::testing::{MemoryView, Script, random_steps};

    /// Whatever part of a history is written and whatever part lies below, each scan gives what it gives over all of it.
    #[test]
    fn a_scan_over_writes_is_a_scan_over_what_they_make() {
        let mut script = Script::new();
        let mut base = MemoryView::default();
        for (at, step) in random_steps(11, 600).into_iter().enumerate() {
            if at == 300 {
                base = script.view.clone();
            }
            script.step(step);
        }
        let whole = &script.view;
        let mut overlay = Overlay::new(&base);
        let gone = base.rows.keys().filter(|key| !whole.rows.contains_key(key));
        overlay.writes.rows.extend(gone.map(|key| (key.clone(), None)));
        let new = whole.rows.iter().filter(|(key, row)| base.rows.get(key) != Some(row));
        overlay.writes.rows.extend(new.map(|(key, row)| (key.clone(), Some(row.clone()))));

        let mut scans = vec![Scan::AllRecords(None), Scan::Dirty(None), Scan::Owned, Scan::Nodes, Scan::Groups, Scan::Runs];
        for channel in Script::channels() {
            scans.extend([Scan::Records(channel, Seq::new(2)..=Seq::new(40)), Scan::Positions(channel), Scan::Dirty(Some(channel))]);
            scans.push(Scan::AllRecords(Some((channel, Seq::new(3)))));
        }
        for user in Script::users() {
            scans.extend([Scan::Devices(user), Scan::IndexByRev(user, UserRev::ZERO..=UserRev::new(u64::MAX))]);
        }
        scans.push(Scan::Devices(UserId::new(u64::MAX)));
        let mut rows = 0;
        for scan in scans {
            for (reverse, limit) in [(false, usize::MAX), (true, usize::MAX), (false, 2), (true, 3)] {
                let (over, all) = (overlay.scan(&scan, reverse, limit), whole.scan(&scan, reverse, limit));
                let (over, all) = (over.expect("readable"), all.expect("readable"));
                assert_eq!(over, all, "{scan:?} reverse {reverse} limit {limit}");
                rows += all.len();
            }
        }
        assert!(rows > 300, "the scans give something: {rows}");
    }
}
