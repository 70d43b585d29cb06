//! Whom this node has met: which data directory stands behind each node id, and how often it was started.
//!
//! In: the hello of a peer. Out: a refusal when its directory is another or its count of starts went back: an emptied or rolled-back disk
//! comes back as a new node, never as a voter. Kept on disk by the owner, so that a restart does not forget.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use kith_machine::mutant::{Mutant, Quirk};
use kith_wire::{
    client::Refusal,
    code::Code,
    id::{BootEpoch, NodeId, StoreId},
    peer::PeerHello,
};

use crate::router::refuse;

/// Writes what must last to the disk.
pub type Keep = Arc<dyn Fn(&[u8]) + Send + Sync>;

type Met = BTreeMap<NodeId, (StoreId, BootEpoch)>;

/// The nodes met so far.
#[derive(Clone)]
pub struct Known {
    met: Arc<Mutex<Met>>,
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
        Self { met: Arc::new(Mutex::new(parse(kept))), keep, quirk }
    }

    /// Takes a peer's hello, or says why not.
    ///
    /// # Errors
    /// Another data directory, or a lower count of starts, than this node id has shown.
    pub fn check(&self, hello: &PeerHello) -> Result<(), Refusal> {
        let mut met = self.met.lock().unwrap_or_else(PoisonError::into_inner);
        match met.get(&hello.node) {
            Some(_) if self.quirk.is(Mutant::EmptyDiskVotes) => return Ok(()),
            Some((store, _)) if *store != hello.store => {
                return Err(Refusal { text: "this node id is bound to another data directory".into(), ..refuse(Code::Revoked) });
            }
            Some((_, boot)) if *boot > hello.boot => {
                return Err(Refusal { text: "this data directory was rolled back".into(), ..refuse(Code::Revoked) });
            }
            Some((_, boot)) if *boot == hello.boot => return Ok(()),
            _ => {}
        }
        met.insert(hello.node, (hello.store, hello.boot));
        let kept = render(&met);
        drop(met);
        (self.keep)(&kept);
        Ok(())
    }

    /// What a node has shown.
    pub fn of(&self, node: NodeId) -> Option<(StoreId, BootEpoch)> {
        self.met.lock().unwrap_or_else(PoisonError::into_inner).get(&node).copied()
    }
}

/// Layout, repeated: node u64 BE | store 16 B | boot u64 BE. The store's own checksum guards it.
fn render(met: &Met) -> Vec<u8> {
    let mut out = Vec::with_capacity(met.len() * ROW_BYTES);
    for (node, (store, boot)) in met {
        out.extend_from_slice(&node.get().to_be_bytes());
        out.extend_from_slice(store.as_bytes());
        out.extend_from_slice(&boot.get().to_be_bytes());
    }
    out
}

fn parse(kept: &[u8]) -> Met {
    let number = |raw: &[u8]| raw.iter().fold(0_u64, |sum, byte| (sum << 8) | u64::from(*byte));
    kept.chunks_exact(ROW_BYTES)
        .map(|row| {
            let mut store = [0; 16];
            store.copy_from_slice(&row[8..24]);
            (NodeId::new(number(&row[..8])), (StoreId::new(store), BootEpoch::new(number(&row[24..]))))
        })
        .collect()
}

const ROW_BYTES: usize = 32;

#[cfg(test)]
mod tests {
    use kith_wire::{
        hello::CURRENT,
        id::{ClusterId, MapEpoch},
    };

    use super::*;

    fn hello(store: u8, boot: u64) -> PeerHello {
        PeerHello {
            version: CURRENT,
            cluster: ClusterId::default(),
            node: NodeId::new(2),
            store: StoreId::new([store; 16]),
            boot: BootEpoch::new(boot),
            map_epoch: MapEpoch::default(),
        }
    }

    #[test]
    fn another_directory_and_a_lower_boot_are_refused_also_after_a_restart() {
        let disk = Arc::new(Mutex::new(Vec::new()));
        let keep = {
            let disk = disk.clone();
            Arc::new(move |kept: &[u8]| *disk.lock().unwrap() = kept.to_vec())
        };
        let known = Known::new(&[], keep.clone(), Quirk::default());
        known.check(&hello(1, 5)).unwrap();
        known.check(&hello(1, 5)).unwrap();
        known.check(&hello(1, 6)).unwrap();
        let again = Known::new(&disk.lock().unwrap().clone(), keep, Quirk::default());
        assert_eq!(again.check(&hello(2, 7)).unwrap_err().code, Code::Revoked);
        assert_eq!(again.check(&hello(1, 5)).unwrap_err().code, Code::Revoked);
        again.check(&hello(1, 6)).unwrap();
    }
}
