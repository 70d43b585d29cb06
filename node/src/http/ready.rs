//! Whether a node works, and whether it should get clients: what its health checks say.
//!
//! In: what the router, the groups, the lanes and the disk know at this moment. Out: checks, each with a reason where it does not pass; the same as
//! metrics, once a second. Invariants: nothing is waited for; a leader counts only while what is asked of it would be done: it is reached, or, if it
//! is this node, most of the group's replicas are. Not here: how they are told ([`super::health`]).

use std::{sync::Arc, time::Duration};

use kith_raft::storage::Condition;
use kith_wire::log::GroupRow;

use super::{Check, Health, Outcome};
use crate::{
    disk::{Disk, Level},
    pulse::Pulse,
    router::Router,
    service::Service,
    telemetry::{NodeMetrics, live_bytes, rss_bytes},
};

/// Of a node, by its parts.
pub(crate) struct NodeReady {
    pub(crate) service: Service,
    pub(crate) disk: Disk,
    pub(crate) pulse: Pulse,
}

impl Health for NodeReady {
    fn live(&self) -> Vec<Check> {
        let (lane, silence) = self.pulse.slowest();
        let lanes = match silence {
            silence if silence < STILL_MAX => Check::pass("lanes"),
            silence => Check::fail("lanes", format!("lane {lane} has not run for {} s", silence.as_secs())),
        };
        let disk = match self.disk.silence() {
            silence if silence < STILL_MAX => Check::pass("disk"),
            silence => Check::fail("disk", format!("the file system of the data has not answered for {} s", silence.as_secs())),
        };
        vec![lanes, disk]
    }

    fn ready(&self) -> Vec<Check> {
        let router = self.service.router();
        vec![map(router), groups(router), replicas(router), leaders(router), self.drain(), self.room()]
    }
}

impl NodeReady {
    fn drain(&self) -> Check {
        match self.service.drains() {
            false => Check::pass("drain"),
            true => Check::fail("drain", "this node gives up its sessions and leaderships"),
        }
    }

    fn room(&self) -> Check {
        let free_mb = self.disk.room().free >> 20;
        match self.disk.level() {
            Level::Enough => Check::pass("disk"),
            Level::Low => Check::note("disk", format!("little room is left: {free_mb} MB")),
            Level::Full => Check::fail("disk", format!("the disk is full, {free_mb} MB are left: what clients write is refused here")),
        }
    }
}

fn map(router: &Router) -> Check {
    if router.maps().current().epoch.get() > 0 { Check::pass("map") } else { Check::unknown("map", "the first map is not logged yet") }
}

fn groups(router: &Router) -> Check {
    match router.groups().all().iter().filter(|group| group.has_failed()).count() {
        0 => Check::pass("groups"),
        count => Check::fail("groups", format!("{count} replicas have stopped with an error")),
    }
}

fn replicas(router: &Router) -> Check {
    let map = router.maps().current();
    let own = map.groups.values().filter(|row| row.replicas.contains(&router.node()));
    let is_sound = |group| router.groups().condition(group) == Condition::Sound && router.groups().get(group).is_some();
    let unsound = own.filter(|row| !is_sound(row.group)).count();
    match unsound {
        _ if !map.nodes.contains_key(&router.node()) => Check::unknown("replicas", "the map does not name this node yet: kith node replace"),
        0 => Check::pass("replicas"),
        count => Check::fail("replicas", format!("{count} replicas are in quarantine or being rebuilt from their peers")),
    }
}

fn leaders(router: &Router) -> Check {
    let map = router.maps().current();
    let reached = map.groups.values().filter(|row| is_served(router, row)).count();
    if 2 * reached > map.groups.len() {
        Check::pass("leaders")
    } else {
        Check::fail("leaders", format!("{reached} of {} groups have a leader that is reached from here", map.groups.len()))
    }
}

/// Whether a write to the group would be done, as far as can be said without asking. A leader that is cut off believes for a while that it leads.
fn is_served(router: &Router, row: &GroupRow) -> bool {
    let peers = router.peers();
    match router.leader(row.group) {
        None => false,
        Some((leader, _)) if leader == router.node() => {
            let reached = row.replicas.iter().filter(|replica| peers.reachable(**replica)).count();
            2 * reached > row.replicas.len()
        }
        Some((leader, _)) => peers.reachable(leader),
    }
}

/// Shows once a second what the node knows of itself, until it is dropped.
pub(crate) async fn show(metrics: NodeMetrics, health: Arc<NodeReady>) {
    let as_gauge = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    let is_well = |checks: Vec<Check>| i64::from(checks.iter().all(|check| check.outcome == Outcome::Pass));
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    let mut seconds = 0;
    loop {
        ticks.tick().await;
        let map = health.service.router().maps().current();
        metrics.map_epoch.set(as_gauge(map.epoch.get()));
        metrics.cluster_version.set(i64::from(map.version.or_first().get()));
        metrics.build_version.set(i64::from(health.service.router().peers().release().own().knows.get()));
        metrics.rss_bytes.set(as_gauge(rss_bytes().unwrap_or_default()));
        metrics.live_bytes.set(as_gauge(live_bytes().unwrap_or_default()));
        metrics.ready.set(is_well(health.ready()));
        metrics.live.set(is_well(health.live()));
        metrics.uptime_seconds.set(seconds);
        seconds += 1;
    }
}

/// A lane or a file system that is silent for so long does not work.
const STILL_MAX: Duration = Duration::from_secs(10);
