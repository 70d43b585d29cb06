//! What this package's tests share.

use std::{fs, path::Path, sync::Arc};

use kith_machine::{
    key::{Family, pack},
    testing::{MemoryView, Script},
    view::{RowKey, Scan, StateView},
};
use kith_wire::{
    id::{LogIndex, RegionId, Seq, Term, UserRev},
    log::{Applied, LogId},
    moving::BucketRun,
};

use crate::GroupState;

/// Copies a data directory as a kill would leave it: nothing is closed or flushed. Nobody may write to it meanwhile.
pub(crate) fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_dir(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// What is applied after so many entries.
pub(crate) fn applied(index: u64) -> Applied {
    Applied { last: (index > 0).then(|| LogId { term: Term::new(1), index: LogIndex::new(index) }), ..Applied::default() }
}

/// The rows after each entry of a script: the first is of none.
pub(crate) fn states(script: &Script) -> Vec<MemoryView> {
    let mut view = MemoryView::default();
    let mut states = vec![view.clone()];
    for applied in &script.applied {
        view.commit(applied.writes.clone());
        states.push(view.clone());
    }
    states
}

/// Commits entries of a script, from one to the other inclusive, counted from 1.
pub(crate) fn commit(state: &Arc<GroupState>, script: &Script, from: usize, to: usize) {
    for index in from..=to {
        state.commit(script.applied[index - 1].writes.clone(), applied(index as u64)).unwrap();
    }
}

/// Compares every row and every scan.
pub(crate) fn assert_same(view: &dyn StateView, model: &MemoryView) {
    for (key, row) in &model.rows {
        assert_eq!(view.get(key).unwrap().as_ref(), Some(row), "{key:?}");
    }
    let mut scans = vec![Scan::AllRecords(None), Scan::Dirty(None), Scan::Owned, Scan::Nodes, Scan::Groups, Scan::Runs];
    for user in Script::users() {
        scans.push(Scan::Devices(user));
        scans.push(Scan::IndexByRev(user, UserRev::ZERO..=UserRev::new(u64::MAX)));
        scans.push(Scan::IndexByRev(user, UserRev::new(2)..=UserRev::new(4)));
    }
    for channel in Script::channels() {
        scans.push(Scan::Records(channel, Seq::ZERO..=Seq::new(u64::MAX)));
        scans.push(Scan::Records(channel, Seq::new(2)..=Seq::new(3)));
        scans.push(Scan::Records(channel, Seq::new(3)..=Seq::new(2)));
        scans.push(Scan::Positions(channel));
        scans.push(Scan::AllRecords(Some((channel, Seq::new(2)))));
        scans.push(Scan::Dirty(Some(channel)));
        let absent = [RowKey::Channel(channel), RowKey::Roster(channel), RowKey::Dirty(channel)];
        absent.iter().for_each(|key| assert_eq!(view.get(key).unwrap(), model.get(key).unwrap(), "{key:?}"));
    }
    let all = BucketRun { region: RegionId::FIRST, first: 0, last: u16::MAX };
    for family in Family::ALL.into_iter().filter(|family| *family != Family::Group) {
        scans.push(Scan::Moving(family, all, None));
        scans.push(Scan::Moving(family, BucketRun { last: 0x7fff, ..all }, None));
        let keys: Vec<_> =
            model.rows.keys().filter(|key| Family::of(key) == family && key.bucket().is_some_and(|bucket| all.holds(bucket))).collect();
        scans.extend(keys.get(keys.len() / 2).map(|key| Scan::Moving(family, all, Some(pack(key)))));
    }
    for scan in scans {
        for (reverse, limit) in [(false, usize::MAX), (true, usize::MAX), (false, 2), (true, 1)] {
            assert_eq!(view.scan(&scan, reverse, limit).unwrap(), model.scan(&scan, reverse, limit).unwrap(), "{scan:?} {reverse} {limit}");
        }
    }
}
