//! What a follower did not hear of: since the index was last written, or since it lagged.
//!
//! The log says which channels were touched, the rows what they say now. Where the log does not reach back, or there is nothing yet, all rows of the
//! group are walked, a few at a time, while the feed is followed; what has been walked is kept with the index, so that a restart goes on
//! there. So they are when buckets came or went: what came was never heard of, and of what went no word may stay. Invariant: whatever is read twice is put twice, and stands once. Bounds: [`RECORDS_AT_ONCE`], [`LOG_BYTES`].

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use kith_machine::{
    channel::pick::{Touched, aim, touched},
    view::{Held, RowKey, Scan, StateView, ViewError, row},
};
use kith_raft::{Feed, Logged};
use kith_search::{Change, Stand, Walk};
use kith_wire::{
    id::{ChannelId, LogIndex, Seq},
    log::{Batch, Command, Content, Entry, Payload, Record},
    moving::MoveChange,
};

use super::follow::{Follower, now};

/// Why a follower could not go on.
pub(super) enum Trouble {
    /// Events were missed: begin anew.
    Missed,
    /// Buckets came or went: begin anew, with all rows.
    Moved,
    /// The group was closed.
    Closed,
    /// Rows cannot be read now.
    Rows(ViewError),
}

/// Brings the index to where the group was when this was called, at least. `anew`: what lies here is not what the index is of any more.
pub(super) async fn read(follower: &Arc<Follower>, feed: &mut Feed, anew: bool) -> Result<(), Trouble> {
    // A group that serves no rows now says so here.
    let upto = follower.blocking(|follower| Ok(applied(&follower.group.reader()?))).await?;
    match follower.index.stand(follower.id()) {
        Some(stand) if !anew => catch_up(follower, stand, upto).await?,
        _ => begin_walk(follower, upto),
    }
    walk(follower, feed).await
}

fn applied(reader: &kith_raft::Reader) -> LogIndex {
    reader.applied().last.map_or_else(LogIndex::default, |id| id.index)
}

/// Nothing of the group is in the index; what is applied from here on is heard.
fn begin_walk(follower: &Follower, upto: LogIndex) {
    tracing::debug!(node = %follower.search.0.node, group = %follower.id(), "search.walk: the rows of a group are read anew");
    follower.search.current().remove(&follower.id());
    follower.search.0.metrics.walks.inc();
    follower.index.drop_group(follower.id());
    follower.index.put(follower.id(), [], Stand { index: upto, read: upto, walk: Some(Walk::default()) });
}

// ---------------------------------------------------------------- by the log

async fn catch_up(follower: &Arc<Follower>, mut stand: Stand, upto: LogIndex) -> Result<(), Trouble> {
    while stand.index < upto {
        let after = stand.index;
        let entries = match follower.blocking(move |follower| follower.group.logged(after, upto, LOG_BYTES)).await? {
            Logged::Entries(entries) => entries,
            Logged::Gone => {
                begin_walk(follower, upto);
                return Ok(());
            }
        };
        let Some(last) = entries.last().map(|entry| entry.id.index) else { return Ok(()) };
        if entries.iter().any(moves_buckets) {
            begin_walk(follower, upto);
            return Ok(());
        }
        stand.read = stand.read.max(upto);
        for (channel, touches) in channels(&entries) {
            refresh(follower, channel, &touches, &mut stand).await?;
        }
        stand.index = last;
        follower.put(Vec::new(), stand).await;
    }
    Ok(())
}

/// The channels that these entries may have changed. What cannot be read here was not applied here either.
fn channels(entries: &[Entry]) -> BTreeMap<ChannelId, BTreeSet<Touched>> {
    let mut channels = BTreeMap::<_, BTreeSet<_>>::new();
    for entry in entries {
        let Payload::Batch(batch) = &entry.payload else { continue };
        let Ok(batch) = Batch::decode_bytes(batch.clone()) else { continue };
        for (channel, touch) in batch.items.iter().filter_map(|item| touched(&item.command)) {
            channels.entry(channel).or_default().insert(touch);
        }
    }
    channels
}

/// Whether channels may have come or gone with their buckets.
fn moves_buckets(entry: &Entry) -> bool {
    let Payload::Batch(batch) = &entry.payload else { return false };
    let moves = |command: &Command| matches!(command, Command::Move(MoveChange::HandOver { .. } | MoveChange::Take { .. }));
    Batch::decode_bytes(batch.clone()).is_ok_and(|batch| batch.items.iter().any(|item| moves(&item.command)))
}

/// Puts what a channel says now, where entries have touched it. What is read may be newer than those: `stand` says how new.
async fn refresh(follower: &Arc<Follower>, channel: ChannelId, touches: &BTreeSet<Touched>, stand: &mut Stand) -> Result<(), Trouble> {
    let is_whole = touches.contains(&Touched::Whole);
    if is_whole {
        follower.put(vec![Change::Forget { channel }], *stand).await;
    }
    let targets: Vec<Seq> = touches.iter().filter_map(|touch| if let Touched::Record(seq) = touch { Some(*seq) } else { None }).collect();
    if !targets.is_empty() && !is_whole {
        let now = *stand;
        let page = move |follower: &Follower| {
            let reader = follower.group.reader()?;
            Ok((older(&reader, channel, targets, &now)?, applied(&reader)))
        };
        let (changes, read) = follower.blocking(page).await?;
        stand.read = stand.read.max(read);
        follower.put(changes, *stand).await;
    }
    if !is_whole && !touches.contains(&Touched::Tail) {
        return Ok(());
    }
    let mut next = Some(match is_whole {
        true => Seq::ZERO.next(),
        false => follower.blocking(move |follower| last_seq(follower, channel)).await?.unwrap_or(Seq::ZERO).next(),
    });
    let begin = next.unwrap_or(Seq::ZERO);
    while let Some(from) = next {
        let now = *stand;
        let page = move |follower: &Follower| {
            let reader = follower.group.reader()?;
            Ok((tail(&reader, channel, (begin, from), &now)?, applied(&reader)))
        };
        let ((changes, after), read) = follower.blocking(page).await?;
        stand.read = stand.read.max(read);
        follower.put(changes, *stand).await;
        next = after;
    }
    Ok(())
}

fn last_seq(follower: &Follower, channel: ChannelId) -> Result<Option<Seq>, ViewError> {
    follower.index.last_seq(channel).map_err(|cause| ViewError { key: "search".to_owned(), cause: Arc::new(cause) })
}

/// A page of the records from a seq on, and of older ones that they are about; and where the next page begins.
fn tail(view: &dyn StateView, channel: ChannelId, (begin, from): (Seq, Seq), stand: &Stand) -> Result<(Vec<Change>, Option<Seq>), ViewError> {
    let rows = view.scan(&Scan::Records(channel, from..=Seq::new(u64::MAX)), false, RECORDS_AT_ONCE)?;
    let is_last = rows.len() < RECORDS_AT_ONCE;
    let (mut changes, mut targets, mut last) = (Vec::new(), Vec::new(), from);
    for (key, row) in rows {
        let record = Held::<Record>::new(&key, row)?.clone();
        last = record.at.seq;
        targets.extend(aim(&record).filter(|target| *target < begin));
        changes.extend(fresh(channel, record, stand));
    }
    changes.extend(older(view, channel, targets, stand)?);
    Ok((changes, (!is_last).then(|| last.next())))
}

fn fresh(channel: ChannelId, record: Record, stand: &Stand) -> Option<Change> {
    let is_wanted = matches!(record.content, Content::Text { .. }) && stand.covers(channel, record.at.seq);
    is_wanted.then(|| Change::Put { channel, record: Arc::new(record), fresh: true })
}

/// Records that are in the index already, as they read now.
fn older(view: &dyn StateView, channel: ChannelId, mut seqs: Vec<Seq>, stand: &Stand) -> Result<Vec<Change>, ViewError> {
    seqs.sort();
    seqs.dedup();
    let mut changes = Vec::new();
    for seq in seqs.into_iter().filter(|seq| stand.covers(channel, *seq)) {
        if let Some(record) = row::<Record>(view, &RowKey::Record(channel, seq))? {
            changes.extend(now(channel, &Arc::new(record.clone())));
        }
    }
    Ok(changes)
}

// ---------------------------------------------------------------- by all rows

async fn walk(follower: &Arc<Follower>, feed: &mut Feed) -> Result<(), Trouble> {
    while let Some(Stand { walk: Some(walk), .. }) = follower.index.stand(follower.id()) {
        follower.take_waiting(feed).await?;
        let (changes, next, read) = follower.blocking(move |follower| page(follower, walk)).await?;
        // Nobody else moves it.
        let Some(stand) = follower.index.stand(follower.id()) else { return Err(Trouble::Missed) };
        follower.put(changes, Stand { index: stand.index, read: stand.read.max(read), walk: next }).await;
    }
    Ok(())
}

/// The next records of the group in the order of the store; what is left to walk; and how far the group was then.
fn page(follower: &Follower, walk: Walk) -> Result<(Vec<Change>, Option<Walk>, LogIndex), ViewError> {
    let reader = follower.group.reader()?;
    let after = walk.next.map(|(channel, seq)| (channel, seq.prev()));
    let rows = reader.scan(&Scan::AllRecords(after), false, RECORDS_AT_ONCE)?;
    let is_last = rows.len() < RECORDS_AT_ONCE;
    let (mut changes, mut last) = (Vec::new(), walk.next);
    for (key, row) in rows {
        let RowKey::Record(channel, seq) = key else { continue };
        let record = Held::<Record>::new(&key, row)?.clone();
        last = Some((channel, seq.next()));
        if matches!(record.content, Content::Text { .. }) {
            changes.push(Change::Put { channel, record: Arc::new(record), fresh: true });
        }
    }
    Ok((changes, (!is_last).then_some(Walk { next: last }), applied(&reader)))
}

/// Records of one read: the largest take 25 MB.
const RECORDS_AT_ONCE: usize = 64;
/// Log entries of one read.
const LOG_BYTES: usize = 1 << 20;
