//! One line of `nemesis.jsonl`: what was done to the cluster, and the proof that it bit.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::event::Nanos;
use crate::name::Nemesis;

/// What became of a fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FaultOutcome {
    /// It is in place.
    Installed,
    /// It could not be made here; the evidence says why.
    Skipped,
    /// Nobody knows whether it is in place.
    Indeterminate,
    /// It is gone. Its evidence holds the counters over its whole life.
    Healed,
}

/// What proves a fault.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Evidence {
    /// How often it bit: packets dropped, bytes lost, processes killed. None before it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bit: Option<u64>,
    /// What was counted, or why it was skipped.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
    /// Anything else worth keeping.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

/// A fault begun, ended, or not made.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct FaultEvent {
    /// When, on the clock of the history.
    pub time: Nanos,
    /// Which.
    pub nemesis: Nemesis,
    /// To whom: a node, several, `all`, a link.
    pub target: String,
    /// What became of it.
    pub outcome: FaultOutcome,
    /// The proof.
    #[serde(default)]
    pub evidence: Evidence,
}
