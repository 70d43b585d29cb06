//! kith-tests: the harness of the cluster scenarios in `tests/`.
//!
//! In: what a scenario asks for, as prose: start three nodes, partition the leader, send, heal, wait, check the history. Out: whole nodes
//! in one process, over real QUIC, TLS and RocksDB, in temporary folders, on ports of the system's choice. [`cluster`] runs them,
//! [`device`] is a person's client, [`book`] notes what was acked, [`history`] compares every replica and every device with that,
//! [`raw`] speaks the protocol by hand, [`socket`] over a WebSocket, [`web`] over WebTransport, [`http`] the HTTP API, [`receiver`] takes webhooks, [`logs`] fails a scenario for a line that nobody expected.
//! Invariants: nothing waits without a deadline and a reason; nothing sleeps; a scenario ends with [`Cluster::finish`].
//! Bounds: those of the nodes, made small by [`Setup`]. Not here: tests of one package (they are in it), processes (`node/tests`).

pub mod book;
pub mod cluster;
pub mod device;
pub mod history;
pub mod http;
pub mod links;
pub mod logs;
pub mod memory;
pub mod raw;
pub mod receiver;
pub mod setup;
pub mod socket;
pub mod talk;
pub mod web;

pub use cluster::{Cluster, PATIENCE};
pub use device::Device;
pub use setup::Setup;
pub use talk::Talk;
