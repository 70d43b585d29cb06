//! The handle of a conversation.

use std::sync::Arc;

use kith_wire::{
    client::{Answer, ChangeMembers, ChannelView, HistoryPage, HistoryQuery, Page, Place, Pull, Request, Send},
    code::Code,
    id::{ChannelId, ClientSeq, NodeId, Seq, UserId},
    limit::{MENTIONS_MAX, PAGE_RECORDS_MAX, TEXT_CHARS_MAX},
    log::{MemberChange, Position, Record, Role},
};

use crate::{
    client::{Client, unexpected},
    error::Error,
    feed::Events,
    outgoing::Outgoing,
    preferences::Preferences,
    store::Cursor,
    timeline::LocalId,
};

/// A conversation. Cheap to clone, no IO by itself.
#[derive(Clone)]
pub struct Channel {
    pub(crate) client: Client,
    pub(crate) id: ChannelId,
}

/// A text to be sent.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Draft {
    pub(crate) text: String,
    pub(crate) reply_to: Option<Seq>,
    pub(crate) mentions: Vec<UserId>,
}

impl Draft {
    /// A text of 1 to 100,000 characters.
    pub fn text(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }
    /// Answers a record of the same channel.
    #[must_use]
    pub fn reply_to(self, seq: Seq) -> Self {
        Self { reply_to: Some(seq), ..self }
    }
    /// Mentions users; at most 100.
    #[must_use]
    pub fn mentions(mut self, users: impl IntoIterator<Item = UserId>) -> Self {
        self.mentions.extend(users);
        self
    }
}
impl From<&str> for Draft {
    fn from(text: &str) -> Self {
        Self::text(text)
    }
}
impl From<String> for Draft {
    fn from(text: String) -> Self {
        Self::text(text)
    }
}

/// Which part of a history.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct History {
    /// First seq, inclusive.
    pub first: Seq,
    /// Last seq, inclusive.
    pub last: Seq,
    /// From the end backwards; the records of a page are rising either way.
    pub newest_first: bool,
    /// At most so many records.
    pub limit: u32,
    /// From this node's replica and no other.
    pub replica: Option<NodeId>,
    /// Only from a replica that has got this far. Without `replica`, what this device knows to exist counts too.
    pub min_seq: Seq,
    /// Where to look instead of from `first` or `last` on.
    pub place: Option<Place>,
    /// With all that anybody was told to be sent before this read began: asks the leader, which asks a majority. Not together with `replica`.
    pub linearizable: bool,
}

impl Default for History {
    /// The newest page.
    fn default() -> Self {
        Self {
            first: Seq::new(1),
            last: Seq::new(u64::MAX),
            newest_first: true,
            limit: PAGE_RECORDS_MAX as u32,
            replica: None,
            min_seq: Seq::ZERO,
            linearizable: false,
            place: None,
        }
    }
}

impl Channel {
    /// How it stands in the user's list: pin, mute, archive, draft.
    pub fn preferences(&self) -> Preferences {
        Preferences::new(self.client.clone(), self.id)
    }
    pub(crate) fn new(client: Client, id: ChannelId) -> Self {
        Self { client, id }
    }
    /// Its id.
    pub const fn id(&self) -> ChannelId {
        self.id
    }
    /// Sends a text. Resolves once it is stored here with its number: from then on it is resent until it is answered, in the order
    /// of the calls. Waits while 1,024 writes are unanswered.
    ///
    /// # Errors
    /// `TooLarge` or `Invalid` for the draft; or the client is closed.
    pub async fn send(&self, draft: impl Into<Draft>) -> Result<Outgoing, Error> {
        let draft = draft.into();
        check(&draft)?;
        let channel = self.id;
        let make = move |client_seq| {
            let Draft { text, reply_to, mentions } = draft;
            Request::Send(Send { channel, client_seq, settled: ClientSeq::default(), text, reply_to, mentions })
        };
        self.client.typists().handle_sent(channel);
        self.client.write(channel, Box::new(make)).await
    }
    /// As [`Outgoing::retry`], of an own write that a list shows, also one of before this start.
    ///
    /// # Errors
    /// As [`Outgoing::retry`].
    pub async fn retry(&self, id: LocalId) -> Result<Outgoing, Error> {
        self.client.retry(self.id, number_of(id)?).await
    }
    /// As [`Outgoing::discard`], of an own write that a list shows, also one of before this start.
    ///
    /// # Errors
    /// As [`Outgoing::retry`].
    pub async fn discard(&self, id: LocalId) -> Result<(), Error> {
        self.client.discard(self.id, number_of(id)?).await
    }
    /// Adds a user to a group.
    ///
    /// # Errors
    /// The client is closed; what the server says comes with [`Outgoing::sent`].
    pub async fn add(&self, user: UserId) -> Result<Outgoing, Error> {
        self.change(MemberChange::Add(user)).await
    }
    /// Removes a member of a group.
    ///
    /// # Errors
    /// As [`Channel::add`].
    pub async fn remove(&self, user: UserId) -> Result<Outgoing, Error> {
        self.change(MemberChange::Remove(user)).await
    }
    /// Leaves a group.
    ///
    /// # Errors
    /// As [`Channel::add`].
    pub async fn leave(&self) -> Result<Outgoing, Error> {
        self.change(MemberChange::Leave).await
    }
    /// Gives a member a role.
    ///
    /// # Errors
    /// As [`Channel::add`].
    pub async fn set_role(&self, user: UserId, role: Role) -> Result<Outgoing, Error> {
        self.change(MemberChange::SetRole(user, role)).await
    }
    /// Title, members and positions, from the server.
    ///
    /// # Errors
    /// `NotMember`, or as [`Client::request`].
    pub async fn view(&self) -> Result<ChannelView, Error> {
        match self.client.request(Request::GetChannel { channel: self.id }).await? {
            Answer::Channel(view) => Ok(view),
            _ => Err(unexpected()),
        }
    }
    /// Moves the own read position to a record that this device holds. It never goes back.
    ///
    /// # Errors
    /// `NotFound`: this device does not hold it; else as [`Client::request`].
    pub async fn mark_read(&self, up_to: Seq) -> Result<(), Error> {
        self.mark_read_at(self.place(up_to).await?).await
    }
    /// Moves the own read position to a known place, as a record or a row of the index gives it.
    ///
    /// # Errors
    /// As [`Client::request`].
    pub async fn mark_read_at(&self, read: Position) -> Result<(), Error> {
        match self.client.request(Request::MarkRead { channel: self.id, read }).await? {
            Answer::Done => Ok(()),
            _ => Err(unexpected()),
        }
    }
    /// What happens in this channel from now on: its records by rising seq, each once.
    pub fn subscribe(&self) -> Events {
        self.client.reader(self.id)
    }
    /// Records that this device holds, from `first` to `last`, rising; at most `limit`, the oldest of them. Works offline.
    ///
    /// # Errors
    /// The store failed.
    pub async fn records(&self, first: Seq, last: Seq, limit: usize) -> Result<Vec<Arc<Record>>, Error> {
        self.client.store().records(self.id, first, last, limit).await.map_err(|error| Error::store("reading the local store", error))
    }
    /// What this device holds; `None`: it knows nothing of the channel.
    ///
    /// # Errors
    /// The store failed.
    pub async fn held(&self) -> Result<Option<Cursor>, Error> {
        self.client.store().cursor(self.id).await.map_err(|error| Error::store("reading the local store", error))
    }
    /// One page of history from the server. Go on from its `covered`.
    ///
    /// # Errors
    /// `NotMember`, or as [`Client::request`].
    pub async fn history(&self, history: History) -> Result<HistoryPage, Error> {
        let History { first, last, newest_first, limit, replica, min_seq, linearizable, place } = history;
        if linearizable && replica.is_some() {
            return Err(Error::new(Code::Invalid, "a linearizable read chooses its replica itself"));
        }
        let query = HistoryQuery { channel: self.id, first, last, newest_first, limit, min_seq, replica, linearizable, place };
        match self.client.pull(Pull::History(query)).await? {
            Page::History(page) => Ok(page),
            _ => Err(unexpected()),
        }
    }
    /// Every record that this user may see, page by page from the server; from one node's replica if named.
    ///
    /// # Errors
    /// As [`Channel::history`].
    pub async fn whole_history(&self, replica: Option<NodeId>, min_seq: Seq) -> Result<Vec<Record>, Error> {
        let mut records = Vec::new();
        let mut first = Seq::new(1);
        loop {
            let page = self.history(History { first, newest_first: false, replica, min_seq, ..History::default() }).await?;
            records.extend(page.records);
            match page.covered {
                Some((_, last)) if last < page.head.seq && last >= first => first = last.next(),
                _ => return Ok(records),
            }
        }
    }
    /// The place of a record that this device holds.
    pub(crate) async fn place(&self, seq: Seq) -> Result<Position, Error> {
        let held = self.records(seq, seq, 1).await?;
        held.first().map(|record| record.at).ok_or_else(|| Error::new(Code::NotFound, "this device does not hold that record"))
    }
    async fn change(&self, change: MemberChange) -> Result<Outgoing, Error> {
        let channel = self.id;
        let make = move |client_seq| Request::ChangeMembers(ChangeMembers { channel, client_seq, settled: ClientSeq::default(), change });
        self.client.write(channel, Box::new(make)).await
    }
}

fn number_of(id: LocalId) -> Result<ClientSeq, Error> {
    id.client_seq().ok_or_else(|| Error::new(Code::NotFound, "this is no write of this device"))
}

/// What the edge would refuse is refused here, before it takes a number.
fn check(draft: &Draft) -> Result<(), Error> {
    if draft.text.is_empty() {
        return Err(Error::new(Code::Invalid, "an empty text"));
    }
    // A text of so many bytes has no more characters than that: most need no counting.
    if draft.text.len() > TEXT_CHARS_MAX && draft.text.chars().count() > TEXT_CHARS_MAX {
        return Err(Error::new(Code::TooLarge, format!("a text of more than {TEXT_CHARS_MAX} characters")));
    }
    if draft.mentions.len() > MENTIONS_MAX {
        return Err(Error::new(Code::TooLarge, format!("more than {MENTIONS_MAX} mentions")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_counted_in_characters() {
        let emoji = |count| Draft::text("🦀".repeat(count));
        assert!(check(&emoji(TEXT_CHARS_MAX)).is_ok());
        assert_eq!(check(&emoji(TEXT_CHARS_MAX + 1)).map_err(|error| error.code), Err(Code::TooLarge));
        assert_eq!(check(&Draft::text("")).map_err(|error| error.code), Err(Code::Invalid));
    }
}
