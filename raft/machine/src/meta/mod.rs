//! The cluster as the meta group knows it: nodes, groups, runs of buckets; and what is pure of placing groups, leaders and sessions.
//!
//! In: the meta commands, logged in group 0 only. Out: rows, and [`crate::effect::Effect::MapChanged`] when something visible changed.
//! Invariants: the epoch is the log index of the last visible change; a bucket goes to a higher owner epoch only; a group's replicas are
//! nodes of the map. Not here: who leads (a hint, never in the map), load (soft state of the node).

pub mod admin;
pub mod layout;
pub(crate) mod map;
pub mod nearest;
pub mod plan;
pub mod split;
pub mod trust;
pub mod version;

pub(crate) use map::epoch_of;
pub use map::{moves, read as map};
