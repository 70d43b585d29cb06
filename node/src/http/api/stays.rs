//! Whether a token that is whole still stands: asked of its user's home, and remembered for a moment.
//!
//! In: what a token says. Out: go on, or `Revoked`. Invariant: a log-out, a ban, a new password or the end of an account is known to every node
//! [`KEPT`] later at the latest; a session hears of it at once. Bound: [`KEPT_MAX`] are remembered; at the bound all are forgotten and asked for
//! again. Not here: whether the token is the cluster's (`auth::token`), bots' tokens ([`super::bot`]).

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use kith_wire::{
    code::Code,
    id::{DeviceId, Timestamp, UserId},
    peer::{Inner, InnerAnswer},
};

use super::{Inside, problem::Problem};
use crate::{auth::Claims, clock::Instant};

type Token = (UserId, DeviceId, u64, Timestamp);

/// Tokens that were asked for a moment ago: until when, and whether they stand.
#[derive(Default)]
pub(super) struct Stays(Mutex<HashMap<Token, (Instant, bool)>>);

impl Stays {
    fn find(&self, token: &Token, now: Instant) -> Option<bool> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(token).filter(|(until, _)| now < *until).map(|(_, stands)| *stands)
    }
    fn keep(&self, token: Token, until: Instant, stands: bool) {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if held.len() >= KEPT_MAX {
            held.clear();
        }
        held.insert(token, (until, stands));
    }
}

impl Inside {
    /// Refuses a token that was ended. A token of nobody's is an operator's, and ends by its time only.
    pub(super) async fn may_stay(&self, claims: &Claims, device: DeviceId) -> Result<(), Problem> {
        let (user, grant) = (claims.user, claims.grant());
        if user == UserId::new(0) {
            return Ok(());
        }
        let token = (user, device, grant.login, grant.issued);
        let asked_at = self.clock.instant();
        let stands = match self.stays.find(&token, asked_at) {
            Some(stands) => stands,
            None => {
                let ask = Inner::MayStay { user, device, login: grant.login, issued: grant.issued };
                let answer = Box::pin(self.service.router().inner(user.bucket(), ask, self.deadline())).await?;
                let stands = matches!(answer, InnerAnswer::Truth(true));
                self.stays.keep(token, asked_at + KEPT, stands);
                stands
            }
        };
        if stands { Ok(()) } else { Err(Code::Revoked.into()) }
    }
}

/// For so long a token is believed without asking again.
const KEPT: Duration = Duration::from_secs(1);
/// So many are remembered.
const KEPT_MAX: usize = 65_536;
