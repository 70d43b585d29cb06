//! Who is alive and who leads what, as their beats say.
//!
//! In: beats of other nodes. Out: liveness (3 s), leader hints. Soft state: nothing correct hangs on it.

use std::{
    collections::BTreeMap,
    sync::{PoisonError, RwLock},
    time::Duration,
};

use kith_wire::{
    id::{GroupId, NodeId, Term},
    peer::Beat,
};

use crate::clock::Instant;

/// How often a node sends its beat to each other one.
pub const BEAT_INTERVAL: Duration = Duration::from_millis(250);
/// A node that was not heard for so long is not alive.
pub const BEAT_SILENCE_MAX: Duration = Duration::from_secs(3);

/// The last beat of each node.
#[derive(Debug, Default)]
pub struct Table {
    heard: RwLock<BTreeMap<NodeId, (Instant, Beat)>>,
}

impl Table {
    /// Notes a beat.
    pub fn note(&self, from: NodeId, beat: Beat, now: Instant) {
        self.heard.write().unwrap_or_else(PoisonError::into_inner).insert(from, (now, beat));
    }
    /// Whether a beat came lately.
    pub fn alive(&self, node: NodeId, now: Instant) -> bool {
        let heard = self.heard.read().unwrap_or_else(PoisonError::into_inner);
        heard.get(&node).is_some_and(|(at, _)| now.duration_since(*at) < BEAT_SILENCE_MAX)
    }
    /// What the last beat of a node says, if that came lately.
    pub fn of<T>(&self, node: NodeId, now: Instant, what: impl Fn(&Beat) -> T) -> Option<T> {
        let heard = self.heard.read().unwrap_or_else(PoisonError::into_inner);
        heard.get(&node).filter(|(at, _)| now.duration_since(*at) < BEAT_SILENCE_MAX).map(|(_, beat)| what(beat))
    }
    /// For how long nothing was heard of a node that is not alive; `since`: from when on it could have been heard.
    pub fn silence(&self, node: NodeId, since: Instant, now: Instant) -> Option<Duration> {
        let heard = self.heard.read().unwrap_or_else(PoisonError::into_inner);
        let silent = now.duration_since(heard.get(&node).map_or(since, |(at, _)| *at));
        (silent >= BEAT_SILENCE_MAX).then_some(silent)
    }
    /// Who says, in a beat that still counts, that it leads the group; the highest term wins.
    pub fn leads(&self, group: GroupId, now: Instant) -> Option<(NodeId, Term)> {
        let heard = self.heard.read().unwrap_or_else(PoisonError::into_inner);
        heard
            .iter()
            .filter(|(_, (at, _))| now.duration_since(*at) < BEAT_SILENCE_MAX)
            .filter_map(|(node, (_, beat))| beat.leads.iter().find(|(led, _)| *led == group).map(|(_, term)| (*node, *term)))
            .max_by_key(|(_, term)| *term)
    }
    /// The node with the newest map, of those that are alive and can be asked: one that this node's old map does not name is heard, but has no link.
    pub fn newest_map(&self, now: Instant, can_ask: impl Fn(NodeId) -> bool) -> Option<(NodeId, kith_wire::id::MapEpoch)> {
        let heard = self.heard.read().unwrap_or_else(PoisonError::into_inner);
        heard
            .iter()
            .filter(|(node, (at, _))| now.duration_since(*at) < BEAT_SILENCE_MAX && can_ask(**node))
            .map(|(node, (_, beat))| (*node, beat.map_epoch))
            .max_by_key(|(_, epoch)| *epoch)
    }
}

#[cfg(test)]
mod tests {
    use kith_wire::id::MapEpoch;

    use super::*;

    #[tokio::test]
    async fn node_is_alive_and_leads_while_its_beats_come() {
        let table = Table::default();
        let (node, group, start) = (NodeId::new(2), GroupId::new(1), Instant::now());
        table.note(node, Beat { map_epoch: MapEpoch::new(5), leads: vec![(group, Term::new(3))], synced_batches: 0, ..Beat::default() }, start);
        assert!(table.alive(node, start));
        assert_eq!(table.leads(group, start), Some((node, Term::new(3))));
        let newer = Beat { map_epoch: MapEpoch::new(6), leads: Vec::new(), synced_batches: 0, ..Beat::default() };
        table.note(NodeId::new(3), newer, start);
        assert_eq!(table.newest_map(start, |_| true), Some((NodeId::new(3), MapEpoch::new(6))));
        assert_eq!(table.newest_map(start, |asked| asked == node), Some((node, MapEpoch::new(5))));
        let late = start + BEAT_SILENCE_MAX;
        assert!(!table.alive(node, late));
        assert_eq!((table.silence(node, start, late), table.silence(node, start, start)), (Some(BEAT_SILENCE_MAX), None));
        assert_eq!(table.silence(NodeId::new(9), start, late), Some(BEAT_SILENCE_MAX), "never heard, since the start");
        assert_eq!(table.leads(group, late), None);
    }
}
