//! The cluster as a whole: its making, its files, its map.
//!
//! In: a list of nodes. Out: the folder that they start from; then, while they run, the map that the meta group keeps, on every node.
//! Invariant: the meta group's rows are the authority; what a node holds is a copy with an epoch, kept on disk, so that it serves with
//! the meta group down. Not here: placement (kith-machine's planner), letting a node in (`edge::join`).

pub mod authority;
pub mod birth;
pub mod bootstrap;
pub mod controller;
pub mod drain;
pub mod files;
pub(crate) mod hand;
pub mod join;
pub mod load;
pub mod map;
pub(crate) mod mover;
pub mod replica;
pub mod rotation;
pub mod steer;
pub(crate) mod steward;
pub mod survey;
pub mod upgrade;

pub use bootstrap::{add_node, bootstrap};
pub use files::{ClusterFiles, ClusterSpec, NodeSpec};
