//! The way in over TCP: WebSockets, for browsers, and for clients whose network lets no UDP through.
//!
//! In: requests for one at [`PATH`], on the listeners of the HTTP API: its TLS, its port. Out: sessions of the edge, as any other. Invariants: a page
//! of another site gets none, unless the settings name its origin; admission and places are those of QUIC, and who gets none is told why and
//! where to go. Bounds: a message of [`MESSAGE_BYTES_MAX`]; [`READ_BYTES`] to read into. Not here: what is in the messages (`session::link::socket`).

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use axum::{
    Router,
    extract::{
        State, WebSocketUpgrade,
        ws::{WebSocket, rejection::WebSocketUpgradeRejection},
    },
    response::{IntoResponse, Response},
    routing::get,
};
// The heads of requests are no face of the node.
use axum::http::{Extensions, HeaderMap, StatusCode, header};
use kith_raft::Lanes;

use super::{Edge, metrics::EdgeReject};
use crate::session::MESSAGE_BYTES_MAX;

/// Where a WebSocket is asked for: as the ALPN of QUIC has it.
pub const PATH: &str = "/kith/1";
/// To read into, in bytes: an idle session pays for it.
const READ_BYTES: usize = 4 * 1024;
/// Of what is being written, in bytes: with more the session waits for the client.
const WRITE_BYTES: usize = 256 * 1024;

/// What opens WebSockets.
pub struct Sockets {
    edge: Arc<Edge>,
    lanes: Arc<Lanes>,
    number: AtomicU64,
    origins: Vec<String>,
    places: Places,
    address: fn(&Extensions) -> Option<IpAddr>,
}

/// Where the nodes of the cluster are, `host:port`, as the map has it now.
pub type Places = Arc<dyn Fn() -> Vec<String> + Send + Sync>;

impl Sockets {
    /// Pages of `origins`, and those that a node of the cluster serves itself, may open one: when their node is gone, they go on at another. `address`
    /// finds out where a request is from.
    pub fn new(edge: Arc<Edge>, lanes: Arc<Lanes>, origins: Vec<String>, places: Places, address: fn(&Extensions) -> Option<IpAddr>) -> Self {
        Self { edge, lanes, number: AtomicU64::new(0), origins, places, address }
    }
    /// The route.
    pub fn routes(self) -> Router {
        Router::new().route(PATH, get(open)).with_state(Arc::new(self))
    }

    /// Runs a session, on a lane: those of all connections take turns.
    fn serve(&self, socket: WebSocket, from: IpAddr) {
        let lane = self.lanes.of_number(self.number.fetch_add(1, Ordering::Relaxed));
        self.edge.serve_socket(socket, from, self.lanes.handle(lane));
    }
}

impl std::fmt::Debug for Sockets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sockets").field("origins", &self.origins).finish_non_exhaustive()
    }
}

async fn open(
    State(sockets): State<Arc<Sockets>>,
    extensions: Extensions,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    let upgrade = match upgrade {
        Ok(upgrade) => upgrade,
        Err(rejection) => return rejection.into_response(),
    };
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    if !may_open(text(header::ORIGIN), text(header::HOST), &sockets.origins, &sockets.places) {
        sockets.edge.metrics().reject(EdgeReject::Origin);
        return (StatusCode::FORBIDDEN, "pages of this origin may not connect here: see origins in [api] of the node's settings\n").into_response();
    }
    let Some(from) = (sockets.address)(&extensions) else { return StatusCode::INTERNAL_SERVER_ERROR.into_response() };
    let Some(handshake) = sockets.edge.admit_socket(from) else {
        return (StatusCode::TOO_MANY_REQUESTS, "too many connections from here, or to here: try again later\n").into_response();
    };
    let upgrade = upgrade.read_buffer_size(READ_BYTES).write_buffer_size(0).max_write_buffer_size(WRITE_BYTES);
    let upgrade = upgrade.max_message_size(MESSAGE_BYTES_MAX).max_frame_size(MESSAGE_BYTES_MAX);
    upgrade.on_upgrade(move |socket| async move {
        drop(handshake);
        sockets.serve(socket, from);
    })
}

/// Whether a page of `origin` may open a WebSocket at `host`. Browsers always say where a page is from; who says nothing is none.
fn may_open(origin: Option<&str>, host: Option<&str>, allowed: &[String], places: &Places) -> bool {
    let Some(origin) = origin else { return true };
    let is = |one: &str, other: &str| one.eq_ignore_ascii_case(other);
    let own = origin.split_once("://").map(|(_, place)| place);
    let is_own = own.is_some_and(|place| host.is_some_and(|host| is(host, place)));
    let is_of_node = || own.is_some_and(|place| origin.starts_with("https://") && places().iter().any(|node| is(node, place)));
    is_own || allowed.iter().any(|allowed| is(allowed, origin)) || is_of_node()
}

const _: () = assert!(WRITE_BYTES > 128 * 1024, "what one flush is given fits: 64 KiB, and one message more");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_of_a_node_or_of_a_named_origin_may_open_one_and_no_other() {
        let allowed = ["https://app.example".to_owned()];
        let places: Places = Arc::new(|| vec!["other.example:7600".to_owned()]);
        let may = |origin, host| may_open(origin, host, &allowed, &places);
        assert!(may(None, Some("chat.example:7600")), "no browser");
        assert!(may(Some("https://chat.example:7600"), Some("chat.example:7600")));
        assert!(may(Some("http://Localhost:7681"), Some("localhost:7681")));
        assert!(may(Some("https://app.example"), Some("chat.example:7600")));
        assert!(may(Some("https://other.example:7600"), Some("chat.example:7600")), "its node is gone, and it goes on here");
        for other in
            ["https://evil.example", "https://chat.example", "https://chat.example:7600.evil.example", "http://other.example:7600", "null", ""]
        {
            assert!(!may(Some(other), Some("chat.example:7600")), "{other}");
        }
        assert!(!may(Some("https://chat.example"), None));
    }
}
