//! A node dies with many sessions: how long each is away after it has noticed, where all go, and what that costs those who stay.
//!
//! In: sessions. Out: [`Outcome`]. Clients are those of the SDK, with its heartbeat, its patience and its choice of a node; a third is at each of three nodes. The
//! node that has most is killed (SIGKILL) and stays dead. A client notices when it leaves `Online`, at its next heartbeat that nobody answers, and is
//! back when it is `Online` again. Bounds: [`AT_ONCE`] clients on their way, [`AWAY_MAX`] for all to be back. Not here: full nodes (`edge::admission`).

use std::{collections::BTreeMap, time::Duration};

use futures_util::{StreamExt, TryStreamExt, stream};
use kith_client::{Backfill, Client, Error};
use kith_wire::code::Code;
use serde::Serialize;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use super::{BenchError, rate::share, stage::Stage, strain::told};
use crate::{
    operator::{ensure_account, missing},
    spread::{Percentiles, Spread},
};

/// Sessions of the row.
pub const SESSIONS: usize = 15_000;
/// Nodes: one dies.
const NODES: usize = 3;
/// Accounts, or handshakes of the beginning, under way.
const AT_ONCE: usize = 64;
/// Why nodes send somebody away. A client that is asked to prove its address first is not: that costs no handshake.
const REJECTS: [&str; 3] = ["Address", "Crowd", "Full"];
/// For what the beginning left to do.
const SETTLE: Duration = Duration::from_secs(5);
/// From the kill until all have noticed and are back.
const AWAY_MAX: Duration = Duration::from_secs(240);

/// What was measured.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Outcome {
    /// Sessions in all.
    pub sessions: usize,
    /// Of them at the node that died.
    pub lost: usize,
    /// From the kill until a client noticed.
    pub notice_s_p50: f64,
    /// Until the last one did.
    pub notice_s_max: f64,
    /// From when a client noticed until it was back.
    pub back_ms: Percentiles,
    /// The time within which 99 of 100 were back after they had noticed.
    pub back_s: f64,
    /// The longest.
    pub back_s_max: f64,
    /// Of what the remaining nodes began for them, how much came to nothing: refused, or a session that ended again.
    pub wasted_percent: f64,
    /// Sessions opened a second, from the first who was back to the last.
    pub handshakes_per_s: f64,
    /// The fuller of the remaining nodes against their mean, afterwards.
    pub fullest_over_mean: f64,
}

/// When a client noticed, and when it was back; both after the kill.
type Trip = (Duration, Duration);

/// Measures.
///
/// # Errors
/// The cluster cannot be run, or a client does not come back.
pub async fn run(sessions: usize) -> Result<Outcome, BenchError> {
    if sessions < NODES {
        return Err(BenchError::Invalid(format!("at least {NODES} sessions, one for each node")));
    }
    let stage = Stage::set(NODES, 3, None).await?;
    let measured = Box::pin(measure(&stage, sessions)).await;
    stage.strike().await;
    measured
}

async fn measure(stage: &Stage, sessions: usize) -> Result<Outcome, BenchError> {
    let clients = clients(stage, sessions).await?;
    sleep(SETTLE).await;
    let addresses = stage.addresses();
    let at = places(&clients);
    let victim = addresses.iter().enumerate().max_by_key(|(_, address)| at.get(*address).copied().unwrap_or_default());
    let (number, victim) = victim.ok_or_else(|| missing("a node to kill"))?;
    let node = stage.nodes.ids().into_iter().nth(number).ok_or_else(|| missing("a node to kill"))?;
    let at_victim: Vec<Client> = clients.iter().filter(|client| client.connection().get().edge == *victim).cloned().collect();
    let lost = at_victim.len();
    if lost == 0 {
        return Err(missing("a session at the node that is killed").into());
    }
    let before = Counted::of(&stage.nodes.metrics().await);

    let killed = Instant::now();
    stage.nodes.kill(node).await;
    let mut tasks = JoinSet::new();
    for client in at_victim {
        tasks.spawn(trip(client, killed));
    }
    let gathered = async {
        let mut trips: Vec<Trip> = Vec::with_capacity(lost);
        while let Some(done) = tasks.join_next().await {
            trips.push(done.map_err(super::broke_off)??);
        }
        Ok::<_, BenchError>(trips)
    };
    let late = || Error::new(Code::Timeout, format!("not all clients were back {} s after their node had died", AWAY_MAX.as_secs()));
    let trips = timeout(AWAY_MAX, gathered).await.map_err(|_| late())??;
    sleep(SETTLE).await;

    // The dead one tells nothing any more; of those that remain only what was added counts.
    let after = Counted::of(&stage.nodes.metrics().await);
    let remaining: Vec<f64> = places(&clients).iter().filter(|(address, _)| *address != victim).map(|(_, count)| *count as f64).collect();
    stream::iter(&clients).for_each_concurrent(AT_ONCE, |client| client.close()).await;
    let before = before.without(number);
    Ok(judge(sessions, &trips, &after.since(before), &remaining))
}

/// Everybody, connected, each to the node of its turn.
async fn clients(stage: &Stage, sessions: usize) -> Result<Vec<Client>, BenchError> {
    let admin = stage.operator.admin().await?;
    admin.connect().await?;
    let (admin_ref, operator) = (&admin, &stage.operator);
    let make = |number: usize| async move {
        let name = format!("person-{number}");
        let (user, _) = ensure_account(admin_ref, &name).await?;
        let client = operator.client(user, &name, number)?.backfill(Backfill::Off).build().await?;
        client.connect().await?;
        Ok::<_, BenchError>(client)
    };
    let clients = stream::iter(0..sessions).map(make).buffer_unordered(AT_ONCE).try_collect().await?;
    admin.close().await;
    Ok(clients)
}

/// How many are at each address.
fn places(clients: &[Client]) -> BTreeMap<String, usize> {
    let mut at = BTreeMap::new();
    for client in clients {
        *at.entry(client.connection().get().edge).or_default() += 1;
    }
    at
}

async fn trip(client: Client, killed: Instant) -> Result<Trip, BenchError> {
    let mut status = client.status();
    let closed = || missing("a client that goes on");
    status.wait_for(|status| !status.is_online()).await.ok_or_else(closed)?;
    let noticed = killed.elapsed();
    let back = status.wait_for(|status| status.is_online() || status.is_closed()).await.ok_or_else(closed)?;
    if back.is_closed() { Err(closed().into()) } else { Ok((noticed, killed.elapsed())) }
}

fn judge(sessions: usize, trips: &[Trip], counted: &Counted, remaining: &[f64]) -> Outcome {
    let (mut notice, mut back) = (Spread::default(), Spread::default());
    for (noticed, returned) in trips {
        notice.record(*noticed);
        back.record(returned.saturating_sub(*noticed));
    }
    let longest = |of: &mut dyn Iterator<Item = Duration>| of.max().unwrap_or_default().as_secs_f64();
    let (first, last) = (trips.iter().map(|trip| trip.1).min().unwrap_or_default(), trips.iter().map(|trip| trip.1).max().unwrap_or_default());
    let mean = share(remaining.iter().sum(), remaining.len() as f64);
    Outcome {
        sessions,
        lost: trips.len(),
        notice_s_p50: notice.percentile_ms(50.0) / 1_000.0,
        notice_s_max: longest(&mut trips.iter().map(|trip| trip.0)),
        back_ms: back.percentiles(),
        back_s: back.percentile_ms(99.0) / 1_000.0,
        back_s_max: longest(&mut trips.iter().map(|(noticed, returned)| returned.saturating_sub(*noticed))),
        wasted_percent: 100.0 * share((counted.begun() - trips.len() as f64).max(0.0), counted.begun()),
        handshakes_per_s: share(counted.opened, (last - first).as_secs_f64()),
        fullest_over_mean: share(remaining.iter().copied().fold(0.0, f64::max), mean),
    }
}

/// What nodes count, all together.
#[derive(Clone, Debug, Default)]
struct Counted {
    opened: f64,
    rejected: f64,
    /// Of each node by its place: opened and rejected.
    of: Vec<(f64, f64)>,
}

impl Counted {
    fn of(metrics: &[String]) -> Self {
        let rejected = |text: &str| REJECTS.iter().map(|reason| told(text, &format!("kith_edge_rejects_total{{reason=\"{reason}\"}}"))).sum();
        Self::all(metrics.iter().map(|text| (told(text, "kith_session_opened_total"), rejected(text))).collect())
    }
    fn all(of: Vec<(f64, f64)>) -> Self {
        Self { opened: of.iter().map(|one| one.0).sum(), rejected: of.iter().map(|one| one.1).sum(), of }
    }
    /// Without the node at this place.
    fn without(mut self, place: usize) -> Self {
        if place < self.of.len() {
            self.of.remove(place);
        }
        Self::all(self.of)
    }
    fn since(&self, before: Self) -> Self {
        Self { opened: self.opened - before.opened, rejected: self.rejected - before.rejected, of: Vec::new() }
    }
    /// All that somebody began.
    fn begun(&self) -> f64 {
        self.opened + self.rejected
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const METRICS: &str = "\
# TYPE kith_session_opened counter
kith_session_opened_total 12
kith_session_opened_total_of_others 5
kith_edge_rejects_total{reason=\"Crowd\"} 2
kith_edge_rejects_total{reason=\"Full\"} 1
kith_edge_rejects_total{reason=\"Retry\"} 7
";

    #[test]
    fn figures_are_read_over_their_labels_and_of_those_that_remain() {
        let counted = Counted::of(&[METRICS.to_owned(), METRICS.to_owned(), String::new()]);
        assert_eq!((counted.opened, counted.rejected, counted.begun()), (24.0, 6.0, 30.0));
        let counted = counted.without(1);
        assert_eq!((counted.opened, counted.rejected), (12.0, 3.0));
    }

    #[test]
    fn a_client_is_away_from_when_it_notices() {
        let at = Duration::from_secs;
        let trips: Vec<Trip> = vec![(at(10), at(12)), (at(20), at(21)), (at(5), at(9))];
        let counted = Counted { opened: 3.0, rejected: 1.0, of: Vec::new() };
        let outcome = judge(9, &trips, &counted, &[5.0, 4.0]);
        assert_eq!((outcome.lost, outcome.notice_s_max, outcome.back_s_max), (3, 20.0, 4.0));
        assert!((outcome.wasted_percent - 25.0).abs() < 1e-9 && (outcome.handshakes_per_s - 0.25).abs() < 1e-9, "{outcome:?}");
        assert!((outcome.fullest_over_mean - 5.0 / 4.5).abs() < 1e-9 && outcome.back_s >= 3.9, "{outcome:?}");
    }
}
