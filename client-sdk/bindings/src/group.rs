//! Groups: what stands beside their log, links to join by, who has seen what.

use kith_client::{
    Joined, Link,
    wire::{
        act::{Reaction, Rules},
        client::{GroupView, MemberView},
        id::Seq,
    },
};

use crate::{
    client::ChatClient,
    error::ChatError,
    value::{Member, MemberRole, set, texts_of},
};

/// What members may do, and how long a group keeps texts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, uniffi::Record)]
pub struct GroupRules {
    /// The least role that may write.
    pub post: MemberRole,
    /// That may add members and make links.
    pub invite: MemberRole,
    /// That may pin.
    pub pin: MemberRole,
    /// That may change title and description.
    pub describe: MemberRole,
    /// New members read from the start, not from when they joined.
    pub from_start: bool,
    /// Who joins by a link waits for an admin.
    pub approval: bool,
    /// Between two texts of a plain member, in milliseconds; 0: none.
    pub slow_ms: u64,
    /// A text is kept so long, in milliseconds; 0: for ever.
    pub retention_ms: u64,
}

impl From<Rules> for GroupRules {
    fn from(rules: Rules) -> Self {
        let Rules { post, invite, pin, describe, from_start, approval, slow_ms, retention_ms } = rules;
        let (post, invite, pin, describe) = (post.into(), invite.into(), pin.into(), describe.into());
        Self { post, invite, pin, describe, from_start, approval, slow_ms, retention_ms }
    }
}

impl From<GroupRules> for Rules {
    fn from(rules: GroupRules) -> Self {
        let GroupRules { post, invite, pin, describe, from_start, approval, slow_ms, retention_ms } = rules;
        let (post, invite, pin, describe) = (post.into(), invite.into(), pin.into(), describe.into());
        Self { post, invite, pin, describe, from_start, approval, slow_ms, retention_ms }
    }
}

/// A pinned text.
#[derive(Clone, PartialEq, Eq, Debug, uniffi::Record)]
pub struct PinnedText {
    /// Its place.
    pub seq: u64,
    /// Who pinned it.
    pub by: String,
}

/// A member who may not write for a while.
#[derive(Clone, PartialEq, Eq, Debug, uniffi::Record)]
pub struct MutedMember {
    /// Who.
    pub user: String,
    /// Until when.
    pub until_ms: u64,
}

/// A link to join by. Whoever holds it may show it.
#[derive(Clone, PartialEq, Eq, Debug, uniffi::Record)]
pub struct InviteLink {
    /// `kith-join:<channel>:<secret>`.
    pub link: String,
    /// Who made it.
    pub by: String,
    /// It ends then; `None`: never.
    pub until_ms: Option<u64>,
    /// So many may still join by it; 0: any number.
    pub uses: u32,
    /// So many have.
    pub used: u32,
}

/// Somebody who asked to join.
#[derive(Clone, PartialEq, Eq, Debug, uniffi::Record)]
pub struct JoinRequest {
    /// Who.
    pub user: String,
    /// When.
    pub at_ms: u64,
}

/// What stands beside a group's log.
#[derive(Clone, PartialEq, Eq, Debug, uniffi::Record)]
pub struct GroupDetails {
    /// Which.
    pub channel: String,
    /// Its title.
    pub title: String,
    /// Its description.
    pub about: String,
    /// This user's role.
    pub role: MemberRole,
    /// What members may do.
    pub rules: GroupRules,
    /// By rising place.
    pub pins: Vec<PinnedText>,
    /// Members who may not write now.
    pub muted: Vec<MutedMember>,
    /// For those who may make them.
    pub links: Vec<InviteLink>,
    /// For admins.
    pub asked: Vec<JoinRequest>,
    /// Who is shut out, for admins.
    pub banned: Vec<String>,
}

impl From<GroupView> for GroupDetails {
    fn from(view: GroupView) -> Self {
        let GroupView { channel, title, about, role, rules, pins, muted, links, asked, banned } = view;
        let link = |link: kith_client::wire::act::Link| InviteLink {
            link: Link { channel, secret: link.invite.secret }.to_string(),
            by: link.by.to_string(),
            until_ms: set(link.invite.until),
            uses: link.invite.uses,
            used: link.used,
        };
        Self {
            channel: channel.to_string(),
            title,
            about,
            role: role.into(),
            rules: rules.into(),
            pins: pins.iter().map(|pin| PinnedText { seq: pin.seq.get(), by: pin.by.to_string() }).collect(),
            muted: muted.iter().map(|muted| MutedMember { user: muted.user.to_string(), until_ms: muted.until.get() }).collect(),
            links: links.into_iter().map(link).collect(),
            asked: asked.iter().map(|asked| JoinRequest { user: asked.user.to_string(), at_ms: asked.at.get() }).collect(),
            banned: texts_of(&banned),
        }
    }
}

/// A link that was made.
#[derive(Clone, PartialEq, Eq, Debug, uniffi::Record)]
pub struct Invited {
    /// What to hand on. Keep it as you would keep a key.
    pub link: String,
    /// Of the write that makes it: it works once that is done.
    pub number: u64,
}

/// What came of a link.
#[derive(Clone, PartialEq, Eq, Debug, uniffi::Enum)]
pub enum JoinOutcome {
    /// A member now, or before.
    Member {
        /// Of this conversation.
        channel: String,
    },
    /// An admin has to let them in.
    Pending,
}

/// One emoji on a record.
#[derive(Clone, PartialEq, Eq, Debug, uniffi::Record)]
pub struct EmojiCount {
    /// Which.
    pub emoji: String,
    /// By whom.
    pub users: Vec<String>,
}

/// Who has seen a record.
#[derive(Clone, PartialEq, Eq, Debug, uniffi::Record)]
pub struct SeenBy {
    /// Who has read it.
    pub read: Vec<String>,
    /// To whom it was delivered.
    pub delivered: Vec<String>,
}

#[uniffi::export(async_runtime = "tokio")]
impl ChatClient {
    /// Joins a group by a link, or asks to be let in.
    pub async fn join(&self, link: String) -> Result<JoinOutcome, ChatError> {
        let link: Link = link.parse()?;
        Ok(match self.client.join(link).await? {
            Joined::Member(channel) => JoinOutcome::Member { channel: channel.id().to_string() },
            Joined::Pending => JoinOutcome::Pending,
        })
    }
    /// Description, rules, pins and, for those who may see them, links and requests to join; from the server.
    pub async fn group(&self, channel: String) -> Result<GroupDetails, ChatError> {
        Ok(self.at(&channel)?.group().await?.into())
    }
    /// Who is in a conversation, and how far they have read; from the server.
    pub async fn members(&self, channel: String) -> Result<Vec<Member>, ChatError> {
        let view = self.at(&channel)?.view().await?;
        let member = |one: MemberView| Member {
            user: one.user.to_string(),
            role: one.role.into(),
            read: one.read.seq.get(),
            delivered: one.delivered.seq.get(),
        };
        Ok(view.members.into_iter().map(member).collect())
    }
    /// Who has read a record, and to whom it was delivered; from the server.
    pub async fn seen(&self, channel: String, seq: u64) -> Result<SeenBy, ChatError> {
        let (read, delivered) = self.at(&channel)?.seen(Seq::new(seq)).await?;
        Ok(SeenBy { read: texts_of(&read), delivered: texts_of(&delivered) })
    }
    /// Who reacted to a record, and how; from the server.
    pub async fn reactions(&self, channel: String, seq: u64) -> Result<Vec<EmojiCount>, ChatError> {
        let reactions = self.at(&channel)?.reactions(Seq::new(seq)).await?;
        Ok(reactions.into_iter().map(|Reaction { emoji, users }| EmojiCount { emoji, users: texts_of(&users) }).collect())
    }
    /// Tells the operators of a text of somebody else.
    pub async fn report(&self, channel: String, seq: u64, reason: String) -> Result<(), ChatError> {
        Ok(self.at(&channel)?.report(Seq::new(seq), reason).await?)
    }
}
