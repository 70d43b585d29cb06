//! Checks of a node's health, and how they are told over HTTP.

use axum::{
    http::{StatusCode, Uri},
    response::{IntoResponse, Response},
};
use serde::Serialize;

/// Looks at the node. Must answer at once: what takes time is looked at before, and its last result told.
pub trait Health: Send + Sync + 'static {
    /// Whether this process works at all: its runtime and its disk, never its peers.
    fn live(&self) -> Vec<Check>;
    /// Whether it should get clients: joined, map fresh, disk writable, not draining, reaches the leaders of most of its groups.
    fn ready(&self) -> Vec<Check>;
}

/// One thing that was looked at.
#[derive(Clone, PartialEq, Eq, Serialize, Debug)]
pub struct Check {
    /// What.
    pub name: &'static str,
    /// How it stands.
    pub outcome: Outcome,
    /// For a person; mostly empty for a pass.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub detail: String,
}

/// How a check stands.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Debug)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Good.
    Pass,
    /// Bad.
    Fail,
    /// Not known; counts as bad.
    Unknown,
}

impl Check {
    /// A check that passed.
    pub const fn pass(name: &'static str) -> Self {
        Self { name, outcome: Outcome::Pass, detail: String::new() }
    }
    /// A check that passed, and what somebody should know all the same.
    pub fn note(name: &'static str, detail: impl Into<String>) -> Self {
        Self { name, outcome: Outcome::Pass, detail: detail.into() }
    }
    /// A check that failed, and why.
    pub fn fail(name: &'static str, detail: impl Into<String>) -> Self {
        Self { name, outcome: Outcome::Fail, detail: detail.into() }
    }
    /// A check whose result is not known, and why.
    pub fn unknown(name: &'static str, detail: impl Into<String>) -> Self {
        Self { name, outcome: Outcome::Unknown, detail: detail.into() }
    }
}

/// 200 when every check passed, else 503; the checks as JSON with `?verbose`, else one line.
pub(super) async fn answer(checks: Vec<Check>, uri: Uri) -> Response {
    let failed: Vec<&Check> = checks.iter().filter(|check| check.outcome != Outcome::Pass).collect();
    let status = if failed.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let is_verbose = uri.query().is_some_and(|query| query.split('&').any(|part| part == "verbose" || part.starts_with("verbose=")));
    if is_verbose {
        return (status, axum::Json(checks)).into_response();
    }
    let text = match &failed[..] {
        [] => "ok\n".to_owned(),
        failed => failed.iter().map(|check| format!("{}: {}\n", check.name, check.detail)).collect(),
    };
    (status, text).into_response()
}
