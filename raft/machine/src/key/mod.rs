//! Key bytes of rows, in the state database and on their way between groups: one file per family, one ordinal per row kind.
//!
//! In: a group and a typed key. Out: bytes whose order is the order of scans, and back. Every key begins with its group; every key of a
//! row that moves goes on with its bucket, so that a group's rows, and each bucket's, are one range per column family. Here and not in
//! kith-storage because keys of rows that move are logged ([`pack`]), and marked ([`RowKey::Changed`]).
//!
//! ```text
//! msg    group u32 | region u8 | bucket u16 | channel 17 | seq u64                   Record
//! chan   group u32 | region u8 | bucket u16 | channel 17 | ordinal u8 | user or device u64, call key 16 (where the kind has one)
//! chan   group u32 | region u8 | bucket u16 | channel 17 | ordinal u8 | seq u64, or root u64 and seq u64, or user u64 and id u64  Marks, Reply, Scheduled
//! timer  group u32 | region u8 | bucket u16 | due u64 | channel 17 | kind u8 (1 send, 2 expire, 3 sweep, 4 erase) | user u64 and id u64, or seq u64, or nothing, or user u64
//! dirty  group u32 | region u8 | bucket u16 | channel 17                             Dirty
//! user   group u32 | region u8 | bucket u16 | user u64 | ordinal u8 | device u64, channel 17, rev u64, other user u64 or call key 16 (where the kind has one)
//! owed   group u32 | region u8 | bucket u16 | user u64 | debt u8 | name, UTF-8, or other user u64  Owed
//! push   group u32 | region u8 | bucket u16 | user u64 | channel 17                  PushDue
//! word   group u32 | region u8 | bucket u16 | word, UTF-8 | 0 u8 | user u64                        Word
//! name   group u32 | region u8 | bucket u16 | folded name, UTF-8                     Name
//! hook   group u32 | region u8 | bucket u16 | channel 17                             HookDue
//! desk   group u32 | region u8 | bucket u16 | ordinal u8 | number u64, or channel 17 and seq u64, or nothing   Desk, Report, ReportId, Audit
//! group  group u32 | ordinal u8 | the kind's own key                                 GroupState, Owned, Cluster, Node, Group, Run, Leaving, Staging
//! group  group u32 | ordinal u8 | round u64 | family u8 | key of a row that moves, without its group   Changed
//! applied  group u32                                                                 the applied row (no `RowKey`)
//! ```
//! A row that moves is named by its family u8 and its key without the group. All integers are big endian. Invariants: an ordinal is never reused; `decode(encode(key)) == key`; any bytes decode to a key or an error.

mod channel;
mod desk;
mod group;
mod marked;
mod message;
mod name;
mod owed;
mod push;
mod timer;
mod user;
mod word;

use bytes::Bytes;
use kith_wire::id::{Bucket, CallKey, ChannelId, GroupId, RegionId};
use thiserror::Error;

use crate::view::{Owner, RowKey, Scan};

/// A column family of the state database.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum Family {
    /// Records of channels.
    Message = 1,
    /// Everything else of channels.
    Channel = 2,
    /// Channels below their head: apart, because these rows come and go with every record.
    Dirty = 3,
    /// Users, devices, indexes.
    User = 4,
    /// Names.
    Name = 5,
    /// The group's own rows, and the map's.
    Group = 6,
    /// What users' homes owe: apart, because it is walked over the whole group.
    Owed = 8,
    /// What is to happen at a time: apart, because these rows come and go.
    Timer = 7,
    /// The search index.
    Word = 9,
    /// Reports and the audit log.
    Desk = 10,
    /// Channels with a webhook that is behind: apart, because these rows come and go with every record of theirs.
    HookDue = 11,
    /// Conversations to be looked at for pushes: apart, because these rows come and go with every record for who is pushed to.
    PushDue = 12,
}

impl Family {
    /// All families that hold rows, in the order of a snapshot.
    pub const ALL: [Self; 12] = [
        Self::Message,
        Self::Channel,
        Self::Dirty,
        Self::User,
        Self::Name,
        Self::Group,
        Self::Timer,
        Self::Owed,
        Self::Word,
        Self::Desk,
        Self::HookDue,
        Self::PushDue,
    ];

    /// Name of the column family.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Message => "msg",
            Self::Channel => "chan",
            Self::Dirty => "dirty",
            Self::User => "user",
            Self::Name => "name",
            Self::Group => "group",
            Self::Owed => "owed",
            Self::Timer => "timer",
            Self::Word => "word",
            Self::Desk => "desk",
            Self::HookDue => "hook",
            Self::PushDue => "push",
        }
    }

    /// Where the rows of this kind lie.
    pub fn of(key: &RowKey) -> Self {
        match key {
            RowKey::Record(..) => Self::Message,
            RowKey::Channel(_)
            | RowKey::Roster(_)
            | RowKey::Former(..)
            | RowKey::Positions(..)
            | RowKey::Dedup(..)
            | RowKey::Calls(..)
            | RowKey::Keyed(..)
            | RowKey::Rules(_)
            | RowKey::Marks(..)
            | RowKey::Reply(..)
            | RowKey::Scheduled(..)
            | RowKey::ChannelHooks(_)
            | RowKey::HookCursor(..) => Self::Channel,
            RowKey::HookDue(_) => Self::HookDue,
            RowKey::Timer(..) => Self::Timer,
            RowKey::Dirty(_) => Self::Dirty,
            RowKey::User(_)
            | RowKey::Device(..)
            | RowKey::Index(..)
            | RowKey::IndexByRev(..)
            | RowKey::Credential(_)
            | RowKey::HomeCalls(_)
            | RowKey::HomeCall(..)
            | RowKey::Pushes(_)
            | RowKey::PushSent(..)
            | RowKey::Profile(_)
            | RowKey::Contact(..) => Self::User,
            RowKey::Word(..) => Self::Word,
            RowKey::Owed(..) => Self::Owed,
            RowKey::PushDue(..) => Self::PushDue,
            RowKey::Name(_) => Self::Name,
            RowKey::Desk | RowKey::DeskHooks | RowKey::Report(_) | RowKey::ReportId(..) | RowKey::Audit(_) => Self::Desk,
            RowKey::GroupState
            | RowKey::GroupHooks
            | RowKey::Owned(..)
            | RowKey::Leaving
            | RowKey::Staging(_)
            | RowKey::Changed(..)
            | RowKey::Cluster
            | RowKey::Trust
            | RowKey::Node(_)
            | RowKey::Group(_)
            | RowKey::Run(..) => Self::Group,
        }
    }

    /// The family with this number in a snapshot.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|family| *family as u8 == number)
    }
}

/// Kinds that share a family with others, by the number stored in their keys. Never reuse one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Ordinal {
    Channel = 1,
    Roster = 2,
    Former = 3,
    Positions = 4,
    Dedup = 5,
    Rules = 6,
    Marks = 7,
    Reply = 8,
    Scheduled = 9,
    ChannelHooks = 10,
    HookCursor = 11,
    Calls = 12,
    Keyed = 13,
    User = 16,
    Device = 17,
    Index = 18,
    IndexByRev = 19,
    Credential = 20,
    Profile = 21,
    Contact = 22,
    Pushes = 23,
    PushSent = 24,
    HomeCalls = 28,
    HomeCall = 29,
    GroupState = 32,
    Owned = 33,
    Cluster = 34,
    Node = 35,
    Group = 36,
    Run = 37,
    GroupHooks = 38,
    Leaving = 39,
    Staging = 40,
    Changed = 41,
    Trust = 45,
    Desk = 48,
    Report = 49,
    ReportId = 50,
    Audit = 51,
    DeskHooks = 52,
}

/// The bytes are not a key of that family.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum KeyError {
    /// It ends within a part.
    #[error("key ends too early")]
    Short,
    /// It goes on after its last part.
    #[error("key is {0} bytes too long")]
    Long(usize),
    /// It is of no kind.
    #[error("key has ordinal {0}, which this family does not know")]
    Ordinal(u8),
    /// It names no timer.
    #[error("key has timer kind {0}, which is not known here")]
    Timer(u8),
    /// It names no channel.
    #[error("key names no channel")]
    Channel,
    /// A text in it is none.
    #[error("key is not UTF-8")]
    Name,
    /// It names no debt.
    #[error("key has debt {0}, which is not known")]
    Debt(u8),
    /// It names no word.
    #[error("key names no word")]
    Word,
    /// It names no family.
    #[error("key has family {0}, which is not known here")]
    Family(u8),
    /// Rows of the group itself stay.
    #[error("key is of a row that belongs to no bucket")]
    NoBucket,
    /// It lies in another bucket than its row.
    #[error("key lies in bucket {stored}, its row belongs to {expected}")]
    Bucket { stored: Bucket, expected: Bucket },
}

/// The owner of the row before, and its bucket: neighbouring rows mostly share them, and a bucket is a hash.
#[derive(Default)]
pub struct Near(Option<(Owner, Bucket)>);

impl Near {
    pub(crate) fn bucket(&mut self, key: &RowKey) -> Option<Bucket> {
        let Some(owner) = key.owner() else { return key.bucket() };
        match self.0 {
            Some((near, bucket)) if near == owner => Some(bucket),
            _ => {
                let bucket = owner.bucket();
                self.0 = Some((owner, bucket));
                Some(bucket)
            }
        }
    }
}

/// Where a row lies. `out` is overwritten.
pub fn encode(group: GroupId, key: &RowKey, out: &mut Vec<u8>) -> Family {
    encode_after(&mut Near::default(), group, key, out)
}

/// As [`encode`], of many rows in a row.
pub fn encode_after(near: &mut Near, group: GroupId, key: &RowKey, out: &mut Vec<u8>) -> Family {
    out.clear();
    out.extend_from_slice(&group.get().to_be_bytes());
    if let Some(bucket) = near.bucket(key) {
        put_bucket(out, bucket);
    }
    let family = Family::of(key);
    match (family, key) {
        (_, RowKey::Record(channel, seq)) => message::encode(out, channel, *seq),
        (_, RowKey::HookDue(channel) | RowKey::Dirty(channel)) => marked::encode(out, channel),
        (_, RowKey::Timer(due, channel, of)) => timer::encode(out, *due, channel, *of),
        (_, RowKey::Word(word, user)) => word::encode(out, word, *user),
        (_, RowKey::Owed(user, debt)) => owed::encode(out, *user, debt),
        (_, RowKey::PushDue(user, channel)) => push::encode(out, *user, channel),
        (_, RowKey::Name(name)) => name::encode(out, name),
        (Family::Channel, _) => channel::encode(out, key),
        (Family::User, _) => user::encode(out, key),
        (Family::Desk, _) => desk::encode(out, key),
        (_, _) => group::encode(out, key),
    }
    family
}

/// What lies at a key. Does not check that the bucket is that of the row: see [`verify_bucket`].
///
/// # Errors
/// The bytes are not a key of the family.
pub fn decode(family: Family, key: &[u8]) -> Result<(GroupId, RowKey), KeyError> {
    let mut cursor = Cursor(key);
    let group = GroupId::new(cursor.u32()?);
    if family != Family::Group {
        cursor.bucket()?;
    }
    let row = match family {
        Family::Message => message::decode(&mut cursor)?,
        Family::Channel => channel::decode(&mut cursor)?,
        Family::Dirty => RowKey::Dirty(marked::decode(&mut cursor)?),
        Family::User => user::decode(&mut cursor)?,
        Family::Name => name::decode(&mut cursor)?,
        Family::Owed => owed::decode(&mut cursor)?,
        Family::PushDue => push::decode(&mut cursor)?,
        Family::Word => word::decode(&mut cursor)?,
        Family::Desk => desk::decode(&mut cursor)?,
        Family::HookDue => RowKey::HookDue(marked::decode(&mut cursor)?),
        Family::Group => group::decode(&mut cursor)?,
        Family::Timer => timer::decode(&mut cursor)?,
    };
    if cursor.0.is_empty() { Ok((group, row)) } else { Err(KeyError::Long(cursor.0.len())) }
}

/// Checks that a decoded key lies in its row's bucket: costs a hash, so only where bytes come from elsewhere.
///
/// # Errors
/// It lies in another one, or is no key.
pub fn verify_bucket(key: &[u8], row: &RowKey) -> Result<(), KeyError> {
    let Some(expected) = row.bucket() else { return Ok(()) };
    let mut cursor = Cursor(key);
    cursor.u32()?;
    let stored = cursor.bucket()?;
    if stored == expected { Ok(()) } else { Err(KeyError::Bucket { stored, expected }) }
}

/// Where the rows of a scan lie: from the first key, inclusive, to the second, exclusive.
pub fn range(group: GroupId, scan: &Scan) -> (Family, Vec<u8>, Vec<u8>) {
    match scan {
        Scan::Records(channel, seqs) => message::range(group, channel, seqs),
        Scan::AllRecords(after) => message::all(group, after.as_ref()),
        Scan::Positions(channel) => channel::positions(group, channel),
        Scan::Keyed(channel, user) => channel::keyed(group, channel, *user),
        Scan::HomeCalls(user) => user::calls(group, *user),
        Scan::Devices(user) => user::devices(group, *user),
        Scan::IndexByRev(user, revs) => user::index_by_rev(group, *user, revs),
        Scan::Marks(channel, seqs) => channel::marks(group, channel, seqs),
        Scan::Replies(channel, root, seqs) => channel::replies(group, channel, *root, seqs),
        Scan::Scheduled(channel, user) => channel::scheduled(group, channel, *user),
        Scan::Timers(after) => timer::range(group, after.as_ref()),
        Scan::Dirty(after) => marked::range(Family::Dirty, group, after.as_ref()),
        Scan::Owed(after) => owed::range(group, after.as_ref()),
        Scan::PushesDue(after) => push::range(group, after.as_ref()),
        Scan::Contacts(user, from) => user::contacts(group, *user, *from),
        Scan::Words(prefix) => word::range(group, prefix),
        Scan::HookCursors(channel) => channel::hook_cursors(group, channel),
        Scan::HooksDue(after) => marked::range(Family::HookDue, group, after.as_ref()),
        Scan::Reports(from) => desk::range(group, Ordinal::Report, *from, u64::MAX),
        Scan::Audit(numbers) => desk::range(group, Ordinal::Audit, *numbers.start(), *numbers.end()),
        Scan::Moving(family, run, after) => {
            let bucket = |index| prefix(group, Bucket { region: run.region, index });
            let on = after.as_ref().map(|after| [&group.get().to_be_bytes()[..], after.get(1..).unwrap_or_default(), &[0]].concat());
            (*family, bucket(run.first).max(on.unwrap_or_default()), after_prefix(&bucket(run.last)))
        }
        Scan::Changed(after) => group::changed(group, after.as_ref()),
        Scan::Staging => group::kind(group, Ordinal::Staging),
        Scan::Owned => group::kind(group, Ordinal::Owned),
        Scan::Nodes => group::kind(group, Ordinal::Node),
        Scan::Groups => group::kind(group, Ordinal::Group),
        Scan::Runs => group::kind(group, Ordinal::Run),
    }
}

/// All rows of a group in a family: from the first key, inclusive, to the second, exclusive.
pub fn whole(group: GroupId) -> (Vec<u8>, Vec<u8>) {
    let from = group.get().to_be_bytes().to_vec();
    let to = after_prefix(&from);
    (from, to)
}

/// The first key after all that begin with the prefix.
pub fn after_prefix(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return end;
        }
    }
    // Only 0xff bytes: no key of ours is longer than this.
    vec![u8::MAX; MAX_BYTES + 1]
}

/// Longest key of a row that moves, with its group: a word of the search index.
const MOVING_BYTES: usize = 4 + 3 + 4 * kith_wire::limit::SEARCH_WORD_CHARS_MAX + 1 + 8;
const _: () = assert!(MOVING_BYTES >= 4 + 3 + 8 + 1 + kith_wire::limit::NAME_BYTES_MAX, "a name that a user owes fits too");
/// Longest key: the mark of such a row.
pub const MAX_BYTES: usize = 4 + 1 + 8 + 1 + MOVING_BYTES - 4;

/// Names a row that moves, whatever group it lies in: by its family and its key. These order as the rows of one family do.
pub fn pack(key: &RowKey) -> Bytes {
    pack_after(&mut Near::default(), key)
}

/// As [`pack`], of many rows in a row.
pub(crate) fn pack_after(near: &mut Near, key: &RowKey) -> Bytes {
    debug_assert!(key.bucket().is_some(), "{key:?} stays in its group");
    let mut bytes = Vec::with_capacity(48);
    let family = encode_after(near, GroupId::META, key, &mut bytes);
    // In the place of the group's last byte.
    bytes[3] = family as u8;
    Bytes::from(bytes).slice(3..)
}

/// The row that [`pack`] named, in its own bucket.
///
/// # Errors
/// The bytes name no row, or one that stays.
pub fn decode_packed(bytes: &[u8]) -> Result<RowKey, KeyError> {
    let (family, rest) = bytes.split_first().ok_or(KeyError::Short)?;
    let family = Family::from_number(*family).ok_or(KeyError::Family(*family))?;
    if family == Family::Group {
        return Err(KeyError::NoBucket);
    }
    let full = [&GroupId::META.get().to_be_bytes()[..], rest].concat();
    let (_, key) = decode(family, &full)?;
    verify_bucket(&full, &key)?;
    Ok(key)
}

fn put_bucket(out: &mut Vec<u8>, bucket: Bucket) {
    out.push(bucket.region.get());
    out.extend_from_slice(&bucket.index.to_be_bytes());
}

fn prefix(group: GroupId, bucket: Bucket) -> Vec<u8> {
    let mut out = Vec::with_capacity(48);
    out.extend_from_slice(&group.get().to_be_bytes());
    put_bucket(&mut out, bucket);
    out
}

/// Reads the parts of a key.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], KeyError> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or(KeyError::Short)?;
        self.0 = rest;
        Ok(*head)
    }
    fn u8(&mut self) -> Result<u8, KeyError> {
        Ok(self.array::<1>()?[0])
    }
    fn u16(&mut self) -> Result<u16, KeyError> {
        Ok(u16::from_be_bytes(self.array()?))
    }
    fn u32(&mut self) -> Result<u32, KeyError> {
        Ok(u32::from_be_bytes(self.array()?))
    }
    fn u64(&mut self) -> Result<u64, KeyError> {
        Ok(u64::from_be_bytes(self.array()?))
    }
    fn bucket(&mut self) -> Result<Bucket, KeyError> {
        Ok(Bucket { region: RegionId::new(self.u8()?), index: self.u16()? })
    }
    fn channel(&mut self) -> Result<ChannelId, KeyError> {
        ChannelId::from_bytes(&self.array::<17>()?).map_err(|_| KeyError::Channel)
    }
    fn call(&mut self) -> Result<CallKey, KeyError> {
        Ok(CallKey::new(self.array()?))
    }
    fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }
}

#[cfg(test)]
mod tests;
