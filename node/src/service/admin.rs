//! Admin tokens as any node serves them: whose a token is that somebody shows, making, listing and ending them, and the cluster's first.
//!
//! In: the text of a token; operators' requests. Out: what it is good for; tokens, each said once. Invariants: of a token the cluster keeps a digest; a
//! token that was ended is refused by every node [`KEPT`] later at the latest, by one that is cut off from the meta group [`STALE`] later. Bounds:
//! `limit::ADMIN_TOKENS_MAX` are known, and [`UNKNOWN_MAX`] that are none; who shows many that are none is told to wait. Not here: which request needs
//! which role ([`super::check`]), the rows (kith-machine's `meta::admin`).

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use kith_machine::{
    meta::admin::{admins, had_first, stands},
    reply::Reply,
};
use kith_raft::GroupHandle;
use kith_wire::{
    admin::{AdminRole, AdminSecret, AdminToken, AdminView},
    client::Refusal,
    code::Code,
    id::{GroupId, Timestamp, UserId},
    limit,
    log::Command,
    peer::{Caller, Inner, InnerAnswer},
    secret::Secret,
    trust::{TokenId, TrustAnswer, TrustChange},
};

use super::local;
use crate::{
    auth::{Claims, gate::limited},
    clock::{Instant, draw_bytes},
    rate::{self, Rate, Rates},
    router::{Router, refuse},
};

/// What is known of admin tokens at this node. Clones are of the same node.
#[derive(Clone, Debug)]
pub struct AdminTokens {
    router: Router,
    known: Arc<Mutex<HashMap<TokenId, Known>>>,
    /// Tokens that are none, by address.
    guesses: Arc<Rates>,
}

#[derive(Clone, Debug)]
struct Known {
    asked: Instant,
    /// `None`: there is none.
    token: Option<Arc<AdminToken>>,
}

impl AdminTokens {
    /// Over a router.
    pub fn new(router: Router) -> Self {
        Self { router, known: Arc::default(), guesses: Arc::new(Rates::new(GUESSES)) }
    }

    /// What a token says that somebody at this address shows.
    ///
    /// # Errors
    /// `BadToken`, `Revoked`, `TokenExpired`, `TokenSpent`; `NotAllowed` for a first token; those of the meta group.
    pub async fn show(&self, text: &str, from: IpAddr) -> Result<Claims, Refusal> {
        let secret: AdminSecret = text.parse().map_err(|_| refuse(Code::BadToken))?;
        if secret.is_first() {
            return Err(refuse(Code::NotAllowed).with_text("this is the cluster's first token: it makes another, once (kith admin claim)"));
        }
        let (digest, now) = (secret.digest(), self.router.clock().instant());
        let id = TokenId::of(&digest);
        if !self.is_known(id) {
            self.guesses.take(rate::address(from), now).map_err(limited)?;
        }
        let token = self.find(id).await?.filter(|token| token.token == digest).ok_or_else(|| refuse(Code::BadToken))?;
        stands(&token, self.router.clock().now()).map_err(refused)?;
        let name = format!("token {}", token.name);
        let (expires_s, issued_s) = (token.until.get() / 1_000, token.made.get() / 1_000);
        Ok(Claims { name, expires_s, issued_s, token: Some((id, token.role)), ..Claims::default() })
    }

    /// Whether a token still stands by which a session was opened.
    ///
    /// # Errors
    /// As [`AdminTokens::show`].
    pub async fn stands(&self, id: TokenId) -> Result<(), Refusal> {
        let token = self.find(id).await?.ok_or_else(|| refuse(Code::Revoked))?;
        stands(&token, self.router.clock().now()).map_err(refused)
    }

    fn is_known(&self, id: TokenId) -> bool {
        self.lock().get(&id).is_some_and(|known| known.token.is_some())
    }

    async fn find(&self, id: TokenId) -> Result<Option<Arc<AdminToken>>, Refusal> {
        let now = self.router.clock().instant();
        let known = self.lock().get(&id).cloned();
        if let Some(known) = known.clone().filter(|known| now < known.asked + KEPT) {
            return Ok(known.token);
        }
        let asked = self.router.inner_to(GroupId::META, Inner::ShowAdmin { id }, now + ASK_WITHIN);
        match (Box::pin(asked).await, known) {
            (Ok(InnerAnswer::Admin { token }), _) => {
                let token = token.map(Arc::new);
                self.keep(id, Known { asked: now, token: token.clone() });
                Ok(token)
            }
            (Ok(_), _) => Err(refuse(Code::Internal)),
            // Who runs the cluster looks at a node that is cut off, of all times.
            (Err(_), Some(Known { asked, token: Some(token) })) if now < asked + STALE => Ok(Some(token)),
            (Err(refusal), _) => Err(refusal),
        }
    }

    fn keep(&self, id: TokenId, fresh: Known) {
        let mut known = self.lock();
        if known.len() >= limit::ADMIN_TOKENS_MAX + UNKNOWN_MAX {
            known.retain(|_, known| known.token.is_some());
        }
        known.insert(id, fresh);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<TokenId, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A token, drawn: what is said once, and the row without it.
fn drawn(secret: AdminSecret, name: String, role: AdminRole, caller: Option<&Caller>, until: Timestamp) -> (Secret, AdminToken) {
    let token = AdminToken {
        token: secret.digest(),
        name,
        role,
        by: caller.map_or(UserId::new(0), |caller| caller.user),
        by_token: caller.and_then(|caller| caller.token),
        made: Timestamp::default(),
        until,
        revoked: false,
        first: secret.is_first(),
    };
    (secret.text(), token)
}

/// At the meta group's leader: a token of this role, for so many seconds.
///
/// # Errors
/// There are too many.
pub(super) async fn make(meta: &GroupHandle, caller: &Caller, asked: (String, AdminRole, u32), now: Timestamp) -> Result<TrustAnswer, Refusal> {
    let (name, role, ttl_s) = asked;
    let (text, row) = drawn(AdminSecret::new(draw_bytes()), name, role, Some(caller), after(now, ttl_s));
    let (id, until) = (TokenId::of(&row.token), row.until);
    put(meta, TrustChange::AddAdmin(row).command()).await?;
    Ok(TrustAnswer::Made { token: text, id, until })
}

/// At the meta group's leader: the cluster's first token, unless it had one.
///
/// # Errors
/// `Conflict`: it had.
pub(super) async fn make_first(meta: &GroupHandle, now: Timestamp) -> Result<TrustAnswer, Refusal> {
    // Each node asks when it starts: that is no reason for an entry.
    if had_first(&local::view(meta)?).map_err(|error| local::broken(&error))? {
        return Err(refused(Code::Conflict));
    }
    let secret = AdminSecret::first(draw_bytes());
    let (text, row) = drawn(secret, "the first".to_owned(), AdminRole::Admin, None, after(now, limit::ADMIN_FIRST_TTL_S));
    let (id, until) = (TokenId::of(&row.token), row.until);
    put(meta, TrustChange::AddAdmin(row).command()).await?;
    Ok(TrustAnswer::Made { token: text, id, until })
}

/// At the meta group's leader: uses the first token up for another.
///
/// # Errors
/// `BadToken`, `TokenSpent`, `TokenExpired`.
pub(super) async fn claim(meta: &GroupHandle, first: &Secret, name: String, now: Timestamp) -> Result<TrustAnswer, Refusal> {
    let first: AdminSecret = first.reveal().parse().map_err(|_| refuse(Code::BadToken))?;
    if !first.is_first() {
        return Err(refuse(Code::BadToken).with_text("this is an admin token already, not a cluster's first: use it as it is"));
    }
    let (text, row) = drawn(AdminSecret::new(draw_bytes()), name, AdminRole::Admin, None, after(now, CLAIMED_TTL_S));
    let (id, until) = (TokenId::of(&row.token), row.until);
    put(meta, TrustChange::ClaimAdmin { first: first.digest(), token: row }.command()).await?;
    Ok(TrustAnswer::Made { token: text, id, until })
}

/// At the meta group's leader: all tokens, the newest first.
///
/// # Errors
/// The rows cannot be read.
pub(super) fn list(meta: &GroupHandle) -> Result<TrustAnswer, Refusal> {
    let kept = admins(&local::view(meta)?).map_err(|error| local::broken(&error))?;
    Ok(TrustAnswer::Admins(kept.iter().rev().map(AdminView::from).collect()))
}

/// At the meta group's leader: ends a token.
///
/// # Errors
/// There is none of this id.
pub(super) async fn revoke(meta: &GroupHandle, id: TokenId) -> Result<TrustAnswer, Refusal> {
    put(meta, TrustChange::RevokeAdmin { id }.command()).await.map(|()| TrustAnswer::Done).map_err(|refusal| match refusal.code {
        Code::NotFound => refuse(Code::NotFound).with_text(format!("there is no admin token {id}")),
        _ => refusal,
    })
}

/// At the meta group's leader: the token of this id.
///
/// # Errors
/// The rows cannot be read.
pub(super) fn found(meta: &GroupHandle, id: TokenId) -> Result<Option<AdminToken>, Refusal> {
    let kept = admins(&local::view(meta)?).map_err(|error| local::broken(&error))?;
    Ok(kept.into_iter().find(|token| TokenId::of(&token.token) == id))
}

async fn put(meta: &GroupHandle, command: Command) -> Result<(), Refusal> {
    match local::propose(meta, command).await? {
        Reply::Done => Ok(()),
        Reply::Rejected(code) => Err(refused(code)),
        _ => Err(refuse(Code::Internal)),
    }
}

/// In the words of who shows a token.
fn refused(code: Code) -> Refusal {
    let text = match code {
        Code::TokenSpent => {
            "the cluster's first token was used: who did so makes another (kith admin token create), or a node's own machine (kith admin recover)"
        }
        Code::Revoked => "this admin token was ended",
        Code::TokenExpired => "this admin token's time is over",
        Code::LimitReached => "there are as many admin tokens as there may be: end one (kith admin token revoke)",
        Code::Conflict => "the cluster has had its first token already",
        _ => return refuse(code),
    };
    refuse(code).with_text(text)
}

fn after(now: Timestamp, seconds: u32) -> Timestamp {
    Timestamp::new(now.get().saturating_add(1_000 * u64::from(seconds)))
}

/// For so long a token is taken, or refused, without asking again.
const KEPT: Duration = Duration::from_secs(5);
/// For so long one that was good is taken by a node that cannot ask.
const STALE: Duration = Duration::from_secs(15 * 60);
/// For the meta group to answer.
const ASK_WITHIN: Duration = Duration::from_secs(3);
/// What a first token is turned into is good for so long: the operator makes others meanwhile.
const CLAIMED_TTL_S: u32 = 90 * 24 * 3_600;
/// Tokens that are remembered to be none.
const UNKNOWN_MAX: usize = 1_024;
/// Tokens that this node has not met, of one address: each is a question to the meta group.
const GUESSES: Rate = Rate { burst: 20, per_second: 1.0 };
