//! Applied rows of one group that are not in the database yet: immutable layers, newest last.
//!
//! In: write sets. Out: lookups, ranges, and shared layers for readers that want one moment. A layer that nobody shares is written to in place,
//! so a quiet group has one; each reader between two commits costs one more, and small ones are merged. A row whose key is new and that is
//! deleted before its layer is taken leaves nothing behind: a busy user's index has a new key with each of its moves.
//! Not here: locking and the database behind (`group`), who drops layers (`state`).

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::Arc,
};

use kith_machine::view::{Row, RowKey, Scan, WriteSet};

use crate::row::Weighed;

/// What a layer takes besides its rows: one without rows still carries an applied id to be written.
const LAYER_BYTES: usize = 128;

/// Rows of some commits in a row; without one, a key is deleted.
#[derive(Clone)]
pub(crate) struct Layer {
    pub(crate) rows: BTreeMap<RowKey, Weighed>,
    /// About what it takes in memory.
    pub(crate) bytes: usize,
}

impl Layer {
    fn merge(&mut self, newer: impl IntoIterator<Item = (RowKey, Weighed)>) {
        for (key, mut held) in newer {
            match self.rows.entry(key) {
                Entry::Vacant(free) => {
                    self.bytes += held.bytes;
                    free.insert(held);
                }
                Entry::Occupied(old) if held.row.is_none() && old.get().is_new => self.bytes -= old.remove().bytes,
                Entry::Occupied(mut old) => {
                    held.is_new |= old.get().is_new;
                    self.bytes += held.bytes;
                    self.bytes -= old.insert(held).bytes;
                }
            }
        }
    }
}

/// The rows of a write set, marked where their key is new; without those that came and went within it.
fn marked(writes: WriteSet) -> impl Iterator<Item = (RowKey, Weighed)> {
    let mut new = writes.new;
    new.sort_unstable();
    let mut new = new.into_iter().peekable();
    writes.rows.into_iter().filter_map(move |(key, row)| {
        while new.next_if(|new| *new < key).is_some() {}
        let is_new = new.peek() == Some(&key);
        (row.is_some() || !is_new).then(|| (key, Weighed { is_new, ..Weighed::new(row) }))
    })
}

/// The layers of a group.
#[derive(Default)]
pub(crate) struct Overlay {
    layers: Vec<Arc<Layer>>,
    /// How many of them, from the oldest, the state writer has taken: these never change again.
    taken: usize,
    bytes: usize,
}

impl Overlay {
    pub(crate) fn layers(&self) -> &[Arc<Layer>] {
        &self.layers
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds rows as the newest.
    pub(crate) fn push(&mut self, writes: WriteSet) {
        let own = self.layers.len() > self.taken;
        let rows = marked(writes);
        match self.layers.last_mut().filter(|_| own).and_then(Arc::get_mut) {
            Some(layer) => {
                self.bytes -= layer.bytes;
                layer.merge(rows);
                self.bytes += layer.bytes;
            }
            None => {
                let rows = rows.collect::<BTreeMap<_, _>>();
                let bytes = LAYER_BYTES + rows.values().map(|held| held.bytes).sum::<usize>();
                self.bytes += bytes;
                self.layers.push(Arc::new(Layer { rows, bytes }));
                self.merge_small();
            }
        }
    }

    /// Keeps the number of layers logarithmic in what they hold: merges the newest while the one before is not clearly larger.
    fn merge_small(&mut self) {
        while self.layers.len() >= self.taken + 2 {
            let at = self.layers.len() - 2;
            if self.layers[at].rows.len() > 2 * self.layers[at + 1].rows.len() {
                return;
            }
            let Some(newer) = self.layers.pop() else { return };
            let mut merged = Layer::clone(&self.layers[at]);
            self.bytes -= merged.bytes + newer.bytes;
            merged.merge(newer.rows.iter().map(|(key, held)| (key.clone(), held.clone())));
            self.bytes += merged.bytes;
            self.layers[at] = Arc::new(merged);
        }
    }

    /// Takes all layers for writing.
    pub(crate) fn take(&mut self) -> Vec<Arc<Layer>> {
        self.taken = self.layers.len();
        self.layers.clone()
    }

    /// Drops the layers that were taken: they are in the database. Gives back their bytes.
    pub(crate) fn drop_taken(&mut self) -> usize {
        let bytes: usize = self.layers.drain(..std::mem::take(&mut self.taken)).map(|layer| layer.bytes).sum();
        self.bytes -= bytes;
        bytes
    }

    /// Drops everything. Gives back its bytes.
    pub(crate) fn clear(&mut self) -> usize {
        self.layers.clear();
        self.taken = 0;
        std::mem::take(&mut self.bytes)
    }
}

/// The newest value of a key in the layers: `Some(None)` means deleted, `None` that the database decides.
pub(crate) fn find<'a>(layers: &'a [Arc<Layer>], key: &RowKey) -> Option<&'a Option<Arc<Row>>> {
    layers.iter().rev().find_map(|layer| layer.rows.get(key)).map(|held| &held.row)
}

/// The newest values of all keys of a scan in the layers, in scan order.
pub(crate) fn collect(layers: &[Arc<Layer>], scan: &Scan) -> Vec<(RowKey, Option<Arc<Row>>)> {
    let Some((first, last)) = scan.bounds() else { return Vec::new() };
    let range = first..=last;
    let mut found: Vec<_> = match layers {
        [] => return Vec::new(),
        [layer] => layer.rows.range(range).map(|(key, held)| (key.clone(), held.row.clone())).collect(),
        layers => {
            let mut merged = BTreeMap::new();
            for layer in layers {
                merged.extend(layer.rows.range(range.clone()));
            }
            merged.into_iter().map(|(key, held)| (key.clone(), held.row.clone())).collect()
        }
    };
    if let Scan::AllRecords(_)
    | Scan::Dirty(_)
    | Scan::HooksDue(_)
    | Scan::Owed(_)
    | Scan::PushesDue(_)
    | Scan::Timers(_)
    | Scan::Moving(..)
    | Scan::Changed(_) = scan
    {
        found.retain(|(key, _)| scan.holds(key));
        found.sort_by(|(a, _), (b, _)| scan.compare(a, b));
    }
    found
}

/// The kinds whose whole range is small and rarely changes: their scans are kept ready.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Small {
    Owned = 0,
    Nodes = 1,
    Groups = 2,
    Runs = 3,
    Staging = 4,
}

impl Small {
    pub(crate) const COUNT: usize = 5;

    pub(crate) fn of_scan(scan: &Scan) -> Option<Self> {
        match scan {
            Scan::Owned => Some(Self::Owned),
            Scan::Nodes => Some(Self::Nodes),
            Scan::Groups => Some(Self::Groups),
            Scan::Runs => Some(Self::Runs),
            Scan::Staging => Some(Self::Staging),
            Scan::Records(..)
            | Scan::AllRecords(_)
            | Scan::Positions(_)
            | Scan::Devices(_)
            | Scan::IndexByRev(..)
            | Scan::Dirty(_)
            | Scan::Keyed(..)
            | Scan::HomeCalls(_)
            | Scan::Owed(_)
            | Scan::PushesDue(_)
            | Scan::Marks(..)
            | Scan::Replies(..)
            | Scan::Scheduled(..)
            | Scan::Timers(_)
            | Scan::Contacts(..)
            | Scan::Words(_)
            | Scan::HookCursors(_)
            | Scan::HooksDue(_)
            | Scan::Reports(_)
            | Scan::Audit(_)
            | Scan::Moving(..)
            | Scan::Changed(_) => None,
        }
    }

    pub(crate) fn of_key(key: &RowKey) -> Option<Self> {
        match key {
            RowKey::Owned(..) => Some(Self::Owned),
            RowKey::Node(_) => Some(Self::Nodes),
            RowKey::Group(_) => Some(Self::Groups),
            RowKey::Run(..) => Some(Self::Runs),
            RowKey::Staging(_) => Some(Self::Staging),
            _ => None,
        }
    }
}

/// Rows of a small scan, complete and in order.
pub(crate) type SmallRows = Arc<[(RowKey, Arc<Row>)]>;

#[cfg(test)]
mod tests;
