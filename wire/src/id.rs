//! Identifiers: every id of Kith as a newtype with a private field, and the two hashes that place things.
//!
//! In: raw integers and bytes from the wire, the disk or the client's store. Out: ids that cannot be mixed up.
//! Invariants: `hash` and `Bucket::of_*` are fixed for ever (test vectors below); a `ChannelId` is always well formed.
//! Bounds: all ids are `Copy` and at most 17 bytes. Not here: which group holds a bucket (the cluster map).

use std::fmt;

use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::hex;

macro_rules! id_u64 {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
        pub struct $name(u64);
        impl $name {
            /// Wraps a raw value from a boundary.
            pub const fn new(raw: u64) -> Self { Self(raw) }
            /// The raw value, for a boundary.
            pub const fn get(self) -> u64 { self.0 }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { write!(f, "{}", self.0) }
        }
    };
}

id_u64!(/// A node of the cluster. 0 is never used.
    NodeId);
id_u64!(/// A device of a user: `H(user, nonce)`, made with the client's local store.
    DeviceId);
id_u64!(/// A client's session on one edge, unique within one boot of that edge.
    SessionId);
id_u64!(/// A webhook: H of its scope and of a key that whoever registered it drew. 0 is never used.
    HookId);
id_u64!(/// A position in a channel's log: dense, from 1. 0 means "before the first".
    Seq);
id_u64!(/// Version of a user's index: rises with each changed row. 0 means "nothing yet".
    UserRev);
id_u64!(/// A Raft term.
    Term);
id_u64!(/// An index in a group's Raft log.
    LogIndex);
id_u64!(/// Version of the cluster map: the meta group's log index of its last visible change.
    MapEpoch);
id_u64!(/// A device's own number for a write to one channel: from 1, grows by 1.
    ClientSeq);
id_u64!(/// Counts the starts of a node's data directory; raised and synced at each start.
    BootEpoch);
id_u64!(/// A device's count of its connections, raised before each Hello: the higher one wins.
    Conn);
id_u64!(/// How often a bucket changed its owner: only a higher one may take it.
    OwnerEpoch);
id_u64!(/// Names a request on one stream; chosen by the asker, unique while it is unanswered.
    RequestId);
id_u64!(/// Wall-clock time in milliseconds since 1970-01-01 UTC. No correctness hangs on it.
    Timestamp);

impl Seq {
    /// Before the first record.
    pub const ZERO: Self = Self(0);
    /// The position after this one; the largest stays, as any number may come from the other side.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
    /// The position before this one; zero stays zero.
    #[must_use]
    pub const fn prev(self) -> Self {
        Self(self.0.saturating_sub(1))
    }
}
impl UserRev {
    /// Nothing yet.
    pub const ZERO: Self = Self(0);
    /// The next version; the largest stays, as any number may come from the other side.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}
impl ClientSeq {
    /// The next number; the largest stays, as any number may come from the other side.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}
impl OwnerEpoch {
    /// At which a cluster's first map gives buckets: nobody held them before.
    pub const FIRST: Self = Self(1);
    /// The next version; the largest stays, as any number may come from the other side.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}
impl LogIndex {
    /// The next index; the largest stays, as any number may come from the other side.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// A region: an operator's name for a geography, by number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct RegionId(u8);
impl RegionId {
    /// The first region: names live here.
    pub const FIRST: Self = Self(0);
    /// Wraps a raw value.
    pub const fn new(raw: u8) -> Self {
        Self(raw)
    }
    /// The raw value.
    pub const fn get(self) -> u8 {
        self.0
    }
}
impl fmt::Display for RegionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A Raft group. 0 is the meta group.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct GroupId(u32);
impl GroupId {
    /// The meta group: the authority on nodes, groups and buckets.
    pub const META: Self = Self(0);
    /// Wraps a raw value.
    pub const fn new(raw: u32) -> Self {
        Self(raw)
    }
    /// The raw value.
    pub const fn get(self) -> u32 {
        self.0
    }
}
impl fmt::Display for GroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Raised when a recovery may have lost a tail; values compare by (incarnation, seq).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Incarnation(u32);
impl Incarnation {
    /// Wraps a raw value.
    pub const fn new(raw: u32) -> Self {
        Self(raw)
    }
    /// The raw value.
    pub const fn get(self) -> u32 {
        self.0
    }
}

/// A cluster, drawn at random when it is made; part of every handshake.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct ClusterId([u8; 16]);
impl ClusterId {
    /// Wraps 16 raw bytes.
    pub const fn new(raw: [u8; 16]) -> Self {
        Self(raw)
    }
    /// The raw bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}
impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex::write(f, &self.0)
    }
}

/// Names a call of a caller that numbers nothing: a UUIDv7 of the caller's, remembered for a day by the time in it, or one that a node draws
/// for a call without one, to tell its own retries apart.
///
/// ```text
/// caller's  ms since 1970, 48 bits, not 0 | version, variant and 74 random bits      (RFC 9562, version 7)
/// node's    0, 48 bits | ms since 1970, 48 bits | random, 32 bits                     (sorts before any caller's)
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct CallKey([u8; 16]);
impl CallKey {
    /// Wraps 16 raw bytes.
    pub const fn new(raw: [u8; 16]) -> Self {
        Self(raw)
    }
    /// The raw bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
    /// A node's own, for a call that came without one.
    pub fn of_node(now: Timestamp, random: u32) -> Self {
        let mut raw = [0; 16];
        raw[6..12].copy_from_slice(&now.get().to_be_bytes()[2..]);
        raw[12..].copy_from_slice(&random.to_be_bytes());
        Self(raw)
    }
    /// Whether a node drew it.
    pub fn is_of_node(self) -> bool {
        self.0[..6] == [0; 6]
    }
    /// The time in it.
    pub fn time(self) -> Timestamp {
        let part = if self.is_of_node() { &self.0[6..12] } else { &self.0[..6] };
        Timestamp::new(part.iter().fold(0, |time, byte| (time << 8) | u64::from(*byte)))
    }
}
impl fmt::Display for CallKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex::write(f, &self.0)
    }
}

/// A data directory, drawn at random when it is made: a node id is bound to it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct StoreId([u8; 16]);
impl StoreId {
    /// Wraps 16 raw bytes.
    pub const fn new(raw: [u8; 16]) -> Self {
        Self(raw)
    }
    /// The raw bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}
impl fmt::Display for StoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex::write(f, &self.0)
    }
}

/// A user: `region:8 | 56 bits of H(the client's secret sign-up key)`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct UserId(u64);
impl UserId {
    /// Wraps a raw value from a boundary.
    pub const fn new(raw: u64) -> Self {
        Self(raw)
    }
    /// The raw value.
    pub const fn get(self) -> u64 {
        self.0
    }
    /// The id that a secret sign-up key gives in a region: a retried sign-up is the same user.
    pub fn from_sign_up_key(region: RegionId, key: &[u8; 32]) -> Self {
        let low = hash(&[b"kith/user/1", key]) >> 8;
        Self((u64::from(region.get()) << 56) | low)
    }
    /// Home region, fixed at sign-up.
    pub const fn region(self) -> RegionId {
        RegionId::new((self.0 >> 56) as u8)
    }
    /// The bucket that holds this user.
    pub fn bucket(self) -> Bucket {
        Bucket::of(self.region(), &self.0.to_be_bytes())
    }
}
impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "u{:016x}", self.0)
    }
}

impl DeviceId {
    /// The device of a user whose local store holds this nonce.
    pub fn from_nonce(user: UserId, nonce: &[u8; 16]) -> Self {
        Self(hash(&[b"kith/device/1", &user.get().to_be_bytes(), nonce]))
    }
}

/// A conversation. 17 bytes: `0x01 | min(uid) | max(uid)` or `0x02 | region | 15 bytes of H(creator, device, op)`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChannelId([u8; 17]);

/// What kind of conversation a [`ChannelId`] names, with what the id itself says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ChannelKind {
    /// Exists by its two users, low first; both may be the same (notes to self).
    Direct(UserId, UserId),
    /// A group chat of up to 100 members, in this region.
    Group(RegionId),
}

/// The bytes are not a channel id.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("malformed channel id")]
pub struct ChannelIdError;

impl ChannelId {
    /// The direct channel of two users; the order of the arguments does not matter.
    pub fn direct(a: UserId, b: UserId) -> Self {
        let (low, high) = if a <= b { (a, b) } else { (b, a) };
        let mut raw = [0; 17];
        raw[0] = 1;
        raw[1..9].copy_from_slice(&low.get().to_be_bytes());
        raw[9..].copy_from_slice(&high.get().to_be_bytes());
        Self(raw)
    }
    /// The group chat that a creator's operation makes: the same operation always gives the same id.
    pub fn group(region: RegionId, creator: UserId, device: DeviceId, op: u64) -> Self {
        let digest = digest(&[b"kith/group/1", &creator.get().to_be_bytes(), &device.get().to_be_bytes(), &op.to_be_bytes()]);
        let mut raw = [0; 17];
        raw[0] = 2;
        raw[1] = region.get();
        raw[2..].copy_from_slice(&digest[..15]);
        Self(raw)
    }
    /// Parses raw bytes.
    ///
    /// # Errors
    /// Wrong length, unknown kind, or a direct id whose users are not in order.
    pub fn from_bytes(raw: &[u8]) -> Result<Self, ChannelIdError> {
        let raw: [u8; 17] = raw.try_into().map_err(|_| ChannelIdError)?;
        let id = Self(raw);
        match raw[0] {
            1 if id.half(1) <= id.half(9) => Ok(id),
            2 => Ok(id),
            _ => Err(ChannelIdError),
        }
    }
    /// Parses the 34 hexadecimal digits that `Display` prints.
    ///
    /// # Errors
    /// As [`ChannelId::from_bytes`], or not hexadecimal.
    pub fn from_hex(text: &str) -> Result<Self, ChannelIdError> {
        let raw: [u8; 17] = hex::read(text).ok_or(ChannelIdError)?;
        Self::from_bytes(&raw)
    }
    /// The raw bytes.
    pub const fn as_bytes(&self) -> &[u8; 17] {
        &self.0
    }
    /// What the id says of its conversation.
    pub fn kind(&self) -> ChannelKind {
        if self.0[0] == 1 {
            ChannelKind::Direct(UserId::new(self.half(1)), UserId::new(self.half(9)))
        } else {
            ChannelKind::Group(RegionId::new(self.0[1]))
        }
    }
    /// Where the conversation lives: the users' common region, else that of the one chosen by bit 0 of H(id).
    pub fn region(&self) -> RegionId {
        match self.kind() {
            ChannelKind::Group(region) => region,
            ChannelKind::Direct(low, high) if low.region() == high.region() => low.region(),
            ChannelKind::Direct(low, high) => {
                if hash(&[b"kith/bucket/1", &self.0]) & 1 == 0 {
                    low.region()
                } else {
                    high.region()
                }
            }
        }
    }
    /// The bucket that holds this channel.
    pub fn bucket(&self) -> Bucket {
        Bucket::of(self.region(), &self.0)
    }
    /// The other side of a direct channel, as `user` sees it; `None` for a group or a stranger.
    pub fn peer_of(&self, user: UserId) -> Option<UserId> {
        match self.kind() {
            ChannelKind::Direct(low, high) if user == low => Some(high),
            ChannelKind::Direct(low, high) if user == high => Some(low),
            _ => None,
        }
    }
    fn half(&self, at: usize) -> u64 {
        let mut raw = [0; 8];
        raw.copy_from_slice(&self.0[at..at + 8]);
        u64::from_be_bytes(raw)
    }
}
impl fmt::Display for ChannelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex::write(f, &self.0)
    }
}
impl fmt::Debug for ChannelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ChannelId({self})")
    }
}

/// A fixed hash range of a region: 65,536 each. The unit of placement and of moving.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Bucket {
    /// Region it belongs to.
    pub region: RegionId,
    /// Its number in the region.
    pub index: u16,
}
impl Bucket {
    /// The bucket of raw id bytes in a region: top 16 bits of H.
    pub fn of(region: RegionId, id: &[u8]) -> Self {
        Self { region, index: (hash(&[b"kith/bucket/1", id]) >> 48) as u16 }
    }
    /// The bucket that holds a folded user name (names live in the first region).
    pub fn of_name(folded: &str) -> Self {
        Self { region: RegionId::FIRST, index: (hash(&[b"kith/name/1", folded.as_bytes()]) >> 48) as u16 }
    }
}
impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{:04x}", self.region, self.index)
    }
}

/// H: the first 8 bytes, big endian, of SHA-256 over the parts. The first part is always a domain name.
pub fn hash(parts: &[&[u8]]) -> u64 {
    let mut first = [0; 8];
    first.copy_from_slice(&digest(parts)[..8]);
    u64::from_be_bytes(first)
}

/// SHA-256 over the parts, each preceded by its length (u32 BE), so that no two lists of parts collide.
pub fn digest(parts: &[&[u8]]) -> [u8; 32] {
    let mut state = Sha256::new();
    for part in parts {
        state.update((part.len() as u32).to_be_bytes());
        state.update(part);
    }
    state.finalize().into()
}
