//! Who may join the cluster: tokens that let one node in, what is kept of them, and what a node that joins asks and is told. And what operators ask about
//! these and about admin tokens ([`crate::admin`]).
//!
//! In: fields of `kith.log.v1`, `kith.client.v1` and `kith.peer.v1`; the text of a token. Out: parsed types. Invariants: a token's secret is in its
//! text alone, the cluster keeps a digest; a token is used by one key, once. Bounds: `limit::JOIN_TOKENS_MAX` and those after it. Not here: who may
//! make one (the node), the rows (kith-machine's `meta::trust`), TLS.

use std::{fmt, str::FromStr};

use bytes::Bytes;
use thiserror::Error;

use crate::{
    admin::{AdminRole, AdminToken, AdminView},
    base64,
    client::Refusal,
    hex,
    id::{ClusterId, MapEpoch, NodeId, RegionId, Timestamp, UserId, digest},
    limit,
    log::{ClusterMap, Command, GroupRow, NodeRow},
    secret::Secret,
};

/// Names a token of the cluster, without saying it: the start of its digest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct TokenId(u64);

impl TokenId {
    /// Wraps a raw value from a boundary.
    pub const fn new(raw: u64) -> Self {
        Self(raw)
    }
    /// The raw value, for a boundary.
    pub const fn get(self) -> u64 {
        self.0
    }
    /// Of a token with this digest.
    pub fn of(token: &[u8; 32]) -> Self {
        Self(token[..8].iter().fold(0, |raw, byte| raw << 8 | u64::from(*byte)))
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex::write(f, &self.0.to_be_bytes())
    }
}

impl FromStr for TokenId {
    type Err = hex::ParseIdError;
    /// Parses 16 digits, as `Display` prints them.
    fn from_str(text: &str) -> Result<Self, hex::ParseIdError> {
        hex::read(text).map(|raw| Self(u64::from_be_bytes(raw))).ok_or(hex::ParseIdError { what: "id of a token" })
    }
}

/// The secret of a join token. `Debug` shows none of it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct JoinSecret([u8; 32]);

impl JoinSecret {
    /// Wraps what was drawn at random.
    pub const fn new(raw: [u8; 32]) -> Self {
        Self(raw)
    }
    /// The bytes, for sending them.
    pub const fn reveal(&self) -> &[u8; 32] {
        &self.0
    }
    /// What the cluster keeps of it.
    pub fn digest(&self) -> [u8; 32] {
        digest(&[b"kith/join/1", &self.0])
    }
}

impl fmt::Debug for JoinSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JoinSecret(..)")
    }
}

/// What a node's public key is known by.
pub fn key_digest(key: &[u8]) -> [u8; 32] {
    digest(&[b"kith/node-key/1", key])
}

/// What the certificate of a cluster's authority is known by: of its DER bytes.
pub fn authority_digest(der: &[u8]) -> [u8; 32] {
    digest(&[b"kith/authority/1", der])
}

/// A join token: what a node needs to find the cluster, to know it, and to be let in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct JoinTicket {
    /// Which cluster.
    pub cluster: ClusterId,
    /// The digest of its authority's certificate.
    pub authority: [u8; 32],
    /// Shown once.
    pub secret: JoinSecret,
    /// Where to ask, `host:port`, at most `limit::JOIN_ADDRESSES_MAX`.
    pub addresses: Vec<String>,
}

/// The text is no join token.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum TicketError {
    /// It does not begin as one.
    #[error("a join token begins with {PREFIX}")]
    Prefix,
    /// It is cut off, or was changed.
    #[error("the join token is damaged: copy all of it, on one line")]
    Damaged,
}

impl JoinTicket {
    /// The text that is handed over: a secret.
    pub fn text(&self) -> Secret {
        let body = self.encode();
        let check = digest(&[b"kith/ticket/1", &body]);
        Secret::new(format!("{PREFIX}{}", base64::write_url(&[&body[..], &check[..CHECK_BYTES]].concat())))
    }
}

impl FromStr for JoinTicket {
    type Err = TicketError;
    fn from_str(text: &str) -> Result<Self, TicketError> {
        let digits = text.trim().strip_prefix(PREFIX).ok_or(TicketError::Prefix)?;
        if digits.len() > limit::JOIN_TICKET_CHARS_MAX {
            return Err(TicketError::Damaged);
        }
        let raw = base64::read_url(digits).ok_or(TicketError::Damaged)?;
        let (body, check) = raw.len().checked_sub(CHECK_BYTES).map(|at| raw.split_at(at)).ok_or(TicketError::Damaged)?;
        if digest(&[b"kith/ticket/1", body])[..CHECK_BYTES] != *check {
            return Err(TicketError::Damaged);
        }
        Self::decode(body).map_err(|_| TicketError::Damaged)
    }
}

/// How every join token begins.
const PREFIX: &str = "kith-join-";
/// Of a digest, so that a token that was cut off is told from a wrong one.
const CHECK_BYTES: usize = 4;

// ---------------------------------------------------------------- what is kept

/// A change of who may join. Stored: a field number in the proto, never reused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TrustChange {
    /// A new token.
    AddJoin(JoinToken),
    /// Nobody joins by this token any more.
    RevokeJoin { id: TokenId },
    /// A node joins: the token is used by this key and the map gets these rows, if it has this epoch; or nothing. The same key again changes nothing,
    /// and is answered with the id that it got.
    UseJoin { token: [u8; 32], key: [u8; 32], node: NodeId, at: MapEpoch, nodes: Vec<NodeRow>, groups: Vec<GroupRow> },
    /// A new admin token; the cluster's first only if there was none.
    AddAdmin(AdminToken),
    /// Nobody is let in by this admin token any more.
    RevokeAdmin { id: TokenId },
    /// The first token (by its digest) is used up, and this one is there; or neither.
    ClaimAdmin { first: [u8; 32], token: AdminToken },
}

impl TrustChange {
    /// As a command.
    pub const fn command(self) -> Command {
        Command::Trust(self)
    }
}

/// Who may join.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TrustRow {
    /// At most `limit::JOIN_TOKENS_MAX`, the oldest first.
    pub joins: Vec<JoinToken>,
    /// At most `limit::ADMIN_TOKENS_MAX`, the oldest first.
    pub admins: Vec<AdminToken>,
    /// The cluster has had its first admin token.
    pub first_made: bool,
}

/// A token that lets one node in.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct JoinToken {
    /// The digest of its secret.
    pub token: [u8; 32],
    /// Who made it; 0: a token of nobody, made on a node's own machine.
    pub by: UserId,
    /// When.
    pub made: Timestamp,
    /// Its end.
    pub until: Timestamp,
    /// Where the node is to stand; `None`: it says so itself.
    pub region: Option<RegionId>,
    /// As above; empty: it says so itself.
    pub zone: String,
    /// As above.
    pub host: String,
    /// The node takes the place of this one, which is gone.
    pub replaces: Option<NodeId>,
    /// By whom it was used.
    pub used: Option<JoinUse>,
    /// Nobody joins by it.
    pub revoked: bool,
}

/// That a token was used.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct JoinUse {
    /// The digest of the node's public key.
    pub key: [u8; 32],
    /// The id that it got.
    pub node: NodeId,
    /// When.
    pub at: Timestamp,
}

// ---------------------------------------------------------------- what operators ask

/// What operators ask about who may join.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TrustRequest {
    /// A token for one node, good for so many seconds. Region and labels that are given hold, whatever the node says; the node takes the place of
    /// `replaces`, if that is given.
    MakeJoin { ttl_s: u32, region: Option<RegionId>, zone: String, host: String, replaces: Option<NodeId> },
    /// All that there are.
    Joins,
    /// Ends a token. Again is no change.
    RevokeJoin { id: TokenId },
    /// An admin token of this role, good for so many seconds.
    MakeAdmin { name: String, role: AdminRole, ttl_s: u32 },
    /// All that there are.
    Admins,
    /// Ends one. Again is no change.
    RevokeAdmin { id: TokenId },
    /// By the cluster's first token, which is used up: one of the highest role. Needs no other token.
    ClaimFirst { token: Secret, name: String },
    /// The cluster's first, if there was none. Of a node's own machine.
    MakeFirst,
}

/// What they are told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TrustAnswer {
    /// To whatever makes a token: it, said this once.
    Made { token: Secret, id: TokenId, until: Timestamp },
    /// To `Joins`: the newest first.
    Joins(Vec<JoinView>),
    /// To `Admins`: the newest first.
    Admins(Vec<AdminView>),
    /// Done, nothing to tell.
    Done,
}

/// A token, as operators see it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct JoinView {
    /// Which.
    pub id: TokenId,
    /// Who made it.
    pub by: UserId,
    /// When.
    pub made: Timestamp,
    /// Its end.
    pub until: Timestamp,
    /// Where the node is to stand.
    pub region: Option<RegionId>,
    /// As above.
    pub zone: String,
    /// As above.
    pub host: String,
    /// Whose place it takes.
    pub replaces: Option<NodeId>,
    /// The node that joined by it.
    pub node: Option<NodeId>,
    /// Nobody joins by it.
    pub revoked: bool,
}

impl JoinView {
    /// What the token is at this time, in one word.
    pub fn state(&self, now: Timestamp) -> &'static str {
        if self.node.is_some() {
            "used"
        } else if self.revoked {
            "revoked"
        } else if self.until <= now {
            "expired"
        } else {
            "good"
        }
    }
}

impl From<&JoinToken> for JoinView {
    fn from(row: &JoinToken) -> Self {
        Self {
            id: TokenId::of(&row.token),
            by: row.by,
            made: row.made,
            until: row.until,
            region: row.region,
            zone: row.zone.clone(),
            host: row.host.clone(),
            replaces: row.replaces,
            node: row.used.map(|used| used.node),
            revoked: row.revoked,
        }
    }
}

// ---------------------------------------------------------------- between nodes

/// What a node that joins asks, over TLS to a node that the authority of its token proves.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct JoinAsk {
    /// Its token's.
    pub secret: JoinSecret,
    /// Its public key, in DER. Whoever answers at its address must have the private one.
    pub key: Bytes,
    /// Where it is and where it stands; it has no id yet.
    pub node: NodeRow,
}

/// What it is told.
#[derive(Clone, PartialEq, Debug)]
pub enum JoinTold {
    /// It is a node of the cluster.
    Joined(Box<Joined>),
    /// It is not.
    Refusal(Refusal),
}

/// All that a node is started from.
#[derive(Clone, PartialEq, Debug)]
pub struct Joined {
    /// Its row: its id is there.
    pub node: NodeRow,
    /// Its certificate, PEM.
    pub certificate: String,
    /// The certificate of the cluster's authority, PEM.
    pub authority: String,
    /// The key of that; empty: the operator keeps it.
    pub authority_key: Secret,
    /// The key of the cluster's tokens.
    pub token_key: Secret,
    /// `cluster.toml`.
    pub cluster: String,
    /// The map: the nodes that the cluster began with may be gone.
    pub map: ClusterMap,
}
