//! Search for messages: what is asked, between clients and nodes and between nodes, and what is found.
//!
//! In: the fields of a search. Out: parsed types. Invariant: a place ([`Spot`]) orders all records of all channels, the newest last, so that pages of
//! several nodes can be merged and gone on with. Bounds: `limit::QUERY_…`, `limit::EXCERPT_…`. Not here: words, and what matches (kith-search).

use std::{fmt, str::FromStr};

use crate::{
    hex::ParseIdError,
    id::{ChannelId, GroupId, NodeId, Seq, Timestamp, UserId},
};

/// What somebody looks for in the conversations that they may read. At least one of words, sender, channel and time is given.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SearchQuery {
    /// As it was typed: words, `"a phrase"`, `beginn*`, `-unwanted`.
    pub words: String,
    /// Only of this user.
    pub sender: Option<UserId>,
    /// Only in this conversation.
    pub channel: Option<ChannelId>,
    /// Only from then on.
    pub since: Option<Timestamp>,
    /// Only before then.
    pub until: Option<Timestamp>,
    /// At most so many; 0: as many as a page has.
    pub limit: u32,
    /// Only what is older than this place: `next` of the page before.
    pub below: Option<Spot>,
}

/// The place of a record among all others: later ones are newer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Spot {
    /// Server time.
    pub ts: Timestamp,
    /// Its seq there.
    pub seq: Seq,
    /// The conversation.
    pub channel: ChannelId,
}

/// A record that was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SearchHit {
    /// Where it is.
    pub spot: Spot,
    /// Who wrote it.
    pub sender: UserId,
    /// Some of the text, around what was found; at most `limit::EXCERPT_CHARS_MAX` Unicode scalar values.
    pub excerpt: String,
    /// (first, how many), in Unicode scalar values of the excerpt: rising, apart.
    pub marks: Vec<(u32, u32)>,
}

/// What was found, newest first.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SearchPage {
    /// May be fewer than asked for, or none, though there is a next page.
    pub hits: Vec<SearchHit>,
    /// Groups whose title has what is looked for, the last moved first; on the first page only, at most `limit::QUERY_CHANNELS_MAX`.
    pub channels: Vec<ChannelId>,
    /// Nodes that were asked and did not answer, sorted. What they hold was asked of others, as far as there are others.
    pub missing: Vec<NodeId>,
    /// Conversations of the user that nobody answered for: what is there was not searched. 0: all were.
    pub unsearched: u32,
    /// Where the next page begins; `None`: there is nothing older.
    pub next: Option<Spot>,
}

/// Which conversations a node is to search.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SearchPart {
    /// The group that holds them.
    pub group: GroupId,
    /// Sorted.
    pub channels: Vec<ChannelId>,
}

/// What a user's home knows of what they may look for.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SearchScope {
    /// Conversations that they are or were in, the last moved first; at most `limit::SEARCHED_CHANNELS_MAX`.
    pub channels: Vec<ChannelId>,
    /// So many more there are.
    pub more: u32,
    /// Those whose title has what is looked for.
    pub titled: Vec<ChannelId>,
    /// Whom they hear nothing of, sorted: nothing of theirs is found.
    pub hidden: Vec<UserId>,
}

/// What one node has found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SearchTold {
    /// Newest first.
    pub hits: Vec<SearchHit>,
    /// It has looked no further than to this place, itself among what was looked at; `None`: it has looked at everything.
    pub reached: Option<Spot>,
    /// Groups that it could not search: it has no replica, or its index is being built. Sorted.
    pub behind: Vec<GroupId>,
}

impl fmt::Display for Spot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.ts.get(), self.seq.get(), self.channel)
    }
}

impl FromStr for Spot {
    type Err = ParseIdError;
    /// Parses what `Display` prints: time, seq and channel, with `-` between them.
    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let parse = || {
            let mut parts = text.splitn(3, '-');
            let (ts, seq) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
            Some(Self { ts: Timestamp::new(ts), seq: Seq::new(seq), channel: parts.next()?.parse().ok()? })
        };
        parse().ok_or(ParseIdError { what: "place in a search" })
    }
}

impl From<&str> for SearchQuery {
    /// These words, anywhere.
    fn from(words: &str) -> Self {
        Self { words: words.to_owned(), ..Self::default() }
    }
}
