//! Benchmarks: what Kith costs, measured on a cluster of processes that this program starts beside its load.
//!
//! In: what `kith bench` was told. Out: figures, with what the same run measured of the machine (fdatasync rate, loopback round trip) and the
//! processor time of all nodes together. Invariants: real QUIC with TLS, real processes, real fsync; every run checks the history that it made,
//! a run that lost something, or counted nothing, is a failed one. Bounds: `seconds` of load and a minute around it. Not here: arguments and tables
//! (`cli::bench`), what is promised under faults (`jepsen/`).

pub mod chat;
pub mod disk;
pub mod failover;
pub mod freeze;
pub mod grow;
pub mod guard;
pub mod handshake;
pub mod heartbeat;
pub mod idle;
pub mod index;
pub mod local;
pub mod machine;
pub mod map;
pub mod mixed;
pub mod page;
pub mod people;
pub mod plan;
pub mod plot;
pub mod presence;
pub mod quiet;
pub mod rate;
pub mod reconnect;
pub mod report;
pub mod row;
pub mod run;
pub mod sdk;
pub mod stage;
pub mod start;
pub mod strain;
pub mod sync;
pub mod tally;

use thiserror::Error;

use crate::{demo::nodes::NodesError, operator::OpenError};

/// A benchmark could not be made.
#[derive(Debug, Error)]
pub enum BenchError {
    /// The cluster could not be run.
    #[error("running the cluster")]
    Nodes(#[from] NodesError),
    /// The cluster's files could not be used.
    #[error("opening the cluster")]
    Open(#[from] OpenError),
    /// A client was refused, or lost its session.
    #[error("a client of the load failed")]
    Client(#[from] kith_client::Error),
    /// A file or socket of the benchmark itself.
    #[error("{what}")]
    Io {
        /// What was being done.
        what: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// What was asked cannot be.
    #[error("{0}")]
    Invalid(String),
    /// Acknowledged texts were not there, or not shown.
    #[error("{0} acknowledged texts are missing")]
    Lost(u64),
    /// What was measured cannot be: the run says nothing.
    #[error("the run says nothing: {0}")]
    Untrue(String),
}

/// A task of the load ended as it never should.
fn broke_off(error: tokio::task::JoinError) -> BenchError {
    BenchError::Io { what: "a client of the load broke off", source: std::io::Error::other(error) }
}
