//! Reads of one group over its layers and the database behind them.
//!
//! In: layers, and the database as it is or as a snapshot of it. Out: rows, in scan order, the newest value of each.
//! Not here: which layers go with which moment (`group`).

use std::{cmp::Ordering, sync::Arc};

use kith_machine::view::{Row, RowKey, Scan, ViewError};
use kith_wire::id::GroupId;
use rocksdb::{DBPinnableSlice, DBRawIterator, Snapshot};

use crate::{
    db::Databases,
    key,
    overlay::{self, Layer},
    row::{self, view_error},
};

self_cell::self_cell!(
    /// A snapshot of the state database, with the database that it belongs to.
    pub(crate) struct Pinned {
        owner: Arc<Databases>,
        #[covariant]
        dependent: Snapshot,
    }
);

/// Takes a snapshot of the state database.
pub(crate) fn pin(databases: &Arc<Databases>) -> Pinned {
    Pinned::new(Arc::clone(databases), |databases| databases.state.snapshot())
}

/// Where rows come from that no layer holds.
#[derive(Clone, Copy)]
pub(crate) enum Source<'a> {
    /// The database as it is.
    Latest(&'a Databases),
    /// As it was.
    Pinned(&'a Pinned),
}

impl<'a> Source<'a> {
    pub(crate) fn databases(self) -> &'a Databases {
        match self {
            Self::Latest(databases) => databases,
            Self::Pinned(pinned) => pinned.borrow_owner(),
        }
    }

    fn value(self, family: key::Family, key: &[u8]) -> Result<Option<DBPinnableSlice<'a>>, rocksdb::Error> {
        let databases = self.databases();
        let cf = databases.state_cf(family);
        match self {
            Self::Latest(_) => databases.state.get_pinned_cf_opt(cf, key, &databases.read_options()),
            Self::Pinned(pinned) => {
                let mut options = databases.read_options();
                options.set_snapshot(pinned.borrow_dependent());
                databases.state.get_pinned_cf_opt(cf, key, &options)
            }
        }
    }

    /// Rows from the first key, inclusive, to the second, exclusive.
    pub(crate) fn rows(self, family: key::Family, from: Vec<u8>, to: Vec<u8>) -> DBRawIterator<'a> {
        let databases = self.databases();
        let mut options = databases.read_options();
        options.set_iterate_range(from..to);
        if let Self::Pinned(pinned) = self {
            options.set_snapshot(pinned.borrow_dependent());
        }
        databases.state.raw_iterator_cf_opt(databases.state_cf(family), options)
    }

    /// A row of the database alone.
    pub(crate) fn get(self, group: GroupId, key: &RowKey) -> Result<Option<Arc<Row>>, ViewError> {
        let mut bytes = Vec::with_capacity(64);
        let family = key::encode(group, key, &mut bytes);
        let databases = self.databases();
        let Some(value) = self.value(family, &bytes).map_err(|error| view_error(key, error))? else { return Ok(None) };
        let row = row::decode_as(databases.quirk, key, &value).map_err(|error| view_error(key, error))?;
        Ok(Some(Arc::new(row)))
    }
}

/// Rows of a scan over layers and database, at most `limit`, from the end when `reverse`.
pub(crate) fn scan(
    source: Source<'_>,
    group: GroupId,
    layers: &[Arc<Layer>],
    scan: &Scan,
    reverse: bool,
    limit: usize,
) -> Result<Vec<(RowKey, Arc<Row>)>, ViewError> {
    let (family, from, to) = key::range(group, scan);
    if from >= to || limit == 0 {
        return Ok(Vec::new());
    }
    let mut newer = overlay::collect(layers, scan);
    if reverse {
        newer.reverse();
    }
    let mut newer = newer.into_iter().peekable();
    let mut stored = source.rows(family, from, to);
    if reverse {
        stored.seek_to_last()
    } else {
        stored.seek_to_first()
    }
    let mut rows = Vec::new();
    let mut head = next_key(&stored, family, scan)?;
    while rows.len() < limit {
        let order = match (newer.peek(), &head) {
            (None, None) => break,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some((newer, _)), Some(stored)) => {
                let order = scan.compare(newer, stored);
                if reverse { order.reverse() } else { order }
            }
        };
        if order == Ordering::Greater {
            if let (Some(key), Some(value)) = (head.take(), stored.value()) {
                let row = row::decode_as(source.databases().quirk, &key, value).map_err(|error| view_error(&key, error))?;
                rows.push((key, Arc::new(row)));
            }
        } else if let Some((key, Some(row))) = newer.next() {
            rows.push((key, row));
        }
        if order != Ordering::Less {
            if reverse {
                stored.prev()
            } else {
                stored.next()
            }
            head = next_key(&stored, family, scan)?;
        }
    }
    Ok(rows)
}

fn next_key(rows: &DBRawIterator<'_>, family: key::Family, scan: &Scan) -> Result<Option<RowKey>, ViewError> {
    match rows.key() {
        Some(key) => key::decode(family, key).map(|(_, key)| Some(key)).map_err(|error| view_error(scan, error)),
        None => rows.status().map(|()| None).map_err(|error| view_error(scan, error)),
    }
}
