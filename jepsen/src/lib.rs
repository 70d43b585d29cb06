//! Kith's black-box fault harness: plans runs, records what clients saw, and judges it.
//!
//! In: names and a seed; histories; the built binary. Out: plans, runs, verdicts. `plan`, `matrix`, `history` and `checker` are pure but for files; `lab`, `nemesis`,
//! `workload` and `run` are where a real cluster is started, hurt, loaded and recorded.
//! Invariants: the same seed gives the same plan; the same files give the same verdict; what could not be shown is unknown, never a pass.
//! Bounds: one line of history at a time; the checker's memory is linear in messages, not in their texts.
//! Not here: how Kith works inside, which a black box does not know.

#![allow(clippy::disallowed_methods, reason = "a harness outside the product: its time is the machine's, and its tasks are in sets of their own")]

pub mod checker;
pub mod generate;
pub mod history;
pub mod lab;
pub mod matrix;
pub mod name;
mod nemesis;
pub mod plan;
pub mod proof;
pub mod record;
pub mod report;
pub mod run;
pub mod seed;
mod workload;
