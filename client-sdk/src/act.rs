//! What else can be done in a conversation: editing and reacting, threads, texts for later, running a group.
//!
//! Each is a numbered write like a send: stored first, resent until it is answered, done once. What nobody could do anywhere is refused
//! here, before it takes a number; the rest is the server's word.

use std::{fmt, str::FromStr, time::Duration};

use kith_wire::{
    act::{self, Act, ActWrite, Invite, JoinLink, Reaction, Rules},
    client::{Answer, GroupView, Request, ScheduledText},
    code::Code,
    id::{ChannelId, ClientSeq, Seq, Timestamp, UserId},
};
use rand::RngExt;

use crate::{
    channel::{Channel, Draft},
    client::{Client, unexpected},
    clock,
    error::Error,
    outgoing::Outgoing,
};

/// A text that is more than a text: in a thread, or one that ends.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Post(act::Draft);

impl Post {
    /// As a plain text so far.
    pub fn new(draft: impl Into<Draft>) -> Self {
        let Draft { text, reply_to, mentions } = draft.into();
        Self(act::Draft { text, reply_to, mentions, ..act::Draft::default() })
    }
    /// In the thread that this text began, or begins by it.
    #[must_use]
    pub fn in_thread(mut self, root: Seq) -> Self {
        self.0.thread = Some(root);
        self
    }
    /// It ends so long after it was recorded: then no log has its text any more. What a device holds of it by then stays there.
    #[must_use]
    pub fn ends_after(mut self, ttl: Duration) -> Self {
        self.0.ttl_ms = Some(u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX));
        self
    }
}

/// A link to join a group by. Whoever holds it may show it: keep it as you would keep a key. Prints as `kith-join:<channel>:<secret>`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Link {
    /// Which group.
    pub channel: ChannelId,
    /// What lets in.
    pub secret: [u8; 16],
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        JoinLink { channel: self.channel, secret: self.secret }.fmt(f)
    }
}

impl FromStr for Link {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        let link = text.parse::<JoinLink>().map_err(|_| Error::new(Code::Invalid, "a link has the form kith-join:<channel>:<secret>"))?;
        Ok(Self { channel: link.channel, secret: link.secret })
    }
}

/// What came of a link.
#[derive(Clone)]
pub enum Joined {
    /// A member now, or before.
    Member(Channel),
    /// An admin has to let them in.
    Pending,
}

impl Client {
    /// Joins a group by a link, or asks to be let in.
    ///
    /// # Errors
    /// `LinkEnded`, `GroupFull`, `NotAllowed` for who was removed from it, or as [`Client::request`].
    pub async fn join(&self, link: Link) -> Result<Joined, Error> {
        match self.request(Request::Join { channel: link.channel, secret: link.secret }).await? {
            Answer::Joined { .. } => Ok(Joined::Member(self.channel(link.channel))),
            Answer::Pending => Ok(Joined::Pending),
            _ => Err(unexpected()),
        }
    }
}

impl Channel {
    /// Does an act. The methods below are this one with a name.
    ///
    /// # Errors
    /// `Invalid` or `TooLarge` for what nobody can do; or the client is closed. What the server says comes with [`Outgoing::done`].
    pub async fn act(&self, act: Act) -> Result<Outgoing, Error> {
        if let Some(code) = act.refused() {
            return Err(Error::new(code, code.text()));
        }
        let channel = self.id;
        let make = move |client_seq| Request::Act(ActWrite { channel, client_seq, settled: ClientSeq::default(), act });
        self.client.write(channel, Box::new(make)).await
    }
    /// Sends a text that is in a thread, or ends.
    ///
    /// # Errors
    /// As [`Channel::act`].
    pub async fn post(&self, post: Post) -> Result<Outgoing, Error> {
        self.act(Act::Post(post.0)).await
    }
    /// Sends a copy of a text that stands elsewhere and that this user may read there; its origin is named.
    ///
    /// # Errors
    /// As [`Channel::act`].
    pub async fn forward(&self, from: ChannelId, seq: Seq) -> Result<Outgoing, Error> {
        self.act(Act::Forward { from, seq }).await
    }
    /// Replaces the text of an own record.
    ///
    /// # Errors
    /// As [`Channel::act`].
    pub async fn edit(&self, target: Seq, new: impl Into<Draft>) -> Result<Outgoing, Error> {
        let Draft { text, mentions, .. } = new.into();
        self.act(Act::Edit { target, text, mentions }).await
    }
    /// Deletes a text for everyone: an own one, or any as an admin of a group.
    ///
    /// # Errors
    /// As [`Channel::act`].
    pub async fn delete(&self, target: Seq) -> Result<Outgoing, Error> {
        self.act(Act::Delete { target }).await
    }
    /// Adds a reaction, or takes it back.
    ///
    /// # Errors
    /// As [`Channel::act`].
    pub async fn react(&self, target: Seq, emoji: impl Into<String>, on: bool) -> Result<Outgoing, Error> {
        self.act(Act::React { target, emoji: emoji.into(), on }).await
    }
    /// Pins or unpins a text.
    ///
    /// # Errors
    /// As [`Channel::act`].
    pub async fn pin(&self, target: Seq, on: bool) -> Result<Outgoing, Error> {
        self.act(Act::Pin { target, on }).await
    }
    /// Has a text sent at a time, whether this device is there then or not; its id comes as `Done::Kept`.
    ///
    /// # Errors
    /// As [`Channel::act`].
    pub async fn schedule(&self, due: Timestamp, post: Post) -> Result<Outgoing, Error> {
        self.act(Act::Schedule { due, draft: post.0 }).await
    }
    /// Takes back a text that was to be sent later.
    ///
    /// # Errors
    /// As [`Channel::act`].
    pub async fn unschedule(&self, id: u64) -> Result<Outgoing, Error> {
        self.act(Act::Unschedule { id }).await
    }
    /// The own texts that are to be sent later, and those that were refused then.
    ///
    /// # Errors
    /// As [`Client::request`].
    pub async fn scheduled(&self) -> Result<Vec<ScheduledText>, Error> {
        match self.client.request(Request::GetScheduled { channel: self.id }).await? {
            Answer::Scheduled(texts) => Ok(texts),
            _ => Err(unexpected()),
        }
    }
    /// Changes title or description of a group; `None` leaves it.
    ///
    /// # Errors
    /// As [`Channel::act`].
    pub async fn describe(&self, title: Option<String>, about: Option<String>) -> Result<Outgoing, Error> {
        self.act(Act::Describe { title, about }).await
    }
    /// Replaces the rules of a group.
    ///
    /// # Errors
    /// As [`Channel::act`].
    pub async fn set_rules(&self, rules: Rules) -> Result<Outgoing, Error> {
        self.act(Act::SetRules(rules)).await
    }
    /// Makes another member the owner of a group, and this user an admin.
    ///
    /// # Errors
    /// As [`Channel::act`].
    pub async fn hand_over(&self, to: UserId) -> Result<Outgoing, Error> {
        self.act(Act::HandOver { to }).await
    }
    /// Keeps a member from writing until then; 0: no longer.
    ///
    /// # Errors
    /// As [`Channel::act`].
    pub async fn mute(&self, user: UserId, until: Timestamp) -> Result<Outgoing, Error> {
        self.act(Act::Mute { user, until }).await
    }
    /// Makes a link to join by. `until`: 0 for one that does not end; `uses`: 0 for any number. It works once the write is done.
    ///
    /// # Errors
    /// As [`Channel::act`].
    pub async fn invite(&self, until: Timestamp, uses: u32) -> Result<(Link, Outgoing), Error> {
        let link = Link { channel: self.id, secret: rand::rng().random() };
        let outgoing = self.act(Act::Invite(Invite { secret: link.secret, until, uses })).await?;
        Ok((link, outgoing))
    }
    /// Ends a link.
    ///
    /// # Errors
    /// As [`Channel::act`].
    pub async fn revoke(&self, secret: [u8; 16]) -> Result<Outgoing, Error> {
        self.act(Act::Revoke { secret }).await
    }
    /// Shuts somebody out of the group, member or not, or lets them in again.
    ///
    /// # Errors
    /// As [`Channel::act`].
    pub async fn ban(&self, user: UserId, on: bool) -> Result<Outgoing, Error> {
        self.act(Act::Ban { user, on }).await
    }
    /// Refuses somebody who asked to join; [`Channel::add`] lets them in.
    ///
    /// # Errors
    /// As [`Channel::act`].
    pub async fn reject(&self, user: UserId) -> Result<Outgoing, Error> {
        self.act(Act::Reject { user }).await
    }
    /// Description, rules, pins and, for those who may see them, links and requests to join.
    ///
    /// # Errors
    /// `NotMember`, or as [`Client::request`].
    pub async fn group(&self) -> Result<GroupView, Error> {
        match self.client.request(Request::GetGroup { channel: self.id }).await? {
            Answer::Group(view) => Ok(view),
            _ => Err(unexpected()),
        }
    }
    /// Who has read a record, and to whom it was delivered.
    ///
    /// # Errors
    /// `NotFound` for one that this user may not read, or as [`Client::request`].
    pub async fn seen(&self, seq: Seq) -> Result<(Vec<UserId>, Vec<UserId>), Error> {
        match self.client.request(Request::GetSeen { channel: self.id, seq }).await? {
            Answer::Seen { read, delivered } => Ok((read, delivered)),
            _ => Err(unexpected()),
        }
    }
    /// Who reacted to a record, and how.
    ///
    /// # Errors
    /// As [`Channel::seen`].
    pub async fn reactions(&self, seq: Seq) -> Result<Vec<Reaction>, Error> {
        match self.client.request(Request::GetReactions { channel: self.id, seq }).await? {
            Answer::Reactions(reactions) => Ok(reactions),
            _ => Err(unexpected()),
        }
    }
    /// Tells the others that this user types. Say it again while it is so, as often as is convenient: it is told once in three seconds, and ends by itself. It is
    /// a hint: without a session it is dropped.
    ///
    /// # Errors
    /// As [`Client::request`].
    pub async fn typing(&self) -> Result<(), Error> {
        if !self.client.status().get().is_online() || !self.client.typists().is_due(clock::now(), self.id) {
            return Ok(());
        }
        match self.client.request(Request::Typing { channel: self.id }).await? {
            Answer::Done => Ok(()),
            _ => Err(unexpected()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_read_as_it_was_printed() {
        let link = Link { channel: ChannelId::direct(UserId::new(1), UserId::new(2)), secret: [0xab; 16] };
        assert_eq!(link.to_string().parse::<Link>().ok(), Some(link));
        for bad in ["", "kith-join:", "kith-join:00:00", &link.to_string()[1..], &format!("{link}0")] {
            assert_eq!(bad.parse::<Link>().map_err(|error| error.code), Err(Code::Invalid), "{bad:?}");
        }
    }
}
