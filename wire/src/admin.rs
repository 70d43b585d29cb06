//! Who may run the cluster: roles, and the tokens that carry them.
//!
//! In: fields of `kith.log.v1`, `kith.client.v1` and `kith.peer.v1`; the text of a token. Out: parsed types. Invariants: a token's secret is in its text
//! alone, the cluster keeps a digest; the first token of a cluster opens nothing but the making of another, once. Bounds: `limit::ADMIN_TOKENS_MAX`
//! and those after it. Not here: which request needs which role (the node), the rows (kith-machine's `meta::admin`).

use std::{fmt, str::FromStr};

use thiserror::Error;

use crate::{
    base64,
    id::{Timestamp, UserId, digest},
    secret::Secret,
    trust::TokenId,
};

/// What somebody may do to the cluster: each may do what those before it may. The number is on the wire and stored.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum AdminRole {
    /// 2: sees how the cluster is, changes nothing, and sees nothing of what people say.
    Viewer,
    /// 3: runs it: layout, drains, reports, bans, webhooks.
    Operator,
    /// 1: all of it: who else may, which nodes join, whose password is reset.
    Admin,
}

impl AdminRole {
    /// All, the least first.
    pub const ALL: [Self; 3] = [Self::Viewer, Self::Operator, Self::Admin];

    /// As it is shown, and written.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for AdminRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The text is no role.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("a role is viewer, operator or admin")]
pub struct RoleError;

impl FromStr for AdminRole {
    type Err = RoleError;
    fn from_str(text: &str) -> Result<Self, RoleError> {
        Self::ALL.into_iter().find(|role| role.name() == text).ok_or(RoleError)
    }
}

/// The secret of an admin token. `Debug` shows none of it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct AdminSecret {
    raw: [u8; 32],
    first: bool,
}

/// The text is no admin token.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("an admin token begins with {PREFIX} or {FIRST_PREFIX}, and has 43 characters more")]
pub struct AdminSecretError;

impl AdminSecret {
    /// Of a token, from what was drawn at random.
    pub const fn new(raw: [u8; 32]) -> Self {
        Self { raw, first: false }
    }
    /// Of the first token of a cluster.
    pub const fn first(raw: [u8; 32]) -> Self {
        Self { raw, first: true }
    }
    /// Whether it opens nothing but the making of another token.
    pub const fn is_first(&self) -> bool {
        self.first
    }
    /// Whether a text means to be one.
    pub fn is_meant(text: &str) -> bool {
        text.starts_with(PREFIX) || text.starts_with(FIRST_PREFIX)
    }
    /// The text that is shown once.
    pub fn text(&self) -> Secret {
        let prefix = if self.first { FIRST_PREFIX } else { PREFIX };
        Secret::new(format!("{prefix}{}", base64::write_url(&self.raw)))
    }
    /// What the cluster keeps of it.
    pub fn digest(&self) -> [u8; 32] {
        let domain: &[u8] = if self.first { b"kith/first-admin/1" } else { b"kith/admin/1" };
        digest(&[domain, &self.raw])
    }
}

impl fmt::Debug for AdminSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AdminSecret(..)")
    }
}

impl FromStr for AdminSecret {
    type Err = AdminSecretError;
    fn from_str(text: &str) -> Result<Self, AdminSecretError> {
        let text = text.trim();
        let (first, digits) = match text.strip_prefix(PREFIX) {
            Some(digits) => (false, digits),
            None => (true, text.strip_prefix(FIRST_PREFIX).ok_or(AdminSecretError)?),
        };
        let raw = base64::read_url(digits).and_then(|raw| raw.try_into().ok()).ok_or(AdminSecretError)?;
        let secret = Self { raw, first };
        // The last digit has bits that mean nothing: another way to write a token is none.
        if secret.text().reveal() == text { Ok(secret) } else { Err(AdminSecretError) }
    }
}

/// How every admin token begins.
const PREFIX: &str = "kith-admin-";
/// How the first one does.
const FIRST_PREFIX: &str = "kith-first-";

/// An admin token, as it is kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AdminToken {
    /// The digest of its secret.
    pub token: [u8; 32],
    /// What it is for, in the words of who made it.
    pub name: String,
    /// What it is good for.
    pub role: AdminRole,
    /// Who made it; 0: nobody's token.
    pub by: UserId,
    /// The admin token by which it was made.
    pub by_token: Option<TokenId>,
    /// When.
    pub made: Timestamp,
    /// Its end.
    pub until: Timestamp,
    /// Nobody is let in by it any more.
    pub revoked: bool,
    /// It is the cluster's first: good for making another, once.
    pub first: bool,
}

/// An admin token, as operators see it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AdminView {
    /// Which.
    pub id: TokenId,
    /// What it is for.
    pub name: String,
    /// What it is good for.
    pub role: AdminRole,
    /// Who made it.
    pub by: UserId,
    /// By which token.
    pub by_token: Option<TokenId>,
    /// When.
    pub made: Timestamp,
    /// Its end.
    pub until: Timestamp,
    /// Nobody is let in by it any more.
    pub revoked: bool,
    /// It is the cluster's first.
    pub first: bool,
}

impl AdminView {
    /// What the token is at this time, in one word.
    pub fn state(&self, now: Timestamp) -> &'static str {
        match (self.revoked, self.first) {
            (true, true) => "used",
            (true, false) => "revoked",
            (false, _) if self.until <= now => "expired",
            (false, true) => "first",
            (false, false) => "good",
        }
    }
}

impl From<&AdminToken> for AdminView {
    fn from(row: &AdminToken) -> Self {
        Self {
            id: TokenId::of(&row.token),
            name: row.name.clone(),
            role: row.role,
            by: row.by,
            by_token: row.by_token,
            made: row.made,
            until: row.until,
            revoked: row.revoked,
            first: row.first,
        }
    }
}
