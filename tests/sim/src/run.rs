//! One simulation: a seed's cluster is hurt (safety), then healed for good, and must come to rest (liveness).
//!
//! In: a seed. Out: what was wrong first, if anything, and figures. Invariant: everything follows from the seed: one thread, time that moves
//! only when everybody waits, no randomness but the seed's.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    panic,
    sync::{Arc, Once},
    time::Duration,
};

use kith_machine::view::{Row, RowKey, Scan, StateView, ViewError};
use kith_raft::Retention;
use kith_wire::{
    id::{ChannelId, NodeId, Seq, UserId},
    log::Record,
};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use crate::{
    Mutant, Outcome,
    cluster::{Cluster, Shape, group_of},
    devices::Devices,
    invariant::World,
    people::People,
    plan,
    random::Random,
    watch::Watch,
};

/// Between two looks at who leads.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// A healed cluster serves, and is at rest, within this.
const LIVE_WITHIN: Duration = Duration::from_secs(30);

thread_local! {
    /// What the simulation on this thread panicked with, in whatever task.
    static PANICKED: RefCell<Option<String>> = const { RefCell::new(None) };
}

fn keep_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            // Threads of a test harness have a runtime of their own: only a simulation's thread is quiet.
            if tokio::runtime::Handle::try_current().is_ok() {
                PANICKED.with_borrow_mut(|kept| _ = kept.get_or_insert_with(|| info.to_string()));
            } else {
                before(info);
            }
        }));
    });
}

/// Runs one seed.
///
/// # Panics
/// The system gives no runtime.
pub fn run(seed: u64, mutant: Option<Mutant>, verbose: bool) -> Outcome {
    keep_panics();
    PANICKED.set(None);
    let mut random = Random::new(seed);
    kith_raft::testing::seed_elections(Some(random.next()));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime needs nothing but memory");
    let outcome = runtime.block_on(simulate(seed, mutant, verbose, random));
    drop(runtime);
    kith_raft::testing::seed_elections(None);
    outcome
}

async fn simulate(seed: u64, mutant: Option<Mutant>, verbose: bool, mut random: Random) -> Outcome {
    let nodes = if random.percent(80) { 3 } else { 5 };
    let retention = Retention {
        flush_interval: Duration::from_millis(random.of(200..5_000)),
        keep_entries: random.of(0..40),
        keep_bytes: u64::MAX,
        purge_entries_min: random.of(1..20),
    };
    let shape = Shape { groups: random.of(1..4) as u32, retention, mutant };
    let platters: BTreeMap<_, _> = (1..=nodes).map(|node| (NodeId::new(node), Arc::default())).collect();
    let watch = Arc::new(Watch::new(World { platters: platters.clone() }, verbose));
    let cluster = Arc::new(Cluster::new(shape, platters, Arc::clone(&watch), random.fork()));
    let people = Arc::new(People::new(Arc::clone(&cluster), &mut random));
    for node in cluster.all() {
        cluster.start(node).await;
    }
    let mut looking = JoinSet::new();
    looking.spawn(look(Arc::clone(&cluster)));
    let began = Instant::now();
    let settled = tokio::time::timeout(LIVE_WITHIN, people.settle()).await;
    if settled.is_err() {
        watch.violate("a new cluster does not serve".to_owned());
    }
    let mut writing = JoinSet::new();
    for (channel, writers) in &people.channels {
        for writer in writers {
            writing.spawn(Arc::clone(&people).write(*channel, writer.clone(), random.fork()));
        }
    }
    let devices = Arc::new(Devices::new(Arc::clone(&cluster), &people, &mut random));
    let mut reading = JoinSet::new();
    for life in devices.lives(&mut random) {
        reading.spawn(life);
    }
    let hurt_for = Duration::from_millis(random.of(3_000..9_000));
    plan::hurt(&cluster, Instant::now() + hurt_for, &mut random).await;
    if watch.violation().is_none() {
        watch.note("liveness", &[]);
        live(&cluster, &people, &devices, &mut writing).await;
    }
    writing.shutdown().await;
    reading.shutdown().await;
    looking.shutdown().await;
    let simulated = began.elapsed();
    for node in cluster.up() {
        cluster.crash(node);
    }
    // Nothing of it must outlive the run; what hangs is dropped with the runtime.
    let _ = tokio::time::timeout(Duration::from_secs(20), cluster.ended()).await;
    let (hash, events, lines) = watch.traced();
    Outcome { seed, violation: watch.violation(), hash, events, simulated, acks: people.oracle.acks(), lines }
}

async fn look(cluster: Arc<Cluster>) {
    loop {
        // A group that stops because of a panic is the lesser news.
        if let Some(panicked) = PANICKED.take() {
            cluster.watch().violate(format!("a panic: {panicked}"));
        }
        cluster.look();
        sleep(LOOK_EVERY).await;
    }
}

/// Heals everything, and waits until everybody is at rest and knows the same.
async fn live(cluster: &Arc<Cluster>, people: &Arc<People>, devices: &Devices, writing: &mut JoinSet<()>) {
    let watch = cluster.watch();
    cluster.net().heal().await;
    for node in cluster.all() {
        cluster.slow_disk(node, 1);
        cluster.start(node).await;
    }
    // Everybody writes on for a while, in peace.
    sleep(Duration::from_secs(1)).await;
    people.rest();
    devices.rest();
    let until = Instant::now() + LIVE_WITHIN;
    let mut why = String::new();
    while Instant::now() < until && watch.violation().is_none() {
        while writing.try_join_next().is_some() {}
        let state = if writing.is_empty() { at_rest(cluster, people, devices) } else { Err(format!("{} devices wait for an answer", writing.len())) };
        match state {
            Ok(()) => return final_logs(cluster, people),
            Err(not_yet) => why = not_yet,
        }
        sleep(Duration::from_millis(50)).await;
    }
    watch.violate(format!("not at rest {} s after everything was healed: {why}", LIVE_WITHIN.as_secs()));
}

/// Whether all replicas of all groups are equal, every index knows of every record, and every device shows it.
fn at_rest(cluster: &Cluster, people: &People, devices: &Devices) -> Result<(), String> {
    for group in cluster.groups() {
        let mut states = Vec::new();
        for node in cluster.all() {
            let handle = cluster.handle(node, group).ok_or_else(|| format!("group {group} is not open at node {node}"))?;
            let status = handle.status().map_err(|error| error.to_string())?;
            states.push((status.applied, status.digest));
        }
        if states.windows(2).any(|pair| pair[0] != pair[1]) {
            return Err(format!("replicas of group {group} differ: {:?}", states.iter().map(|state| state.0).collect::<Vec<_>>()));
        }
        cluster.leader(group).ok_or_else(|| format!("group {group} has no leader"))?;
    }
    for (channel, _) in &people.channels {
        let (head, members) = read(cluster, *channel).map_err(|error| error.to_string())?;
        for user in members {
            let known = index_head(cluster, user, *channel).map_err(|error| error.to_string())?;
            if known < head {
                return Err(format!("the index of {user} stands at {known} of {channel}, whose head is {head}"));
            }
        }
    }
    devices.at_rest(people.channels.iter().map(|(channel, _)| *channel))
}

fn final_logs(cluster: &Cluster, people: &People) {
    for (channel, _) in &people.channels {
        let group = group_of(channel.bucket(), cluster.shape().groups);
        for handle in cluster.all().into_iter().filter_map(|node| cluster.handle(node, group)) {
            let rows = handle.reader().and_then(|reader| reader.scan(&Scan::Records(*channel, Seq::new(1)..=Seq::new(u64::MAX)), false, usize::MAX));
            let checked = rows.map_err(|error| error.to_string()).and_then(|rows| {
                let log: Vec<Record> =
                    rows.iter().filter_map(|(_, row)| if let Row::Record(record) = &**row { Some(record.clone()) } else { None }).collect();
                people.oracle.check(*channel, &log)
            });
            if let Err(found) = checked {
                cluster.watch().violate(format!("in the end: {found}"));
            }
        }
    }
}

/// A channel's head, and its members.
fn read(cluster: &Cluster, channel: ChannelId) -> Result<(Seq, Vec<UserId>), ViewError> {
    let group = group_of(channel.bucket(), cluster.shape().groups);
    let Some(handle) = cluster.leader(group).and_then(|node| cluster.handle(node, group)) else { return Ok((Seq::new(1), Vec::new())) };
    let reader = handle.reader()?;
    let head = match reader.get(&RowKey::Channel(channel))?.as_deref() {
        Some(Row::Channel(row)) => row.head.seq,
        _ => Seq::ZERO,
    };
    let members = match reader.get(&RowKey::Roster(channel))?.as_deref() {
        Some(Row::Roster(roster)) => roster.members.iter().map(|member| member.user).collect(),
        _ => Vec::new(),
    };
    Ok((head, members))
}

fn index_head(cluster: &Cluster, user: UserId, channel: ChannelId) -> Result<Seq, ViewError> {
    let group = group_of(user.bucket(), cluster.shape().groups);
    let Some(handle) = cluster.leader(group).and_then(|node| cluster.handle(node, group)) else { return Ok(Seq::ZERO) };
    Ok(match handle.reader()?.get(&RowKey::Index(user, channel))?.as_deref() {
        Some(Row::Index(row)) => row.news.head.seq,
        _ => Seq::ZERO,
    })
}
