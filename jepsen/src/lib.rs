//! Kith's black-box fault harness: plans runs, records what clients saw, and judges it.
//!
//! In: names and a seed; histories. Out: plans, verdicts. Everything here is pure but the reading and writing of files.
//! Invariants: the same seed gives the same plan; the same files give the same verdict; what could not be shown is unknown, never a pass.
//! Bounds: one line of history at a time; the checker's memory is linear in messages, not in their texts.
//! Not here: the cluster, the network, the faults themselves (the runner); how Kith works inside, which a black box does not know.

pub mod checker;
pub mod generate;
pub mod history;
pub mod matrix;
pub mod name;
pub mod plan;
pub mod proof;
pub mod seed;
