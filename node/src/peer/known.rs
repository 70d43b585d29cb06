//! Whom this node has met: which data directory stands behind each node id, how often it was started, and how much its log has synced.
//!
//! In: hellos and beats of peers, the map. Out: a refusal when a directory is another, its count of starts went back, or its log holds less than it
//! has shown, and when the node was replaced: an emptied or rolled-back disk comes back as a new node, never as a voter. Kept on disk by the
//! owner, so that a restart does not forget: a new start at once, what beats say within seconds.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use kith_machine::mutant::{Mutant, Quirk};
use kith_wire::{
    client::Refusal,
    code::Code,
    id::{BootEpoch, NodeId, StoreId},
    log::{ClusterMap, NodeState},
    peer::PeerHello,
};

use crate::router::refuse;

/// Writes what must last to the disk.
pub type Keep = Arc<dyn Fn(&[u8]) + Send + Sync>;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Met {
    store: StoreId,
    boot: BootEpoch,
    /// The highest position of its log that it has shown.
    synced: u64,
    /// Which of the starts with this count it was; 0: not told.
    life: u64,
}

#[derive(Default)]
struct Book {
    met: BTreeMap<NodeId, Met>,
    /// Gone for good, as the map says.
    left: BTreeSet<NodeId>,
    is_dirty: bool,
}

/// The nodes met so far.
#[derive(Clone)]
pub struct Known {
    book: Arc<Mutex<Book>>,
    keep: Keep,
    quirk: Quirk,
}

impl std::fmt::Debug for Known {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Known(..)")
    }
}

impl Known {
    /// From what `keep` was given last, empty at first. `keep` is called with what must be on disk, rarely: a node is met anew.
    pub fn new(kept: &[u8], keep: Keep, quirk: Quirk) -> Self {
        Self { book: Arc::new(Mutex::new(Book { met: parse(kept), ..Book::default() })), keep, quirk }
    }

    /// Takes a peer's hello, or says why not.
    ///
    /// # Errors
    /// Another data directory, a lower count of starts or a shorter log than this node id has shown; or it was replaced.
    pub fn check(&self, hello: &PeerHello) -> Result<(), Refusal> {
        let refused = |text: String| Err(Refusal { text, ..refuse(Code::Revoked) });
        let mut book = self.book();
        if self.quirk.is(Mutant::EmptyDiskVotes) {
            return Ok(());
        }
        if book.left.contains(&hello.node) {
            return refused("this node has left the cluster: it was replaced or decommissioned".into());
        }
        let synced = match book.met.get(&hello.node) {
            Some(met) if met.store != hello.store => return refused("this node id is bound to another data directory".into()),
            Some(met) if met.boot > hello.boot => {
                return refused(format!("this data directory was rolled back: start {} was seen, this is {}", met.boot, hello.boot));
            }
            // The same start: its two links say hello at the same time, so that the one that says less may be heard last.
            Some(met) if met.boot == hello.boot && met.life == hello.life => return Ok(()),
            Some(met) if met.boot == hello.boot && met.life != 0 && hello.life != 0 => {
                return refused(format!("this data directory was rolled back: another start {} was seen", met.boot));
            }
            // 0: a version that does not tell.
            Some(met) if hello.synced_batches > 0 && met.synced > hello.synced_batches => {
                return refused(format!(
                    "this data directory was rolled back: its log was seen at {}, and is now at {}",
                    met.synced, hello.synced_batches
                ));
            }
            met => met.map_or(0, |met| met.synced),
        };
        book.met.insert(hello.node, Met { store: hello.store, boot: hello.boot, synced: synced.max(hello.synced_batches), life: hello.life });
        book.is_dirty = false;
        let kept = render(&book.met);
        drop(book);
        (self.keep)(&kept);
        Ok(())
    }

    /// Notes how much a node's log has synced, as its beat says.
    pub fn note(&self, node: NodeId, synced: u64) {
        let mut book = self.book();
        if let Some(met) = book.met.get_mut(&node).filter(|met| met.synced < synced) {
            met.synced = synced;
            book.is_dirty = true;
        }
    }

    /// Notes what the map knows of nodes that were never met, and which of them are gone.
    pub fn learn(&self, map: &ClusterMap) {
        let mut book = self.book();
        for row in map.nodes.values() {
            if let Some(store) = row.store {
                book.met.entry(row.node).or_insert(Met { store, boot: row.boot, synced: 0, life: 0 });
            }
        }
        book.left = map.nodes.values().filter(|row| row.state == NodeState::Left).map(|row| row.node).collect();
    }

    /// Brings what beats have said onto the disk, if there is news. Blocks.
    pub fn flush(&self) {
        let mut book = self.book();
        if std::mem::take(&mut book.is_dirty) {
            let kept = render(&book.met);
            drop(book);
            (self.keep)(&kept);
        }
    }

    /// What a node has shown.
    pub fn of(&self, node: NodeId) -> Option<(StoreId, BootEpoch)> {
        self.book().met.get(&node).map(|met| (met.store, met.boot))
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Layout, repeated: node u64 BE | store 16 B | boot u64 BE | synced u64 BE | life u64 BE. The store's own checksum guards it.
fn render(met: &BTreeMap<NodeId, Met>) -> Vec<u8> {
    let mut out = Vec::with_capacity(met.len() * ROW_BYTES);
    for (node, met) in met {
        out.extend_from_slice(&node.get().to_be_bytes());
        out.extend_from_slice(met.store.as_bytes());
        out.extend_from_slice(&met.boot.get().to_be_bytes());
        out.extend_from_slice(&met.synced.to_be_bytes());
        out.extend_from_slice(&met.life.to_be_bytes());
    }
    out
}

fn parse(kept: &[u8]) -> BTreeMap<NodeId, Met> {
    let number = |raw: &[u8]| raw.iter().fold(0_u64, |sum, byte| (sum << 8) | u64::from(*byte));
    kept.chunks_exact(ROW_BYTES)
        .map(|row| {
            let mut store = [0; 16];
            store.copy_from_slice(&row[8..24]);
            let met = Met {
                store: StoreId::new(store),
                boot: BootEpoch::new(number(&row[24..32])),
                synced: number(&row[32..40]),
                life: number(&row[40..]),
            };
            (NodeId::new(number(&row[..8])), met)
        })
        .collect()
}

const ROW_BYTES: usize = 48;

#[cfg(test)]
mod tests {
    use kith_wire::{
        hello::CURRENT,
        id::{ClusterId, MapEpoch},
        log::NodeRow,
        upgrade::ClusterVersion,
    };

    use super::*;

    fn hello(store: u8, boot: u64, synced_batches: u64) -> PeerHello {
        PeerHello {
            version: CURRENT,
            cluster: ClusterId::default(),
            node: NodeId::new(2),
            store: StoreId::new([store; 16]),
            boot: BootEpoch::new(boot),
            map_epoch: MapEpoch::default(),
            synced_batches,
            life: boot,
            knows: ClusterVersion::default(),
            noted: ClusterVersion::default(),
            build: String::new(),
        }
    }

    #[test]
    fn another_directory_a_lower_boot_and_a_shorter_log_are_refused_also_after_a_restart() {
        let disk = Arc::new(Mutex::new(Vec::new()));
        let keep = {
            let disk = disk.clone();
            Arc::new(move |kept: &[u8]| *disk.lock().unwrap() = kept.to_vec())
        };
        let known = Known::new(&[], keep.clone(), Quirk::default());
        known.check(&hello(1, 5, 10)).unwrap();
        known.check(&hello(1, 5, 10)).unwrap();
        known.check(&hello(1, 6, 20)).unwrap();
        known.note(NodeId::new(2), 30);
        known.flush();
        let again = Known::new(&disk.lock().unwrap().clone(), keep, Quirk::default());
        let another_start = PeerHello { life: 99, ..hello(1, 6, 40) };
        for wrong in [hello(2, 7, 40), hello(1, 5, 40), hello(1, 7, 29), another_start] {
            assert_eq!(again.check(&wrong).unwrap_err().code, Code::Revoked, "{wrong:?}");
        }
        // The other link of the same start, whose hello was written before what a beat has told since.
        again.check(&hello(1, 6, 29)).unwrap();
        again.check(&hello(1, 7, 0)).unwrap();
    }

    #[test]
    fn the_map_says_whom_to_expect_and_who_was_replaced() {
        let known = Known::new(&[], Arc::new(|_: &[u8]| {}), Quirk::default());
        let mut row = NodeRow { node: NodeId::new(2), store: Some(StoreId::new([1; 16])), boot: BootEpoch::new(3), ..NodeRow::default() };
        let map = |row: &NodeRow| ClusterMap { nodes: [(row.node, row.clone())].into(), ..ClusterMap::default() };
        known.learn(&map(&row));
        assert!(known.check(&hello(2, 4, 1)).is_err());
        known.check(&hello(1, 4, 1)).unwrap();
        row.state = NodeState::Left;
        known.learn(&map(&row));
        assert!(known.check(&hello(1, 5, 2)).is_err());
    }
}
