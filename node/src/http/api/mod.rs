//! The HTTP API: all of chat for those who hold no QUIC session. Any node answers any request; none keeps anything of it.
//!
//! In: requests, each with a token. Out: JSON, or a problem (RFC 9457). A handler turns a request into one for the service and its answer into
//! a body; rules are the service's, and leaders are found by the router, as for a session. Invariants: a write under a key is done once
//! ([`once`]), whatever node it is asked of; the document at `/v1/openapi.json` is made from the handlers, and is the one that is checked in;
//! bodies, tokens and names are in no log, metric or span. Bounds: [`extract`], [`rate`], [`ApiOptions`]. Not here: the listener and TLS
//! ([`super::listen`]), health and metrics ([`super`]).

mod bot;
mod cursor;
mod document;
mod events;
mod extract;
mod form;
pub(crate) mod fuzz;
mod live;
pub mod metrics;
mod model;
mod number;
mod observe;
mod once;
mod problem;
mod rate;
mod routes;
mod stays;
mod sync;

use std::{net::IpAddr, sync::Arc, time::Duration};

use axum::http::{HeaderValue, header, request::Parts};
use kith_wire::{
    client::{Answer, Page, Pull, Refusal, Request},
    code::Code,
    id::ChannelId,
    peer::Caller,
};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tower_http::cors::{AllowOrigin, CorsLayer};

pub use document::document;
pub use metrics::ApiMetrics;
pub use problem::Problem;
pub use rate::Rates;

use self::{
    extract::{Place, Who},
    rate::Limiter,
};
use crate::{
    auth::gate::Gate,
    clock::{Instant, SharedClock},
    http::Health,
    service::{Service, account},
    session::{Door, Sessions, Tokens, metrics::OutboxMetrics},
};

/// What can be chosen.
#[derive(Clone, Debug)]
pub struct ApiOptions {
    /// How often somebody may ask.
    pub rates: Rates,
    /// Listeners (long polls and event streams) of this node; the next is `Busy`.
    pub streams_max: usize,
    /// Web pages of these origins may use the API; of no other.
    pub origins: Vec<String>,
}

/// What the API stands on.
pub struct ApiParts {
    /// The operations.
    pub service: Service,
    /// Who checks tokens.
    pub tokens: Arc<dyn Tokens>,
    /// Who keeps strangers from knocking too often.
    pub door: Arc<dyn Door>,
    /// The node's sessions: a listener is one.
    pub sessions: Arc<dyn Sessions>,
    /// Of their queues.
    pub outbox_metrics: Arc<OutboxMetrics>,
    /// Time.
    pub clock: SharedClock,
    /// Counters.
    pub metrics: Arc<ApiMetrics>,
    /// Draws what follows from a caller's key.
    pub gate: Gate,
    /// How the node is.
    pub health: Arc<dyn Health>,
    /// Known to the nodes of the cluster alone: what is drawn by it from a caller's key, nobody else can draw.
    pub secret: [u8; 32],
    /// Fires when the node ends: listeners are told to go elsewhere.
    pub ending: CancellationToken,
    /// Choices.
    pub options: ApiOptions,
}

/// What every handler gets. Clones are the same API.
#[derive(Clone)]
struct Api(Arc<Inside>);

struct Inside {
    service: Service,
    tokens: Arc<dyn Tokens>,
    door: Arc<dyn Door>,
    sessions: Arc<dyn Sessions>,
    outbox_metrics: Arc<OutboxMetrics>,
    clock: SharedClock,
    metrics: Arc<ApiMetrics>,
    gate: Gate,
    health: Arc<dyn Health>,
    secret: [u8; 32],
    ending: CancellationToken,
    limiter: Limiter,
    bots: bot::BotTokens,
    stays: stays::Stays,
    streams: Arc<Semaphore>,
    /// The OpenAPI document.
    document: bytes::Bytes,
}

impl std::ops::Deref for Api {
    type Target = Inside;
    fn deref(&self) -> &Inside {
        &self.0
    }
}

/// The routes of the API, ready to be served. The listener says who asks, by a [`PeerAddress`].
pub fn router(parts: ApiParts) -> axum::Router {
    let ApiParts { service, tokens, door, sessions, outbox_metrics, clock, metrics, gate, health, secret, ending, options } = parts;
    let limiter = Limiter::new(options.rates, &clock);
    let streams = Arc::new(Semaphore::new(options.streams_max));
    let api = Api(Arc::new(Inside {
        service,
        tokens,
        door,
        sessions,
        outbox_metrics,
        clock,
        metrics,
        gate,
        health,
        secret,
        ending,
        limiter,
        bots: bot::BotTokens::default(),
        stays: stays::Stays::default(),
        streams,
        document: document().into(),
    }));
    let (router, _) = document::routes().split_for_parts();
    router
        .fallback(observe::no_route)
        .method_not_allowed_fallback(observe::no_method)
        .layer(cors(&options.origins))
        .layer(axum::middleware::from_fn_with_state(api.clone(), observe::observe))
        .with_state(api)
}

/// Closed unless somebody opens it: without an origin no page of a browser gets an answer that it may read.
fn cors(origins: &[String]) -> CorsLayer {
    let origins = origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok());
    CorsLayer::new()
        .allow_origin(AllowOrigin::list(origins))
        .allow_methods([axum::http::Method::GET, axum::http::Method::POST, axum::http::Method::PUT, axum::http::Method::DELETE])
        .allow_headers([header::AUTHORIZATION, header::CONTENT_TYPE, IDEMPOTENCY_KEY, LAST_EVENT_ID])
        .expose_headers([header::RETRY_AFTER, observe::REQUEST_ID, once::REPLAYED])
}

impl Inside {
    /// By when an answer must be there.
    fn deadline(&self) -> Instant {
        self.clock.instant() + ANSWER_WITHIN
    }
    /// Has the service answer. A request is held to what a stream's frames are held to: limits of fields stand in one place.
    async fn ask(&self, caller: &Caller, request: Request) -> Result<Answer, Problem> {
        let request = request.checked().map_err(Refusal::from)?;
        // Boxed: it is larger than all that a handler has besides.
        let answer = tokio::time::timeout(ANSWER_WITHIN + GRACE, Box::pin(self.service.handle(caller, request, self.deadline()))).await;
        Ok(answer.unwrap_or_else(|_| Err(Refusal::new(Code::OutcomeUnknown)))?)
    }
    async fn pull(&self, caller: &Caller, pull: Pull) -> Result<Page, Problem> {
        match tokio::time::timeout(ANSWER_WITHIN + GRACE, Box::pin(self.service.pull(caller, pull, self.deadline()))).await {
            Ok(Page::Refused(refusal)) => Err(refusal.into()),
            Ok(page) => Ok(page),
            Err(_) => Err(Code::Timeout.into()),
        }
    }
    /// The channel that a caller means.
    async fn channel(&self, who: &Who, place: Place) -> Result<ChannelId, Problem> {
        let name = match place {
            Place::Channel(channel) => return Ok(channel),
            Place::With(name) => name,
        };
        match Box::pin(account::find_user(self.service.router(), &name, self.deadline())).await? {
            Answer::Users(users) => match users.first() {
                Some(peer) => Ok(ChannelId::direct(who.caller.user, peer.user)),
                None => Err(Code::NoSuchUser.into()),
            },
            _ => Err(Code::Internal.into()),
        }
    }
}

/// Names a request in every node's log.
#[derive(Clone, Copy, Debug)]
struct Trace(u64);

impl Trace {
    fn of(parts: &Parts) -> u64 {
        parts.extensions.get::<Self>().map_or(0, |trace| trace.0)
    }
}

/// Where a request came from; the listener puts it into each request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PeerAddress(pub IpAddr);

/// An answer that is no other than what was asked for.
fn unexpected() -> Problem {
    Code::Internal.into()
}

/// Names a write.
const IDEMPOTENCY_KEY: header::HeaderName = header::HeaderName::from_static("idempotency-key");
/// Where a client of server-sent events goes on.
const LAST_EVENT_ID: header::HeaderName = header::HeaderName::from_static("last-event-id");
/// For the service to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// For it to say that it could not.
const GRACE: Duration = Duration::from_secs(1);
