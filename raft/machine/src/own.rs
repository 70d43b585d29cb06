//! The buckets that a group owns, as replicated rows. Checked for each item; a router's map only saves a hop.

use kith_wire::{
    code::Code,
    id::{Bucket, OwnerEpoch, RegionId},
    log::OwnedRow,
};

use crate::{
    Context,
    effect::Effect,
    reply::Reply,
    run::{Run, stands, taken},
    view::{Held, RowKey, Scan, StateView, ViewError},
};

/// The owned runs of a group, in memory.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Owned {
    /// By (region, first bucket), not overlapping.
    runs: Vec<(RegionId, u16, u16)>,
}

impl Owned {
    /// Reads the runs of a group.
    ///
    /// # Errors
    /// A row cannot be read.
    pub fn read(view: &dyn StateView) -> Result<Self, ViewError> {
        let runs = rows(view)?.into_iter().map(|(region, run)| (region, run.first, run.last)).collect();
        Ok(Self { runs })
    }
    /// Whether the group owns this bucket.
    pub fn holds(&self, bucket: Bucket) -> bool {
        let after = self.runs.partition_point(|(region, first, _)| (*region, *first) <= (bucket.region, bucket.index));
        after.checked_sub(1).and_then(|at| self.runs.get(at)).is_some_and(|(region, _, last)| *region == bucket.region && bucket.index <= *last)
    }
}

fn rows(view: &dyn StateView) -> Result<Vec<(RegionId, Run<()>)>, ViewError> {
    let mut runs = Vec::new();
    for (key, row) in view.scan(&Scan::Owned, false, usize::MAX)? {
        let row = Held::<OwnedRow>::new(&key, row)?;
        if let RowKey::Owned(region, first) = key {
            runs.push((region, Run { first, last: row.last, epoch: row.epoch, owner: () }));
        }
    }
    Ok(runs)
}

/// Takes the buckets `first..=last` of a region that are not owned at this epoch or a higher one.
pub(crate) fn take(ctx: &mut Context<'_>, region: RegionId, first: u16, last: u16, epoch: OwnerEpoch) -> Result<Reply, ViewError> {
    if first > last {
        return Ok(Reply::Rejected(Code::Invalid));
    }
    let before: Vec<_> = rows(&ctx.rows)?.into_iter().filter(|(at, _)| *at == region).map(|(_, run)| run).collect();
    let new = Run { first, last, epoch, owner: () };
    let after = taken(&before, new);
    if after == before {
        return Ok(if stands(&before, new) { Reply::Done } else { Reply::Rejected(Code::Conflict) });
    }
    for run in before.iter().filter(|run| !after.contains(run)) {
        ctx.rows.delete(RowKey::Owned(region, run.first));
    }
    for run in after.iter().filter(|run| !before.contains(run)) {
        ctx.rows.put(RowKey::Owned(region, run.first), OwnedRow { last: run.last, epoch: run.epoch });
    }
    ctx.owned = Owned::read(&ctx.rows)?;
    ctx.effects.push(Effect::OwnershipChanged);
    Ok(Reply::Done)
}
