//! What a channel's leader does for acts, links, forwards and questions about a channel; [`super::local`] is the rest of it.
//!
//! Invariants: as there: all but forwards are proposed in the first poll. A forward reads its source where it stands, as the asker may read it, and the final word on it is logged: a
//! source that is not theirs to read is refused by a command, so that the number is used up; one that cannot be asked now is `Busy`.

use std::time::Duration;

use kith_machine::{channel::read, reply::Reply};
use kith_raft::GroupHandle;
use kith_wire::{
    act::{Act, ActWrite, Extra, Origin},
    client::{Answer, GroupView, Refusal, ScheduledText, Send},
    code::Code,
    id::{ChannelId, Seq, UserId},
    log::{Command, Content, Record},
    peer::{Caller, Inner, InnerAnswer},
};

use super::local::{Local, author, broken, not_proposed, propose, sent, view};
use crate::{
    clock::Instant,
    router::{refuse, refuse_for},
};

impl Local {
    /// Does an act.
    pub(super) async fn act(&self, handle: &GroupHandle, caller: &Caller, write: ActWrite, deadline: Instant) -> Result<Answer, Refusal> {
        let digest = write.digest();
        let ActWrite { channel, client_seq, settled, act } = write;
        let author = author(caller, client_seq, settled, digest);
        let content = match act {
            Act::Post(draft) => {
                let extra = draft.extra();
                Content::Text { text: draft.text, reply_to: draft.reply_to, mentions: draft.mentions, extra }
            }
            Act::Forward { from, seq } => match self.source(caller.user, from, seq, deadline).await? {
                Some(content) => content,
                None => return sent(propose(handle, Command::Refuse { channel, author, code: Code::NotFound }).await?),
            },
            act => return sent(propose(handle, Command::Act { channel, author, act }).await?),
        };
        self.append(handle, caller, (channel, author, content), deadline).await
    }

    /// The copy of a text that this user may read where it stands; `None`: they may not, or it is none (any more).
    async fn source(&self, user: UserId, from: ChannelId, seq: Seq, deadline: Instant) -> Result<Option<Content>, Refusal> {
        let soon = deadline.min(self.router().clock().instant() + SOURCE_MAX);
        let told = self.router().inner(from.bucket(), Inner::ReadRecord { channel: from, user, seq }, soon).await;
        let Ok(InnerAnswer::Source { record }) = told else { return Err(refuse_for(Code::Busy, SOURCE_RETRY_MS)) };
        Ok(record.and_then(|record| copy(from, record)))
    }

    /// Answers [`Inner::ReadRecord`].
    pub(super) async fn read_record(&self, handle: &GroupHandle, channel: ChannelId, user: UserId, seq: Seq) -> Result<InnerAnswer, Refusal> {
        handle.read_barrier().await.map_err(not_proposed)?;
        let record = read::record(&view(handle)?, channel, user, seq).map_err(|error| broken(&error))?;
        Ok(InnerAnswer::Source { record })
    }

    /// Joins by a link, or asks to.
    pub(super) async fn join(&self, handle: &GroupHandle, caller: &Caller, channel: ChannelId, secret: [u8; 16]) -> Result<Answer, Refusal> {
        sent(propose(handle, Command::Join { channel, user: caller.user, secret }).await?)
    }

    /// What stands beside a channel's log.
    pub(super) async fn group_view(&self, handle: &GroupHandle, channel: ChannelId, user: UserId) -> Result<Answer, Refusal> {
        handle.read_barrier().await.map_err(not_proposed)?;
        let beside = read::beside(&view(handle)?, channel, user).map_err(|error| broken(&error))?.ok_or_else(|| refuse(Code::NotMember))?;
        let now = self.router().clock().now();
        let rules = beside.rules;
        Ok(Answer::Group(GroupView {
            channel,
            title: beside.title,
            about: rules.about,
            role: beside.role,
            rules: rules.rules,
            pins: rules.pins,
            muted: rules.muted.into_iter().filter(|muted| muted.until > now).collect(),
            links: rules.links,
            asked: rules.asked,
            banned: rules.banned,
        }))
    }

    /// The asker's scheduled texts.
    pub(super) async fn scheduled(&self, handle: &GroupHandle, channel: ChannelId, user: UserId) -> Result<Answer, Refusal> {
        handle.read_barrier().await.map_err(not_proposed)?;
        let rows = read::scheduled(&view(handle)?, channel, user).map_err(|error| broken(&error))?;
        let texts = rows.into_iter().map(|(id, row)| ScheduledText { id, due: row.due, draft: row.draft, refused: row.refused });
        Ok(Answer::Scheduled(texts.collect()))
    }

    /// Who has read a record.
    pub(super) async fn seen(&self, handle: &GroupHandle, channel: ChannelId, user: UserId, seq: Seq) -> Result<Answer, Refusal> {
        handle.read_barrier().await.map_err(not_proposed)?;
        let seen = read::seen(&view(handle)?, channel, user, seq).map_err(|error| broken(&error))?;
        let read::SeenBy { read, delivered } = seen.ok_or_else(|| refuse(Code::NotFound))?;
        Ok(Answer::Seen { read, delivered })
    }

    /// Who reacted to a record.
    pub(super) async fn reactions(&self, handle: &GroupHandle, channel: ChannelId, user: UserId, seq: Seq) -> Result<Answer, Refusal> {
        handle.read_barrier().await.map_err(not_proposed)?;
        let reactions = read::reactions(&view(handle)?, channel, user, seq).map_err(|error| broken(&error))?;
        reactions.map(Answer::Reactions).ok_or_else(|| refuse(Code::NotFound))
    }
}

/// A text as it is forwarded: a copy of a copy names the first origin. What ends by itself is not carried on.
fn copy(from: ChannelId, record: Record) -> Option<Content> {
    let at = Origin { channel: from, seq: record.at.seq, sender: record.sender, ts: record.ts };
    let Content::Text { text, extra, .. } = record.content else { return None };
    let extra = extra.unwrap_or_default();
    if extra.ttl_ms.is_some() {
        return None;
    }
    let extra = Extra { origin: Some(extra.origin.unwrap_or(at)), ..Extra::default() };
    Some(Content::Text { text, reply_to: None, mentions: Vec::new(), extra: Some(Box::new(extra)) })
}

/// A send as an append.
pub(super) fn content_of(send: Send) -> Content {
    Content::Text { text: send.text, reply_to: send.reply_to, mentions: send.mentions, extra: None }
}

/// For the source's leader to answer.
const SOURCE_MAX: Duration = Duration::from_secs(3);
/// When it did not.
const SOURCE_RETRY_MS: u32 = 500;

/// What becomes of a reply that only acts have.
pub(super) fn act_reply(reply: Reply) -> Result<Answer, Refusal> {
    match reply {
        Reply::Kept { id } => Ok(Answer::Kept { id }),
        Reply::Joined { seq } => Ok(Answer::Joined { seq }),
        Reply::Pending => Ok(Answer::Pending),
        Reply::Slow { ms } => Err(refuse_for(Code::SlowMode, u32::try_from(ms).unwrap_or(u32::MAX).max(1))),
        _ => Err(refuse(Code::Internal)),
    }
}
