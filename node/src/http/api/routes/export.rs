//! All that the service holds of a user, for themselves, page by page: profile, devices, contacts, how their conversations stand, and every text
//! that they sent in channels that they may read.
//!
//! A page has what its cursor begins with: people, then conversations, then texts by channel and seq. Nothing is held between pages: the list of
//! channels is read anew for each page of texts, so that one ends where another goes on, whatever has moved in the list meanwhile.

use std::{fmt, str::FromStr};

use axum::{Json, extract::State};
use kith_wire::{
    client::{HistoryQuery, Page, Place, Pull, Request},
    code::Code,
    id::{ChannelId, Seq, UserId, UserRev},
    limit,
    people::{PeopleAnswer, PeopleRequest},
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    super::{
        Api,
        cursor::IndexCursor,
        extract::{Query, Who},
        model::{Channel, Message, messages},
        problem::Problem,
        sync, unexpected,
    },
    accounts::Device,
    contacts::{Contact, Profile},
};

/// From where.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct ExportParams {
    /// Where a page before this one ended: its `next`.
    #[param(pattern = "^(cu[0-9a-f]{16}|l(s[0-9a-f]{1,16}|p[0-9a-f]{1,16}-[0-9a-f]{1,16}-[0-9a-f]{1,16})|t0[12][0-9a-f]{32}-[0-9a-f]{1,16})$")]
    cursor: Option<String>,
}

/// A part of what the service holds of a user.
#[derive(Default, Serialize, ToSchema)]
pub(in super::super) struct Export {
    /// What others see of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    profile: Option<Profile>,
    /// Their devices.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    devices: Vec<Device>,
    /// Contacts, and who asked, was asked or is blocked.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    contacts: Vec<Contact>,
    /// How their conversations stand.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    channels: Vec<Channel>,
    /// What they wrote, as it reads now.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    texts: Vec<Text>,
    /// What follows, for `cursor`; absent at the end. A page may be empty and yet have one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// A text of the user.
#[derive(Serialize, ToSchema)]
#[schema(as = OwnText)]
struct Text {
    /// Where.
    channel: String,
    /// What.
    message: Message,
}

/// Take all of it along
///
/// All that the service holds of the one who asks, page by page; who holds a cursor goes on where they were cut off.
#[utoipa::path(
    get, path = "/v1/me/export", tag = "accounts", operation_id = "export", params(ExportParams),
    responses((status = 200, description = "A page", body = Export)),
)]
pub(in super::super) async fn export(State(api): State<Api>, who: Who, Query(asked): Query<ExportParams>) -> Result<Json<Export>, Problem> {
    let place = asked.cursor.as_deref().map_or(Ok(At::People), str::parse)?;
    let (page, next) = match place {
        At::People => people(&api, &who).await?,
        At::Contacts(after) => contacts(&api, &who, after, Export::default()).await?,
        At::List(cursor) => list(&api, &who, cursor).await?,
        At::Texts(channel, first) => texts(&api, &who, channel, first).await?,
    };
    Ok(Json(Export { next: next.map(|at| at.to_string()), ..page }))
}

async fn people(api: &Api, who: &Who) -> Result<(Export, Option<At>), Problem> {
    let me = who.caller.user;
    let PeopleAnswer::Profiles(profiles) = ask(api, who, PeopleRequest::GetProfiles { users: vec![me] }).await? else { return Err(unexpected()) };
    let PeopleAnswer::Devices(devices) = ask(api, who, PeopleRequest::Devices).await? else { return Err(unexpected()) };
    let profile = profiles.into_iter().next().map(Profile::from);
    let page = Export { profile, devices: devices.into_iter().map(Device::from).collect(), ..Export::default() };
    contacts(api, who, UserId::new(0), page).await
}

async fn contacts(api: &Api, who: &Who, after: UserId, page: Export) -> Result<(Export, Option<At>), Problem> {
    let PeopleAnswer::Contacts { contacts, more } = ask(api, who, PeopleRequest::Contacts { after }).await? else { return Err(unexpected()) };
    let next = match contacts.last() {
        Some(last) if more => At::Contacts(last.user),
        _ => At::List(IndexCursor::At(UserRev::ZERO)),
    };
    Ok((Export { contacts: contacts.into_iter().map(Contact::from).collect(), ..page }, Some(next)))
}

async fn list(api: &Api, who: &Who, cursor: IndexCursor) -> Result<(Export, Option<At>), Problem> {
    let round = sync::page(api, &who.caller, cursor, PAGE).await?;
    let channels = round.rows.iter().map(|row| Channel::of(row, who.caller.user)).collect();
    // What moves from here on is another export's: texts are read by channel, not by this list.
    let next = if round.more() { Some(At::List(round.next)) } else { all(api, who).await?.first().map(|first| At::Texts(*first, Seq::new(1))) };
    Ok((Export { channels, ..Export::default() }, next))
}

async fn texts(api: &Api, who: &Who, from: ChannelId, first: Seq) -> Result<(Export, Option<At>), Problem> {
    let left: Vec<ChannelId> = all(api, who).await?.into_iter().filter(|channel| *channel >= from).collect();
    let (mut page, mut at) = (Export::default(), 0);
    let mut first = if left.first() == Some(&from) { first } else { Seq::new(1) };
    while let Some(channel) = left.get(at).copied() {
        if page.texts.len() >= PAGE as usize || at == CHANNELS_MAX {
            return Ok((page, Some(At::Texts(channel, first))));
        }
        let (texts, next) = texts_of(api, who, channel, first).await?;
        page.texts.extend(texts);
        (at, first) = next.map_or((at + 1, Seq::new(1)), |next| (at, next));
    }
    Ok((page, None))
}

/// Texts of a channel, and where to go on in it.
async fn texts_of(api: &Api, who: &Who, channel: ChannelId, first: Seq) -> Result<(Vec<Text>, Option<Seq>), Problem> {
    let query = HistoryQuery {
        channel,
        first,
        last: Seq::new(u64::MAX),
        newest_first: false,
        limit: PAGE,
        min_seq: Seq::ZERO,
        replica: None,
        linearizable: true,
        place: Some(Place::Own),
    };
    let page = match api.pull(&who.caller, Pull::History(query)).await {
        Ok(Page::History(page)) => page,
        // Nothing of it is theirs to read any more.
        Err(problem) if problem.code == Code::NotMember => return Ok((Vec::new(), None)),
        Ok(_) => return Err(unexpected()),
        Err(problem) => return Err(problem),
    };
    let next = page.covered.filter(|(_, last)| *last < page.head.seq && *last >= first).map(|(_, last)| last.next());
    let text = |message| Text { channel: channel.to_string(), message };
    Ok((messages(&page).into_iter().map(text).collect(), next))
}

/// Every channel of the user's list, by rising id.
async fn all(api: &Api, who: &Who) -> Result<Vec<ChannelId>, Problem> {
    let (mut channels, mut cursor) = (Vec::new(), IndexCursor::At(UserRev::ZERO));
    loop {
        let round = sync::page(api, &who.caller, cursor, limit::PAGE_ROWS_MAX as u32).await?;
        channels.extend(round.rows.iter().map(|row| row.news.channel));
        if !round.more() {
            channels.sort_unstable();
            channels.dedup();
            return Ok(channels);
        }
        cursor = round.next;
    }
}

async fn ask(api: &Api, who: &Who, asked: PeopleRequest) -> Result<PeopleAnswer, Problem> {
    match api.ask(&who.caller, Request::People(asked)).await? {
        kith_wire::client::Answer::People(answer) => Ok(answer),
        _ => Err(unexpected()),
    }
}

/// What is to be given next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in super::super) enum At {
    /// All of it.
    People,
    /// Contacts after this user.
    Contacts(UserId),
    /// Conversations.
    List(IndexCursor),
    /// Texts from this one on.
    Texts(ChannelId, Seq),
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::People => Ok(()),
            Self::Contacts(after) => write!(f, "c{after}"),
            Self::List(cursor) => write!(f, "l{cursor}"),
            Self::Texts(channel, first) => write!(f, "t{channel}-{:x}", first.get()),
        }
    }
}

impl FromStr for At {
    type Err = Problem;
    fn from_str(text: &str) -> Result<Self, Problem> {
        let read = || {
            let rest = text.get(1..)?;
            match text.as_bytes().first()? {
                b'c' => rest.parse().ok().map(Self::Contacts),
                b'l' => rest.parse().ok().map(Self::List),
                b't' => {
                    let (channel, first) = rest.split_once('-')?;
                    let first = u64::from_str_radix(first, 16).ok().filter(|first| *first > 0)?;
                    Some(Self::Texts(channel.parse().ok()?, Seq::new(first)))
                }
                _ => None,
            }
        };
        read().ok_or_else(|| Problem::new(Code::Invalid, "the cursor is none that this was given: begin without one"))
    }
}

/// Conversations or texts of a page; one of texts has at most twice so many.
const PAGE: u32 = 100;
/// Channels that a page of texts goes through.
const CHANNELS_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_back_and_no_other_text_is_one() {
        let channel = ChannelId::direct(UserId::new(1), UserId::new(2));
        let index = IndexCursor::Within { from: UserRev::ZERO, to: UserRev::new(9), below: UserRev::new(7) };
        for at in [At::Contacts(UserId::new(5)), At::List(index), At::Texts(channel, Seq::new(300))] {
            assert_eq!(at.to_string().parse(), Ok(at));
        }
        for odd in ["", "c", "x1", "l", "t", &format!("t{channel}"), &format!("t{channel}-0"), "é"] {
            assert!(odd.parse::<At>().is_err(), "{odd}");
        }
    }
}
