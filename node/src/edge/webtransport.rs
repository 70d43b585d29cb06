//! The way in over HTTP/3: WebTransport, for browsers, on the node's one UDP port, beside `kith/1`.
//!
//! ```text
//! each side      a stream of its own: its SETTINGS
//! the client     CONNECT of [`PATH`], on its first stream both ways; what closes that stream ends the session
//!                its further streams both ways begin with the session's number, and are then those of `kith/1`: chat first, pulls after it
//! ```
//! In: connections with ALPN `h3` that were let in by `admission`; requests for [`ABOUT_PATH`] on the listeners of the HTTP API. Out: sessions of the edge,
//! as any other; where a page finds this node over QUIC, and what shows that it is this one. Invariants: as for WebSockets, which pages may come is up to [`Pages`]; nothing of
//! HTTP/3 is answered but that one request. Bounds: [`super::HANDSHAKE_WITHIN`] for all of it, [`STREAMS_MAX`] and [`ONE_WAY_BEFORE_SETTINGS`]
//! streams; heads as the library has them (16 KiB). Not here: what is on the streams (`session::link::web`).

use std::{net::IpAddr, sync::Arc};

use axum::{
    Router,
    extract::State,
    response::{IntoResponse, Response},
    routing::get,
};
// The heads of requests are no face of the node.
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use kith_wire::limit;
use quinn::{Connection, RecvStream, SendStream, VarInt};
use web_transport_proto::{ConnectError, ConnectRequest, ConnectResponse, Settings, SettingsError, StreamUni};

use super::{Edge, metrics::EdgeReject, websocket::PATH};
use crate::{pages::Pages, session::Web};

/// Where a page asks for what it needs to connect.
pub const ABOUT_PATH: &str = "/kith/1/webtransport";
/// Streams both ways that a client may have open: the one of its request, chat, and pulls.
const STREAMS_MAX: u32 = 2 + limit::SESSION_PULLS_MAX as u32;
/// Streams of a client that may come before the one of its settings: those of QPACK, which nobody needs, and what it makes up to try us.
const ONE_WAY_BEFORE_SETTINGS: usize = 8;
/// Numbers of HTTP/3 (RFC 9114, section 8.1): all went well; the settings are none of a client that we know; the request is none.
const H3_NO_ERROR: VarInt = VarInt::from_u32(0x100);
const H3_SETTINGS_ERROR: VarInt = VarInt::from_u32(0x109);
const H3_MESSAGE_ERROR: VarInt = VarInt::from_u32(0x10e);

/// Hears what a client of HTTP/3 wants; gives a session if it may have one. `None`: it was answered, or has gone.
pub(crate) async fn enter(connection: Connection, edge: &Edge) -> Option<Web> {
    connection.set_max_concurrent_bi_streams(VarInt::from_u32(STREAMS_MAX));
    let (ours, theirs) = tokio::join!(say_settings(&connection), hear_settings(&connection));
    // Each side's settings are said on a stream that stays open as long as the connection.
    let (Some(ours), Some(theirs)) = (ours, theirs) else { return refuse(&connection, edge, H3_SETTINGS_ERROR, "this is no client of WebTransport") };
    let (mut send, mut recv) = connection.accept_bi().await.ok()?;
    let judged = match ConnectRequest::read(&mut recv).await {
        Ok(request) => {
            let (url, origin) = (&request.url, request.headers.get(header::ORIGIN));
            judge(url.path(), url.authority(), origin, edge.pages(), connection.remote_address().ip())
        }
        Err(error) => {
            tracing::debug!(cause = %error, "edge.webtransport: no request");
            let Some(status) = status_of(&error) else { return refuse(&connection, edge, H3_MESSAGE_ERROR, "this is no request of HTTP/3") };
            Err((status, EdgeReject::Request))
        }
    };
    match judged {
        Ok(()) => {
            ConnectResponse::OK.write(&mut send).await.ok()?;
            Some(Web::new(connection, (send, recv), (ours, theirs)))
        }
        Err((status, reason)) => {
            edge.metrics().reject(reason);
            if ConnectResponse::new(status).write(&mut send).await.is_ok() && send.finish().is_ok() {
                // Until it has the answer.
                let _ = send.stopped().await;
            }
            connection.close(H3_NO_ERROR, b"");
            None
        }
    }
}

/// Whether this request is for a session, of a page that may have one.
fn judge(path: &str, host: &str, origin: Option<&HeaderValue>, pages: &Pages, from: IpAddr) -> Result<(), (StatusCode, EdgeReject)> {
    if path != PATH {
        return Err((StatusCode::NOT_FOUND, EdgeReject::Request));
    }
    if !pages.may_connect(origin.map(|origin| origin.to_str().unwrap_or_default()), Some(host), from) {
        return Err((StatusCode::FORBIDDEN, EdgeReject::Origin));
    }
    Ok(())
}

/// What is answered to a request that is sound, and no one for a session; `None`: it is not sound.
fn status_of(error: &ConnectError) -> Option<StatusCode> {
    match error {
        ConnectError::WrongMethod(_) | ConnectError::WrongProtocol(_) | ConnectError::InvalidMethod => Some(StatusCode::NOT_IMPLEMENTED),
        ConnectError::InvalidUrl(_) | ConnectError::WrongScheme(_) | ConnectError::WrongAuthority | ConnectError::WrongPath => {
            Some(StatusCode::BAD_REQUEST)
        }
        ConnectError::FieldSectionTooLarge => Some(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE),
        _ => None,
    }
}

fn refuse(connection: &Connection, edge: &Edge, code: VarInt, why: &str) -> Option<Web> {
    // One that has gone meanwhile was not turned away.
    if connection.close_reason().is_none() {
        edge.metrics().reject(EdgeReject::Request);
        connection.close(code, why.as_bytes());
    }
    None
}

async fn say_settings(connection: &Connection) -> Option<SendStream> {
    let mut stream = connection.open_uni().await.ok()?;
    let mut settings = Settings::default();
    settings.enable_webtransport(1);
    settings.write(&mut stream).await.ok()?;
    Some(stream)
}

/// The client's streams one way, of which the last one said that it knows WebTransport. To drop one of them would be an error of HTTP/3.
async fn hear_settings(connection: &Connection) -> Option<Vec<RecvStream>> {
    let mut held = Vec::new();
    while held.len() < ONE_WAY_BEFORE_SETTINGS {
        let mut stream = connection.accept_uni().await.ok()?;
        let heard = Settings::read(&mut stream).await;
        held.push(stream);
        match heard {
            Ok(settings) => return (settings.supports_webtransport() > 0).then_some(held),
            Err(SettingsError::UnexpectedStreamType(kind))
                if kind == StreamUni::QPACK_ENCODER || kind == StreamUni::QPACK_DECODER || kind.is_grease() => {}
            Err(_) => return None,
        }
    }
    None
}

/// What pages ask for before they connect.
pub(crate) fn routes(edge: Arc<Edge>) -> Router {
    Router::new().route(ABOUT_PATH, get(about)).with_state(edge)
}

/// Where this node is over QUIC, and the digest of what it shows there. Pages that may connect may read it; it is no secret.
async fn about(State(edge): State<Arc<Edge>>, headers: HeaderMap) -> Response {
    let pages = edge.pages();
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let Some(origin) = text(header::HOST).and_then(|host| pages.quic_origin(host)) else { return StatusCode::BAD_REQUEST.into_response() };
    let digest = match pages.certificate().digest(edge.now()) {
        Ok(digest) => digest,
        Err(error) => {
            tracing::warn!(cause = %error, "edge.webtransport: browsers will come by WebSocket");
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        }
    };
    let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let body = serde_json::json!({ "url": format!("{origin}{PATH}"), "sha256": digest }).to_string();
    let mut answer =
        ([(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store"), (header::VARY, "origin")], body).into_response();
    // A page of another node asks when its own is gone. From where it is does not matter here: the session itself is judged by that.
    let asked = headers.get(header::ORIGIN).filter(|origin| pages.may_connect(origin.to_str().ok().or(Some("")), text(header::HOST), NOWHERE));
    if let Some(origin) = asked.and_then(|origin| HeaderValue::from_bytes(origin.as_bytes()).ok()) {
        answer.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    }
    answer
}

/// An address that nobody has.
const NOWHERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED);

/// For the fuzz target: reads what a stranger may send before it is known. No API.
pub(crate) fn read_head(mut bytes: &[u8]) -> (bool, bool) {
    let settings = Settings::decode(&mut { bytes }).is_ok_and(|settings| settings.supports_webtransport() > 0);
    let request = ConnectRequest::decode(&mut bytes);
    (settings, request.is_ok_and(|request| request.url.path() == PATH))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pages::tests::pages;

    #[test]
    fn a_session_is_for_pages_that_may_have_one_at_its_own_path() {
        let pages = pages("192.0.2.7:7600");
        let judged = |path, origin: Option<&str>| {
            let origin = origin.map(|origin| HeaderValue::from_str(origin).unwrap());
            judge(path, "chat.example:7600", origin.as_ref(), &pages, IpAddr::from([192, 0, 2, 1]))
        };
        assert_eq!(judged(PATH, None), Ok(()), "no browser");
        assert_eq!(judged(PATH, Some("https://chat.example:7600")), Ok(()));
        assert_eq!(judged(PATH, Some("https://app.example")), Ok(()));
        assert_eq!(judged(PATH, Some("https://evil.example")), Err((StatusCode::FORBIDDEN, EdgeReject::Origin)));
        for path in ["/", "/kith/1/", "/kith/2", ABOUT_PATH] {
            assert_eq!(judged(path, Some("https://evil.example")), Err((StatusCode::NOT_FOUND, EdgeReject::Request)), "{path}");
        }
    }
}
