//! One client's session: the protocol ([`machine`], sans-io) and the streams ([`driver`]), over QUIC, WebTransport or a WebSocket (`link`).
//!
//! In: a connection that was let in, the operations of the node ([`Requests`]), what is pushed (the session's outbox). Out: answers,
//! pages and events for the client. Bounds: `limit::SESSION_*` and `limit::OUTBOX_*`; what a client does not read, it stops by itself:
//! beyond the bound its requests are not read and its pushes are dropped, to be pulled. Not here: who may connect (`edge`), what a
//! request does (`service`), who is told what (`fanout`).

pub mod codec;
pub mod driver;
mod link;
pub mod machine;
pub mod metrics;
mod out;
mod pull;

use std::{net::IpAddr, sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use kith_wire::{
    client::{Answer, Page, Pull, Refusal, Request},
    code::Code,
    id::{Conn, DeviceId, SessionId, UserId},
    peer::Caller,
    presence::PresenceRequest,
};

pub(crate) use self::link::{socket::MESSAGE_BYTES_MAX, web::Web};
use crate::{
    auth::{Claims, Grant},
    clock::Instant,
    outbox::Outbox,
};

/// What clients may ask of the node. The futures of one session are first polled in the order in which they were made.
pub trait Requests: Send + Sync + 'static {
    /// Does a request.
    fn handle(&self, caller: Caller, request: Request, deadline: Instant) -> BoxFuture<'static, Result<Answer, Refusal>>;
    /// Answers a bulk stream.
    fn pull(&self, caller: Caller, pull: Pull, deadline: Instant) -> BoxFuture<'static, Page>;
}

/// Who checks tokens.
pub trait Tokens: Send + Sync + 'static {
    /// What a token says, if it is one of this cluster and its time is not over.
    ///
    /// # Errors
    /// The code that the client gets.
    fn verify(&self, token: &str) -> Result<Claims, Code>;
    /// As [`Tokens::verify`], and of one that is known by the cluster's rows alone what they say. `from`: who shows it.
    ///
    /// # Errors
    /// A refusal with a stable code.
    fn show(&self, token: String, from: IpAddr) -> BoxFuture<'static, Result<Claims, Refusal>> {
        let _ = from;
        let claims = self.verify(&token).map_err(crate::router::refuse);
        Box::pin(std::future::ready(claims))
    }
}

/// Whose a session is, and by which token.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Whose {
    /// The user.
    pub user: UserId,
    /// Their device.
    pub device: DeviceId,
    /// Its count of connections.
    pub conn: Conn,
    /// What its token was given at.
    pub grant: Grant,
}

/// Who keeps strangers from knocking too often.
pub trait Door: Send + Sync + 'static {
    /// Whether somebody at this address may ask for something without a token.
    ///
    /// # Errors
    /// `RateLimited`, with a delay.
    fn knock(&self, from: IpAddr) -> Result<(), Refusal>;
    /// Whether somebody at this address may try a password or a code on this name once more; whether anybody has the name is not asked.
    ///
    /// # Errors
    /// `RateLimited`, with a delay.
    fn guess(&self, from: IpAddr, name: &str) -> Result<(), Refusal>;
}

/// The sessions of this node and their registration.
pub trait Sessions: Send + Sync + 'static {
    /// Takes a session; pushes go to the outbox once it is registered.
    fn open(&self, whose: Whose, outbox: Arc<Outbox>) -> SessionId;
    /// Registers it with the leader of the user's home.
    fn register(&self, session: SessionId, whose: Whose) -> BoxFuture<'static, Result<machine::Registered, Refusal>>;
    /// As `register`, for one that is no device of the user: nothing is noted of it.
    fn watch(&self, session: SessionId, whose: Whose) -> BoxFuture<'static, Result<machine::Registered, Refusal>>;
    /// What it asks of presence: whom it shows, whether somebody sits before it. `false`: not for a session to ask.
    fn presence(&self, session: SessionId, asked: &PresenceRequest) -> bool;
    /// Forgets it.
    fn close(&self, session: SessionId);
    /// How many there are.
    fn count(&self) -> usize;
    /// Tells all of them to move, spread over the time.
    fn go_away(&self, within: Duration);
    /// Ends all of them for a reason.
    fn close_all(&self, why: &Refusal);
}
