//! The cluster map at the size of a large deployment: how long it takes to decode, and to find a bucket's group.
//!
//! In: how many nodes and groups. Out: [`Outcome`]. Pure computation in this process. Bounds: none.

use std::hint::black_box;

use kith_wire::{
    id::{BootEpoch, Bucket, ClusterId, GroupId, MapEpoch, NodeId, OwnerEpoch, RegionId, StoreId},
    log::{ClusterMap, GroupRow, NodeRow, NodeState, RunRow},
};
use serde::Serialize;

use super::BenchError;
use crate::{clock::Stopwatch, cluster::map::Located};

/// Nodes.
const NODES: u64 = 1_000;
/// Groups that hold data.
const GROUPS: u32 = 100_000;
/// Regions, over which both are spread.
const REGIONS: u8 = 5;
/// Replicas of a group.
const REPLICAS: u64 = 3;
/// Buckets of a region.
const BUCKETS: u32 = 1 << 16;
/// Decodings, of which the median is told.
const DECODES: usize = 15;
/// Lookups.
const LOOKUPS: u32 = 2_000_000;

/// What was measured.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Outcome {
    /// Nodes of the map.
    pub nodes: usize,
    /// Groups of the map.
    pub groups: usize,
    /// Its size on the wire.
    pub bytes: usize,
    /// To decode it, half are faster.
    pub decode_ms: f64,
    /// To find the group of a bucket.
    pub lookup_ns: f64,
}

/// Measures.
///
/// # Errors
/// The map cannot be read back: a fault of Kith's.
pub fn run() -> Result<Outcome, BenchError> {
    let map = large_map();
    let bytes = map.encode();
    let mut decodes = Vec::new();
    for _ in 0..DECODES {
        let begun = Stopwatch::start();
        let read = ClusterMap::decode(black_box(&bytes))
            .map_err(|error| BenchError::Io { what: "decoding the map", source: std::io::Error::other(error) })?;
        decodes.push(begun.elapsed());
        assert!(read == map, "the map is another one after it was encoded and decoded");
    }
    decodes.sort();
    let located = Located::new(map);
    let begun = Stopwatch::start();
    for number in 0..LOOKUPS {
        black_box(located.group_of(black_box(bucket(number))));
    }
    let lookup_ns = begun.elapsed().as_secs_f64() * 1e9 / f64::from(LOOKUPS);
    let decode_ms = decodes[DECODES / 2].as_secs_f64() * 1_000.0;
    Ok(Outcome { nodes: located.nodes.len(), groups: located.groups.len(), bytes: bytes.len(), decode_ms, lookup_ns })
}

/// Buckets that are asked for: spread over all, in no order.
pub fn bucket(number: u32) -> Bucket {
    let mixed = number.wrapping_mul(0x9e37_79b1);
    Bucket { region: RegionId::new((mixed >> 16) as u8 % REGIONS), index: (mixed >> 8) as u16 }
}

/// A map of that size.
pub fn large_map() -> ClusterMap {
    let mut map = ClusterMap { cluster: ClusterId::new([7; 16]), epoch: MapEpoch::new(9), ..ClusterMap::default() };
    for number in 1..=NODES {
        let (node, region) = (NodeId::new(number), RegionId::new((number % u64::from(REGIONS)) as u8));
        let row = NodeRow {
            node,
            store: Some(StoreId::new([number as u8; 16])),
            boot: BootEpoch::new(3),
            address: format!("node-{number}.chat.example:7600"),
            http: format!("node-{number}.chat.example:7680"),
            region,
            zone: format!("zone-{}", number % 3),
            host: format!("host-{number}"),
            capacity: 1,
            state: NodeState::Up,
            version: kith_wire::upgrade::BUILD,
        };
        map.nodes.insert(node, row);
    }
    let each = GROUPS / u32::from(REGIONS);
    for number in 0..GROUPS {
        let (group, region) = (GroupId::new(number + 1), RegionId::new((number / each) as u8));
        let replicas: Vec<NodeId> = (0..REPLICAS).map(|copy| NodeId::new(1 + (u64::from(number) * 7 + copy * 331) % NODES)).collect();
        map.groups.insert(group, GroupRow { group, region, preference: replicas.clone(), replicas, conf_epoch: 1 });
        let within = number % each;
        let edge = |at: u32| u64::from(at) * u64::from(BUCKETS) / u64::from(each);
        let (first, last) = (edge(within) as u16, (edge(within + 1) - 1) as u16);
        map.runs.insert((region, first), RunRow { region, first, last, group, epoch: OwnerEpoch::new(1) });
    }
    map
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bucket_has_a_group_and_every_group_a_bucket() {
        let map = Located::new(large_map());
        assert_eq!((map.nodes.len(), map.groups.len(), map.runs.len()), (1_000, 100_000, 100_000));
        let held: std::collections::HashSet<GroupId> = (0..REGIONS)
            .flat_map(|region| (0..=u16::MAX).map(move |index| Bucket { region: RegionId::new(region), index }))
            .map(|bucket| map.group_of(bucket).expect("every bucket has a group"))
            .collect();
        assert_eq!(held.len(), 100_000);
    }
}
