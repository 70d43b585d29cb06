//! A node that ends, or is held up, at a chosen step of its own: before or after something is persisted, committed, applied, and so on.
//!
//! In: a fault whose turn says which part of the node, its seed at which points and in which pass. Out: the node started again with these orders, later without, and from its own
//! log the points at which it ended or slept. Invariants: each part has its turn; another node is sent away only while the first serves. Not here: the
//! points themselves, which the binary under test lists.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::json;
use tokio::task::JoinHandle;

use super::packet::evidence;
use crate::history::Evidence;
use crate::lab::Lab;
use crate::plan::Fault;
use crate::seed::Chance;

/// Parts in the order of their turns.
const PARTS: &[&str] = &["persist", "snapshot", "commit", "ref", "apply", "outbox"];
/// The passes among which a kill falls, by words of a point's name: few where few come in a fault's time. The first that fits counts.
const PASSES: &[(&[&str], u64)] =
    &[(&["vote", "truncate", "purge", "flush", "snapshot", "install", "outbox"], 2), (&["fanout"], 8), (&["propose", "commit"], 40), (&[""], 100)];
/// How long a node is away so that it needs a snapshot.
const AWAY: Duration = Duration::from_secs(3);
/// How long a leader is away so that others are elected.
const GONE: Duration = Duration::from_millis(1_500);
/// How long a node may take to serve again before another one is sent away.
const READY_WITHIN: Duration = Duration::from_secs(10);

/// Orders in place.
#[derive(Debug)]
pub(super) struct Orders {
    target: usize,
    line: String,
    /// Where the node's log ended before.
    log_from: u64,
    task: JoinHandle<anyhow::Result<()>>,
}

/// Gives the orders, and the nodes that may end because of them.
pub(super) fn install(lab: &Arc<Lab>, fault: &Fault, target: usize) -> anyhow::Result<(Orders, Vec<usize>)> {
    let listed = lab.nodes[target].fail_points().context("asking the binary for its fail points (is it `kith-fault`?)")?;
    let (line, away) = orders(&listed, fault)?;
    let others: Vec<usize> = (1..lab.nodes.len()).map(|step| (target + step) % lab.nodes.len()).take(2).collect();
    let hit = [target].into_iter().chain(others.iter().copied().filter(|_| away == Away::Others)).collect();
    let log_from = lab.nodes[target].log_bytes();
    let task = tokio::spawn(walk(Arc::clone(lab), target, others, away, line.clone()));
    Ok((Orders { target, line, log_from, task }, hit))
}

/// Ends them; gives where the node ended or slept.
pub(super) async fn heal(lab: &Lab, orders: Orders) -> anyhow::Result<Evidence> {
    orders.task.abort();
    match orders.task.await {
        Ok(walked) => walked?,
        Err(error) if error.is_cancelled() => {}
        Err(error) => return Err(error).context("giving a node its orders"),
    }
    let node = &lab.nodes[orders.target];
    node.order(None);
    let ended = node.ended();
    // Its orders are gone only with the process that has them.
    node.kill()?;
    let log = node.log_since(orders.log_from)?;
    let Seen { killed, slept } = seen(&log);
    let bit = killed.len() as u64 + slept.values().sum::<u64>();
    let mut more = vec![("orders", json!(orders.line)), ("killed", json!(killed)), ("slept", json!(slept))];
    if let Some(status) = ended.filter(|_| killed.is_empty()) {
        more.push((super::ENDED, json!(format!("{} ended by itself: {status}, and not at a fail point", node.name()))));
    }
    Ok(evidence(bit, "times that the node ended or slept at a fail point", &more))
}

/// Who is sent away, so that points are reached that a quiet follower never passes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Away {
    Nobody,
    /// The node with the orders, for long enough to need a snapshot.
    Itself,
    /// Two others, one after the other: it is elected in their place, and the last one is away long enough to be sent a snapshot.
    Others,
}

async fn walk(lab: Arc<Lab>, target: usize, others: Vec<usize>, away: Away, line: String) -> anyhow::Result<()> {
    let node = &lab.nodes[target];
    node.kill()?;
    if away == Away::Itself {
        tokio::time::sleep(AWAY).await;
    }
    node.order(Some(line));
    node.start()?;
    if away != Away::Others {
        return Ok(());
    }
    for (turn, other) in others.iter().enumerate() {
        // Whoever has ended at a point by now has bitten: nobody else is to be down with it.
        if node.ready(READY_WITHIN).await.is_err() {
            break;
        }
        let other = &lab.nodes[*other];
        other.kill()?;
        tokio::time::sleep(if turn + 1 == others.len() { AWAY } else { GONE }).await;
        other.start()?;
        // Not ready in time is seen elsewhere.
        let _ = other.ready(READY_WITHIN).await;
    }
    Ok(())
}

/// The line of orders for a fault, and who must be away for its points to be reached.
fn orders(listed: &str, fault: &Fault) -> anyhow::Result<(String, Away)> {
    let mut chance = Chance::new(fault.shape.seed);
    let part = PARTS[(fault.shape.times % PARTS.len() as u64) as usize];
    let mut points: Vec<&str> =
        listed.lines().filter_map(|line| line.split_once(' ').filter(|(of, _)| *of == part)).map(|(_, name)| name.trim()).collect();
    ensure!(!points.is_empty(), "the binary has no fail points of {part}");
    let away = match part {
        "snapshot" if chance.percent(60) => Away::Itself,
        "snapshot" | "commit" | "ref" | "outbox" => Away::Others,
        _ if chance.percent(50) => Away::Others,
        _ => Away::Nobody,
    };
    if part == "snapshot" {
        points.retain(|point| ["receive", "install"].iter().any(|word| point.contains(word)) == (away == Away::Itself));
    }
    chance.shuffle(&mut points);
    let kills = chance.percent(65);
    let mut line = vec![format!("seed={}", chance.draw())];
    for (at, point) in points.into_iter().enumerate() {
        let passes = PASSES.iter().find(|(words, _)| words.iter().any(|word| point.contains(word))).map_or(1, |(_, passes)| *passes);
        line.push(match at {
            0 if kills => format!("{point}=kill@{}", chance.within(1, passes)),
            _ => format!("{point}=sleep:{}@{}%", chance.within(1, 150), 100 / passes + chance.within(1, 4)),
        });
    }
    Ok((line.join(";"), away))
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    /// Point and pass of each end.
    killed: Vec<String>,
    /// Sleeps at each point.
    slept: BTreeMap<String, u64>,
}

/// Reads what a node wrote at its fail points.
fn seen(log: &str) -> Seen {
    let mut seen = Seen::default();
    for rest in log.lines().filter_map(|line| line.strip_prefix("failpoint ")) {
        let Some((point, deed)) = rest.split_once(' ') else { continue };
        if let Some(when) = deed.strip_prefix("kill at ") {
            seen.killed.push(format!("{point} at {when}"));
        } else {
            *seen.slept.entry(point.to_owned()).or_default() += 1;
        }
    }
    seen
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::Nemesis;
    use crate::plan::{Shape, Target};

    const LISTED: &str = "persist   a.before\npersist   a.after\ncommit    c\napply     d\nsnapshot  s.install.one\nsnapshot  s.send.before\nref       r\noutbox    o\n";

    fn fault(times: u64, seed: u64) -> Fault {
        let shape = Shape { seed, times, ..Shape::default() };
        Fault { nemesis: Nemesis::Failpoint, target: Target::Leader, shape, install_at_ms: 0, heal_at_ms: 5_000 }
    }

    #[test]
    fn turns_cover_every_part_and_seeds_every_point() {
        let mut named = std::collections::BTreeSet::new();
        for seed in 0..100 {
            for turn in 0..PARTS.len() as u64 {
                let (line, away) = orders(LISTED, &fault(turn, seed)).unwrap();
                assert_eq!(orders(LISTED, &fault(turn, seed)).unwrap(), (line.clone(), away));
                assert!(line.starts_with("seed=") && line.matches("kill").count() <= 1, "{line}");
                assert!(!line.contains("install") || away == Away::Itself, "{line}");
                assert!(!line.contains("send") || away == Away::Others, "{line}");
                assert!(!line.contains("%%") && line.split('@').skip(1).all(|rest| !rest.starts_with('0')), "{line}");
                named.extend(line.split(';').skip(1).filter_map(|order| order.split_once('=')).map(|(point, _)| point.to_owned()));
            }
        }
        assert_eq!(named.len(), 8, "{named:?}");
        assert!(orders("persist   a\n", &fault(1, 1)).is_err(), "a binary without points of a part");
    }

    #[test]
    fn a_log_tells_where_the_node_ended_and_slept() {
        let log = "{\"level\":\"info\"}\nfailpoint a.before sleep 20 ms at pass 3\nfailpoint a.before sleep 20 ms at pass 9\nfailpoint a.after kill at pass 12\n";
        let expected = Seen { killed: vec!["a.after at pass 12".to_owned()], slept: BTreeMap::from([("a.before".to_owned(), 2)]) };
        assert_eq!(seen(log), expected);
    }
}
