//! Buckets move from one group to another: a split, a merge and a re-home are moves.
//!
//! ```text
//! source's log                                     target's log
//! Begin      row Leaving{Copying, round 1}
//!                                                  Stage      row Staging{round 0}
//!                                                  Import…    round 0: every row of the buckets, in pieces
//! NextRound  changes from here: round 2            Import…    round 1: rows changed since Begin        (as often as it pays)
//! HandOver   Leaving{Handed}; owned by the target at epoch e: THE COMMIT POINT
//!                                                  Import…    the last round
//!                                                  Take       owned here at epoch e; no Staging any more
//! Taken      Leaving{Sweeping}
//! Sweep…     rows and marks go, in pieces
//! End        no Leaving any more
//! ```
//! A move is named by its source and by the log index of its `Begin`. The leader of the source does one step after the other, each decided anew from
//! both groups' rows ([`step::next`], pure) and logged where it says; nothing of a move is only in memory, so that whoever leads next goes
//! on where the rows stand. `Cancel` (before `HandOver` only) leads to sweeping the marks in the source, and to `Unstage`, `Drop`…, `EndStage` in the
//! target; so does whatever of a dead move is found in a target.
//!
//! **What changes while buckets are copied.** From `Begin` on, each row of theirs that a batch writes gets a mark `Changed(round, key)`. A round is sent
//! only when `NextRound` or `HandOver` has closed it: its marks change no more, and what is changed after a row was read for a round is
//! marked in a later one. So it does not matter that a copy is of many moments: the last value of each row comes last.
//!
//! **What fences what.** Ownership is checked at apply, for each item: from `HandOver` on nothing of the buckets is written in the source, whatever its
//! old leaders believe; before `Take` nothing but `Import` writes them in the target. The owned row of what was given stays with its epoch, so that
//! no older map gives it back (`own`). A piece says where the one before it ended, and is taken only there, in its round, by the move's
//! name: what an old leader sent late, twice or out of turn changes nothing. `Take` names the last round and is taken only when all of
//! it is here; only who has applied `HandOver` knows which round was the last. Room is made ([`MoveChange::Stage`]) only where no row of these buckets
//! lies, and the row of a move goes only when none is left of what it was to drop. **So at any moment at most one group owns a bucket**, and
//! between `HandOver` and `Take` none: the source answers `WrongGroup` and knows where they went ([`crate::own::Owned::given`]), the target `Frozen`.
//! No timeout gives them back.
//!
//! | dead in the middle of | left behind | taken up by |
//! |---|---|---|
//! | Begin … HandOver, source's leader | Leaving{Copying}, perhaps Staging with a place | the next leader: asks the target where it stands, goes on there |
//! | Stage, Import, target's leader | Staging as it was committed | the source's leader: asks anew; a piece twice is refused |
//! | HandOver … Take, source's leader | Leaving{Handed}: nobody serves the buckets | the next leader sends the last round; rows and marks are all there |
//! | Take, target's leader | Staging whole, or owned | the source's leader: asks anew; `Take` again, or `Taken` |
//! | Taken … End | rows that nobody serves | the next leader sweeps on; `Stage` of them here is refused meanwhile |
//! | a target that lost its room (`Unstage`) after HandOver | Leaving{Handed} | the copy begins anew from round 0: the source still has every row and every mark |
//!
//! Who serves reads, or walks what is due, looks through [`served::Served`], which shows neither what is coming nor what is gone.
//!
//! The meta group is not needed: it learns of the new owner from the target's leader, by the higher epoch ([`untold`]).
//! Bounds: one move out of a group at a time; `limit::MOVE_*`. The copy is checked by its order and its rounds, not by a sum over all rows: that would
//! be work for the moment in which nobody serves them. Not here: asking and sending (the node), which buckets should move.

mod pick;
pub mod served;
mod source;
pub mod step;
mod target;

use bytes::Bytes;
use kith_wire::{
    id::{GroupId, LogIndex},
    limit,
    log::{ClusterMap, RunRow},
    moving::{BucketRun, LeavingPhase, LeavingRow, MoveChange, StagingRow},
};

use crate::{
    Context,
    key::{self, Family, Near},
    overlay::Overlay,
    own::Owned,
    reply::Reply,
    view::{Held, Row, RowKey, Scan, StateView, ViewError, row},
};

/// The move out of the group, if there is one.
///
/// # Errors
/// The row cannot be read.
pub fn leaving(view: &dyn StateView) -> Result<Option<LeavingRow>, ViewError> {
    Ok(row::<LeavingRow>(view, &RowKey::Leaving)?.map(|row| *row))
}

/// The move from a group into this one, if there is one.
///
/// # Errors
/// The row cannot be read.
pub fn staging(view: &dyn StateView, from: GroupId) -> Result<Option<StagingRow>, ViewError> {
    Ok(row::<StagingRow>(view, &RowKey::Staging(from))?.map(|row| row.clone()))
}

/// All moves into this group, by source.
///
/// # Errors
/// A row cannot be read.
pub fn stagings(view: &dyn StateView) -> Result<Vec<(GroupId, StagingRow)>, ViewError> {
    let mut all = Vec::new();
    for (key, row) in view.scan(&Scan::Staging, false, usize::MAX)? {
        if let RowKey::Staging(from) = key {
            all.push((from, Held::<StagingRow>::new(&key, row)?.clone()));
        }
    }
    Ok(all)
}

/// Whether some of these buckets are on their way out of the group, or into it: what lies here of them is not to be trusted with ownership.
pub(crate) fn is_under_way(view: &dyn StateView, run: BucketRun) -> Result<bool, ViewError> {
    Ok(leaving(view)?.is_some_and(|row| row.run.overlaps(&run)) || is_coming(view, run)?)
}

/// Whether some of these buckets are on their way into the group.
///
/// # Errors
/// A row cannot be read.
pub fn is_coming(view: &dyn StateView, run: BucketRun) -> Result<bool, ViewError> {
    Ok(stagings(view)?.iter().any(|(_, row)| row.run.overlaps(&run)))
}

/// What the map does not say yet of the buckets that a group owns. Its leader tells the meta group.
pub fn untold(owned: &Owned, group: GroupId, map: &ClusterMap) -> Vec<RunRow> {
    let is_newer = |run: &BucketRun, epoch| {
        let of_map = map.runs.range(..=(run.region, run.last)).rev().take_while(|((region, _), row)| *region == run.region && row.last >= run.first);
        of_map.map(|(_, row)| row).any(|row| row.epoch < epoch)
    };
    let all = owned.runs().filter(|(run, epoch)| is_newer(run, *epoch));
    all.map(|(run, epoch)| RunRow { region: run.region, first: run.first, last: run.last, group, epoch }).collect()
}

pub(crate) fn change(ctx: &mut Context<'_>, change: MoveChange) -> Result<Reply, ViewError> {
    match change {
        MoveChange::Begin { run, to } => source::begin(ctx, run, to),
        MoveChange::NextRound { at, round } => source::next_round(ctx, at, round),
        MoveChange::HandOver { at, round } => source::hand_over(ctx, at, round),
        MoveChange::Cancel { at } => source::cancel(ctx, at),
        MoveChange::Taken { at } => source::taken(ctx, at),
        MoveChange::Sweep { at, keys } => source::sweep(ctx, at, &keys),
        MoveChange::End { at } => source::end(ctx, at),
        MoveChange::Stage { from, at, run, epoch } => target::stage(ctx, (from, at), run, epoch),
        MoveChange::Import { from, at, round, after, upto, last, rows } => {
            target::import(ctx, (from, at), target::Came { round, after, upto, last, rows })
        }
        MoveChange::Take { from, at, round } => target::take(ctx, (from, at), round),
        MoveChange::Unstage { from, at } => target::unstage(ctx, (from, at)),
        MoveChange::Drop { from, at, keys } => target::drop_rows(ctx, (from, at), &keys),
        MoveChange::EndStage { from, at } => target::end(ctx, (from, at)),
    }
}

/// Marks what a batch has written of buckets that are being copied. `before`: the move as the batch found it.
pub(crate) fn mark(rows: &mut Overlay<'_>, before: Option<LeavingRow>) -> Result<(), ViewError> {
    // A batch of a group without a move asks nothing more.
    if before.is_none() && !rows.writes().rows.contains_key(&RowKey::Leaving) {
        return Ok(());
    }
    let after = leaving(&*rows)?;
    let is = |row: Option<LeavingRow>, phase| row.is_some_and(|row| row.phase == phase);
    let copies = is(before, LeavingPhase::Copying) || is(after, LeavingPhase::Copying);
    let Some(row) = after.filter(|row| copies && row.phase <= LeavingPhase::Handed) else { return Ok(()) };
    let (mut near, mut changed) = (Near::default(), Vec::new());
    for key in rows.writes().rows.keys() {
        if near.bucket(key).is_some_and(|bucket| row.run.holds(bucket)) {
            changed.push(key::pack_after(&mut near, key));
        }
    }
    for key in changed {
        rows.put(RowKey::Changed(row.round, key), Row::Changed);
    }
    Ok(())
}

/// Whether no row of these buckets lies here.
fn is_empty(view: &dyn StateView, run: BucketRun) -> Result<bool, ViewError> {
    for family in moving_families() {
        if !view.scan(&Scan::Moving(family, run, None), false, 1)?.is_empty() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Those whose rows belong to buckets, in the order in which they are sent.
fn moving_families() -> impl Iterator<Item = Family> {
    Family::ALL.into_iter().filter(|family| *family != Family::Group)
}

/// What one command drops: rows of these buckets, all of them, or nothing.
fn to_drop(run: BucketRun, keys: &[Bytes]) -> Option<Vec<RowKey>> {
    if keys.len() > limit::MOVE_ROWS_MAX {
        return None;
    }
    let row = |packed: &Bytes| key::decode_packed(packed).ok().filter(|key| key.bucket().is_some_and(|bucket| run.holds(bucket)));
    keys.iter().map(row).collect()
}

/// A mark, as `Sweep` names it: 0, its round, and the packed key. No family has the number 0.
pub(crate) fn pack_mark(round: u64, key: &[u8]) -> Bytes {
    Bytes::from([&[0][..], &round.to_be_bytes()[..], key].concat())
}

fn decode_mark(bytes: &Bytes) -> Option<RowKey> {
    let (kind, rest) = bytes.split_first()?;
    let (round, key) = rest.split_first_chunk::<8>()?;
    key::decode_packed(key).ok()?;
    (*kind == 0).then(|| RowKey::Changed(u64::from_be_bytes(*round), bytes.slice_ref(key)))
}

/// The name of a move in its target: its source, and where it began there.
type Name = (GroupId, LogIndex);
