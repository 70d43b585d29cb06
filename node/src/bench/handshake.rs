//! Handshakes: what a session costs a node from the first packet to Welcome, with and without a ticket of an earlier connection.
//!
//! In: how long. Out: [`Outcome`]. Each is a whole one: QUIC, TLS 1.3, Hello with its token checked, the session registered, and its end.
//! Bounds: `AT_ONCE` under way.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use kith_wire::id::Conn;
use serde::Serialize;
use tokio::{sync::watch, task::JoinSet, time::sleep};

use super::{
    BenchError, broke_off,
    people::{Opening, People},
    rate::Rate,
    stage::Stage,
};
use crate::clock::Stopwatch;

/// Clients that come and go, one handshake each at a time.
const AT_ONCE: usize = 32;
/// Before anything is counted.
const WARM_UP: Duration = Duration::from_secs(1);

/// What was measured.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Outcome {
    /// Without a ticket.
    pub full: Rate,
    /// With one.
    pub resumed: Rate,
}

/// Measures each way for so many seconds.
///
/// # Errors
/// The node cannot be run, or a session is refused.
pub async fn run(seconds: u64) -> Result<Outcome, BenchError> {
    let stage = Stage::set(1, 1, None).await?;
    let people = Arc::new(People::make(&stage, "load", AT_ONCE).await?);
    let full = come_and_go(&stage, &people, false, seconds).await?;
    let resumed = come_and_go(&stage, &people, true, seconds).await?;
    if let Ok(people) = Arc::try_unwrap(people) {
        people.leave().await;
    }
    stage.strike().await;
    Ok(Outcome { full, resumed })
}

async fn come_and_go(stage: &Stage, people: &Arc<People>, resumes: bool, seconds: u64) -> Result<Rate, BenchError> {
    let (over, over_seen) = watch::channel(false);
    let counted = Arc::new(AtomicU64::new(0));
    let mut tasks = JoinSet::new();
    for number in 0..AT_ONCE {
        let (people, counted, over) = (people.clone(), counted.clone(), over_seen.clone());
        // The second way goes on where the first one ended.
        let mut conn = if resumes { 1 << 32 } else { 1 };
        tasks.spawn(async move {
            while !*over.borrow() {
                let opening = Opening { conn: Conn::new(conn), resumes, ..Opening::default() };
                people.session_as(number, 0, opening).await?.close();
                conn += 1;
                counted.fetch_add(1, Relaxed);
            }
            Ok::<_, BenchError>(())
        });
    }
    sleep(WARM_UP).await;
    let (before, cpu, begun) = (counted.load(Relaxed), stage.cpu_seconds(), Stopwatch::start());
    sleep(Duration::from_secs(seconds)).await;
    let (opened, cpu, took) = (counted.load(Relaxed) - before, stage.cpu_seconds() - cpu, begun.elapsed().as_secs_f64());
    over.send_replace(true);
    while let Some(done) = tasks.join_next().await {
        done.map_err(broke_off)??;
    }
    Ok(Rate::of(opened, took, cpu))
}
