//! The buckets that a group owns, and those that it has given away, as replicated rows. Checked for each item; a router's map only saves a hop.
//!
//! Invariant: a bucket that was given away is owned again at a higher epoch only: what an older map says takes nothing back. Not here: how
//! buckets are given ([`crate::moving`]).

use kith_wire::{
    code::Code,
    id::{Bucket, GroupId, OwnerEpoch, RegionId},
    log::{OwnedRow, RunRow},
    moving::BucketRun,
};

use crate::{
    Context,
    effect::Effect,
    moving,
    reply::Reply,
    run::{Run, stands, taken},
    view::{Held, RowKey, Scan, StateView, ViewError},
};

/// The owned runs of a group, in memory.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Owned {
    /// By (region, first bucket), not overlapping; those that were given away among them.
    runs: Vec<(RegionId, Known)>,
}

/// Buckets of one epoch; with an owner if they were given to it.
type Known = Run<Option<GroupId>>;

impl Owned {
    /// Reads the runs of a group.
    ///
    /// # Errors
    /// A row cannot be read.
    pub fn read(view: &dyn StateView) -> Result<Self, ViewError> {
        Ok(Self { runs: rows(view)? })
    }
    /// Whether the group owns this bucket.
    pub fn holds(&self, bucket: Bucket) -> bool {
        self.run_of(bucket).is_some_and(|run| run.owner.is_none())
    }
    /// To whom the group gave this bucket, and at which epoch, if it did: newer than any map that says otherwise at a lower one.
    pub fn given(&self, bucket: Bucket) -> Option<(GroupId, OwnerEpoch)> {
        self.run_of(bucket).and_then(|run| Some((run.owner?, run.epoch)))
    }
    /// The same as a map would say it, with all buckets that went in one run with it.
    pub fn given_run(&self, bucket: Bucket) -> Option<RunRow> {
        let (region, run) = self.at(bucket)?;
        run.owner.map(|group| RunRow { region: *region, first: run.first, last: run.last, group, epoch: run.epoch })
    }
    /// All that the group knows of who owns buckets, of its own and of those that it gave away, as a map would say it.
    pub fn told(&self, group: GroupId) -> impl Iterator<Item = RunRow> {
        let row = move |(region, run): &(RegionId, Known)| RunRow {
            region: *region,
            first: run.first,
            last: run.last,
            group: run.owner.unwrap_or(group),
            epoch: run.epoch,
        };
        self.runs.iter().map(row)
    }
    /// The runs that the group owns, by (region, first bucket), each with its epoch.
    pub fn runs(&self) -> impl Iterator<Item = (BucketRun, OwnerEpoch)> {
        self.runs.iter().filter(|(_, run)| run.owner.is_none()).map(|(region, run)| (bucket_run(*region, run), run.epoch))
    }
    /// The highest epoch of these buckets, if the group owns all of them.
    pub fn whole(&self, run: BucketRun) -> Option<OwnerEpoch> {
        let (mut next, mut highest) = (u32::from(run.first), None);
        for piece in self.known(run) {
            if piece.owner.is_some() || u32::from(piece.first) > next {
                return None;
            }
            highest = highest.max(Some(piece.epoch));
            next = u32::from(piece.last) + 1;
        }
        highest.filter(|_| next > u32::from(run.last))
    }
    /// Whether the group ever gave a bucket that it has not got back.
    pub fn has_given(&self) -> bool {
        self.runs.iter().any(|(_, run)| run.owner.is_some())
    }
    /// Whether the group owns any of these buckets.
    pub fn holds_any(&self, run: BucketRun) -> bool {
        self.known(run).any(|piece| piece.owner.is_none())
    }
    /// Whether all of these buckets were the group's at this epoch or a higher one, or still are.
    pub fn reached(&self, run: BucketRun, epoch: OwnerEpoch) -> bool {
        let mut next = u32::from(run.first);
        for piece in self.known(run).filter(|piece| piece.epoch >= epoch) {
            if u32::from(piece.first) > next {
                return false;
            }
            next = u32::from(piece.last) + 1;
        }
        next > u32::from(run.last)
    }
    /// The highest epoch at which the group knows of any of these buckets.
    pub fn newest(&self, run: BucketRun) -> Option<OwnerEpoch> {
        self.known(run).map(|piece| piece.epoch).max()
    }

    fn known(&self, run: BucketRun) -> impl Iterator<Item = &Known> {
        self.runs.iter().filter(move |(region, piece)| bucket_run(*region, piece).overlaps(&run)).map(|(_, piece)| piece)
    }
    fn run_of(&self, bucket: Bucket) -> Option<&Known> {
        self.at(bucket).map(|(_, run)| run)
    }
    fn at(&self, bucket: Bucket) -> Option<&(RegionId, Known)> {
        let after = self.runs.partition_point(|(region, run)| (*region, run.first) <= (bucket.region, bucket.index));
        let found = self.runs.get(after.checked_sub(1)?)?;
        (found.0 == bucket.region && bucket.index <= found.1.last).then_some(found)
    }
}

fn bucket_run(region: RegionId, run: &Known) -> BucketRun {
    BucketRun { region, first: run.first, last: run.last }
}

fn rows(view: &dyn StateView) -> Result<Vec<(RegionId, Known)>, ViewError> {
    let mut runs = Vec::new();
    for (key, row) in view.scan(&Scan::Owned, false, usize::MAX)? {
        let row = Held::<OwnedRow>::new(&key, row)?;
        if let RowKey::Owned(region, first) = key {
            runs.push((region, Run { first, last: row.last, epoch: row.epoch, owner: row.to }));
        }
    }
    Ok(runs)
}

/// Takes the buckets `first..=last` of a region that are not owned at this epoch or a higher one. Not those that are on their way: these come with
/// their rows, or not at all.
pub(crate) fn take(ctx: &mut Context<'_>, region: RegionId, first: u16, last: u16, epoch: OwnerEpoch) -> Result<Reply, ViewError> {
    let run = BucketRun { region, first, last };
    if first <= last && moving::is_under_way(&ctx.rows, run)? {
        let owned = Owned::read(&ctx.rows)?;
        return Ok(if owned.whole(run) == Some(epoch) { Reply::Done } else { Reply::Rejected(Code::Conflict) });
    }
    put(ctx, run, epoch, None)
}

/// Says who owns these buckets from this epoch on: this group, or the one that they are given to. Refused where a higher one stands.
pub(crate) fn put(ctx: &mut Context<'_>, run: BucketRun, epoch: OwnerEpoch, to: Option<GroupId>) -> Result<Reply, ViewError> {
    let BucketRun { region, first, last } = run;
    if first > last {
        return Ok(Reply::Rejected(Code::Invalid));
    }
    let before: Vec<_> = rows(&ctx.rows)?.into_iter().filter(|(at, _)| *at == region).map(|(_, run)| run).collect();
    let new = Run { first, last, epoch, owner: to };
    let after = taken(&before, new);
    if after == before {
        return Ok(if stands(&before, new) { Reply::Done } else { Reply::Rejected(Code::Conflict) });
    }
    for run in before.iter().filter(|run| !after.contains(run)) {
        ctx.rows.delete(RowKey::Owned(region, run.first));
    }
    for run in after.iter().filter(|run| !before.contains(run)) {
        ctx.rows.put(RowKey::Owned(region, run.first), OwnedRow { last: run.last, epoch: run.epoch, to: run.owner });
    }
    ctx.owned = Owned::read(&ctx.rows)?;
    ctx.effects.push(Effect::OwnershipChanged);
    Ok(Reply::Done)
}
