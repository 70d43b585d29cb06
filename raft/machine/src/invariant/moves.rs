//! What must hold of buckets on their way from one group to another, in each of the two (`protocol.md` 7).

use kith_wire::moving::{BucketRun, LeavingPhase};

use super::{Checked, Finder};
use crate::{
    moving::{leaving, stagings},
    own::Owned,
    view::{Scan, StateView, ViewError},
};

/// What is copied is owned here, what was handed over or is coming is not, and nothing is on two ways.
pub fn what_moves_is_owned_in_one_place(view: &dyn StateView) -> Checked {
    let mut find = Finder::new("what_moves_is_owned_in_one_place", "the group");
    let owned = Owned::read(view)?;
    let mut ways: Vec<BucketRun> = Vec::new();
    if let Some(row) = leaving(view)? {
        let fits = match row.phase {
            LeavingPhase::Copying => owned.whole(row.run).is_some(),
            LeavingPhase::Handed | LeavingPhase::Sweeping => !owned.holds_any(row.run),
            LeavingPhase::Cancelled => true,
        };
        find.expect(fits && row.run.first <= row.run.last, || format!("{row:?}, owned are {owned:?}"));
        ways.push(row.run);
    }
    for (from, row) in stagings(view)? {
        find.expect(!owned.holds_any(row.run), || format!("{row:?} from group {from}, owned are {owned:?}"));
        find.expect(!ways.iter().any(|way| way.overlaps(&row.run)), || format!("{row:?} from group {from} is on another way as well: {ways:?}"));
        ways.push(row.run);
    }
    find.done()
}

/// Marks of changed rows belong to the move under way, to its rounds so far.
pub fn marks_are_of_a_move(view: &dyn StateView) -> Checked {
    let mut find = Finder::new("marks_are_of_a_move", "the group");
    let row = leaving(view)?;
    let last = row.map_or(0, |row| row.round);
    let stray = view.scan(&Scan::Changed(Some((last, vec![u8::MAX; 8].into()))), false, 1)?;
    find.expect(stray.is_empty(), || format!("{stray:?}, the move is {row:?}"));
    if row.is_none() {
        let any = view.scan(&Scan::Changed(None), false, 1)?;
        find.expect(any.is_empty(), || format!("{any:?} without a move"));
    }
    find.done()
}

/// Buckets of which only some rows are here: on the way in, or being dropped.
pub(super) fn partial(view: &dyn StateView) -> Result<Vec<BucketRun>, ViewError> {
    let going = leaving(view)?.filter(|row| row.phase == LeavingPhase::Sweeping).map(|row| row.run);
    Ok(stagings(view)?.into_iter().map(|(_, row)| row.run).chain(going).collect())
}
