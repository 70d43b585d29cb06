//! The record of a run: what clients asked for and were told, and what was done to the cluster.
//!
//! In: events from workloads, fault lines from nemeses. Out: `history.jsonl` and `nemesis.jsonl`, one JSON object a line, and the same events back, streamed.
//! Invariants: everything is parsed into types at this boundary, and an error names its line; `time` never goes back within a file.
//! Bounds: one line at a time is in memory, of at most [`LINE_BYTES_MAX`]; a longer one is an error, so whole-log reads of large channels are paged.
//! Not here: what an event means for a promise (`checker`).

mod event;
mod fault;
mod line;
mod reader;
mod writer;

pub use event::{Event, Item, Nanos, Op, Outcome, PushStep, Token, Withheld};
pub use fault::{Evidence, FaultEvent, FaultOutcome};
pub use reader::{HistoryError, LINE_BYTES_MAX, LineError, Reader, read_faults};
pub use writer::Writer;
