//! A group's rows as whoever serves them may see them: only those of buckets that the group owns.
//!
//! In: a view of one moment. Out: the same view without what is on its way in, or was given away and is not dropped yet. Reading a row of such a
//! bucket is an error of its own ([`NotOwned`]), which is answered as a command there is: `WrongGroup`. A scan over the whole group (what
//! is due, dirty, owed) passes over them, so that no leader does anything twice for a bucket. A group that never gave a bucket and awaits
//! none asks nothing more than without. Not here: commands (apply checks those by itself).

use std::sync::Arc;

use kith_wire::{id::Bucket, log::bucket_of_word};
use thiserror::Error;

use super::stagings;
use crate::{
    mutant::Quirk,
    own::Owned,
    view::{Row, RowKey, Scan, StateView, ViewError},
};

/// The group does not own the bucket of a row, or not any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("this group does not own bucket {0}")]
pub struct NotOwned(pub Bucket);

/// A view without rows of buckets that the group does not own.
#[derive(Debug)]
pub struct Served<V> {
    view: V,
    /// `None`: nothing lies here but what is owned.
    owned: Option<Arc<Owned>>,
}

/// What is owned at the view's moment, if rows of other buckets may lie here too.
///
/// # Errors
/// A row cannot be read.
pub fn among_others(view: &dyn StateView) -> Result<Option<Arc<Owned>>, ViewError> {
    let owned = Owned::read(view)?;
    let others_lie_here = owned.has_given() || !stagings(view)?.is_empty();
    Ok(others_lie_here.then(|| Arc::new(owned)))
}

impl<V: StateView> Served<V> {
    /// Of what is owned at the view's moment.
    ///
    /// # Errors
    /// A row cannot be read.
    pub fn new(view: V) -> Result<Self, ViewError> {
        let owned = among_others(&view)?;
        Ok(Self { view, owned })
    }
    /// Of what is known to be owned at the view's moment.
    pub const fn of(view: V, owned: Arc<Owned>) -> Self {
        Self { view, owned: Some(owned) }
    }
    /// The view with all that lies there.
    pub const fn whole(&self) -> &V {
        &self.view
    }

    fn is_served(&self, bucket: Option<Bucket>) -> bool {
        bucket.is_none_or(|bucket| self.owned.as_ref().is_none_or(|owned| owned.holds(bucket)))
    }

    fn refuse(&self, what: &impl std::fmt::Debug, bucket: Option<Bucket>) -> Result<(), ViewError> {
        match bucket.filter(|_| !self.is_served(bucket)) {
            Some(bucket) => Err(ViewError { key: format!("{what:?}"), cause: Arc::new(NotOwned(bucket)) }),
            None => Ok(()),
        }
    }
}

impl ViewError {
    /// Whether the row is another group's to show.
    pub fn is_not_owned(&self) -> bool {
        self.cause.downcast_ref::<NotOwned>().is_some()
    }
}

impl<V: StateView> StateView for Served<V> {
    fn get(&self, key: &RowKey) -> Result<Option<Arc<Row>>, ViewError> {
        if self.owned.is_some() {
            self.refuse(key, key.bucket())?;
        }
        self.view.get(key)
    }

    fn scan(&self, scan: &Scan, reverse: bool, limit: usize) -> Result<Vec<(RowKey, Arc<Row>)>, ViewError> {
        if self.owned.is_none() {
            return self.view.scan(scan, reverse, limit);
        }
        self.refuse(scan, bucket_of(scan))?;
        if after(scan, None).is_none() {
            return self.view.scan(scan, reverse, limit);
        }
        // Backwards there is no place to go on from; nobody walks a whole group backwards.
        let page = if reverse { usize::MAX } else { limit };
        let (mut served, mut next) = (Vec::new(), scan.clone());
        loop {
            let rows = self.view.scan(&next, reverse, page)?;
            let goes_on = rows.len() == page;
            let last = rows.last().map(|(key, _)| key.clone());
            served.extend(rows.into_iter().filter(|(key, _)| self.is_served(key.bucket())));
            match last.and_then(|last| after(scan, Some(&last))) {
                Some(rest) if goes_on && served.len() < limit => next = rest,
                _ => break,
            }
        }
        served.truncate(limit);
        Ok(served)
    }

    fn quirk(&self) -> Quirk {
        self.view.quirk()
    }
}

/// The bucket whose rows a scan gives, if they are of one.
fn bucket_of(scan: &Scan) -> Option<Bucket> {
    match scan {
        Scan::Records(channel, _)
        | Scan::Positions(channel)
        | Scan::Keyed(channel, _)
        | Scan::Marks(channel, _)
        | Scan::Replies(channel, ..)
        | Scan::Scheduled(channel, _)
        | Scan::HookCursors(channel) => Some(channel.bucket()),
        Scan::HomeCalls(user) | Scan::Devices(user) | Scan::IndexByRev(user, _) | Scan::Contacts(user, _) => Some(user.bucket()),
        Scan::Words(begin) => Some(bucket_of_word(begin)),
        Scan::Reports(_) | Scan::Audit(_) => Some(kith_wire::desk::bucket()),
        Scan::AllRecords(_)
        | Scan::Dirty(_)
        | Scan::Owed(_)
        | Scan::PushesDue(_)
        | Scan::Timers(_)
        | Scan::HooksDue(_)
        | Scan::Moving(..)
        | Scan::Changed(_)
        | Scan::Staging
        | Scan::Owned
        | Scan::Nodes
        | Scan::Groups
        | Scan::Runs => None,
    }
}

/// What of a scan over the whole group comes after this key, or all of it; `None` for other scans.
fn after(scan: &Scan, last: Option<&RowKey>) -> Option<Scan> {
    Some(match (scan, last) {
        (Scan::AllRecords(_) | Scan::Dirty(_) | Scan::Owed(_) | Scan::PushesDue(_) | Scan::Timers(_) | Scan::HooksDue(_), None) => scan.clone(),
        (Scan::AllRecords(_), Some(RowKey::Record(channel, seq))) => Scan::AllRecords(Some((*channel, *seq))),
        (Scan::Dirty(_), Some(RowKey::Dirty(channel))) => Scan::Dirty(Some(*channel)),
        (Scan::Owed(_), Some(RowKey::Owed(user, debt))) => Scan::Owed(Some((*user, debt.clone()))),
        (Scan::PushesDue(_), Some(RowKey::PushDue(user, channel))) => Scan::PushesDue(Some((*user, *channel))),
        (Scan::Timers(_), Some(RowKey::Timer(due, channel, timer))) => Scan::Timers(Some((*due, *channel, *timer))),
        (Scan::HooksDue(_), Some(RowKey::HookDue(channel))) => Scan::HooksDue(Some(*channel)),
        _ => return None,
    })
}
