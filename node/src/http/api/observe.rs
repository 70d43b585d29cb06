//! Around every request: its name, its address's rate, its metrics, its span; and the bodies of problems.

use axum::{
    extract::{Request, State},
    http::{HeaderValue, StatusCode, header},
    middleware::Next,
    response::Response,
};
use kith_wire::code::Code;
use tracing::Instrument;

use super::{
    Api, PeerAddress, Trace, extract,
    metrics::{Class, RouteLabel},
    problem::Problem,
};
use crate::clock;

/// Names, limits, counts and answers a request.
pub(super) async fn observe(State(api): State<Api>, mut request: Request, next: Next) -> Response {
    let trace = clock::draw();
    let route = extract::route(&request);
    let begun = api.clock.instant();
    let address = request.extensions().get::<PeerAddress>().copied();
    request.extensions_mut().insert(Trace(trace));
    let span = tracing::debug_span!("http.request", node = %api.service.router().node(), request = trace, route);
    let response = async {
        match address.map_or(Ok(()), |PeerAddress(address)| api.limiter.address(address)) {
            Ok(()) => next.run(request).await,
            Err(problem) => axum::response::IntoResponse::into_response(problem),
        }
    };
    let mut response = written(response.instrument(span).await, trace);
    if !is_listener(&route) {
        api.metrics.wait.observe(api.clock.instant().saturating_duration_since(begun).as_secs_f64());
    }
    api.metrics.requests.get_or_create(&RouteLabel { route, class: Class::of(response.status().as_u16()) }).inc();
    if let Ok(value) = HeaderValue::from_str(&name(trace)) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response
}

/// A problem with its body, any other answer as it is.
fn written(response: Response, trace: u64) -> Response {
    let Some(problem) = response.extensions().get::<Problem>().cloned() else { return response };
    let (mut head, _) = response.into_parts();
    head.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    head.headers.remove(header::CONTENT_LENGTH);
    // A struct of texts and numbers can always be written.
    let body = serde_json::to_vec(&problem.body(name(trace))).unwrap_or_default();
    Response::from_parts(head, body.into())
}

fn name(trace: u64) -> String {
    format!("{trace:016x}")
}

fn is_listener(route: &str) -> bool {
    matches!(route, "/v1/sync" | "/v1/events")
}

/// Answers what no route is for.
pub(super) async fn no_route() -> Problem {
    Problem::new(Code::NotFound, "there is no such route: /v1/openapi.json lists them")
}

/// Answers what a route has no method for; the router names those it has.
pub(super) async fn no_method() -> Problem {
    Problem::new(Code::Unsupported, "the route has no such method").with_status(StatusCode::METHOD_NOT_ALLOWED)
}

/// The header that names a request.
pub(super) const REQUEST_ID: header::HeaderName = header::HeaderName::from_static("x-request-id");
