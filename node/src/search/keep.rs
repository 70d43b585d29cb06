//! Keeps the index open, fed and written; and opens it again when it cannot be used any more.
//!
//! In: the groups that are open here. Out: a follower for each, commits. What a group was given up for, by the map, is taken out.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use kith_search::{Index, IndexError, Opened};
use kith_wire::id::GroupId;
use tokio::{task::spawn_blocking, time::MissedTickBehavior};

use super::{Search, follow::Follower};
use crate::{supervise::Tasks, usage::folder_bytes};

/// Until the tasks are cancelled.
pub(super) async fn run(search: Search, tasks: Tasks) {
    let cancelled = tasks.cancelled();
    let Some(folder) = search.0.options.folder.clone() else { return };
    let mut again = AGAIN;
    while !cancelled.is_cancelled() {
        let begun = search.0.clock.instant();
        match open(&search, &folder).await {
            Ok(index) => {
                let work = tasks.child();
                search.0.index.store(Some(index.clone()));
                // Cancel safe: what is under way is given up with the index.
                let ended = tokio::select! {
                    biased;
                    () = cancelled.cancelled() => None,
                    error = keep(&search, &index, &folder, &work) => Some(error),
                };
                search.0.index.store(None);
                search.current().clear();
                work.close(END_MAX).await;
                if let Some(error) = ended {
                    tracing::warn!(node = %search.0.node, cause = %chain(&error), "search.keep: the index is opened again");
                }
                // Joins a thread that is about to end.
                let _ = spawn_blocking(move || index.close()).await;
            }
            Err(error) => tracing::warn!(node = %search.0.node, cause = %chain(&error), "search.keep: the index cannot be opened"),
        }
        // One that has worked for long is opened at once; one that never does, on a full disk say, ever less often.
        let has_worked = search.0.clock.instant().saturating_duration_since(begun) >= AGAIN_MAX;
        again = if has_worked { AGAIN } else { again };
        let _ = cancelled.run_until_cancelled(tokio::time::sleep(again)).await;
        again = (2 * again).min(AGAIN_MAX);
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    std::iter::successors(Some(error), |error| error.source()).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

async fn open(search: &Search, folder: &Path) -> Result<Arc<Index>, IndexError> {
    let (folder, store, bounds) = (folder.to_owned(), search.0.options.store, search.0.options.bounds);
    let opened = spawn_blocking(move || Index::open(&folder, store, bounds)).await;
    let (index, opened) = opened.map_err(|_| IndexError::Closed).flatten()?;
    match opened {
        Opened::New | Opened::AsLeft => tracing::debug!(node = %search.0.node, ?opened, "search.open"),
        Opened::Emptied => tracing::info!(node = %search.0.node, "search.open: the index was damaged or is of another version: it is built anew"),
    }
    Ok(Arc::new(index))
}

/// Feeds and writes the index until it cannot be written.
async fn keep(search: &Search, index: &Arc<Index>, folder: &Path, work: &Tasks) -> IndexError {
    work.spawn("search.purge", purge(search.clone(), index.clone()));
    let mut followed: BTreeMap<GroupId, Arc<Follower>> = BTreeMap::new();
    let mut ticks = tokio::time::interval(STEP);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let clock = &search.0.clock;
    let mut committed = clock.instant();
    loop {
        // Both branches are cancel safe.
        tokio::select! {
            _ = ticks.tick() => {}
            () = search.0.pressing.notified() => {}
        }
        if search.0.unsound.swap(false, Ordering::AcqRel) {
            return IndexError::Closed;
        }
        followed.retain(|_, follower| !follower.has_ended());
        for group in search.0.groups.all() {
            if group.id() != GroupId::META && !followed.contains_key(&group.id()) {
                let follower = Arc::new(Follower::new(search.clone(), index.clone(), group.clone()));
                work.spawn("search.follow", follower.clone().run());
                followed.insert(group.id(), follower);
            }
        }
        drop_given_up(search, index);
        show(search, index);
        if index.is_pressing() || clock.instant().saturating_duration_since(committed) >= search.0.options.commit_every {
            committed = clock.instant();
            if let Err(error) = commit(search, index, folder).await {
                return error;
            }
        }
    }
}

/// Words of what was edited, deleted or erased are in nobody's way, but are to leave the disk.
async fn purge(search: Search, index: Arc<Index>) {
    let mut ticks = tokio::time::interval_at(search.0.clock.instant() + PURGE_FIRST, PURGE_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let index = index.clone();
        match spawn_blocking(move || index.purge()).await {
            Ok(Ok(parts)) => tracing::debug!(node = %search.0.node, parts, "search.purge"),
            Ok(Err(error)) => tracing::warn!(node = %search.0.node, cause = %chain(&error), "search.purge: it is tried again later"),
            Err(_) => return,
        }
    }
}

/// Groups that the map has given to other nodes are taken out.
fn drop_given_up(search: &Search, index: &Index) {
    let map = search.0.maps.current();
    for group in index.groups() {
        let is_elsewhere = map.groups.get(&group).is_some_and(|row| !row.replicas.contains(&search.0.node));
        if is_elsewhere && search.0.groups.get(group).is_none() {
            search.current().remove(&group);
            index.drop_group(group);
        }
    }
}

async fn commit(search: &Search, index: &Arc<Index>, folder: &Path) -> Result<(), IndexError> {
    let (index, folder, begun) = (index.clone(), folder.to_owned(), search.0.clock.instant());
    let done = spawn_blocking(move || {
        let written = index.commit()?;
        Ok::<_, IndexError>((written, (written > 0).then(|| folder_bytes(&folder))))
    });
    // One that panicked met damage.
    let (written, bytes) = done.await.map_err(|_| IndexError::Closed).flatten()?;
    search.0.committed.notify_waiters();
    if let Some(bytes) = bytes {
        let metrics = &search.0.metrics;
        metrics.commit.observe(search.0.clock.instant().saturating_duration_since(begun).as_secs_f64());
        metrics.indexed.inc_by(written as u64);
        metrics.disk_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }
    Ok(())
}

fn show(search: &Search, index: &Index) {
    let (metrics, stats) = (&search.0.metrics, index.stats());
    let gauge = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    metrics.documents.set(gauge(stats.documents));
    metrics.segments.set(gauge(stats.segments));
    metrics.pending.set(gauge(stats.pending));
    let current = search.current().len();
    let groups = search.0.groups.all().into_iter().filter(|group| group.id() != GroupId::META).count();
    metrics.behind.set(gauge(groups.saturating_sub(current) as u64));
}

/// How often groups are looked for, and what waits is looked at.
const STEP: Duration = Duration::from_millis(250);
/// Before an index that could not be used is opened again; doubled each time, up to that.
const AGAIN: Duration = Duration::from_millis(500);
const AGAIN_MAX: Duration = Duration::from_secs(30);
/// Parts of the index with words of what is gone are written anew so often, and first after that.
const PURGE_EVERY: Duration = Duration::from_secs(24 * 3_600);
const PURGE_FIRST: Duration = Duration::from_secs(3_600);
/// For followers to end.
const END_MAX: Duration = Duration::from_secs(2);
