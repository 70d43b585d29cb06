//! The node's copy of the cluster map.
//!
//! In: maps from the meta group's rows, from other nodes, from the disk. Out: a watch of the newest. Invariant: the epoch never goes
//! back; each newer map is on disk before it is shown, so that a restart serves without the meta group. Every request looks a bucket up, so that
//! each map comes with a plain array of who holds which ([`Owners`]): in the map of 100,000 groups a search of the runs took 390 ns.

use std::{ops::Deref, sync::Arc};

use kith_wire::{
    id::{Bucket, GroupId},
    log::{ClusterMap, RunRow},
};
use tokio::sync::watch;

pub use crate::peer::known::Keep;

/// A map, and who holds each bucket at hand.
#[derive(Clone, PartialEq, Debug)]
pub struct Located {
    map: ClusterMap,
    owners: Owners,
}

impl Located {
    /// Of a map.
    pub fn new(map: ClusterMap) -> Self {
        Self { owners: Owners::of(&map), map }
    }
    /// The group that holds a bucket, in one step.
    pub fn group_of(&self, bucket: Bucket) -> Option<GroupId> {
        self.owners.group_of(bucket)
    }
}

impl Deref for Located {
    type Target = ClusterMap;
    fn deref(&self) -> &ClusterMap {
        &self.map
    }
}

/// Group of each bucket, by region: 256 KiB for each region that has runs.
#[derive(Clone, PartialEq, Debug)]
struct Owners(Vec<Box<[u32]>>);

/// In the place of a group: nobody holds the bucket. No group has this number: they are counted from 0.
const NOBODY: u32 = u32::MAX;
const BUCKETS: usize = 1 << 16;

impl Owners {
    fn of(map: &ClusterMap) -> Self {
        let mut regions: Vec<Box<[u32]>> = Vec::new();
        for run in map.runs.values() {
            let region = usize::from(run.region.get());
            if regions.len() <= region {
                regions.resize(region + 1, Box::default());
            }
            if regions[region].is_empty() {
                regions[region] = vec![NOBODY; BUCKETS].into();
            }
            if let Some(held) = regions[region].get_mut(usize::from(run.first)..=usize::from(run.last)) {
                held.fill(run.group.get());
            }
        }
        Self(regions)
    }
    fn group_of(&self, bucket: Bucket) -> Option<GroupId> {
        let group = *self.0.get(usize::from(bucket.region.get()))?.get(usize::from(bucket.index))?;
        (group != NOBODY).then(|| GroupId::new(group))
    }
}

/// The newest map known here.
#[derive(Clone)]
pub struct Maps {
    newest: watch::Sender<Arc<Located>>,
    keep: Keep,
}

impl std::fmt::Debug for Maps {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Maps({})", self.current().epoch)
    }
}

impl Maps {
    /// Starts with the map that was kept, else with the first map of the cluster's files.
    pub fn new(first: ClusterMap, kept: Option<&[u8]>, keep: Keep) -> Self {
        let kept = kept.and_then(|kept| ClusterMap::decode(kept).ok()).filter(|kept| kept.cluster == first.cluster);
        Self { newest: watch::Sender::new(Arc::new(Located::new(kept.unwrap_or(first)))), keep }
    }
    /// The newest one.
    pub fn current(&self) -> Arc<Located> {
        self.newest.borrow().clone()
    }
    /// Fires with each newer one.
    pub fn watch(&self) -> watch::Receiver<Arc<Located>> {
        self.newest.subscribe()
    }
    /// Takes a map if it is newer; says whether it was. Writes to the disk: rare.
    pub fn offer(&self, map: ClusterMap) -> bool {
        let newer = |have: &ClusterMap| map.cluster == have.cluster && map.epoch > have.epoch;
        if !newer(&self.newest.borrow()) {
            return false;
        }
        (self.keep)(&map.encode());
        let epoch = map.epoch;
        let taken = self.newest.send_if_modified(|have| {
            let take = newer(have);
            if take {
                *have = Arc::new(Located::new(map.clone()));
            }
            take
        });
        if taken {
            tracing::info!(map_epoch = %epoch, "cluster.map changed");
        }
        taken
    }
}

/// The run of the map that holds a bucket.
pub fn run_of(map: &ClusterMap, bucket: Bucket) -> Option<RunRow> {
    let (_, run) = map.runs.range(..=(bucket.region, bucket.index)).next_back()?;
    (run.region == bucket.region && run.last >= bucket.index).then_some(*run)
}

/// The group that holds a bucket, as the map says.
pub fn group_of(map: &ClusterMap, bucket: Bucket) -> Option<GroupId> {
    run_of(map, bucket).map(|run| run.group)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use kith_wire::id::{MapEpoch, OwnerEpoch, RegionId};
    use proptest::{collection::vec, prelude::*};

    use super::*;

    #[test]
    fn map_never_goes_back_and_is_kept_first() {
        let disk = Arc::new(Mutex::new(Vec::new()));
        let keep: Keep = {
            let disk = disk.clone();
            Arc::new(move |kept: &[u8]| *disk.lock().unwrap() = kept.to_vec())
        };
        let at = |epoch| ClusterMap { epoch: MapEpoch::new(epoch), ..ClusterMap::default() };
        let maps = Maps::new(at(0), None, keep.clone());
        assert!(maps.offer(at(5)));
        assert!(!maps.offer(at(5)));
        assert!(!maps.offer(at(4)));
        let again = Maps::new(at(0), Some(&disk.lock().unwrap()), keep);
        assert_eq!(again.current().epoch, MapEpoch::new(5));
    }

    proptest! {
        #[test]
        fn array_says_what_a_search_of_the_runs_says(runs in vec((0..3u8, any::<u16>(), 0..2_000u16, 0..9u32), 0..12), asked in vec((0..4u8, any::<u16>()), 64)) {
            let mut map = ClusterMap::default();
            for (region, first, length, group) in runs {
                let (region, last) = (RegionId::new(region), first.saturating_add(length));
                // Runs of a map never overlap.
                if map.runs.values().all(|run| run.region != region || run.last < first || last < run.first) {
                    map.runs.insert((region, first), RunRow { region, first, last, group: GroupId::new(group), epoch: OwnerEpoch::new(1) });
                }
            }
            let located = Located::new(map.clone());
            let edges = map.runs.values().flat_map(|run| [run.first.wrapping_sub(1), run.first, run.last, run.last.wrapping_add(1)].map(|index| (run.region.get(), index)));
            for (region, index) in asked.into_iter().chain(edges) {
                let bucket = Bucket { region: RegionId::new(region), index };
                prop_assert_eq!(located.group_of(bucket), group_of(&map, bucket), "{:?}", bucket);
            }
        }
    }

    #[test]
    fn bucket_is_found_in_its_run_only() {
        let run = |first, last, group| RunRow { region: RegionId::FIRST, first, last, group: GroupId::new(group), epoch: OwnerEpoch::new(1) };
        let mut map = ClusterMap::default();
        for run in [run(0, 99, 1), run(200, 65_535, 2)] {
            map.runs.insert((run.region, run.first), run);
        }
        let at = |region, index| group_of(&map, Bucket { region: RegionId::new(region), index }).map(GroupId::get);
        assert_eq!([at(0, 0), at(0, 99), at(0, 100), at(0, 65_535), at(1, 5)], [Some(1), Some(1), None, Some(2), None]);
    }
}
