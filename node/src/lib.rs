//! kith: the server as a library, and the composition root.
//!
//! In: [`NodeOptions`]. Out: a running [`Node`]. This is the only module that sees all others; each other one gets what it needs as an
//! argument, so that three nodes run in one process. Inside: edge → session → service → router → {raft, peer}; fanout → {outbox, peer}.
//! Not here: replicated state (`raft/`), the wire (`wire/`).

mod adapt;
pub mod auth;
pub mod bench;
pub mod cli;
pub mod clock;
pub mod cluster;
pub mod config;
mod debt;
pub mod demo;
pub mod disk;
pub mod edge;
pub mod fanout;
#[doc(hidden)]
pub mod fuzz;
pub mod hook;
pub mod http;
mod inbound;
pub mod leadership;
mod metrics;
pub mod node;
pub mod operator;
pub mod outbox;
pub mod pages;
pub mod peer;
pub mod pulse;
pub mod push;
pub mod rate;
pub mod router;
pub mod search;
pub mod service;
pub mod session;
pub mod spread;
pub mod supervise;
pub mod telemetry;
mod timer;
pub mod usage;

#[cfg(feature = "mutants")]
pub use kith_machine::mutant::{Quirk, UnknownMutant};
pub use node::{Node, NodeOptions, StartError};
