//! The demo: a cluster of processes on this machine, a replay of real chat through it, and a verdict.
//!
//! In: what `kith demo` was told. Out: a running cluster of child processes; after a replay, a report and whether every promise was kept.
//! Invariants: no process and no temporary data outlives it. Bounds: a few days of the replay are active at once; texts that were judged are
//! forgotten. Not here: the server itself (children run `kith start`), arguments and exit codes (`cli::demo`).

pub mod chaos;
pub mod driver;
pub mod nodes;
pub mod regions;
pub mod replay;
pub mod report;
pub mod run;
pub mod verdict;
