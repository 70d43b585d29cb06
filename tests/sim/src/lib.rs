//! kith-sim: a whole cluster in one thread, in memory, in simulated time; everything that happens follows from a seed.
//!
//! In: a seed. Out: what was wrong, if anything, and a trace that is the same each time. Real: openraft, the glue between it and log and
//! machine, sessions, heartbeats, proposers, snapshots, fan-out (`kith-raft`, `kith-machine`, `kith::fanout`); for devices that read, the
//! session protocol, registration, outboxes, reads (`kith::{session, fanout, outbox, service::history}`) and the client's core. Simulated:
//! disks (what was not synced is lost at a crash, a tail may be torn), links, time, users. Two phases: safety (faults, an invariant after
//! each step, a client oracle), then liveness (all healed: must come to rest, everybody must know, and every device show, everything).
//! Not here: RocksDB, QUIC, threads (the fault runs of `jepsen/` have the real ones); writes through the client's core: users propose.
//!
//! Reading order: [`run`], `cluster`, `disk`, `net`, `plan`, `people`, `oracle`, `invariant`; `devices`, `edge`, `screen`.

mod cluster;
mod devices;
mod disk;
mod duty;
mod edge;
mod invariant;
mod net;
mod oracle;
mod people;
mod plan;
mod random;
mod run;
mod screen;
mod trace;
mod watch;
mod wire;

use std::time::Duration;

pub use run::run;

/// A rule of the product that is broken on purpose, to see that the simulation notices.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mutant {
    /// A home says that refs are committed when they are only proposed.
    RefAckedEarly,
    /// Snapshots leave out what devices have sent.
    DedupNotInSnapshot,
    /// A live push says that nothing comes before it.
    HoleHidden,
    /// Edges tell no device that its user's index moved.
    NewsDropped,
}

impl Mutant {
    /// All.
    pub const ALL: &[Self] = &[Self::RefAckedEarly, Self::DedupNotInSnapshot, Self::HoleHidden, Self::NewsDropped];

    /// Its name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::RefAckedEarly => "ref-acked-early",
            Self::DedupNotInSnapshot => "dedup-not-in-snapshot",
            Self::HoleHidden => "hole-hidden",
            Self::NewsDropped => "news-dropped",
        }
    }
}

/// How a run ended.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What it followed from.
    pub seed: u64,
    /// What was wrong first.
    pub violation: Option<String>,
    /// Of the whole trace.
    pub hash: u64,
    /// Events in it.
    pub events: u64,
    /// Simulated time.
    pub simulated: Duration,
    /// Writes that were acked.
    pub acks: usize,
    /// The trace, if it was asked for.
    pub lines: Vec<String>,
}

/// The command that repeats a run.
pub fn repeat(seed: u64, mutant: Option<Mutant>) -> String {
    let mutant = mutant.map(|mutant| format!(" --mutant {}", mutant.name())).unwrap_or_default();
    format!("cargo run -p kith-sim -- --seed {seed}{mutant} --trace")
}
