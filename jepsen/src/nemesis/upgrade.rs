//! Nodes of two releases side by side: every node is restarted in turn, gracefully, with the newer build or the older one; in the end the cluster is told to
//! go to its next version, from which nobody goes back.
//!
//! In: the turn of the fault in its run. Out: nodes of the other release, and how many of them say that they are it. The first turn goes forward, the second
//! back, the third forward and for good, all after that restart what is there. Invariants: whatever else is broken is left to its own nemesis: a node that is
//! not ready in time is passed by; no older build is started once the cluster was told to go on. Not here: which binary the older one is (`lab::node`).

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;

use super::packet::evidence;
use crate::history::Evidence;
use crate::lab::{Lab, PREVIOUS};

/// How long a restarted node may take until the next one goes.
const READY_WITHIN: Duration = Duration::from_secs(10);
/// For a node that serves to show what it is.
const SHOWN_WITHIN: Duration = Duration::from_secs(4);
/// For the cluster to be told; leaders may have to be elected, and every node has to be heard.
const FINAL_WITHIN: Duration = Duration::from_secs(60);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(300);
/// What a node's build knows.
const BUILD: &str = "kith_node_build_version";

/// What a turn does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Turn {
    to_older: bool,
    is_final: bool,
}

impl Turn {
    pub(super) fn of(times: u64) -> Self {
        Self { to_older: times == 1, is_final: times == 2 }
    }
    pub(super) fn is_final(self) -> bool {
        self.is_final
    }
}

/// Restarts every node; gives how many then said that they are of that release.
pub(super) async fn walk(lab: Arc<Lab>, turn: Turn) -> anyhow::Result<u64> {
    let mut shown = 0;
    for node in &lab.nodes {
        let before = node.metric(BUILD);
        let was_older = node.is_older();
        node.stop().await?;
        node.set_older(turn.to_older);
        node.start()?;
        // Another fault may be in its way: then it comes later.
        if node.ready(READY_WITHIN).await.is_err() {
            continue;
        }
        let until = Instant::now() + SHOWN_WITHIN;
        while Instant::now() < until {
            let now = node.metric(BUILD).filter(|now| *now > 0);
            // A release need not know more than the one before it: then its binary is all that differs.
            let differs = was_older != turn.to_older && std::env::var_os(PREVIOUS).is_none();
            let is_shown = match (before.filter(|before| *before > 0), now) {
                (Some(before), Some(now)) if differs => {
                    if turn.to_older {
                        now < before
                    } else {
                        now > before
                    }
                }
                (_, now) => now.is_some(),
            };
            if is_shown {
                shown += 1;
                break;
            }
            tokio::time::sleep(LOOK).await;
        }
    }
    Ok(shown)
}

/// Ends it: in the last turn the cluster goes to its next version.
pub(super) async fn heal(lab: &Lab, turn: Turn, shown: u64) -> anyhow::Result<Evidence> {
    let to = if turn.to_older { "older" } else { "newer" };
    let what = format!("nodes restarted with the {to} build that say so");
    if !turn.is_final() {
        return Ok(evidence(shown, &what, &[]));
    }
    let until = Instant::now() + FINAL_WITHIN;
    let told = loop {
        let told = lab.kith(&["upgrade", "finalize"], Duration::from_secs(10)).await;
        // Before it is told all of it is asked of every node: one that is not heard is waited for.
        let is_done = told.as_ref().is_ok_and(|view| view.get("next").is_some_and(serde_json::Value::is_null));
        if is_done || Instant::now() > until {
            break told;
        }
        tokio::time::sleep(LOOK).await;
    };
    let version = told.map_or_else(|error| json!(format!("{error:#}")), |view| view.get("version").cloned().unwrap_or_default());
    Ok(evidence(shown, &what, &[("cluster_version", version)]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_go_forward_back_and_forward_for_good() {
        let turns: Vec<_> = (0..5).map(Turn::of).map(|turn| (turn.to_older, turn.is_final)).collect();
        assert_eq!(turns, [(false, false), (true, false), (false, true), (false, false), (false, false)]);
    }
}
