//! Idle sessions: what each costs in memory, how fast they come, what they use while they say nothing.
//!
//! In: how many. Out: [`Outcome`]. Each has a heartbeat as the SDK would, and nothing else. Bounds: the run's own length.

use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use kith_client::{Error, raw::Session};
use kith_wire::client::ToEdge;
use serde::Serialize;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep},
};

use super::{BenchError, people::People, rate::share, stage::Stage};
use crate::clock::{Stopwatch, jitter};

/// Heartbeats come once in this time.
const BEAT: Duration = Duration::from_secs(30);
/// For what the handshakes left to do.
const SETTLE: Duration = Duration::from_secs(3);
/// Handshakes under way.
const AT_ONCE: usize = 64;

/// What to measure.
#[derive(Clone, Debug)]
pub struct Options {
    /// Nodes of the cluster, over which the sessions are spread.
    pub nodes: usize,
    /// Sessions.
    pub clients: usize,
    /// Seconds of silence.
    pub seconds: u64,
}

/// What was measured. The names are a contract.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Outcome {
    /// Sessions.
    pub clients: usize,
    /// Resident memory of all nodes for each, in KiB.
    pub kib_per_client: f64,
    /// Sessions opened a second, by the one load beside the nodes.
    pub connects_per_s: f64,
    /// Processor time of all nodes while nobody says anything, in cores.
    pub idle_cpu_cores: f64,
}

/// Measures.
///
/// # Errors
/// The cluster cannot be run, or a session is refused or lost.
pub async fn run(options: &Options) -> Result<Outcome, BenchError> {
    if options.clients == 0 || options.nodes == 0 {
        return Err(BenchError::Invalid("at least one client and one node".into()));
    }
    let stage = Stage::set(options.nodes, u32::try_from(options.nodes).unwrap_or(1), None).await?;
    let measured = measure(options, &stage).await;
    stage.strike().await;
    measured
}

async fn measure(options: &Options, stage: &Stage) -> Result<Outcome, BenchError> {
    let people = People::make(stage, "load", options.clients).await?;
    sleep(SETTLE).await;
    let before = stage.resident_bytes();
    let begun = Stopwatch::start();
    let open = stream::iter(0..options.clients).map(|number| people.session(number, number)).buffer_unordered(AT_ONCE);
    let sessions: Vec<Session> = open.try_collect().await?;
    let took = begun.elapsed();
    let (over, over_seen) = watch::channel(false);
    let mut tasks = JoinSet::new();
    for session in sessions {
        tasks.spawn(rest(session, over_seen.clone()));
    }
    sleep(SETTLE).await;
    let (bytes, cpu, silence) = (stage.resident_bytes(), stage.cpu_seconds(), Stopwatch::start());
    sleep(Duration::from_secs(options.seconds)).await;
    let idle = share(stage.cpu_seconds() - cpu, silence.elapsed().as_secs_f64());
    over.send_replace(true);
    while let Some(done) = tasks.join_next().await {
        done.map_err(super::broke_off)??;
    }
    people.leave().await;
    Ok(Outcome {
        clients: options.clients,
        kib_per_client: share(bytes.saturating_sub(before) as f64 / 1024.0, options.clients as f64),
        connects_per_s: share(options.clients as f64, took.as_secs_f64()),
        idle_cpu_cores: idle,
    })
}

/// A session that only shows that it lives.
async fn rest(mut session: Session, mut over: watch::Receiver<bool>) -> Result<(), Error> {
    // All came within a short time; their heartbeats are not to.
    let mut beat_at = Instant::now() + jitter(Duration::ZERO, BEAT);
    loop {
        tokio::select! {
            polled = session.poll() => polled?,
            // Gone or over: either is the end.
            _ = over.wait_for(|over| *over) => return Ok(()),
            () = tokio::time::sleep_until(beat_at) => {
                session.add(&ToEdge::Beat);
                beat_at += BEAT;
            }
        }
        while session.poll_frame()?.is_some() {}
    }
}
