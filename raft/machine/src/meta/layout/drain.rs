//! Emptying a node: what is in the way, by name, and how long it would take; nothing is begun that cannot end.

use std::fmt;

use kith_wire::{
    id::{GroupId, NodeId, Timestamp},
    log::NodeState,
};

use super::{Layout, Limits, Plan, report::Reason};

/// What emptying a node would do.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Drain {
    /// What is moved.
    pub plan: Plan,
    /// Replicas that go.
    pub replicas: usize,
    /// How long the copies take; leaders and sessions go meanwhile.
    pub eta_s: u64,
}

/// Why a node cannot be emptied.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Blocker {
    /// There is no such node, or it has left.
    Unknown { node: NodeId },
    /// Nobody could take the group's replica: every node that may hold it does.
    NoPlace { group: GroupId, has: usize },
    /// Those who could have no room on their disks.
    NoRoom { group: GroupId, bytes: u64 },
    /// The group's only replica is there.
    Last { group: GroupId },
}

impl fmt::Display for Blocker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown { node } => write!(f, "there is no node {node}"),
            Self::NoPlace { group, has } => {
                write!(f, "group {group}: none of the nodes that stay could take this one of its {has} replicas: add a node first")
            }
            Self::NoRoom { group, bytes } => write!(f, "group {group}: no node that stays has room for its {bytes} bytes"),
            Self::Last { group } => write!(f, "group {group}: its only replica is there, and no other node could take it"),
        }
    }
}

/// What it would take to empty a node, or all that is in the way, by group. `bytes_per_s`: how fast replicas are copied, in all.
///
/// # Errors
/// What is in the way.
pub fn drain(layout: &Layout, node: NodeId, now: Timestamp, bytes_per_s: u64) -> Result<Drain, Vec<Blocker>> {
    let mut after = layout.clone();
    match after.nodes.get_mut(&node) {
        Some(row) if row.state != NodeState::Left => row.state = NodeState::Draining,
        _ => return Err(vec![Blocker::Unknown { node }]),
    }
    let plan = after.plan(now, Limits::NEEDED);
    let held = |stuck: &&super::Stuck| stuck.node == node;
    let mut blockers: Vec<Blocker> = plan.stuck.iter().filter(held).map(|stuck| blocker(layout, stuck)).collect();
    if !blockers.is_empty() {
        blockers.sort();
        return Err(blockers);
    }
    let bytes: u64 = plan.moves.iter().filter(|one| one.reason == Reason::Draining { node }).map(|one| one.bytes).sum();
    let replicas = plan.moves.iter().filter(|one| one.reason == Reason::Draining { node }).count();
    Ok(Drain { plan, replicas, eta_s: bytes.div_ceil(bytes_per_s.max(1)) })
}

fn blocker(layout: &Layout, stuck: &super::Stuck) -> Blocker {
    let group = stuck.group;
    let (has, bytes) = layout.groups.get(&group).map_or((0, 0), |row| (row.voters.len() + row.learners.len(), row.bytes));
    match (stuck.lacks_room, has) {
        (true, _) => Blocker::NoRoom { group, bytes },
        (false, 0 | 1) => Blocker::Last { group },
        (false, has) => Blocker::NoPlace { group, has },
    }
}
