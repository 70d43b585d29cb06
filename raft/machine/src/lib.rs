//! kith-machine: the replicated state machine of a group, pure and deterministic.
//!
//! In: a read view of the group's rows, one encoded batch and its log position. Out: the rows to write, a reply per item, effects.
//! Invariants: apply is total (bad input is a reply, never a panic), reads no clock, no randomness, no map order; dedup comes before
//! membership; `seq = last + 1` is assigned in one line (`channel::append`); writes depend on nothing but view and batch.
//! Not here: key bytes and disks (kith-storage), consensus (kith-raft), tokio, tracing.

pub mod effect;
pub mod reply;
pub mod view;
