//! Search for messages.

use axum::{Json, extract::State};
use kith_wire::{
    client::{Answer, Request},
    code::Code,
    id::Timestamp,
    limit,
    search::{SearchHit, SearchPage, SearchQuery},
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    super::{
        Api,
        extract::{Place, Query, Who, user},
        problem::Problem,
        unexpected,
    },
    messages::page_limit,
};

/// What is looked for: at least one of `q`, `sender`, `channel`, `since_ms` and `until_ms`.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct SearchParams {
    /// Words in any order, "a phrase", beginn*, -unwanted.
    #[serde(default)]
    #[param(max_length = 256, example = "blue boat")]
    q: String,
    /// Only of this user: an id.
    #[param(pattern = "^u[0-9a-fA-F]{16}$")]
    sender: Option<String>,
    /// Only in this conversation: an id, or @ and the name of the user at its other end.
    #[param(pattern = "^(0[12][0-9a-fA-F]{32}|@.{1,64})$")]
    channel: Option<String>,
    /// Only from then on, in milliseconds since 1970.
    since_ms: Option<u64>,
    /// Only before then, in milliseconds since 1970.
    until_ms: Option<u64>,
    /// Where a page before this one ended: its `next`.
    #[param(max_length = 80, pattern = "^[0-9]{1,19}-[0-9]{1,19}-0[12][0-9a-f]{32}$")]
    cursor: Option<String>,
    /// At most so many.
    #[param(minimum = 1, maximum = 50)]
    limit: Option<u32>,
}

/// A message that was found.
#[derive(Serialize, ToSchema)]
pub(in super::super) struct Hit {
    /// Its conversation.
    channel: String,
    /// Its seq there.
    seq: u64,
    /// Who wrote it.
    sender: String,
    /// When, in milliseconds since 1970.
    ts_ms: u64,
    /// Some of its text, around what was found.
    excerpt: String,
    /// What was found in it: first character and how many, in Unicode scalar values of the excerpt.
    marks: Vec<(u32, u32)>,
}

/// What was found, the newest first.
#[derive(Serialize, ToSchema)]
pub(in super::super) struct FoundMessages {
    /// May be fewer than asked for, or none, though there is a `next`.
    hits: Vec<Hit>,
    /// Groups whose title has what is looked for; on the first page only.
    channels: Vec<String>,
    /// Nodes that did not answer.
    missing: Vec<u64>,
    /// Conversations that nobody answered for: they were not searched.
    unsearched: u32,
    /// The `cursor` of the next page; null: there is nothing older.
    next: Option<String>,
}

impl From<SearchPage> for FoundMessages {
    fn from(page: SearchPage) -> Self {
        let hit = |hit: SearchHit| Hit {
            channel: hit.spot.channel.to_string(),
            seq: hit.spot.seq.get(),
            sender: hit.sender.to_string(),
            ts_ms: hit.spot.ts.get(),
            excerpt: hit.excerpt,
            marks: hit.marks,
        };
        Self {
            hits: page.hits.into_iter().map(hit).collect(),
            channels: page.channels.iter().map(ToString::to_string).collect(),
            missing: page.missing.iter().map(|node| node.get()).collect(),
            unsearched: page.unsearched,
            next: page.next.map(|next| next.to_string()),
        }
    }
}

/// Search messages
///
/// In all conversations that the caller may read, as they read now.
#[utoipa::path(
    get, path = "/v1/search/messages", tag = "messages", operation_id = "searchMessages", params(SearchParams),
    responses((status = 200, description = "A page", body = FoundMessages)),
)]
pub(in super::super) async fn search(State(api): State<Api>, who: Who, Query(asked): Query<SearchParams>) -> Result<Json<FoundMessages>, Problem> {
    let below = |text: String| text.parse().map_err(|_| Problem::new(Code::Invalid, "a cursor is the `next` of a page"));
    let time = |ms: u64| match i64::try_from(ms) {
        Ok(_) => Ok(Timestamp::new(ms)),
        Err(_) => Err(Problem::new(Code::Invalid, "a time is in milliseconds since 1970, at most 2^63 - 1")),
    };
    let query = SearchQuery {
        words: asked.q,
        sender: asked.sender.as_deref().map(user).transpose()?,
        channel: match asked.channel.as_deref().map(str::parse::<Place>).transpose()? {
            Some(place) => Some(api.channel(&who, place).await?),
            None => None,
        },
        since: asked.since_ms.map(time).transpose()?,
        until: asked.until_ms.map(time).transpose()?,
        limit: match asked.limit {
            // As many as a page has.
            None => 0,
            wanted => page_limit(wanted, limit::QUERY_HITS_MAX)?,
        },
        below: asked.cursor.map(below).transpose()?,
    };
    match api.ask(&who.caller, Request::Search(query)).await? {
        Answer::Found(page) => Ok(Json(page.into())),
        _ => Err(unexpected()),
    }
}
