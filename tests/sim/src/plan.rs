//! Which faults happen when: drawn from the seed as they come.
//!
//! In: a cluster. Out: crashes, starts, cuts, deaf and slow links, slow disks, flushes, transfers of leadership. Invariant: nothing here
//! depends on anything but the seed and the simulated time. Not here: healing for good (`run`).

use std::{sync::Arc, time::Duration};

use kith_wire::id::NodeId;
use tokio::time::{Instant, sleep};

use crate::{cluster::Cluster, random::Random};

/// What happens to a cluster.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fault {
    CrashOne,
    CrashSome,
    CrashAll,
    Isolate,
    IsolateDeaf,
    OneWay,
    Sever,
    SlowLinks,
    SlowDisk,
    Flush,
    Transfer,
}

const FAULTS: &[(Fault, u64)] = &[
    (Fault::CrashOne, 20),
    (Fault::CrashSome, 6),
    (Fault::CrashAll, 4),
    (Fault::Isolate, 12),
    (Fault::IsolateDeaf, 8),
    (Fault::OneWay, 6),
    (Fault::Sever, 8),
    (Fault::SlowLinks, 5),
    (Fault::SlowDisk, 6),
    (Fault::Flush, 20),
    (Fault::Transfer, 10),
];

/// Hurts the cluster until then, or until something is found. What is down then stays down.
pub(crate) async fn hurt(cluster: &Arc<Cluster>, until: Instant, random: &mut Random) {
    let mut down: Vec<(Instant, NodeId)> = Vec::new();
    let mut heal_at: Option<Instant> = None;
    let mut next = Instant::now();
    while Instant::now() < until && cluster.watch().violation().is_none() {
        let now = Instant::now();
        for node in down.extract_if(.., |(at, _)| *at <= now).map(|(_, node)| node).collect::<Vec<_>>() {
            cluster.start(node).await;
        }
        if heal_at.is_some_and(|at| at <= now) {
            heal_at = None;
            cluster.net().heal().await;
            cluster.all().into_iter().for_each(|node| cluster.slow_disk(node, 1));
            cluster.watch().note("healed", &[]);
        }
        if next <= now {
            next = now + random.between(Duration::from_millis(30), Duration::from_millis(1_000));
            let lasts = now + random.between(Duration::from_millis(100), Duration::from_millis(2_500));
            let fault = draw(random);
            cluster.watch().note("fault", &[fault as u64]);
            match fault {
                Fault::CrashOne | Fault::CrashSome | Fault::CrashAll => {
                    let mut victims = cluster.up();
                    let count = match fault {
                        Fault::CrashOne => 1,
                        Fault::CrashSome => random.of(1..victims.len() as u64 + 1) as usize,
                        _ => victims.len(),
                    };
                    while victims.len() > count {
                        victims.remove(random.of(0..victims.len() as u64) as usize);
                    }
                    for victim in victims {
                        cluster.crash(victim);
                        let outage = if random.percent(60) { random.of(5..300) } else { random.of(300..3_000) };
                        down.push((now + Duration::from_millis(outage), victim));
                    }
                }
                _ => {
                    hurt_links(cluster, fault, random).await;
                    if !matches!(fault, Fault::Sever | Fault::Flush | Fault::Transfer) {
                        heal_at = Some(heal_at.map_or(lasts, |at| at.min(lasts)));
                    }
                }
            }
        }
        sleep(random.between(Duration::from_millis(5), Duration::from_millis(20))).await;
    }
}

async fn hurt_links(cluster: &Arc<Cluster>, fault: Fault, random: &mut Random) {
    let all = cluster.all();
    let group = *random.pick(&cluster.groups().collect::<Vec<_>>());
    // Leaders are hurt more often than others.
    let drawn = *random.pick(&all);
    let victim = cluster.leader(group).filter(|_| random.percent(50)).unwrap_or(drawn);
    let others: Vec<_> = all.iter().copied().filter(|node| *node != victim).collect();
    let other = *random.pick(&others);
    let net = cluster.net();
    match fault {
        Fault::Isolate => others.iter().for_each(|other| net.cut(victim, *other)),
        Fault::IsolateDeaf => others.iter().for_each(|other| {
            net.deafen(victim, *other);
            net.deafen(*other, victim);
        }),
        Fault::OneWay if random.percent(50) => net.deafen(victim, other),
        Fault::OneWay => net.deafen(other, victim),
        Fault::Sever => net.sever(victim, other),
        Fault::SlowLinks => net.slow(random.between(Duration::from_millis(20), Duration::from_millis(300))),
        Fault::SlowDisk => cluster.slow_disk(victim, random.of(5..60)),
        Fault::Flush => cluster.flush(drawn).await,
        Fault::Transfer => {
            if let Some(handle) = cluster.leader(group).and_then(|leader| cluster.handle(leader, group)) {
                // A leader that no longer leads hands over nothing.
                let _ = handle.transfer(other).await;
            }
        }
        Fault::CrashOne | Fault::CrashSome | Fault::CrashAll => {}
    }
}

fn draw(random: &mut Random) -> Fault {
    let mut left = random.of(0..FAULTS.iter().map(|(_, weight)| weight).sum());
    for (fault, weight) in FAULTS {
        if left < *weight {
            return *fault;
        }
        left -= weight;
    }
    Fault::Flush
}
