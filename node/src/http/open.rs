//! A node's HTTP faces, opened: the API with TLS and in the clear, health and metrics, and the socket for who is on this machine.
//!
//! In: addresses of the settings. Out: listeners that serve until their tasks are cancelled, and where they are bound. Not here: what is answered.

use std::{io, net::SocketAddr, path::Path, sync::Arc};

use prometheus_client::registry::Registry;
use tokio::net::TcpListener;

use super::{
    Health,
    api::{ApiOptions, Rates},
    listen::{self, ListenParts},
    local,
};
use crate::{config::ApiConfig, supervise::Tasks};

/// Bounds of the API, as the settings say.
pub(crate) fn api_options(config: &ApiConfig) -> ApiOptions {
    let rates = Rates { user: config.user_per_s, device: config.device_per_s, address: config.address_per_s };
    ApiOptions { rates, streams_max: config.streams_max, origins: config.origins.clone() }
}

/// Serves the API at an address, if there is one; gives the address that is bound.
///
/// # Errors
/// The address is taken or not ours.
pub(crate) async fn api(address: Option<SocketAddr>, parts: ListenParts) -> Result<Option<SocketAddr>, (SocketAddr, io::Error)> {
    let Some(address) = address else { return Ok(None) };
    let failed = |error| (address, error);
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    let tasks = parts.tasks.clone();
    tasks.spawn_finishing("http.accept", listen::accept(listener, parts));
    Ok(Some(bound))
}

/// Serves health and metrics at an address, if there is one; gives the address that is bound.
///
/// # Errors
/// As [`api`].
pub(crate) async fn health(
    address: Option<SocketAddr>,
    health: Arc<dyn Health>,
    registry: Arc<Registry>,
    tasks: &Tasks,
) -> Result<Option<SocketAddr>, (SocketAddr, io::Error)> {
    let Some(address) = address else { return Ok(None) };
    let failed = |error| (address, error);
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    let cancel = tasks.cancelled();
    tasks.spawn_finishing("http.serve", async move {
        if let Err(error) = super::serve(listener, health, registry, cancel).await {
            tracing::error!(cause = %error, "http.serve failed");
        }
    });
    Ok(Some(bound))
}

/// Serves who is on this machine, at a socket beside the data directory. A node works without: a path may be too long for one.
pub(crate) fn local(data: &Path, face: local::Local, tasks: &Tasks) {
    let path = local::socket_of(data);
    let listener = match local::bind(&path) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::info!(path = %path.display(), cause = %error, "http.local: there is no local socket: kith debug will not reach this node");
            return;
        }
    };
    let cancel = tasks.cancelled();
    tasks.spawn_finishing("http.local", async move {
        let served = axum::serve(listener, local::routes(Arc::new(face))).with_graceful_shutdown(async move { cancel.cancelled().await });
        if let Err(error) = served.await {
            tracing::error!(cause = %error, "http.local failed");
        }
    });
}
