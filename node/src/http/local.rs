//! What a node tells and lets be changed at a socket of its own machine: for `kith debug`, and for who supports it.
//!
//! In: requests over a socket beside the data directory, which its owner alone may open. Out: health, metrics, the last log lines, the settings
//! without what could be a secret, where each replica stands; the filter of the log, which may be changed; an admin token, for who has none left. Invariant: no name, text, token or key
//! of anybody is in any answer. Bound: a body of [`BODY_BYTES_MAX`]. Not here: how they are packed (`cli::debug`).

use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, State},
    http::StatusCode,
    routing::{get, post},
};
use kith_wire::{
    admin::AdminRole,
    client::{Answer, Request},
    id::{DeviceId, UserId},
    peer::Caller,
    trust::{TrustAnswer, TrustRequest},
};
use prometheus_client::registry::Registry;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::UnixListener;

use super::Health;
use crate::{config::Setting, service::Service, telemetry::Log};

/// Where the socket of a node is: beside its data, which holds nothing but files, so that it can be copied.
pub fn socket_of(data: &Path) -> PathBuf {
    let mut name = data.file_name().unwrap_or_default().to_os_string();
    name.push(".sock");
    data.with_file_name(name)
}

/// What it is told from.
pub(crate) struct Local {
    pub(crate) health: Arc<dyn Health>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) service: Service,
    /// Of the process, if it is this node's own.
    pub(crate) log: Option<Log>,
    pub(crate) settings: Vec<Setting>,
}

/// Takes the place of a socket that an earlier process left: the data directory is locked by this one.
///
/// # Errors
/// The path is too long for a socket, or its folder cannot be written.
pub(super) fn bind(path: &Path) -> io::Result<UnixListener> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(OWNER_ONLY))?;
    Ok(listener)
}

/// Health and metrics as everybody gets them, and what is for this machine alone.
pub(super) fn routes(face: Arc<Local>) -> Router {
    let shared = super::routes(face.health.clone(), face.registry.clone());
    let own = Router::new()
        .route("/log", get(level).put(set_level))
        .route("/recent", get(recent))
        .route("/settings", get(settings))
        .route("/replicas", get(replicas))
        .route("/about", get(about))
        .route("/admin-token", post(admin_token))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(face);
    shared.merge(own)
}

async fn level(State(face): State<Arc<Local>>) -> Json<Value> {
    Json(json!({ "level": face.log.as_ref().map(Log::level) }))
}

async fn set_level(State(face): State<Arc<Local>>, level: String) -> (StatusCode, Json<Value>) {
    let Some(log) = &face.log else { return (StatusCode::CONFLICT, Json(json!({ "error": "this process does not log by its own settings" }))) };
    match log.set_level(level.trim()) {
        Ok(()) => {
            tracing::info!(level = level.trim(), "telemetry: logs by another filter now");
            (StatusCode::OK, Json(json!({ "level": log.level() })))
        }
        Err(error) => (StatusCode::BAD_REQUEST, Json(json!({ "error": error.to_string() }))),
    }
}

async fn recent(State(face): State<Arc<Local>>) -> String {
    face.log.as_ref().map(|log| log.recent().text()).unwrap_or_default()
}

async fn settings(State(face): State<Arc<Local>>) -> Json<Value> {
    let shown: Vec<Setting> = face.settings.iter().map(Setting::redacted).collect();
    Json(json!(shown))
}

async fn about(State(face): State<Arc<Local>>) -> Json<Value> {
    let router = face.service.router();
    let map = router.maps().current();
    Json(json!({
        "version": env!("CARGO_PKG_VERSION"), "node": router.node().get(), "map_epoch": map.epoch.get(), "nodes": map.nodes.len(),
        "groups": map.groups.len(), "sessions": face.service.sessions(), "drains": face.service.drains(),
    }))
}

/// What is asked for by who may open the socket: they could read every key of this node.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewAdmin {
    name: String,
    role: String,
    ttl_s: u32,
}

/// The way back in when no admin token is left.
async fn admin_token(State(face): State<Arc<Local>>, body: String) -> (StatusCode, Json<Value>) {
    let refused = |status, error: String| (status, Json(json!({ "error": error })));
    let asked = serde_json::from_str(&body).map_err(|error| error.to_string());
    let asked = asked.and_then(|NewAdmin { name, role, ttl_s }| match role.parse() {
        Ok(role) => Request::Trust(TrustRequest::MakeAdmin { name, role, ttl_s }).checked().map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    });
    let request = match asked {
        Ok(request) => request,
        Err(error) => return refused(StatusCode::BAD_REQUEST, error),
    };
    let clock = face.service.router().clock().clone();
    let caller = Caller { user: UserId::new(0), device: DeviceId::new(0), admin: Some(AdminRole::Admin), trace: 0, key: None, token: None };
    match face.service.handle(&caller, request, clock.instant() + ANSWER_WITHIN).await {
        Ok(Answer::Trust(TrustAnswer::Made { token, id, until })) => {
            tracing::info!(token = %id, "http.local: an admin token was made on this machine");
            (StatusCode::CREATED, Json(json!({ "id": id.to_string(), "token": token.reveal(), "until_ms": until.get() })))
        }
        Ok(_) => refused(StatusCode::INTERNAL_SERVER_ERROR, "an answer of another kind".to_owned()),
        Err(refusal) => refused(StatusCode::SERVICE_UNAVAILABLE, refusal.text),
    }
}

/// Where each replica of this node stands, and which nodes are heard.
async fn replicas(State(face): State<Arc<Local>>) -> Json<Value> {
    let router = face.service.router();
    let map = router.maps().current();
    let held = router.groups().all().into_iter().map(|group| {
        let (id, lead) = (group.id(), group.leadership());
        json!({
            "group": id.get(), "leader": lead.leader.map(|node| node.get()), "term": lead.term.get(), "serving": lead.serving, "entries": group.entries(),
            "bytes": router.groups().bytes(id), "failed": group.has_failed(), "condition": format!("{:?}", router.groups().condition(id)),
        })
    });
    let peers = map.nodes.keys().filter(|node| **node != router.node());
    let peers = peers.map(|node| json!({ "node": node.get(), "alive": router.peers().alive(*node), "reachable": router.peers().reachable(*node) }));
    Json(json!({ "replicas": held.collect::<Vec<_>>(), "peers": peers.collect::<Vec<_>>() }))
}

/// Who may open the socket.
const OWNER_ONLY: u32 = 0o600;
/// For the cluster to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(8);
/// A filter of the log is short.
const BODY_BYTES_MAX: usize = 4 * 1024;
