//! Disks that are not what the cluster knows: an empty one, an old copy; and nodes that are gone or leave. Each ends as an operator ends it: the node is
//! seen to be refused as itself, then a new one takes its place with `kith node replace`, and is waited for until its replicas are whole. One that leaves is
//! emptied with `kith node decommission` and waited for until it has left; then another one is added in its place.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use serde_json::json;

use crate::history::Evidence;
use crate::lab::{Lab, Node};
use crate::name::Nemesis;

/// Exit code of a node whose data directory the cluster refuses.
const FENCED: i32 = 6;
/// For the cluster to refuse a disk.
const REFUSED_WITHIN: Duration = Duration::from_secs(30);
/// For one that was not refused to show that it takes part.
const SERVES_WITHIN: Duration = Duration::from_secs(5);
/// For the map to change; the dead node must be silent for 3 s first.
const REPLACED_WITHIN: Duration = Duration::from_secs(30);
/// For a new node to have all that the others have.
const WHOLE_WITHIN: Duration = Duration::from_secs(90);
/// How long a node goes on after a copy was made of its disk.
const LIVES_ON: Duration = Duration::from_secs(3);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(200);

/// What is to be undone.
#[derive(Debug)]
pub(super) enum Broken {
    /// The node is down and its disk empty; it is to come back as itself first.
    Empty,
    /// The node runs; it is to find this copy of its disk.
    Old(PathBuf),
    /// The node is gone, and another one comes in its place.
    Gone,
    /// The node runs; it is to be emptied, and another one to be added.
    Leaves,
}

/// Breaks a node's disk, or takes the node away.
pub(super) fn install(node: &Node, nemesis: Nemesis) -> anyhow::Result<Broken> {
    let data = node.disk.mount_point.join("data");
    // Every other member, so that both ways to go are gone.
    if nemesis == Nemesis::Member && !node.member().is_multiple_of(2) {
        return Ok(Broken::Leaves);
    }
    node.kill()?;
    match nemesis {
        Nemesis::DiskOld => {
            let copy = node.disk.mount_point.join("copy");
            copy_dir(&data, &copy).context("copying a disk")?;
            node.start()?;
            Ok(Broken::Old(copy))
        }
        nemesis => {
            std::fs::remove_dir_all(&data).context("emptying a disk")?;
            Ok(if nemesis == Nemesis::DiskEmpty { Broken::Empty } else { Broken::Gone })
        }
    }
}

/// Puts things right.
pub(super) async fn heal(lab: &Arc<Lab>, at: usize, broken: Broken) -> anyhow::Result<Evidence> {
    let node = &lab.nodes[at];
    let data = node.disk.mount_point.join("data");
    if matches!(broken, Broken::Leaves) {
        return leave(lab, at).await;
    }
    if let Broken::Old(copy) = &broken {
        // It must have gone on after the copy, and shown it.
        node.ready(REFUSED_WITHIN).await?;
        tokio::time::sleep(LIVES_ON).await;
        node.kill()?;
        std::fs::remove_dir_all(&data).and_then(|()| std::fs::rename(copy, &data)).context("putting an old copy in place")?;
    }
    let is_gone = matches!(broken, Broken::Gone);
    if !is_gone && let Some(told) = not_refused(node).await? {
        // What the others then do with it is not for an operator to mend.
        return Ok(super::packet::evidence(1, "nodes that came back with a disk that is not theirs", &[(super::ENDED, json!(told))]));
    }
    node.kill()?;
    if data.exists() {
        std::fs::remove_dir_all(&data).context("emptying a disk")?;
    }
    let dead = node.member();
    let new = lab.nodes.iter().map(Node::member).max().unwrap_or(0) + 1;
    let (dead, new_text) = (dead.to_string(), new.to_string());
    let (address, http) = (format!("{}:{}", node.place.address, crate::lab::PORT), format!("{}:{}", node.place.address, crate::lab::HTTP_PORT));
    let args = ["node", "replace", "--dead", &dead, "--new", &new_text, "--address", &address, "--http", &http];
    let until = Instant::now() + REPLACED_WITHIN;
    while let Err(error) = lab.kith(&args, REPLACED_WITHIN).await {
        if Instant::now() > until {
            return Err(error.context("replacing a node"));
        }
        tokio::time::sleep(LOOK).await;
    }
    node.become_member(new, &lab.cluster());
    node.start()?;
    let seconds = WHOLE_WITHIN.as_secs().to_string();
    let wait: Vec<&str> = args.iter().copied().chain(["--wait", &seconds]).collect();
    let whole = lab.kith(&wait, WHOLE_WITHIN + REPLACED_WITHIN).await;
    let is_whole = whole.as_ref().is_ok_and(|answer| answer.get("is_caught_up") == Some(&json!(true)));
    if let Err(error) = &whole {
        eprintln!("warning: {error:#}");
    }
    let seen = if is_gone { "" } else { "refused as itself, then " };
    let note = format!("node {dead} {seen}replaced by node {new}, whose replicas {}", if is_whole { "are whole" } else { "are NOT whole" });
    Ok(super::bit(u64::from(is_whole), &note))
}

/// A node is emptied and leaves, and another one is added where it stood.
async fn leave(lab: &Arc<Lab>, at: usize) -> anyhow::Result<Evidence> {
    let node = &lab.nodes[at];
    let (old, new) = (node.member().to_string(), lab.nodes.iter().map(Node::member).max().unwrap_or(0) + 1);
    let (address, http) = (format!("{}:{}", node.place.address, crate::lab::PORT), format!("{}:{}", node.place.address, crate::lab::HTTP_PORT));
    let seconds = WHOLE_WITHIN.as_secs().to_string();
    let emptied = retried(lab, &["node", "decommission", &old, "--wait", &seconds], WHOLE_WITHIN).await;
    let has_left = emptied.as_ref().is_ok_and(|answer| answer.get("state") == Some(&json!("left")));
    if let Err(error) = &emptied {
        eprintln!("warning: {error:#}");
    }
    let moved = emptied.ok().and_then(|answer| answer.get("replicas").and_then(serde_json::Value::as_u64)).unwrap_or(0);
    node.kill()?;
    let data = node.disk.mount_point.join("data");
    if data.exists() {
        std::fs::remove_dir_all(&data).context("emptying a disk")?;
    }
    if has_left {
        let (id, zone) = (new.to_string(), format!("zone-{new}"));
        retried(lab, &["node", "add", "--id", &id, "--address", &address, "--http", &http, "--zone", &zone], REPLACED_WITHIN).await?;
        node.become_member(new, &lab.cluster());
    }
    node.start()?;
    let given = if has_left { spread(lab).await? } else { 0 };
    let note = format!(
        "node {old} {}, {moved} replicas moved off it; node {new} was added, and {given} moved to where the plan has them",
        if has_left { "left" } else { "did NOT leave" }
    );
    Ok(super::bit(u64::from(has_left), &note))
}

/// Has the cluster move what its plan says, as an operator does who lets nothing move by itself: the new node holds nothing yet. Gives the lines of the plan.
async fn spread(lab: &Arc<Lab>) -> anyhow::Result<u64> {
    let until = Instant::now() + REPLACED_WITHIN;
    loop {
        let plan = retried(lab, &["layout", "plan"], REPLACED_WITHIN).await?;
        let version = plan.get("version").and_then(serde_json::Value::as_u64).context("the version of a plan")?.to_string();
        let moves = plan.get("moves").and_then(serde_json::Value::as_array).map_or(0, Vec::len) as u64;
        // A plan is of one map: when that has changed, the next look has another.
        match lab.kith(&["layout", "apply", "--version", &version], REPLACED_WITHIN).await {
            Ok(_) => return Ok(moves),
            Err(error) if Instant::now() > until => return Err(error.context("carrying a plan out")),
            Err(_) => tokio::time::sleep(LOOK).await,
        }
    }
}

/// A command that a cluster in trouble may refuse for a moment.
async fn retried(lab: &Arc<Lab>, args: &[&str], within: Duration) -> anyhow::Result<serde_json::Value> {
    let until = Instant::now() + within;
    loop {
        match lab.kith(args, within + REPLACED_WITHIN).await {
            Ok(answer) => return Ok(answer),
            Err(error) if Instant::now() > until => return Err(error),
            Err(_) => tokio::time::sleep(LOOK).await,
        }
    }
}

/// Starts a node on a disk that is not its own; gives what is wrong with how that ended, and nothing if the cluster refused it and it ended for
/// that reason. One that neither ended nor serves shows nothing, and is an error.
async fn not_refused(node: &Node) -> anyhow::Result<Option<String>> {
    node.start()?;
    let until = Instant::now() + REFUSED_WITHIN;
    while Instant::now() < until && node.ended().is_none() {
        tokio::time::sleep(LOOK).await;
    }
    let serves = if node.ended().is_none() { node.ready(SERVES_WITHIN).await } else { Ok(()) };
    // It may have ended during the last look.
    match node.ended() {
        Some(status) if status.code() == Some(FENCED) => Ok(None),
        Some(status) => Ok(Some(format!("{} ended by itself on a disk that is not its own: {status}, and not because it was refused", node.name()))),
        None => {
            serves.context("a node on a disk that is not its own was neither refused nor takes part")?;
            Ok(Some(format!("{} took part with a disk that is not its own: it was NOT refused", node.name())))
        }
    }
}

fn copy_dir(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_dir(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
