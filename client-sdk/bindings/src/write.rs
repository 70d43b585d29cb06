//! Numbered writes: what is stored first, sent until it is answered, and done once.
//!
//! In: calls of apps, by conversation and number. Out: numbers, and what became of them. Bound: [`HANDLES_MAX`] handles. Not here: what a write does
//! (`kith-client`), values (`message`, `group`).

use std::{sync::Arc, time::Duration};

use kith_client::{
    Channel, Draft, Error, Link, LocalId, Outgoing,
    wire::{
        code::Code,
        id::{ChannelId, ClientSeq, Seq, Timestamp},
    },
};

use crate::{
    client::ChatClient,
    error::ChatError,
    group::{GroupRules, Invited},
    message::{Echo, Outcome, Post, Scheduled, SendState, Unsent},
    value::{MemberRole, channel_of, user_of, users_of},
    watch::SendStateWatch,
};

/// Writes whose handles are kept for `sent`; the oldest answered ones make room.
const HANDLES_MAX: usize = 1_024;

#[uniffi::export(async_runtime = "tokio")]
impl ChatClient {
    /// Sends a text. Resolves once it is stored here, with its number: from then on it is sent until it is answered.
    #[uniffi::method(default(reply_to = None, mentions = []))]
    pub async fn send(&self, channel: String, text: String, reply_to: Option<u64>, mentions: Vec<String>) -> Result<u64, ChatError> {
        let draft = draft(text, reply_to, &mentions)?;
        self.keep(self.at(&channel)?.send(draft).await?).await
    }
    /// Sends a text with all that it may carry: in a thread, or one that ends. As `send`.
    pub async fn post(&self, channel: String, post: Post) -> Result<u64, ChatError> {
        self.keep(self.at(&channel)?.post(whole(post)?).await?).await
    }
    /// Sends a copy of a text that stands elsewhere and that this user may read there; its origin is named. As `send`.
    pub async fn forward(&self, channel: String, from: String, seq: u64) -> Result<u64, ChatError> {
        self.keep(self.at(&channel)?.forward(channel_of(&from)?, Seq::new(seq)).await?).await
    }
    /// Replaces an own text. As `send`.
    #[uniffi::method(default(mentions = []))]
    pub async fn edit(&self, channel: String, seq: u64, text: String, mentions: Vec<String>) -> Result<u64, ChatError> {
        let draft = draft(text, None, &mentions)?;
        self.keep(self.at(&channel)?.edit(Seq::new(seq), draft).await?).await
    }
    /// Takes a text away for everyone: an own one, or any as an admin of a group. As `send`.
    pub async fn delete(&self, channel: String, seq: u64) -> Result<u64, ChatError> {
        self.keep(self.at(&channel)?.delete(Seq::new(seq)).await?).await
    }
    /// Adds a reaction, or takes it back. As `send`.
    pub async fn react(&self, channel: String, seq: u64, emoji: String, on: bool) -> Result<u64, ChatError> {
        self.keep(self.at(&channel)?.react(Seq::new(seq), emoji, on).await?).await
    }
    /// Pins a text, or unpins it. As `send`.
    pub async fn pin(&self, channel: String, seq: u64, on: bool) -> Result<u64, ChatError> {
        self.keep(self.at(&channel)?.pin(Seq::new(seq), on).await?).await
    }
    /// Has a text sent at a time, whether this device is there then or not. As `send`; `outcome` gives its id.
    pub async fn schedule(&self, channel: String, due_ms: u64, post: Post) -> Result<u64, ChatError> {
        self.keep(self.at(&channel)?.schedule(Timestamp::new(due_ms), whole(post)?).await?).await
    }
    /// Takes back a text that was to be sent later. As `send`.
    pub async fn unschedule(&self, channel: String, id: u64) -> Result<u64, ChatError> {
        self.keep(self.at(&channel)?.unschedule(id).await?).await
    }
    /// The own texts that are to be sent later, and those that were refused then; from the server.
    pub async fn scheduled(&self, channel: String) -> Result<Vec<Scheduled>, ChatError> {
        Ok(self.at(&channel)?.scheduled().await?.into_iter().map(Into::into).collect())
    }

    // ---- groups

    /// Adds somebody to a group, by exact name. As `send`.
    pub async fn add_member(&self, channel: String, name: String) -> Result<u64, ChatError> {
        let at = self.at(&channel)?;
        let user = self.client.find_user(&name).await?;
        self.keep(at.add(user).await?).await
    }
    /// Adds somebody to a group, by id: lets in who has asked to join. As `send`.
    pub async fn let_in(&self, channel: String, user: String) -> Result<u64, ChatError> {
        self.keep(self.at(&channel)?.add(user_of(&user)?).await?).await
    }
    /// Refuses somebody who asked to join. As `send`.
    pub async fn reject(&self, channel: String, user: String) -> Result<u64, ChatError> {
        self.keep(self.at(&channel)?.reject(user_of(&user)?).await?).await
    }
    /// Removes a member. As `send`.
    pub async fn remove_member(&self, channel: String, user: String) -> Result<u64, ChatError> {
        self.keep(self.at(&channel)?.remove(user_of(&user)?).await?).await
    }
    /// Shuts somebody out, member or not, or lets them in again. As `send`.
    pub async fn ban(&self, channel: String, user: String, on: bool) -> Result<u64, ChatError> {
        self.keep(self.at(&channel)?.ban(user_of(&user)?, on).await?).await
    }
    /// Keeps a member from writing until then; 0: no longer. As `send`.
    pub async fn mute_member(&self, channel: String, user: String, until_ms: u64) -> Result<u64, ChatError> {
        self.keep(self.at(&channel)?.mute(user_of(&user)?, Timestamp::new(until_ms)).await?).await
    }
    /// Gives a member a role. As `send`.
    pub async fn set_role(&self, channel: String, user: String, role: MemberRole) -> Result<u64, ChatError> {
        self.keep(self.at(&channel)?.set_role(user_of(&user)?, role.into()).await?).await
    }
    /// Makes another member the owner, and this user an admin. As `send`.
    pub async fn hand_over(&self, channel: String, user: String) -> Result<u64, ChatError> {
        self.keep(self.at(&channel)?.hand_over(user_of(&user)?).await?).await
    }
    /// Leaves a group. As `send`.
    pub async fn leave(&self, channel: String) -> Result<u64, ChatError> {
        self.keep(self.at(&channel)?.leave().await?).await
    }
    /// Changes title or description of a group; what is not given stays. As `send`.
    #[uniffi::method(default(title = None, about = None))]
    pub async fn describe(&self, channel: String, title: Option<String>, about: Option<String>) -> Result<u64, ChatError> {
        self.keep(self.at(&channel)?.describe(title, about).await?).await
    }
    /// Replaces what members of a group may do. As `send`.
    pub async fn set_rules(&self, channel: String, rules: GroupRules) -> Result<u64, ChatError> {
        self.keep(self.at(&channel)?.set_rules(rules.into()).await?).await
    }
    /// Makes a link to join by, which works once the write is done. `until_ms`: 0 for one that does not end; `uses`: 0 for any number.
    #[uniffi::method(default(until_ms = 0, uses = 0))]
    pub async fn invite(&self, channel: String, until_ms: u64, uses: u32) -> Result<Invited, ChatError> {
        let (link, outgoing) = self.at(&channel)?.invite(Timestamp::new(until_ms), uses).await?;
        Ok(Invited { link: link.to_string(), number: self.keep(outgoing).await? })
    }
    /// Ends a link of this group. As `send`.
    pub async fn revoke(&self, channel: String, link: String) -> Result<u64, ChatError> {
        let link: Link = link.parse()?;
        self.keep(self.at(&channel)?.revoke(link.secret).await?).await
    }

    // ---- what becomes of it

    /// Waits until a write of this start is done; gives its place, 0 where it needs none.
    pub async fn sent(&self, channel: String, number: u64) -> Result<u64, ChatError> {
        Ok(match self.outcome(channel, number).await? {
            Outcome::Stands { seq, .. } => seq,
            Outcome::Kept { .. } => 0,
        })
    }
    /// Waits until a write of this start is done; gives what it came to.
    pub async fn outcome(&self, channel: String, number: u64) -> Result<Outcome, ChatError> {
        Ok(self.handle(&channel, number).await?.done().await?.into())
    }
    /// How far a write of this start got.
    pub async fn state_of(&self, channel: String, number: u64) -> Result<SendState, ChatError> {
        Ok(self.handle(&channel, number).await?.state().get().into())
    }
    /// How far a write of this start got, live.
    pub async fn watch_sending(&self, channel: String, number: u64) -> Result<Arc<SendStateWatch>, ChatError> {
        Ok(SendStateWatch::new(self.handle(&channel, number).await?.state(), Into::into))
    }
    /// Sends a text again: now, if it waits; one that was refused under a new number. Gives its number.
    pub async fn retry(&self, channel: String, number: u64) -> Result<u64, ChatError> {
        self.keep(self.at(&channel)?.retry(LocalId::own(ClientSeq::new(number))).await?).await
    }
    /// Gives a text up; one that is on its way may stand nevertheless.
    pub async fn discard(&self, channel: String, number: u64) -> Result<(), ChatError> {
        Ok(self.at(&channel)?.discard(LocalId::own(ClientSeq::new(number))).await?)
    }
    /// Own texts of a conversation that do not stand: those that were refused, then those on their way, also of before this start.
    pub async fn unsent(&self, channel: String) -> Result<Vec<Unsent>, ChatError> {
        let id = channel_of(&channel)?;
        let waiting = self.client.outbox();
        let all = self.client.failed().into_iter().chain(waiting.items().iter().cloned());
        Ok(all.filter(|echo| echo.channel == id).filter_map(Unsent::new).collect())
    }
    /// Own texts that were refused, of all conversations, until they are sent anew or discarded.
    pub fn failed(&self) -> Vec<Echo> {
        self.client.failed().iter().map(Into::into).collect()
    }
}

impl ChatClient {
    pub(crate) fn at(&self, channel: &str) -> Result<Channel, ChatError> {
        Ok(self.client.channel(channel_of(channel)?))
    }
    async fn keep(&self, outgoing: Outgoing) -> Result<u64, ChatError> {
        let key: (ChannelId, ClientSeq) = (outgoing.channel(), outgoing.client_seq());
        let mut handles = self.handles.lock().await;
        if handles.len() >= HANDLES_MAX {
            handles.retain(|_, outgoing| !outgoing.state().get().is_over());
        }
        handles.insert(key, outgoing);
        Ok(key.1.get())
    }
    async fn handle(&self, channel: &str, number: u64) -> Result<Outgoing, ChatError> {
        let key = (channel_of(channel)?, ClientSeq::new(number));
        let handles = self.handles.lock().await;
        handles.get(&key).cloned().ok_or_else(|| Error::new(Code::NotFound, "no write of this start has this number").into())
    }
}

fn draft(text: String, reply_to: Option<u64>, mentions: &[String]) -> Result<Draft, ChatError> {
    let draft = Draft::text(text).mentions(users_of(mentions)?);
    Ok(match reply_to {
        Some(seq) => draft.reply_to(Seq::new(seq)),
        None => draft,
    })
}

fn whole(post: Post) -> Result<kith_client::Post, ChatError> {
    let Post { text, reply_to, mentions, thread, ttl_ms } = post;
    let mut whole = kith_client::Post::new(draft(text, reply_to, &mentions)?);
    if let Some(root) = thread {
        whole = whole.in_thread(Seq::new(root));
    }
    if let Some(ttl) = ttl_ms {
        whole = whole.ends_after(Duration::from_millis(ttl));
    }
    Ok(whole)
}
