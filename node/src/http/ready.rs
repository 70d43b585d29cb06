//! Whether a node works, and whether it should get clients: what its health checks say.
//!
//! In: what the router and the groups know at this moment. Out: checks, each with a reason where it does not pass. Invariant: nothing is waited for.
//! Not here: how they are told ([`super::health`]).

use kith_raft::storage::Condition;

use super::{Check, Health};
use crate::service::Service;

/// Of a node, by its operations.
pub(crate) struct NodeReady(pub(crate) Service);

impl Health for NodeReady {
    fn live(&self) -> Vec<Check> {
        vec![Check::pass("process")]
    }
    fn ready(&self) -> Vec<Check> {
        let router = self.0.router();
        let map = router.maps().current();
        let joined = if map.epoch.get() > 0 { Check::pass("map") } else { Check::unknown("map", "the first map is not logged yet") };
        let failed = router.groups().all().iter().filter(|group| group.has_failed()).count();
        let groups = match failed {
            0 => Check::pass("groups"),
            count => Check::fail("groups", format!("{count} replicas have stopped with an error")),
        };
        let own = || map.groups.values().filter(|row| row.replicas.contains(&router.node()));
        let is_sound = |group| router.groups().condition(group) == Condition::Sound && router.groups().get(group).is_some();
        let unsound = own().filter(|row| !is_sound(row.group)).count();
        let replicas = match unsound {
            _ if !map.nodes.contains_key(&router.node()) => Check::unknown("replicas", "the map does not name this node yet: kith node replace"),
            0 => Check::pass("replicas"),
            count => Check::fail("replicas", format!("{count} replicas are in quarantine or being rebuilt from their peers")),
        };
        let led = map.groups.keys().filter(|group| router.leader(**group).is_some()).count();
        let leaders = if 2 * led > map.groups.len() {
            Check::pass("leaders")
        } else {
            Check::fail("leaders", format!("{led} of {} groups have a leader that is known here", map.groups.len()))
        };
        let drains = match self.0.drains() {
            false => Check::pass("drain"),
            true => Check::fail("drain", "this node gives up its sessions and leaderships"),
        };
        vec![joined, groups, replicas, leaders, drains]
    }
}
