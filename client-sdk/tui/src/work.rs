//! What the shell does for the app with the SDK: questions, and numbered writes.
//!
//! In: an [`Ask`] or a [`Write`] and the client. Out: an answer, or how far the write got. Cancel safe: an unanswered question is forgotten, a
//! write goes on in the SDK. Not here: in which order they are begun (`shell`).

use kith_client::{
    Channel, Client, Delivery, Error, History, Joined, NewChannel, Outgoing,
    wire::{
        code::Code,
        id::{ChannelId, Seq, UserId},
        search::SearchQuery,
    },
};

use crate::action::{Answer, Ask, Looked, Progress, Stand, Want, Wish, Write};

/// Records of a page: a few screens.
const PAGE: u32 = 60;

pub(crate) async fn ask(client: &Client, ask: &Ask) -> Result<Answer, Error> {
    let (account, contacts) = (client.account(), client.contacts());
    Ok(match ask.clone() {
        Ask::Names(users) => Answer::People(contacts.profiles(users).await?),
        Ask::Profile(user) => Answer::People(contacts.profiles(vec![user]).await?),
        Ask::Page(channel, want) => page(client, &client.channel(channel), want).await?,
        Ask::Members(channel) => Answer::Members(client.channel(channel).view().await?),
        Ask::Group(channel) => Answer::Group(client.channel(channel).group().await?),
        Ask::MarkRead(channel, read) => done(client.channel(channel).mark_read_at(read).await)?,
        Ask::Typing(channel) => done(client.channel(channel).typing().await)?,
        Ask::Prefer(channel, wish) => done(prefer(&client.channel(channel), wish).await)?,
        Ask::Seen(channel, seq) => {
            let channel = client.channel(channel);
            let (read, delivered) = channel.seen(seq).await?;
            Answer::Seen { read, delivered, reactions: channel.reactions(seq).await? }
        }
        Ask::Direct(name) => Answer::Channel(client.direct(name).await?.id()),
        Ask::NewGroup(title, names) => {
            let mut members = Vec::new();
            for name in names {
                members.push(find(client, &name).await?);
            }
            members.retain(|member| *member != client.me());
            members.sort_unstable();
            members.dedup();
            Answer::Channel(client.create_channel(NewChannel::group(title).members(members)).await?.id())
        }
        Ask::Join(link) => match client.join(link.parse()?).await? {
            Joined::Member(channel) => Answer::Channel(channel.id()),
            Joined::Pending => Answer::Pending,
        },
        Ask::Add(_, name) => Answer::User(find(client, &name).await?),
        Ask::Contacts => Answer::Contacts(contacts.list().await?),
        Ask::Find(prefix) => Answer::People(contacts.find(&prefix).await?),
        Ask::Contact(user, stand) => done(match stand {
            Stand::Contact => contacts.request(user).await,
            Stand::Stranger => contacts.remove(user).await,
            Stand::Blocked => contacts.block(user).await,
            Stand::Unblocked => contacts.unblock(user).await,
        })?,
        Ask::AskByName(name) => done(contacts.request(find(client, &name).await?).await)?,
        Ask::Devices => Answer::Devices(account.devices().await?),
        Ask::EndDevice(device) => done(account.end_device(device).await)?,
        Ask::EndOthers => done(account.end_others().await)?,
        Ask::Password(old, new) => done(account.change_password(old, new).await)?,
        Ask::Recovery(password) => Answer::Code(account.new_recovery_code(password).await?),
        Ask::Rename(name) => done(account.rename(&name).await)?,
        Ask::SetProfile(change) => done(contacts.set_profile(change).await)?,
        Ask::LogOut => done(account.log_out().await)?,
        Ask::Delete(password) => done(account.delete(password).await)?,
        Ask::Search(Looked { words, from, since, until, within, below }) => {
            let sender = match from {
                Some(name) => Some(find(client, &name).await?),
                None => None,
            };
            Answer::Found(client.search(SearchQuery { words, sender, channel: within, since, until, limit: 0, below }).await?)
        }
    })
}

fn done(outcome: Result<(), Error>) -> Result<Answer, Error> {
    outcome.map(|()| Answer::Done)
}

async fn find(client: &Client, name: &str) -> Result<UserId, Error> {
    client.find_user(name).await
}

async fn page(client: &Client, channel: &Channel, want: Want) -> Result<Answer, Error> {
    let newest = History { limit: PAGE, ..History::default() };
    let history = match want {
        Want::Newest => newest,
        Want::Before(seq) => History { last: seq.prev(), ..newest },
        Want::After(seq) => History { first: seq.next(), newest_first: false, ..newest },
        Want::Around(seq) => History { place: Some(kith_client::wire::client::Place::Around(seq)), ..newest },
        Want::Quoted(seq) => History { first: seq, last: seq, limit: 1, ..newest },
    };
    if want == Want::Newest && !client.status().get().is_online() {
        return held(channel).await;
    }
    match channel.history(history).await {
        // What this device holds is better than nothing.
        Err(error) if want == Want::Newest && matches!(error.code, Code::Timeout | Code::Disconnected | Code::NoLeader) => held(channel).await,
        page => Ok(Answer::Page(page?)),
    }
}

async fn held(channel: &Channel) -> Result<Answer, Error> {
    let Some(cursor) = channel.held().await? else { return Ok(Answer::Held(Vec::new(), false)) };
    let first = cursor.from.max(Seq::new(cursor.max.get().saturating_sub(u64::from(PAGE) * 4)));
    let records = channel.records(first, cursor.max, PAGE as usize * 4 + 1).await?;
    Ok(Answer::Held(records, first > Seq::new(1)))
}

async fn prefer(channel: &Channel, wish: Wish) -> Result<(), Error> {
    let preferences = channel.preferences();
    match wish {
        Wish::Pin(on) => preferences.pin(on).await,
        Wish::Mute(until) => preferences.mute(until).await,
        Wish::Archive(on) => preferences.archive(on).await,
        Wish::Draft(draft) => preferences.save_draft(draft).await,
    }
}

/// Hands a write to the SDK: from then on it is stored, and sent until it is answered.
pub(crate) async fn begin(client: &Client, channel: ChannelId, write: Write) -> Result<Outgoing, Error> {
    let channel = client.channel(channel);
    match write {
        Write::Send(draft) => channel.send(draft).await,
        Write::Edit(seq, text, mentions) => channel.edit(seq, kith_client::Draft::text(text).mentions(mentions)).await,
        Write::Delete(seq) => channel.delete(seq).await,
        Write::React(seq, emoji, on) => channel.react(seq, emoji, on).await,
        Write::Pin(seq, on) => channel.pin(seq, on).await,
        Write::Forward(from, seq) => channel.forward(from, seq).await,
        Write::Add(user) => channel.add(user).await,
        Write::Remove(user) => channel.remove(user).await,
        Write::Leave => channel.leave().await,
        Write::Role(user, role) => channel.set_role(user, role).await,
        Write::Describe(title, about) => channel.describe(title, about).await,
        Write::Rules(rules) => channel.set_rules(rules).await,
        Write::HandOver(user) => channel.hand_over(user).await,
        Write::Mute(user, until) => channel.mute(user, until).await,
        Write::Invite(until, uses) => channel.invite(until, uses).await.map(|(_, outgoing)| outgoing),
        Write::Revoke(secret) => channel.revoke(secret).await,
        Write::Reject(user) => channel.reject(user).await,
    }
}

/// Waits for the end of a write.
pub(crate) async fn end(outgoing: &Outgoing) -> Progress {
    match outgoing.state().wait_for(Delivery::is_over).await {
        Some(Delivery::Sent(message)) => Progress::Recorded(message.seq(), kith_client::wire::id::Timestamp::new(message.ts)),
        Some(Delivery::Failed(error)) => {
            // The screen keeps what was refused; one that was no text is not kept by the SDK.
            let _ = outgoing.discard().await;
            Progress::Failed(error)
        }
        Some(_) => Progress::Done,
        None => Progress::Failed(Error::new(Code::Disconnected, "the program ended before this was answered; it is sent next time")),
    }
}
