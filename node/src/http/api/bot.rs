//! Tokens of bots: asked of the bot's home, and remembered for a few seconds.
//!
//! In: a token that somebody shows. Out: what it says, or that it is none. Invariant: a token that was ended is refused by every node
//! [`KEPT`] later at the latest. Bound: [`KEPT_MAX`] are remembered; at the bound all are forgotten and asked for again.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use kith_wire::code::Code;

use super::{Inside, problem::Problem};
use crate::{
    auth::{
        Claims,
        gate::{Shown, read_bot_token},
    },
    clock::Instant,
    service::bot,
};

/// What is known of tokens that were shown a moment ago, by the digest of their secret.
#[derive(Default)]
pub(super) struct BotTokens(Mutex<HashMap<[u8; 32], Known>>);

#[derive(Clone)]
struct Known {
    until: Instant,
    /// None: it is no token.
    claims: Option<Claims>,
}

impl Inside {
    /// What the token of a bot says; `None`: it has another form.
    pub(super) async fn bot(&self, token: &str) -> Option<Result<Claims, Problem>> {
        let shown = read_bot_token(token)?;
        let known = match self.bots.find(&shown, self.clock.instant()) {
            Some(known) => known,
            None => match self.ask_for(&shown).await {
                Ok(known) => known,
                Err(problem) => return Some(Err(problem)),
            },
        };
        Some(known.claims.ok_or_else(|| Code::BadToken.into()))
    }

    async fn ask_for(&self, shown: &Shown) -> Result<Known, Problem> {
        let claims = match Box::pin(bot::show(self.service.router(), shown, self.deadline())).await {
            Ok(entered) => {
                let issued_s = self.clock.now().get() / 1_000;
                let (user, device) = (shown.user, Some(shown.device));
                let (name, login, expires_s) = (entered.name, entered.login, issued_s + STREAM_MAX.as_secs());
                // For no other cluster: this one's own rows say so.
                Some(Claims { user, name, admin: entered.admin, expires_s, issued_s, device, login, ..Claims::default() })
            }
            Err(refusal) if matches!(refusal.code, Code::BadToken | Code::NoSuchUser) => None,
            Err(refusal) => return Err(refusal.into()),
        };
        let known = Known { until: self.clock.instant() + KEPT, claims };
        self.bots.keep(shown, known.clone());
        Ok(known)
    }
}

impl BotTokens {
    fn find(&self, shown: &Shown, now: Instant) -> Option<Known> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&shown.digest).filter(|known| now < known.until && known.claims.as_ref().is_none_or(|claims| claims.user == shown.user)).cloned()
    }
    fn keep(&self, shown: &Shown, known: Known) {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if held.len() >= KEPT_MAX {
            held.clear();
        }
        held.insert(shown.digest, known);
    }
}

/// For so long a token is taken, or refused, without asking again.
const KEPT: Duration = Duration::from_secs(10);
/// So many are remembered.
const KEPT_MAX: usize = 4_096;
/// A stream by such a token is taken up again at the latest then.
const STREAM_MAX: Duration = Duration::from_secs(24 * 3_600);
