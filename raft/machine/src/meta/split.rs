//! Which buckets a group gives away when nobody says which, and to whom. Pure.
//!
//! In: the map. Out: one run, as a move takes it, or a group. Invariant: of two groups in one region that have anything, to split one towards the emptier
//! one never makes the larger of them larger. Not here: when (an operator says so), the move itself ([`crate::moving`]).

use kith_wire::{
    id::{GroupId, RegionId},
    log::{ClusterMap, RunRow},
    moving::BucketRun,
};

/// How many buckets the map gives a group.
pub fn buckets(map: &ClusterMap, group: GroupId) -> u32 {
    runs(map, group).map(|run| run.count()).sum()
}

/// What the map gives a group, by first bucket.
pub fn runs(map: &ClusterMap, group: GroupId) -> impl Iterator<Item = BucketRun> {
    map.runs.values().filter(move |row| row.group == group).map(run_of)
}

/// Half of a group's buckets as far as one run has so many: the end of its longest one. `None`: it has fewer than two.
pub fn half(map: &ClusterMap, group: GroupId) -> Option<BucketRun> {
    let half = buckets(map, group) / 2;
    let longest = runs(map, group).max_by_key(|run| (run.count(), std::cmp::Reverse(run.first)))?;
    let count = half.min(longest.count());
    let first = u16::try_from(u32::from(longest.last).checked_sub(count.checked_sub(1)?)?).ok()?;
    Some(BucketRun { first, ..longest })
}

/// The other group of a region that has the fewest buckets; the lowest number of those.
pub fn emptiest(map: &ClusterMap, region: RegionId, not: GroupId) -> Option<GroupId> {
    let others = map.groups.values().filter(|row| row.group != GroupId::META && row.group != not && row.region == region);
    others.map(|row| (buckets(map, row.group), row.group)).min().map(|(_, group)| group)
}

fn run_of(row: &RunRow) -> BucketRun {
    BucketRun { region: row.region, first: row.first, last: row.last }
}

#[cfg(test)]
mod tests {
    use kith_wire::{id::OwnerEpoch, log::GroupRow};

    use super::*;

    fn map(groups: u32, runs: &[(u16, u16, u32)]) -> ClusterMap {
        let region = RegionId::FIRST;
        let row = |&(first, last, group): &(u16, u16, u32)| RunRow { region, first, last, group: GroupId::new(group), epoch: OwnerEpoch::FIRST };
        let groups = (0..=groups).map(|group| (GroupId::new(group), GroupRow { group: GroupId::new(group), region, ..GroupRow::default() }));
        ClusterMap { groups: groups.collect(), runs: runs.iter().map(row).map(|row| ((region, row.first), row)).collect(), ..ClusterMap::default() }
    }

    #[test]
    fn half_of_a_group_goes_in_one_run() {
        let half_of = |runs: &[(u16, u16, u32)]| half(&map(3, runs), GroupId::new(1)).map(|run| (run.first, run.last));
        assert_eq!(half_of(&[(0, u16::MAX, 1)]), Some((0x8000, u16::MAX)));
        assert_eq!(half_of(&[(10, 12, 1)]), Some((12, 12)));
        assert_eq!(half_of(&[(0, 3, 1), (10, 19, 2), (20, 29, 1)]), Some((23, 29)));
        assert_eq!(half_of(&[(0, 9, 1), (10, 19, 2), (20, 29, 1), (40, 49, 1)]), Some((0, 9)), "a whole run where none has half");
        assert_eq!([half_of(&[(7, 7, 1)]), half_of(&[(0, 9, 2)])], [None, None]);
    }

    #[test]
    fn the_emptiest_group_of_the_region_takes_it() {
        let to = |runs: &[(u16, u16, u32)]| emptiest(&map(3, runs), RegionId::FIRST, GroupId::new(1)).map(GroupId::get);
        assert_eq!(to(&[(0, 9, 1), (10, 19, 2)]), Some(3));
        assert_eq!(to(&[(0, 9, 1), (10, 19, 2), (20, 24, 3)]), Some(3));
        assert_eq!(to(&[(0, 9, 1), (10, 12, 2), (20, 24, 3)]), Some(2));
        assert_eq!(emptiest(&map(1, &[]), RegionId::FIRST, GroupId::new(1)), None, "the meta group holds no buckets");
        assert_eq!(emptiest(&map(3, &[]), RegionId::new(2), GroupId::new(1)), None);
    }
}
