//! The node's HTTP faces: health and metrics for operators, here; the API for those who chat without a session, in [`api`].
//!
//! In: a bound listener, [`Health`], the metrics registry. Out: `/livez`, `/readyz` (`?verbose` lists the checks), `/metrics` (OpenMetrics).
//! Invariants: what is not known is not a pass; the faces have listeners of their own. Not here: what a node's checks look at ([`ready`]),
//! connections and TLS of the API ([`listen`]), the web chat ([`page`]), what is for this machine alone ([`local`]), how they are opened ([`open`]).

pub mod api;
mod health;
pub mod listen;
pub mod local;
pub(crate) mod open;
pub(crate) mod page;
pub(crate) mod ready;

use std::{io, sync::Arc};

use axum::{Router, routing::get};
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use health::{Check, Health, Outcome};

/// Serves until cancelled; requests under way are answered first.
///
/// # Errors
/// The listener fails.
pub async fn serve(listener: TcpListener, health: Arc<dyn Health>, registry: Arc<Registry>, cancel: CancellationToken) -> io::Result<()> {
    axum::serve(listener, routes(health, registry)).with_graceful_shutdown(async move { cancel.cancelled().await }).await
}

/// The routes, without a listener.
pub fn routes(health: Arc<dyn Health>, registry: Arc<Registry>) -> Router {
    let live = Arc::clone(&health);
    Router::new()
        .route("/livez", get(move |uri| health::answer(live.live(), uri)))
        .route("/readyz", get(move |uri| health::answer(health.ready(), uri)))
        .route("/metrics", get(move || metrics(registry)))
}

async fn metrics(registry: Arc<Registry>) -> Result<([(&'static str, &'static str); 1], String), axum::http::StatusCode> {
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).map_err(|_| axum::http::StatusCode::INTERNAL_SERVER_ERROR)?;
    Ok(([("content-type", "application/openmetrics-text; version=1.0.0; charset=utf-8")], text))
}

#[cfg(test)]
mod tests {
    use prometheus_client::metrics::counter::Counter;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpStream,
    };

    use super::*;

    struct Fixed;
    impl Health for Fixed {
        fn live(&self) -> Vec<Check> {
            vec![Check::pass("runtime")]
        }
        fn ready(&self) -> Vec<Check> {
            vec![Check::pass("joined"), Check::unknown("leaders", "not asked yet")]
        }
    }

    async fn ask(address: std::net::SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: k\r\nconnection: close\r\n\r\n").as_bytes()).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        text
    }

    #[tokio::test]
    async fn health_and_metrics_are_served_until_cancelled() {
        let mut registry = Registry::default();
        let counter: Counter = Counter::default();
        registry.register("kith_test_requests", "Requests.", counter.clone());
        counter.inc();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let cancel = CancellationToken::new();
        let serving = serve(listener, Arc::new(Fixed), Arc::new(registry), cancel.clone());
        let asking = async {
            assert!(ask(address, "/livez").await.starts_with("HTTP/1.1 200"));
            let ready = ask(address, "/readyz").await;
            assert!(ready.starts_with("HTTP/1.1 503"), "unknown is not a pass: {ready}");
            let verbose = ask(address, "/readyz?verbose").await;
            assert!(verbose.contains(r#"{"name":"leaders","outcome":"unknown","detail":"not asked yet"}"#), "{verbose}");
            let metrics = ask(address, "/metrics").await;
            assert!(metrics.contains("kith_test_requests_total 1") && metrics.contains("# EOF"), "{metrics}");
            assert!(ask(address, "/nothing").await.starts_with("HTTP/1.1 404"));
            cancel.cancel();
        };
        let (served, ()) = tokio::join!(serving, asking);
        served.unwrap();
    }
}
