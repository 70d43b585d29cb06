//! Heartbeats at the edge: small frames in and out, each a packet of its own.
//!
//! In: sessions, each with one heartbeat in flight. Out: [`Outcome`]. Bounds: the run's own length.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use kith_client::{Error, raw::Session};
use kith_wire::client::{ToClient, ToEdge};
use serde::Serialize;
use tokio::{sync::watch, task::JoinSet, time::sleep};

use super::{BenchError, people::People, rate::Rate, stage::Stage};
use crate::clock::Stopwatch;

/// Load before anything is counted.
const WARM_UP: Duration = Duration::from_secs(2);

/// What was measured.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Outcome {
    /// Sessions.
    pub sessions: usize,
    /// Heartbeats answered a second.
    pub per_s: f64,
    /// Heartbeats answered for each processor second of the node.
    pub per_cpu_s: f64,
}

/// Measures.
///
/// # Errors
/// The node cannot be run, or a session is lost.
pub async fn run(sessions: usize, seconds: u64) -> Result<Outcome, BenchError> {
    let stage = Stage::set(1, 1, None).await?;
    let people = People::make(&stage, "load", sessions).await?;
    let open = people.sessions((0..sessions).map(|number| (number, 0))).await?;
    let (over, over_seen) = watch::channel(false);
    let counted = Arc::new(AtomicU64::new(0));
    let mut tasks = JoinSet::new();
    for session in open {
        tasks.spawn(beat(session, counted.clone(), over_seen.clone()));
    }
    let count = || counted.load(Relaxed);
    sleep(WARM_UP).await;
    let (before, cpu, begun) = (count(), stage.cpu_seconds(), Stopwatch::start());
    sleep(Duration::from_secs(seconds)).await;
    let (beats, cpu, took) = (count() - before, stage.cpu_seconds() - cpu, begun.elapsed());
    over.send_replace(true);
    while let Some(done) = tasks.join_next().await {
        done.map_err(super::broke_off)??;
    }
    people.leave().await;
    stage.strike().await;
    let Rate { per_s, per_cpu_s } = Rate::of(beats, took.as_secs_f64(), cpu);
    Ok(Outcome { sessions, per_s, per_cpu_s })
}

async fn beat(mut session: Session, counted: Arc<AtomicU64>, over: watch::Receiver<bool>) -> Result<(), Error> {
    while !*over.borrow() {
        session.add(&ToEdge::Beat);
        while session.next().await? != ToClient::Beat {}
        counted.fetch_add(1, Relaxed);
    }
    Ok(())
}
